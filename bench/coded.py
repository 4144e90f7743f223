"""Coded pictures: those of the clip that is sent, and those of a recording.

Nothing is decoded here. Forwards copy, so a picture that came whole has the very slices that
were sent, whatever container it is in: their hash tells one picture from another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PACKET: Final = 188
_CLOCK: Final = 90_000
_START_CODE: Final = b"\x00\x00\x01"
_SLICES: Final = frozenset((1, 5))
_SPS: Final = 7

_FLV_HEADER: Final = 13
_TAG_HEADER: Final = 11
_VIDEO: Final = 9


@dataclass(frozen=True, slots=True)
class Sent:
    """A picture of the clip; times in s on the clip's own clock.

    Attributes:
        end: bytes of the clip up to the end of this picture's last packet.
    """

    key: bytes
    pts: float
    dts: float
    end: int


@dataclass(frozen=True, slots=True)
class Came:
    """A picture of a recording; times in s as the recording has them.

    Attributes:
        end: bytes of the file up to the end of this picture.
        alien: under parameters that are not the clip's, as a slate is.
    """

    key: bytes
    pts: float
    dts: float
    end: int
    alien: bool


def clip_pictures(clip: bytes) -> tuple[list[Sent], set[bytes]]:
    """The pictures of a transport stream with one video track, and its parameter sets (SPS)."""
    found: list[Sent] = []
    parameters: set[bytes] = set()
    video: int | None = None
    pes, end = bytearray(), 0
    for at in range(0, len(clip) - _PACKET + 1, _PACKET):
        packet = clip[at : at + _PACKET]
        pid = (packet[1] & 0x1F) << 8 | packet[2]
        begins = bool(packet[1] & 0x40)
        payload = packet[4 + (1 + packet[4] if packet[3] & 0x20 else 0) :]
        if not packet[3] & 0x10:
            continue
        if video is None and begins and payload[:3] == _START_CODE and payload[3] & 0xF0 == 0xE0:
            video = pid
        if pid != video:
            continue
        if begins and pes:
            found.append(_sent(bytes(pes), end, parameters))
            pes.clear()
        pes += payload
        end = at + _PACKET
    if pes:
        found.append(_sent(bytes(pes), end, parameters))
    return found, parameters


def _sent(pes: bytes, end: int, parameters: set[bytes]) -> Sent:
    pts = dts = _stamp(pes[9:14])
    if pes[7] & 0x40:
        dts = _stamp(pes[14:19])
    nals = list(_annex_b(pes[9 + pes[8] :]))
    parameters.update(nal for nal in nals if nal and nal[0] & 0x1F == _SPS)
    return Sent(_key(nals), pts, dts, end)


def _stamp(field: bytes) -> float:
    high, middle, low = field[0] >> 1 & 7, field[1] << 7 | field[2] >> 1, field[3] << 7
    return (high << 30 | middle << 15 | low | field[4] >> 1) / _CLOCK


def _annex_b(data: bytes) -> Iterator[bytes]:
    for part in data.split(_START_CODE)[1:]:
        yield part.rstrip(b"\x00")


def _key(nals: Iterable[bytes]) -> bytes:
    digest = hashlib.blake2b(digest_size=12)
    for nal in nals:
        if nal and nal[0] & 0x1F in _SLICES:
            digest.update(nal)
    return digest.digest()


def recorded_pictures(path: Path, parameters: set[bytes]) -> list[Came]:
    """The pictures of an FLV file as nginx writes it, in the order of the file."""
    data = path.read_bytes()
    found: list[Came] = []
    alien = False
    at = _FLV_HEADER
    while at + _TAG_HEADER <= len(data):
        size = int.from_bytes(data[at + 1 : at + 4], "big")
        dts_ms = data[at + 7] << 24 | int.from_bytes(data[at + 4 : at + 7], "big")
        body = data[at + _TAG_HEADER : at + _TAG_HEADER + size]
        kind = data[at] & 0x1F
        at += _TAG_HEADER + size + 4
        if kind != _VIDEO or len(body) < 5 or at > len(data):
            continue
        if body[1] == 0:
            alien = not parameters & set(_parameter_sets(body[5:]))
        elif body[1] == 1:
            shift_ms = int.from_bytes(body[2:5], "big", signed=True)
            nals = (nal.rstrip(b"\x00") for nal in _avcc(body[5:]))
            pts_s, dts_s = (dts_ms + shift_ms) / 1000, dts_ms / 1000
            found.append(Came(_key(nals), pts_s, dts_s, at, alien))
    return found


def _parameter_sets(record: bytes) -> Iterator[bytes]:
    """The SPS of an AVCDecoderConfigurationRecord."""
    at = 6
    for _ in range(record[5] & 0x1F):
        size = int.from_bytes(record[at : at + 2], "big")
        yield record[at + 2 : at + 2 + size].rstrip(b"\x00")
        at += 2 + size


def _avcc(data: bytes) -> Iterator[bytes]:
    at = 0
    while at + 4 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 4 + size]
        at += 4 + size
