"""A slate: what is shown while the live picture is missing. Pure.

A slate is a short run of coded pictures in the form of the live video, so that a forward can
go over to it and back without a new output. It is made by a helper process
(:mod:`strata.worker.slates.maker`), which is asked with one line of JSON and answers with a
*packed* slate: a header in one line of JSON, then the pictures one after the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec

from strata.worker.formats import VideoFormat

VERSION: Final = 1
"""Of the packed form and of how slates look. Another number leaves the cached ones behind."""

USUAL_FPS: Final = Fraction(25)
"""Where the stream tells none."""
USUAL_PROFILE: Final = "main"
"""Where the stream tells none: of H.264 and H.265 alike, what every decoder takes."""
MAX_FPS: Final = 300
MAX_SIDE: Final = 8192
"""Pixels: what the highest levels of H.264 and H.265 allow, nearly."""

MAX_FILE_BYTES: Final = 256 * 1024 * 1024
"""Of an operator's file."""
MAX_HEADER_BYTES: Final = 1024 * 1024
MAX_TEXT: Final = 200
"""Characters of a stream's name that are shown; more would be too small to read."""

_MEDIA: Final = {"h264": "video/x-h264", "h265": "video/x-h265"}
_LENGTH_BYTES: Final = 4
_Codec: TypeAlias = Literal["h264", "h265"]
_Side: TypeAlias = Annotated[int, msgspec.Meta(ge=16, le=MAX_SIDE)]
_Profile: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=40)]


@dataclass(frozen=True, slots=True)
class Slate:
    """Coded pictures that can be shown over and over.

    Attributes:
        format: of the pictures; nothing in it is None.
        frames: access units as h264parse and h265parse give them (length-prefixed, alignment
            ``au``) without parameter sets, which are in ``format.config``, each with whether
            it is a key frame. The first is an IDR picture. There are no B-frames, so the
            order of decoding is that of display.
    """

    format: VideoFormat
    frames: tuple[tuple[bytes, bool], ...]


@dataclass(frozen=True)
class Request:
    """What a slate is to be.

    Attributes:
        text: shown large on a calm background, where there is no file.
        file: absolute path of a picture or a movie of the operator's.
    """

    codec: _Codec
    profile: _Profile
    width: _Side
    height: _Side
    fps: Fraction
    text: Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
    file: str | None

    def __str__(self) -> str:
        fps = f"{float(self.fps):.2f}".rstrip("0").rstrip(".")
        return f"{self.codec} {self.profile}, {self.width}x{self.height} at {fps} pictures a second"


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    codec: _Codec
    caps: str
    config: str
    width: _Side
    height: _Side
    fps: Fraction
    profile: _Profile
    frames: list[tuple[Annotated[int, msgspec.Meta(ge=1)], bool]]


def request_for(format: VideoFormat, text: str, file: str | None) -> Request:
    """The request for a slate that can stand in for this video.

    Raises:
        ValueError: no slate can, or the video is not known well enough.
    """
    if format.codec not in _MEDIA:
        raise ValueError(f"there are slates in h264 and h265, and the video is {format.codec}")
    if format.width is None or format.height is None:
        raise ValueError("the size of the video is not known")
    # A command line can hold what is no Unicode; JSON and fonts cannot.
    clean = text.encode("utf-8", "replace").decode("utf-8")[:MAX_TEXT]
    request = Request(
        codec="h264" if format.codec == "h264" else "h265",
        profile=format.profile or USUAL_PROFILE,
        width=format.width,
        height=format.height,
        fps=format.fps or USUAL_FPS,
        text=clean if file is None else "",
        file=file,
    )
    return read_request(write_request(request))


def write_request(request: Request) -> bytes:
    """One line of JSON."""
    return msgspec.json.encode(request, enc_hook=_encode) + b"\n"


def read_request(line: bytes) -> Request:
    """From :func:`write_request`.

    Raises:
        ValueError: it is no such line, or asks for what no slate can be.
    """
    request: Request = _decoded(line, Request)
    return request


def key_of(request: Request, stamp: tuple[int, int] | None = None) -> str:
    """Names the slate of a request in a cache.

    Args:
        stamp: time of the last change (ns) and size of the request's file: another file under
            the same name is another slate.
    """
    told = b"%d %r " % (VERSION, stamp) + write_request(request)
    return hashlib.sha256(told).hexdigest()[:32]


def misfit(slate: Slate, request: Request) -> str | None:
    """Why the slate is not what was asked for; None if it is."""
    made, wanted = slate.format, request
    pairs = (
        ("codec", made.codec, wanted.codec),
        ("profile", made.profile, wanted.profile),
        ("size", (made.width, made.height), (wanted.width, wanted.height)),
        ("frame rate", made.fps, wanted.fps),
    )
    for name, found, asked in pairs:
        if found != asked:
            return f"its {name} became {found} where {asked} was asked for"
    return None


def pack(slate: Slate) -> bytes:
    """Raises ValueError where the slate is not whole, with a reason."""
    made = slate.format
    header = {
        "version": VERSION,
        "codec": made.codec,
        "caps": made.caps,
        "config": made.config.hex(),
        "width": made.width,
        "height": made.height,
        "fps": made.fps,
        "profile": made.profile,
        "frames": [(len(data), key) for data, key in slate.frames],
    }
    line = msgspec.json.encode(header, enc_hook=_encode)
    _header(line)
    _check(made.codec, slate.frames)
    return b"".join((line, b"\n", *(data for data, _ in slate.frames)))


def unpack(data: bytes) -> Slate:
    """From :func:`pack`.

    Raises:
        ValueError: it is no packed slate, or of another version; says why.
    """
    end = data.find(b"\n", 0, MAX_HEADER_BYTES)
    if end < 0:
        raise ValueError("a packed slate has no header")
    header = _header(data[:end])
    ends = list(accumulate((size for size, _ in header.frames), initial=end + 1))
    if ends[-1] != len(data):
        raise ValueError("the pictures of a packed slate are more or fewer than it says")
    keys = (key for _, key in header.frames)
    frames = tuple((data[at:to], key) for (at, to), key in zip(pairwise(ends), keys, strict=True))
    _check(header.codec, frames)
    format = VideoFormat(
        codec=header.codec,
        config=bytes.fromhex(header.config),
        caps=header.caps,
        width=header.width,
        height=header.height,
        fps=header.fps,
        profile=header.profile,
    )
    return Slate(format, frames)


def _header(line: bytes) -> _Header:
    header: _Header = _decoded(line, _Header)
    if header.version != VERSION:
        raise ValueError(f"a packed slate is of version {header.version}, not {VERSION}")
    media = header.caps.partition(",")[0]
    if media != _MEDIA[header.codec]:
        raise ValueError(f"a packed slate of {header.codec} calls itself {media[:40]!r}")
    try:
        bytes.fromhex(header.config)
    except ValueError:
        raise ValueError("the configuration of a packed slate is not hexadecimal") from None
    return header


def _check(codec: str, frames: tuple[tuple[bytes, bool], ...]) -> None:
    """That each picture is whole, and that decoding can start with the first."""
    for unit, _ in frames:
        for _ in _nals(unit):
            pass
    if not frames or not frames[0][1] or not begins_anew(codec, frames[0][0]):
        raise ValueError("a packed slate does not begin with an IDR picture")


def pictures_only(codec: str, unit: bytes) -> bytes:
    """The access unit without parameter sets, delimiters and messages (SEI).

    h264parse leaves them where they are, also in the form that carries them apart; said twice
    they only cost bytes, and x264 tells its whole command line in a message.

    Raises:
        ValueError: the lengths in the unit do not add up.
    """
    kept = [nal for nal in _nals(unit) if _kind(codec, nal) in _PICTURES[codec]]
    return b"".join(len(nal).to_bytes(_LENGTH_BYTES, "big") + nal for nal in kept)


def begins_anew(codec: str, unit: bytes) -> bool:
    """Whether the access unit is an IDR picture: nothing after it refers to before it."""
    return any(_kind(codec, nal) in _IDR[codec] for nal in _nals(unit))


_PICTURES: Final = {"h264": range(1, 6), "h265": range(32)}
"""Types of NAL unit that hold pictures: ITU-T H.264 table 7-1, H.265 table 7-1."""
_IDR: Final = {"h264": range(5, 6), "h265": range(19, 21)}


def _kind(codec: str, nal: bytes) -> int:
    return nal[0] & 0x1F if codec == "h264" else nal[0] >> 1 & 0x3F


def _nals(unit: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(unit):
        begin = at + _LENGTH_BYTES
        at = begin + int.from_bytes(unit[at:begin], "big")
        if at == begin or at > len(unit):
            raise ValueError("the lengths in a picture of a slate do not add up")
        yield unit[begin:at]


def _decoded(line: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(line, type=kind, dec_hook=_decode)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"a line about a slate cannot be read: {error}") from None


def _encode(value: Any) -> Any:
    """``Fraction`` as [numerator, denominator]."""
    if isinstance(value, Fraction):
        return (value.numerator, value.denominator)
    raise NotImplementedError


def _decode(kind: type, value: Any) -> Any:
    numerator, denominator = msgspec.convert(value, tuple[int, int])
    if not 0 < numerator <= denominator * MAX_FPS:
        raise msgspec.ValidationError(f"a frame rate of {numerator}/{denominator}")
    return Fraction(numerator, denominator)
