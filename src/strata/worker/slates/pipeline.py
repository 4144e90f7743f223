"""The pipelines that make a slate, in the helper process (:mod:`strata.worker.slates.maker`).

text     videotestsrc ! textoverlay ! imagefreeze ! encoder ! parser ! appsink
picture  filesrc ! parser ! decoder ! compositor (on the calm background) ! imagefreeze ...
movie    filesrc ! decodebin ! videorate ! videoconvertscale (with borders) ! encoder ...
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from typing import Any, Final

from strata.errors import SlateUnavailable
from strata.media import gst
from strata.media.gst import Gst, require
from strata.worker.slates.encoder import recipe_for
from strata.worker.slates.job import Job
from strata.worker.slates.slate import MAX_FILE_BYTES, Request, Slate, misfit
from strata.worker.slates.text import markup

BACKGROUND: Final = 0xFF18202B
"""Dark and a little blue: rests the eye, and is clearly not a picture that froze or broke."""

_ADVICE: Final = "Give a PNG, a JPEG, or an MP4 of H.264 with 8 bits and 4:2:0"

STILLS: Final = {
    b"\x89PNG\r\n\x1a\n": ("pngparse", "pngdec"),
    b"\xff\xd8\xff": ("jpegparse", "jpegdec"),
}
"""By how a file begins: W3C PNG section 5.2, ITU-T T.81 annex B."""

_TEXT: Final = ("videotestsrc", "textoverlay", "imagefreeze")
_PICTURE: Final = (
    *("filesrc", "pngparse", "pngdec", "jpegparse", "jpegdec", "videoconvert", "videoflip"),
    *("videotestsrc", "compositor", "videoconvertscale", "imagefreeze"),
)
_MOVIE: Final = (
    *("filesrc", "decodebin", "typefind", "multiqueue", "qtdemux", "matroskademux", "tsdemux"),
    *("openh264dec", "libde265dec", "vp8dec", "vp9dec"),
    *("videorate", "videoconvert", "videoflip", "videoconvertscale"),
)
_ALWAYS: Final = ("bin", "pipeline", "capsfilter", "appsink", "h264parse", "h265parse")


def make(request: Request) -> Slate:
    """Raises SlateUnavailable: it cannot be made; says why."""
    try:
        recipe = recipe_for(request)
        needed, sources = (_TEXT, _text) if request.file is None else _from_file(request.file)
        required = {*_ALWAYS, *needed, recipe.encoder}
        require(required)
        gst.forget_all_but(required)
        job = Job(request, recipe, movie=needed is _MOVIE)
        sources(job)
        made = job.run()
        if (why := misfit(made, request)) is not None:
            raise ValueError(why)
    except ValueError as error:
        source = "on this machine" if request.file is None else f"from {request.file}"
        advice = "" if request.file is None else f" {_ADVICE}"
        raise SlateUnavailable(
            f"a slate in {request} cannot be made {source}: {error}; "
            f"there will be nothing to show while media is missing.{advice}"
        ) from None
    return made


def _from_file(path: str) -> tuple[Sequence[str], Callable[[Job], None]]:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE_BYTES:
                raise ValueError(f"it is no file, or larger than {MAX_FILE_BYTES >> 20} MB")
            start = file.read(16)
    except OSError as error:
        raise ValueError(f"it cannot be read ({error.strerror})") from None
    for magic, elements in STILLS.items():
        if start.startswith(magic):
            return _PICTURE, partial(_picture, path, *elements)
    return _MOVIE, partial(_movie, path)


def _text(job: Job) -> None:
    request = job.request
    text = gst.make(
        "textoverlay",
        text=markup(request.text, request.width, request.height),
        auto_resize=False,
        draw_shadow=False,
        draw_outline=False,
    )
    for name, value in (("valignment", "center"), ("halignment", "center")):
        Gst.util_set_object_arg(text, name, value)
    Gst.util_set_object_arg(text, "line-alignment", "center")
    Gst.util_set_object_arg(text, "wrap-mode", "wordchar")
    job.end_with(*_background(job, job.recipe.raw), text, *_frozen(job))


def _picture(path: str, parser: str, decoder: str, job: Job) -> None:
    request = job.request
    parse = gst.make(parser)
    job.guard(parse.get_static_pad("src"))
    once = _frozen(job, pictures=1)
    mixer: Any = gst.make("compositor")
    Gst.util_set_object_arg(mixer, "background", "black")
    # With alpha, or what is see-through in a logo would show whatever lies under it.
    mixed = _raw(f"A420,width={request.width},height={request.height}", request.fps)
    job.end_with(mixer, mixed, gst.make("videoconvertscale"), _raw_of(job), *_frozen(job))
    job.chain(*_background(job, "A420"), mixer)
    job.chain(
        gst.make("filesrc", location=path),
        *(parse, gst.make(decoder), gst.make("videoconvert"), _upright(), *once),
    )
    pad: Any = mixer.request_pad_simple("sink_%u")
    pad.set_property("width", request.width)
    pad.set_property("height", request.height)
    Gst.util_set_object_arg(pad, "sizing-policy", "keep-aspect-ratio")
    once[-1].get_static_pad("src").link(pad)


def _movie(path: str, job: Job) -> None:
    rate = gst.make("videorate", skip_to_first=True)
    scale = gst.make("videoconvertscale", add_borders=True)
    job.end_with(rate, gst.make("videoconvert"), _upright(), scale, _raw_of(job))
    decode: Any = gst.make(
        "decodebin", caps=Gst.Caps.from_string("video/x-raw"), expose_all_streams=False
    )

    def on_element(_bin: Any, _sub: Any, added: Any) -> None:
        if "Decoder" in (added.get_metadata("klass") or ""):
            job.guard(added.get_static_pad("sink"))

    def on_pad(_decode: Any, pad: Any) -> None:
        sink: Any = rate.get_static_pad("sink")
        if not sink.is_linked():
            pad.link(sink)

    decode.connect("deep-element-added", on_element)
    decode.connect("pad-added", on_pad)
    job.chain(gst.make("filesrc", location=path), decode)


def _background(job: Job, raw: str) -> Iterator[Any]:
    source = gst.make("videotestsrc", num_buffers=1, foreground_color=BACKGROUND)
    Gst.util_set_object_arg(source, "pattern", "solid-color")
    yield source
    yield _raw(f"{raw},width={job.request.width},height={job.request.height}", job.request.fps)


def _frozen(job: Job, pictures: int = 0) -> tuple[Any, Any]:
    """One picture, over and over."""
    freeze = gst.make("imagefreeze", num_buffers=pictures or job.group)
    fps = job.request.fps
    return freeze, _caps(f"video/x-raw,framerate={fps.numerator}/{fps.denominator}")


def _upright() -> Any:
    """As the camera was held: JPEG and MP4 can say how a picture is to be turned."""
    flip = gst.make("videoflip")
    Gst.util_set_object_arg(flip, "video-direction", "auto")
    return flip


def _raw_of(job: Job) -> Any:
    request = job.request
    return _raw(f"{job.recipe.raw},width={request.width},height={request.height}", request.fps)


def _raw(format: str, fps: Fraction) -> Any:
    rate = f"framerate={fps.numerator}/{fps.denominator}"
    return _caps(f"video/x-raw,format={format},{rate},pixel-aspect-ratio=1/1")


def _caps(text: str) -> Any:
    return gst.make("capsfilter", caps=Gst.Caps.from_string(text))
