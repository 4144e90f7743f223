"""What is done with a picture and its sound: passed on as they are, or coded anew. Pure.

What the receiver's end takes: H.264 and H.265, and AAC with headers of its own (ADTS); no other
forward than a packet copy could carry anything else.

Sources: ISO/IEC 13818-1 table 2-34 (stream types); ATSC A/53 part 3 section 6.7 (0x81, AC-3).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal, TypeAlias

Codec: TypeAlias = Literal["h264", "h265"]

PASSED_ON: Final[Mapping[str, Codec]] = {"video/x-h264": "h264", "video/x-h265": "h265"}
"""By GStreamer's name of the media."""

RTP_DEPAYLOADERS: Final[Mapping[tuple[str, str], tuple[str, str]]] = {
    ("video", "H264"): ("rtph264depay", "video/x-h264"),
    ("video", "H265"): ("rtph265depay", "video/x-h265"),
    ("video", "JPEG"): ("rtpjpegdepay", "image/jpeg"),
    ("video", "MP4V-ES"): ("rtpmp4vdepay", "video/mpeg"),
    ("video", "VP8"): ("rtpvp8depay", "video/x-vp8"),
    ("video", "VP9"): ("rtpvp9depay", "video/x-vp9"),
    ("audio", "MPEG4-GENERIC"): ("rtpmp4gdepay", "audio/mpeg"),
    ("audio", "MP4A-LATM"): ("rtpmp4adepay", "audio/mpeg"),
    ("audio", "PCMU"): ("rtppcmudepay", "audio/x-mulaw"),
    ("audio", "PCMA"): ("rtppcmadepay", "audio/x-alaw"),
    ("audio", "L16"): ("rtpL16depay", "audio/x-raw"),
    ("audio", "OPUS"): ("rtpopusdepay", "audio/x-opus"),
    ("audio", "MPA"): ("rtpmpadepay", "audio/mpeg-1"),
}
"""What cameras send over RTSP, by kind and encoding: what takes it out of its packets, and what
it then is."""

_H264_TYPE: Final = 0x1B
_H265_TYPE: Final = 0x24
_AAC_TYPE: Final = 0x0F
_OTHER_AUDIO: Final = frozenset((0x03, 0x04, 0x11, 0x81, 0x87))
"""MPEG-1 and 2 audio, AAC in LATM, AC-3 and E-AC-3 of ATSC. (0x06 may be subtitles as well.)"""


@dataclass(frozen=True, slots=True)
class Shape:
    """Size and rate of a picture that is to be encoded."""

    width: int
    height: int
    fps: Fraction

    def __str__(self) -> str:
        return f"{self.width}x{self.height} at {float(self.fps):g} pictures a second"


USUAL_SHAPE: Final = Shape(1280, 720, Fraction(30))
"""Where a stream does not say."""
MOST_WIDTH: Final = 1920
MOST_HEIGHT: Final = 1080
MOST_FPS: Final = Fraction(60)
SLOW_FPS: Final = Fraction(30)


def shape_for(width: int | None, height: int | None, fps: Fraction | None) -> Shape:
    """How a picture of that size is encoded: up to 1080 lines, its sides even."""
    if not width or not height:
        return USUAL_SHAPE
    down = max(1.0, width / MOST_WIDTH, height / MOST_HEIGHT)
    known = fps if fps and 1 <= fps <= MOST_FPS else SLOW_FPS
    return Shape(_even(width / down), _even(height / down), known)


def _even(side: float) -> int:
    return max(2, round(side / 2) * 2)


def is_sound_passed_on(media: str, mpeg_version: int | None, stream_format: str | None) -> bool:
    """Whether sound is AAC in a form that can be put into a transport stream."""
    if media != "audio/mpeg" or mpeg_version not in (2, 4):
        return False
    return stream_format in (None, "raw", "adts")


def is_stream_passed_on(streams: Iterable[tuple[int, int]]) -> bool:
    """Whether a transport stream can go on as it is.

    Args:
        streams: stream type and PID of each.
    """
    types = {type for type, _ in streams}
    has_picture = bool(types & {_H264_TYPE, _H265_TYPE})
    return has_picture and (_AAC_TYPE in types or not types & _OTHER_AUDIO)


@dataclass(frozen=True, slots=True)
class DeviceMode:
    """One way in which a camera gives pictures.

    Attributes:
        media: GStreamer's name: ``video/x-raw``, ``image/jpeg``, ``video/x-h264`` ...
        format: of raw pictures, such as ``YUY2``.
    """

    media: str
    width: int
    height: int
    fps: Fraction
    format: str = ""

    @property
    def caps(self) -> str:
        format = f",format={self.format}" if self.format else ""
        return (
            f"{self.media}{format},width={self.width},height={self.height},"
            f"framerate={self.fps.numerator}/{self.fps.denominator}"
        )


DEVICE_FPS: Final = Fraction(30)
_MEDIA_ORDER: Final = {
    "video/x-h264": 0,
    "video/x-h265": 1,
    "video/x-raw": 2,
    "image/jpeg": 3,
}
"""Of one size and rate: what need not be encoded; then what need not be decoded."""
_WATCHABLE_FPS: Final = 20


def best_mode(modes: Iterable[DeviceMode]) -> DeviceMode | None:
    """The largest picture up to 1080p that moves (most raw 1080p over USB 2 comes at 5 a second),
    at up to 30 a second; None where there is none."""
    fit = [
        mode
        for mode in modes
        if mode.media in _MEDIA_ORDER
        and mode.width <= MOST_WIDTH
        and mode.height <= MOST_HEIGHT
        and mode.fps <= DEVICE_FPS
    ]

    def rank(mode: DeviceMode) -> tuple[bool, int, Fraction, int]:
        moves = mode.fps >= _WATCHABLE_FPS
        return (moves, mode.width * mode.height, mode.fps, -_MEDIA_ORDER[mode.media])

    return max(fit, key=rank, default=None)
