"""Access units as they are in a transport stream. Pure.

Parsers give them as MP4 and Matroska want them: pictures with a length before each NAL unit
and the parameter sets apart, sound without a header. A transport stream wants start codes, a
delimiter first, the parameter sets before each key frame, and ADTS headers.

Sources: ISO/IEC 14496-15 sections 5.3.3.1 and 8.3.3.1 (configuration records), ISO/IEC
13818-1 sections 2.14 and 2.17 (delimiters), ISO/IEC 14496-3 sections 1.6.2 (configuration of
sound) and 1.A.3.2 (ADTS).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

START: Final = b"\0\0\0\1"
LENGTH_BYTES: Final = 4
"""Before each NAL unit; h264parse and h265parse write no other."""


class BadMedia(Exception):
    """A unit or a configuration that cannot be read."""


@dataclass(frozen=True, slots=True)
class VideoForm:
    """How pictures of one stream are written.

    Attributes:
        shift, mask: find the type of a NAL unit in its first byte.
        delimiter: the NAL unit that begins each access unit.
        sets: parameter sets, with start codes.
        bare_sets: the same, with the length of each before it, as in MP4.
    """

    shift: int
    mask: int
    delimiter_type: int
    set_types: frozenset[int]
    delimiter: bytes
    sets: bytes
    bare_sets: bytes

    def convert(self, unit: bytes, key: bool) -> bytes:
        """One access unit.

        Raises:
            BadMedia: its lengths do not add up.
        """
        parts = [self.delimiter]
        has_sets = False
        for nal in _nals(unit):
            kind = nal[0] >> self.shift & self.mask
            if kind == self.delimiter_type:
                continue
            has_sets = has_sets or kind in self.set_types
            parts += (START, nal)
        if key and not has_sets:
            parts.insert(1, self.sets)
        return b"".join(parts)


def h264(record: bytes) -> VideoForm:
    """From the configuration record of H.264 ("avcC").

    Raises:
        BadMedia: it cannot be read.
    """
    sets: list[bytes] = []
    at = 5
    for mask in (0x1F, 0xFF):  # sequence, then picture parameter sets
        count = _byte(record, at) & mask
        found, at = _sets(record, at + 1, count)
        sets += found
    delimiter = START + b"\x09\xf0"  # any kind of picture
    return VideoForm(0, 0x1F, 9, frozenset((7,)), delimiter, _joined(sets), _bare(sets))


def h265(record: bytes) -> VideoForm:
    """From the configuration record of H.265 ("hvcC").

    Raises:
        BadMedia: it cannot be read.
    """
    sets: list[bytes] = []
    at = 23
    for _ in range(_byte(record, 22)):
        count = _byte(record, at + 1) << 8 | _byte(record, at + 2)
        found, at = _sets(record, at + 3, count)
        sets += found
    delimiter = START + b"\x46\x01\x50"
    return VideoForm(1, 0x3F, 35, frozenset((33,)), delimiter, _joined(sets), _bare(sets))


@dataclass(frozen=True, slots=True)
class Adts:
    """How frames of AAC are written: two fields of their header."""

    frequency: int
    channels: int

    def convert(self, frame: bytes) -> bytes:
        """One frame with its header: MPEG-4, low complexity, no checksum, one block."""
        size = len(frame) + 7
        header = (
            0xFFF1 << 40
            | 1 << 38
            | self.frequency << 34
            | self.channels << 30
            | size << 13
            | 0x7FF << 2
        )
        return header.to_bytes(7, "big") + frame


def aac(config: bytes) -> Adts:
    """From the configuration of AAC (AudioSpecificConfig).

    Raises:
        BadMedia: it cannot be read, or says what ADTS cannot.
    """
    bits = _byte(config, 0) << 8 | _byte(config, 1)
    frequency, channels = bits >> 7 & 0x0F, bits >> 3 & 0x0F
    if frequency > 12 or not 1 <= channels <= 7:
        raise BadMedia("sound of a kind that a transport stream cannot describe")
    return Adts(frequency, channels)


def _nals(unit: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(unit):
        begin = at + LENGTH_BYTES
        at = begin + int.from_bytes(unit[at:begin], "big")
        if at > len(unit):
            raise BadMedia("a picture is shorter than it says")
        if at > begin:
            yield unit[begin:at]


def _sets(record: bytes, at: int, count: int) -> tuple[list[bytes], int]:
    found = []
    for _ in range(count):
        size = _byte(record, at) << 8 | _byte(record, at + 1)
        found.append(record[at + 2 : at + 2 + size])
        at += 2 + size
    if at > len(record):
        raise BadMedia("a configuration record is shorter than it says")
    return found, at


def _joined(sets: list[bytes]) -> bytes:
    return b"".join(START + each for each in sets)


def _bare(sets: list[bytes]) -> bytes:
    return b"".join(len(each).to_bytes(LENGTH_BYTES, "big") + each for each in sets)


def _byte(data: bytes, at: int) -> int:
    if at >= len(data):
        raise BadMedia("a configuration record is shorter than it says")
    return data[at]
