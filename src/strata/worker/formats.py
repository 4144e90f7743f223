"""What a track is made of. Pure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from fractions import Fraction
from typing import ClassVar, Final, Literal, TypeAlias

Track: TypeAlias = Literal["video", "audio"]

FRAME_SAMPLES: Final = 1024
"""Of one frame of AAC (ISO/IEC 14496-3 section 4.5.1.1); the form with 960 is not in use."""

FREQUENCIES: Final = (
    *(96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000),
    *(22_050, 16_000, 12_000, 11_025, 8_000, 7_350),
)
"""By the index in an AudioSpecificConfig (ISO/IEC 14496-3 table 1.18)."""

USUAL_FPS: Final = 25
USUAL_RATE: Final = 48_000


@dataclass(frozen=True, slots=True)
class Format(ABC):
    """How the units of one track are coded. Two that are equal need no new sequence header.

    Attributes:
        codec: short name, such as ``h264``, ``h265`` or ``aac``.
        config: configuration record: ``avcC`` or ``hvcC`` (ISO/IEC 14496-15), for AAC the
            AudioSpecificConfig (ISO/IEC 14496-3 section 1.6.2); empty where none is known.
        caps: the same and more in GStreamer's words, for what is built of its elements.
        unit_ns: how long one unit lasts, as far as the format tells.
    """

    track: ClassVar[Track]

    codec: str
    config: bytes
    caps: str = field(compare=False)
    unit_ns: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        # Asked for with every unit, so it is reckoned once.
        object.__setattr__(self, "unit_ns", self._reckon())

    @abstractmethod
    def _reckon(self) -> int: ...

    def is_same(self, other: Format | None) -> bool:
        """Equal; quick where it is the very same, as it mostly is."""
        return self is other or self == other


@dataclass(frozen=True, slots=True)
class VideoFormat(Format):
    """Pictures. What the stream does not tell is None.

    Attributes:
        fps: pictures a second.
        profile: in GStreamer's words, such as ``high`` or ``constrained-baseline``.
    """

    track: ClassVar[Track] = "video"

    width: int | None = None
    height: int | None = None
    fps: Fraction | None = field(default=None, compare=False)
    profile: str | None = None

    def _reckon(self) -> int:
        return int(1_000_000_000 / (self.fps or USUAL_FPS))


@dataclass(frozen=True, slots=True)
class AudioFormat(Format):
    """Sound; ``rate`` in samples a second."""

    track: ClassVar[Track] = "audio"

    rate: int | None = None
    channels: int | None = None

    @property
    def frequency(self) -> int:
        """Samples a second of the coded sound; with SBR a decoder puts out twice as many."""
        if len(self.config) >= 2:
            index = (self.config[0] & 0x07) << 1 | self.config[1] >> 7
            if index < len(FREQUENCIES):
                return FREQUENCIES[index]
        return self.rate or USUAL_RATE

    def _reckon(self) -> int:
        return FRAME_SAMPLES * 1_000_000_000 // self.frequency


@dataclass(frozen=True, slots=True)
class Program:
    """The tracks of a stream; one that is absent is None."""

    video: VideoFormat | None
    audio: AudioFormat | None

    def tracks(self) -> list[VideoFormat | AudioFormat]:
        return [each for each in (self.video, self.audio) if each is not None]

    @property
    def codecs(self) -> tuple[str | None, str | None]:
        """What a destination has to know how to carry."""
        video, audio = self.video, self.audio
        return (video.codec if video else None, audio.codec if audio else None)
