"""What a track is made of. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, TypeAlias

Track: TypeAlias = Literal["video", "audio"]


@dataclass(frozen=True, slots=True)
class Format:
    """How the units of one track are coded. Two that are equal need no new sequence header.

    Attributes:
        codec: short name, such as ``h264``, ``h265`` or ``aac``.
        config: configuration record: ``avcC`` or ``hvcC`` (ISO/IEC 14496-15), for AAC the
            AudioSpecificConfig (ISO/IEC 14496-3 section 1.6.2); empty where none is known.
        caps: the same and more in GStreamer's words, for what is built of its elements.
    """

    codec: str
    config: bytes
    caps: str


@dataclass(frozen=True, slots=True)
class VideoFormat(Format):
    """Pictures. What the stream does not tell is None.

    Attributes:
        fps: pictures a second.
        profile: in GStreamer's words, such as ``high`` or ``constrained-baseline``.
    """

    width: int | None = None
    height: int | None = None
    fps: Fraction | None = None
    profile: str | None = None


@dataclass(frozen=True, slots=True)
class AudioFormat(Format):
    """Sound; ``rate`` in samples a second."""

    rate: int | None = None
    channels: int | None = None
