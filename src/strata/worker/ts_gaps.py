"""Where packets of a transport stream are missing, a demuxer is made to see it. Pure.

tsdemux takes a picture that lost its tail for a whole one if the packet after the hole begins
the next picture: it does not look at the counter of such a packet. So the first packet of each
track after a hole is looked at here. Where its counter does not follow, a packet is put before
it that breaks the counter for certain, and makes the demuxer throw the begun picture away.

Source: ISO/IEC 13818-1 section 2.4.3.3 (continuity_counter).
"""

from __future__ import annotations

from collections import deque
from typing import Final

PACKET: Final = 188
LOOK: Final = 2000 * PACKET
"""Bytes before and after a hole in which a track shows itself: 150 ms at 20 Mbps, a second at
3 Mbps."""
CYCLE: Final = 16
"""The counter begins anew after so many packets; so many missing do not show in it."""
PER_DATAGRAM: Final = 7
_TABLES: Final = 0x20
_STUFFING: Final = 0x1FFF
"""PIDs below the first and the second carry no track."""


class TsGaps:
    """Follows one transport stream."""

    def __init__(self) -> None:
        self._past: deque[bytes] = deque()
        self._past_size = 0
        self._awaited: dict[int, tuple[int, bool]] = {}
        """By PID: the counter before the hole, and whether a whole cycle may be missing."""
        self._awaited_for = 0

    def note(self, missing: int) -> None:
        """Datagrams are missing before the batch that comes next.

        Args:
            missing: how many; 0 for an unknown number.
        """
        has_cycle = not missing or missing * PER_DATAGRAM >= CYCLE
        before = b"".join(self._past)
        found: dict[int, tuple[int, bool]] = {}
        for at in range(len(before) - PACKET, max(-1, len(before) - LOOK), -PACKET):
            pid = (before[at + 1] & 0x1F) << 8 | before[at + 2]
            if before[at + 3] & 0x10 and _TABLES <= pid < _STUFFING and pid not in found:
                # One that was awaited already has not come since.
                found[pid] = before[at + 3] & 0x0F, has_cycle or pid in self._awaited
        self._awaited, self._awaited_for = found, 0

    def mend(self, batch: bytes) -> bytes:
        """The batch as a demuxer should see it.

        Args:
            batch: whole packets of 188 bytes.
        """
        self._past.append(batch)
        self._past_size += len(batch)
        while self._past_size - len(self._past[0]) > LOOK:
            self._past_size -= len(self._past.popleft())
        if not self._awaited:
            return batch
        out = bytearray()
        for at in range(0, len(batch), PACKET):
            packet = batch[at : at + PACKET]
            out += self._breaker(packet)
            out += packet
        return bytes(out)

    def _breaker(self, packet: bytes) -> bytes:
        """What goes before this packet; mostly nothing."""
        self._awaited_for += PACKET
        pid = (packet[1] & 0x1F) << 8 | packet[2]
        if packet[3] & 0x10 and pid in self._awaited:
            counter, has_cycle = self._awaited.pop(pid)
            follows = packet[3] & 0x0F == (counter + 1) % CYCLE and not has_cycle
            if not follows:
                broken = 0x10 | (counter + CYCLE // 2) % CYCLE
                return bytes((0x47, pid >> 8, pid & 0xFF, broken)).ljust(PACKET, b"\xff")
        if self._awaited_for > LOOK:
            self._awaited.clear()  # they do not come again: another program
        return b""
