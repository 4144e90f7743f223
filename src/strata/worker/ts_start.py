"""Where a transport stream can begin. Pure.

The first packets of a broadcast are often incomplete: RIST drops what comes before its
handshake, and with it the tables without which a demuxer throws the first pictures away,
or the head of the first key frame. So packets are held until the tables are known and a
key frame begins; then the stream starts with the tables, goes on with that key frame, and
from there on every packet passes as it came.

Sources: ISO/IEC 13818-1 sections 2.4.3.2 (packet), 2.4.4.3 (PAT), 2.4.4.8 (PMT).
"""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import Final

PACKET: Final = 188
PAT_PID: Final = 0x0000
VIDEO_TYPES: Final = frozenset((0x01, 0x02, 0x10, 0x1B, 0x24, 0x33))
"""Stream types of MPEG-1, MPEG-2, MPEG-4 part 2, H.264, H.265 and H.266 video."""

HELD_BYTES_MAX: Final = 4 * 1024 * 1024
HELD_S_MAX: Final = 4.0
"""An encoder that never marks its key frames (the random access indicator is optional) or
sends no tables that we can read passes as it is after this."""


class TsStart:
    """Holds the beginning of one transport stream until it can be used."""

    def __init__(self) -> None:
        self._held: list[tuple[float, bytes]] = []
        self._held_bytes = 0
        self._first_at: float | None = None
        self._pat: bytes | None = None
        self._pmt: bytes | None = None
        self._pmt_pid: int | None = None
        self._video_pid: int | None = None
        self._key_at: int | None = None
        self.started = False

    def pass_on(self, batch: bytes, now: float) -> list[tuple[float, bytes]]:
        """What may go on of the stream so far, as (time of arrival, packets); empty while
        it is held. What was held keeps the time at which it came, because a demuxer takes
        the pace of the stream from there.

        Args:
            batch: whole packets of 188 bytes.
            now: seconds on any monotonic clock.
        """
        if self.started or not batch:
            return [(now, batch)]
        if self._first_at is None:
            self._first_at = now
        for offset in range(0, len(batch), PACKET):
            self._look_at(batch[offset : offset + PACKET], now)
        if self._pat is not None and self._pmt is not None:
            start = self._find_start()
            if start is not None:
                return self._begin(start)
        if self._held_bytes > HELD_BYTES_MAX or now - self._first_at > HELD_S_MAX:
            return self._begin(0)
        return []

    def _begin(self, index: int) -> list[tuple[float, bytes]]:
        self.started = True
        kept, self._held = self._held[index:], []
        tables = [table for table in (self._pat, self._pmt) if table is not None]
        batches = [(kept[0][0], b"".join(tables))] if tables else []
        for at, group in groupby(kept, key=itemgetter(0)):
            batches.append((at, b"".join(packet for _, packet in group)))
        return batches

    def _look_at(self, packet: bytes, now: float) -> None:
        self._held.append((now, packet))
        self._held_bytes += PACKET
        pid = _pid(packet)
        if pid == PAT_PID:
            found = _section(packet)
            if found is not None and found[:1] == b"\x00":
                self._pmt_pid = _first_program(found)
                self._pat = packet
        elif pid == self._pmt_pid:
            found = _section(packet)
            if found is not None and found[:1] == b"\x02":
                self._video_pid = _video_pid(found)
                self._pmt = packet

    def _find_start(self) -> int | None:
        """Index of the held packet to begin with: the first key frame's, or 0 where the
        program has no video."""
        if self._video_pid is None:
            return 0
        for index, (_, packet) in enumerate(self._held):
            if _pid(packet) == self._video_pid and _starts_key_frame(packet):
                return index
        return None


def _pid(packet: bytes) -> int:
    return (packet[1] & 0x1F) << 8 | packet[2]


def _starts_key_frame(packet: bytes) -> bool:
    """Payload unit start, and an adaptation field with the random access indicator."""
    has_field = packet[3] & 0x20 and packet[4] > 0
    return bool(packet[1] & 0x40 and has_field and packet[5] & 0x40)


def _section(packet: bytes) -> bytes | None:
    """The section that begins and ends in this packet, without its checksum, or None."""
    if not packet[1] & 0x40 or not packet[3] & 0x10:
        return None
    start = 4 + (1 + packet[4] if packet[3] & 0x20 else 0)
    if start >= PACKET:
        return None
    start += 1 + packet[start]  # the pointer field
    if start + 3 > PACKET:
        return None
    end = start + 3 + ((packet[start + 1] & 0x0F) << 8 | packet[start + 2])
    return packet[start : end - 4] if start + 12 <= end <= PACKET else None


def _first_program(section: bytes) -> int | None:
    """PID of the first program's map; program 0 is the network's table."""
    for offset in range(8, len(section) - 3, 4):
        if section[offset : offset + 2] != b"\x00\x00":
            return (section[offset + 2] & 0x1F) << 8 | section[offset + 3]
    return None


def _video_pid(section: bytes) -> int | None:
    """PID of the first video stream of a program map."""
    if len(section) < 12:
        return None
    offset = 12 + ((section[10] & 0x0F) << 8 | section[11])
    while offset + 5 <= len(section):
        if section[offset] in VIDEO_TYPES:
            return (section[offset + 1] & 0x1F) << 8 | section[offset + 2]
        offset += 5 + ((section[offset + 3] & 0x0F) << 8 | section[offset + 4])
    return None
