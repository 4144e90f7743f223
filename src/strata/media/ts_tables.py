"""The program tables of a transport stream, and what a packet says of itself. Pure.

Sources: ISO/IEC 13818-1 sections 2.4.3.2 (packet), 2.4.4.3 (PAT), 2.4.4.8 (PMT).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

PACKET: Final = 188
PAT_PID: Final = 0x0000
VIDEO_TYPES: Final = frozenset((0x01, 0x02, 0x10, 0x1B, 0x24, 0x33))
"""Stream types of MPEG-1, MPEG-2, MPEG-4 part 2, H.264, H.265 and H.266 video."""


class Tables:
    """The latest tables of one stream: of its first program, each in one packet.

    Attributes:
        video_pid: of its first video.
        streams: what the program is made of: stream type and PID of each.
    """

    def __init__(self) -> None:
        self.video_pid: int | None = None
        self.streams: tuple[tuple[int, int], ...] = ()
        self._pat: bytes | None = None
        self._pmt: bytes | None = None
        self._pmt_pid: int | None = None

    @property
    def are_known(self) -> bool:
        return self._pat is not None and self._pmt is not None

    @property
    def is_without_video(self) -> bool:
        return self._pmt is not None and self.video_pid is None

    @property
    def packets(self) -> bytes:
        """Those that are known, the program's association first."""
        return b"".join(table for table in (self._pat, self._pmt) if table is not None)

    def concerns(self, pid: int) -> bool:
        """Whether a packet with this PID may hold a table."""
        return pid in (PAT_PID, self._pmt_pid)

    def look_at(self, packet: bytes) -> None:
        pid = pid_of(packet)
        if pid == PAT_PID:
            found = _section(packet)
            if found is not None and found[:1] == b"\x00":
                self._pat = packet
                pmt_pid = _first_program(found)
                if pmt_pid != self._pmt_pid:
                    self._pmt_pid, self._pmt, self.video_pid = pmt_pid, None, None
                    self.streams = ()
        elif pid == self._pmt_pid:
            found = _section(packet)
            if found is not None and found[:1] == b"\x02":
                # A table is repeated ten times a second, and seldom differs.
                if packet[4:] != (self._pmt or b"")[4:]:
                    self.streams = tuple(_streams(found))
                    videos = (pid for type, pid in self.streams if type in VIDEO_TYPES)
                    self.video_pid = next(videos, None)
                self._pmt = packet


def pid_of(packet: bytes) -> int:
    return (packet[1] & 0x1F) << 8 | packet[2]


def starts_key_frame(packet: bytes) -> bool:
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


def _streams(section: bytes) -> Iterator[tuple[int, int]]:
    """Stream type and PID of each stream of a program map."""
    if len(section) < 12:
        return
    offset = 12 + ((section[10] & 0x0F) << 8 | section[11])
    while offset + 5 <= len(section):
        yield section[offset], (section[offset + 1] & 0x1F) << 8 | section[offset + 2]
        offset += 5 + ((section[offset + 3] & 0x0F) << 8 | section[offset + 4])
