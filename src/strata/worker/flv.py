"""Access units as FLV tags, which are what RTMP carries. Pure.

There is no muxer in it: the units come in the order in which they go out
(:mod:`strata.worker.line`), so no track is ever waited for.

Sources: Adobe Flash Video File Format 10.1 annex E.4 (tags, AVC and AAC packets, script data),
Enhanced RTMP v1 (video with a four-character code), AMF 0 (script data).
"""

from __future__ import annotations

import struct
from typing import Final

from strata.worker.formats import AudioFormat, Format, Program, VideoFormat
from strata.worker.units import AccessUnit

AUDIO, VIDEO, SCRIPT = 8, 9, 18

_AVC_KEY, _AVC_OTHER = 0x17, 0x27
_AVC_CONFIG, _AVC_UNIT = b"\0", b"\1"
_AAC: Final = 0xAF
"""AAC is always told as 44 kHz, 16 bits, stereo; its configuration says what it is."""
_AAC_CONFIG, _AAC_UNIT = b"\0", b"\1"
_EX_HEADER: Final = 0x80
_EX_KEY, _EX_OTHER = 0x10, 0x20
_EX_CONFIG, _EX_UNIT, _EX_UNIT_AT_ONCE = 0, 1, 3
_HEVC: Final = b"hvc1"
_CODEC_IDS: Final = {"h264": 7.0, "h265": float(int.from_bytes(_HEVC, "big")), "aac": 10.0}

MS_NS: Final = 1_000_000
TIME_MASK: Final = 0xFFFF_FFFF
"""Time stamps are milliseconds in 32 bits and begin anew after 49.7 days, which RTMP allows
for (RTMP 1.0 section 3)."""


class FlvTags:
    """Tags of one connection, whose time begins at 0 with its first unit."""

    def __init__(self) -> None:
        self._zero_ms: int | None = None
        self._told: dict[str, Format] = {}

    def begin(self, program: Program) -> bytes:
        """What a player is told before all else: one script tag."""
        return _tag(SCRIPT, 0, b"\x02" + _amf_name("onMetaData") + _metadata(program))

    def unit(self, unit: AccessUnit) -> list[bytes]:
        """The tag of a unit, after that of its configuration where that is new; none for one
        that lies before the beginning."""
        dts_ms = unit.dts_ns // MS_NS
        if self._zero_ms is None:
            self._zero_ms = dts_ms
        at_ms = dts_ms - self._zero_ms
        if at_ms < 0:
            return []
        tags = []
        if not unit.format.is_same(self._told.get(unit.track)):
            self._told[unit.track] = unit.format
            tags.append(_config(unit.format, at_ms))
        if unit.track == "audio":
            tags.append(_tag(AUDIO, at_ms, bytes((_AAC,)) + _AAC_UNIT, unit.data))
        else:
            ahead_ms = unit.pts_ns // MS_NS - dts_ms
            tags.append(_tag(VIDEO, at_ms, _picture(unit, ahead_ms), unit.data))
        return tags


def _picture(unit: AccessUnit, ahead_ms: int) -> bytes:
    ahead = (ahead_ms & 0xFFFFFF).to_bytes(3, "big")
    if unit.format.codec == "h264":
        return bytes((_AVC_KEY if unit.key else _AVC_OTHER,)) + _AVC_UNIT + ahead
    kind = _EX_KEY if unit.key else _EX_OTHER
    if ahead_ms == 0:
        return bytes((_EX_HEADER | kind | _EX_UNIT_AT_ONCE,)) + _HEVC
    return bytes((_EX_HEADER | kind | _EX_UNIT,)) + _HEVC + ahead


def _config(format: Format, at_ms: int) -> bytes:
    """The sequence header of a track."""
    if format.track == "audio":
        return _tag(AUDIO, at_ms, bytes((_AAC,)) + _AAC_CONFIG, format.config)
    if format.codec == "h264":
        return _tag(VIDEO, at_ms, bytes((_AVC_KEY,)) + _AVC_CONFIG + b"\0\0\0", format.config)
    head = bytes((_EX_HEADER | _EX_KEY | _EX_CONFIG,)) + _HEVC
    return _tag(VIDEO, at_ms, head, format.config)


def _tag(kind: int, at_ms: int, head: bytes, data: bytes = b"") -> bytes:
    size = len(head) + len(data)
    at_ms &= TIME_MASK
    return b"".join(
        (
            struct.pack(">I", kind << 24 | size),
            struct.pack(">I", (at_ms & 0xFFFFFF) << 8 | at_ms >> 24),
            b"\0\0\0",
            head,
            data,
            struct.pack(">I", size + 11),
        )
    )


def _metadata(program: Program) -> bytes:
    """An ECMA array of AMF 0."""
    found = {**_video_data(program.video), **_audio_data(program.audio)}
    items = b"".join(
        _amf_name(name) + b"\0" + struct.pack(">d", value) for name, value in found.items()
    )
    encoder = _amf_name("encoder") + b"\x02" + _amf_name("Strata")
    return b"\x08" + struct.pack(">I", len(found) + 1) + items + encoder + b"\0\0\x09"


def _video_data(format: VideoFormat | None) -> dict[str, float]:
    if format is None:
        return {}
    found = {"videocodecid": _CODEC_IDS[format.codec]}
    if format.width and format.height:
        found |= {"width": float(format.width), "height": float(format.height)}
    if format.fps:
        found["framerate"] = float(format.fps)
    return found


def _audio_data(format: AudioFormat | None) -> dict[str, float]:
    if format is None:
        return {}
    found = {"audiocodecid": _CODEC_IDS[format.codec], "audiosamplesize": 16.0}
    if format.rate:
        found["audiosamplerate"] = float(format.rate)
    if format.channels:
        found["audiochannels"] = float(format.channels)
    return found


def _amf_name(text: str) -> bytes:
    return struct.pack(">H", len(text)) + text.encode()
