"""The sender's clock, read from its own stream. Pure.

A demuxer that is told when packets arrived maps the sender's clock onto those times, and
so passes the unevenness of the network, and of an encoder that catches up, on into the
stamps of pictures and sound: frames move closer together or further apart, and a player
stumbles. So the demuxer is told the times at which the packets *should* have arrived: those
of the sender's own clock references (PCR), which lie beside the media. Arrival only
decides where the sender's clock starts, and where it starts again after it jumped. Nor is
the demuxer shown how that clock wraps (:mod:`strata.worker.ts_wrap`).

Source: ISO/IEC 13818-1 sections 2.4.3.5 (PCR) and 2.7.2 (a PCR at least every 100 ms).
"""

from __future__ import annotations

from typing import Final

from strata.worker.ts_wrap import is_near, moved

PACKET: Final = 188
PCR_HZ: Final = 27_000_000
WRAP: Final = (1 << 33) * 300

JUMP_S: Final = 1.0
"""A clock that went back, or ahead by this much more than time did, was set anew (a
restarted encoder). One that went ahead by less is one that paused, or packets that waited
for us and come all at once."""


class Pace:
    """Follows one sender's clock.

    Times are seconds on the caller's monotonic clock at the start, and run on with the
    sender's clock from there: they drift apart as slowly as two crystals do.
    """

    def __init__(self) -> None:
        self._pid: int | None = None
        self._pcr = 0
        self._at_s = 0.0
        self._stamp_s: float | None = None
        self._is_near_wrap = False

    def split(self, batch: bytes, now: float) -> list[tuple[float, bytes]]:
        """The batch, cut before each packet with a PCR, as (stamp in s, packets as a demuxer
        should see them).

        Args:
            batch: whole packets of 188 bytes.
            now: when they arrived.
        """
        pieces: list[tuple[float, bytes]] = []
        begin = 0
        for index, (control, flags) in enumerate(
            zip(batch[3::PACKET], batch[5::PACKET], strict=True)
        ):
            if not (control & 0x20 and flags & 0x10):
                continue
            offset = index * PACKET
            pcr = self._pcr_of(batch[offset : offset + 12], now)
            if pcr is None:
                continue
            if offset > begin:
                pieces.append(self._piece(batch[begin:offset], now))
                begin = offset
            self._follow(pcr, now)
        if begin < len(batch):
            pieces.append(self._piece(batch[begin:] if begin else batch, now))
        return pieces

    def _pcr_of(self, head: bytes, now: float) -> int | None:
        """Ticks of 27 MHz; None for a packet of another program, or too short a field."""
        if head[4] < 7:
            return None
        pid = (head[1] & 0x1F) << 8 | head[2]
        if pid != self._pid:
            # The clock that is followed may stop for good: a new program, or what was
            # followed was noise.
            if self._pid is not None and now - self._at_s < JUMP_S:
                return None
            self._pid = pid
        base = int.from_bytes(head[6:11], "big") >> 7
        return base * 300 + ((head[10] & 1) << 8 | head[11])

    def _follow(self, pcr: int, now: float) -> None:
        if self._stamp_s is None:
            self._stamp_s = now
        else:
            moved_s = _signed(pcr - self._pcr) / PCR_HZ
            passed_s = now - self._at_s
            goes_on = 0 <= moved_s <= passed_s + JUMP_S
            # After a jump the stream goes on where it was, later by what really passed.
            self._stamp_s += moved_s if goes_on else passed_s
            if goes_on:  # a damaged reference says nothing, nor does what came before the first
                self._is_near_wrap = is_near(pcr // 300, self._is_near_wrap)
        self._pcr = pcr
        self._at_s = now

    def _piece(self, packets: bytes, now: float) -> tuple[float, bytes]:
        stamp_s = now if self._stamp_s is None else self._stamp_s
        return stamp_s, moved(packets) if self._is_near_wrap else packets


def _signed(difference: int) -> int:
    """The shorter way round the wrap of the clock (26.5 hours)."""
    return (difference + WRAP // 2) % WRAP - WRAP // 2
