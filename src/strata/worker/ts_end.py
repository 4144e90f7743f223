"""Where a transport stream can end. Pure.

A recording that is stopped in the middle of a picture ends with a decoder's error message.
So what belongs to a picture, or a frame of sound, that has begun and may not be whole is
held back until the next one of the same track begins; at the end it is left out.

Sources: ISO/IEC 13818-1 sections 2.4.3.2 (payload unit start), 2.4.3.6 (PES)
and table 2-22 (stream ids).
"""

from __future__ import annotations

from typing import Final

PACKET: Final = 188
OVER_AFTER_S: Final = 0.2
"""Nothing for so long at the end: the sender has ended its stream, and what came is whole."""

UNIT_IDS: Final = frozenset(bytes((id,)) for id in range(0xC0, 0xF0))
HELD_BYTES_MAX: Final = 2 * 1024 * 1024
"""A track that begins nothing new for so long is passed on as it is."""


class TsEnd:
    """Holds back the newest part of one transport stream."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._open: dict[int, int] = {}
        """By PID: where in ``_held`` its newest unit begins."""

    def pass_on(self, batch: bytes) -> bytes:
        """What is surely whole of the stream so far.

        Args:
            batch: whole packets of 188 bytes.
        """
        base = len(self._held)
        self._held += batch
        for index, (high, low) in enumerate(zip(batch[1::PACKET], batch[2::PACKET], strict=True)):
            offset = index * PACKET
            if high & 0x40 and _starts_unit(batch[offset : offset + PACKET]):
                self._open[(high & 0x1F) << 8 | low] = base + offset
        if len(self._held) > HELD_BYTES_MAX:
            return self._release(len(self._held))
        return self._release(min(self._open.values(), default=len(self._held)))

    def close(self, is_over: bool) -> bytes:
        """The rest.

        Args:
            is_over: the sender has ended its stream, so that the newest units are whole;
                otherwise they are left out.
        """
        if is_over:
            return self._release(len(self._held))
        kept = bytearray()
        for offset in range(0, len(self._held), PACKET):
            pid = (self._held[offset + 1] & 0x1F) << 8 | self._held[offset + 2]
            if offset < self._open.get(pid, offset + 1):
                kept += self._held[offset : offset + PACKET]
        self._release(len(self._held))
        return bytes(kept)

    def cut(self, video_pid: int | None) -> tuple[bytes, bytes]:
        """The rest, where another file begins with the packets that come next: what is whole
        for this file, and the beginnings of units for that one.

        Args:
            video_pid: a picture begins with the next packets, so the newest one is whole.
        """
        here, there = bytearray(), bytearray()
        for offset in range(0, len(self._held), PACKET):
            pid = (self._held[offset + 1] & 0x1F) << 8 | self._held[offset + 2]
            is_whole = pid == video_pid or offset < self._open.get(pid, offset + 1)
            (here if is_whole else there).extend(self._held[offset : offset + PACKET])
        self._release(len(self._held))
        return bytes(here), bytes(there)

    def _release(self, size: int) -> bytes:
        """Takes that many bytes off the front."""
        released = bytes(self._held[:size])
        del self._held[:size]
        # A unit that has been released in part can no longer be left out.
        self._open = {pid: at - size for pid, at in self._open.items() if at >= size}
        return released


def _starts_unit(packet: bytes) -> bool:
    """Whether a packet with the payload unit start begins a PES of video or sound (stream
    ids 0xC0 to 0xEF), rather than a table or something that comes once in a while."""
    start = 4 + (1 + packet[4] if packet[3] & 0x20 else 0)
    return packet[start : start + 3] == b"\0\0\1" and packet[start + 3 : start + 4] in UNIT_IDS
