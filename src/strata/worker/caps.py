"""Formats as GStreamer describes them, and back."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Final

from strata.media.gst import Gst
from strata.worker.formats import AudioFormat, Format, VideoFormat

CODECS: Final = {
    "video/x-h264": "h264",
    "video/x-h265": "h265",
    "audio/mpeg": "aac",
}

FPS_MAX: Final = 300
"""What is more is not a rate but the unit of the stamps: of a stream without a constant rate."""


def format_of(caps: Gst.Caps) -> VideoFormat | AudioFormat:
    """What a parser says of its track."""
    structure = caps.get_structure(0)
    name = str(structure.get_name())
    codec = CODECS.get(name, name)
    if name == "audio/mpeg" and _int(structure, "mpegversion") == 1:
        codec = "mp2"
    config = structure.get_value("codec_data")
    record = bytes(config.extract_dup(0, config.get_size())) if config is not None else b""
    text = str(caps.to_string())
    if name.startswith("audio/"):
        rate, channels = _int(structure, "rate"), _int(structure, "channels")
        return AudioFormat(codec, record, text, rate, channels)
    known, over, under = structure.get_fraction("framerate")
    return VideoFormat(
        codec,
        record,
        text,
        _int(structure, "width"),
        _int(structure, "height"),
        Fraction(over, under) if known and 0 < over <= FPS_MAX * under else None,
        structure.get_string("profile"),
    )


def caps_of(format: Format) -> Any:
    """For an element that takes such units."""
    return Gst.Caps.from_string(format.caps)


def _int(structure: Gst.Structure, field: str) -> int | None:
    known, value = structure.get_int(field)
    return int(value) if known else None
