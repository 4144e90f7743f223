"""How a slate is encoded so that it has the profile of the live video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from strata.media.gst import Gst, make
from strata.worker.formats import VideoFormat
from strata.worker.slates.slate import Request


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a profile needs.

    Attributes:
        raw: format of the pictures, in GStreamer's words.
        form: caps of the coded pictures.
        made_as: profile that the encoder is asked for; ``profile`` is what is then claimed.
        flags: third byte of the sequence parameter set, where the two differ.
    """

    encoder: str
    parser: str
    raw: str
    form: str
    profile: str
    made_as: str
    flags: int | None = None


_RAW: Final = {
    "h264": {
        "constrained-baseline": "I420",
        "main": "I420",
        "high": "I420",
        "high-10": "I420_10LE",
        "high-4:2:2": "I422_10LE",
        "high-4:4:4": "Y444",
    },
    "h265": {
        "main": "I420",
        "main-10": "I420_10LE",
        "main-422-10": "I422_10LE",
        "main-444": "Y444",
    },
}
"""Format by profile. Profiles of 4:2:2 allow 8 bits too; cameras that use them give 10."""

_KIN: Final = {
    "baseline": ("constrained-baseline", 0x80),
    "progressive-high": ("high", 0x08),
    "constrained-high": ("high", 0x0C),
}
"""Profiles of H.264 that x264 does not write, but whose rules its pictures keep: they differ
in flags alone (ITU-T H.264 sections A.2.1, A.2.4.1 and A.2.4.2). Some phones and cards write
them."""

_MOST_PIXELS: Final = {"h264": 8192 * 4320, "h265": 5_000_000}
"""x265 takes twice the memory of x264, and more for 2160p than a helper may have."""

_BITS_PER_PIXEL: Final = 0.06
_LEAST_KBPS: Final = 500
"""The most that a movie takes: 1.4 Mbps for 720p25, 3.7 for 1080p30. Links are narrow."""


def recipe_for(request: Request) -> Recipe:
    """Raises ValueError where no encoder makes this profile, or one so large."""
    most = _MOST_PIXELS[request.codec]
    if request.width * request.height > most:
        raise ValueError(
            f"the encoder of {request.codec} would take more memory than it may have for more "
            f"than {most // 1_000_000} million pixels; let the sender use a smaller picture"
        )
    made_as, flags = request.profile, None
    if request.codec == "h264" and request.profile in _KIN:
        made_as, flags = _KIN[request.profile]
    raw = _RAW[request.codec].get(made_as)
    if raw is None:
        known = sorted({*_RAW[request.codec], *(_KIN if request.codec == "h264" else ())})
        raise ValueError(
            f"its encoder knows no profile {request.profile}; let the sender use one of "
            f"{', '.join(known)}"
        )
    short = "264" if request.codec == "h264" else "265"
    stream = "avc" if request.codec == "h264" else "hvc1"
    form = f"video/x-h{short},stream-format={stream},alignment=au"
    return Recipe(f"x{short}enc", f"h{short}parse", raw, form, request.profile, made_as, flags)


def encoder(request: Request, recipe: Recipe, group: int, *, movie: bool) -> Sequence[Any]:
    """The encoder and the profile asked of it: no B-frames, one thread, closed groups.

    Args:
        group: pictures from one key frame to the next.
        movie: for moving pictures, of which there are many; otherwise for a still one.
    """
    kbps = max(
        _LEAST_KBPS,
        round(request.width * request.height * request.fps * _BITS_PER_PIXEL / 1000),
    )
    preset, quality = ("superfast", 24) if movie else ("veryfast", 20)
    if request.codec == "h264":
        chosen = make(
            "x264enc",
            key_int_max=group,
            bframes=0,
            threads=1,
            sliced_threads=False,
            aud=False,
            quantizer=quality,
            bitrate=kbps,
            vbv_buf_capacity=2000,
            option_string="scenecut=0",
        )
        Gst.util_set_object_arg(chosen, "pass", "qual")  # then "bitrate" is the most there is
    else:
        told = (
            f"bframes=0:pools=none:frame-threads=1:wpp=0:open-gop=0:scenecut=0:info=0:"
            f"rc-lookahead=0:lookahead-slices=0:crf={quality + 2}:vbv-maxrate={kbps}:"
            f"vbv-bufsize={2 * kbps}:min-keyint={group}"
        )
        chosen = make("x265enc", key_int_max=group, option_string=told)
    Gst.util_set_object_arg(chosen, "speed-preset", preset)
    Gst.util_set_object_arg(chosen, "tune", "zerolatency")
    profile = f"video/x-{request.codec},profile={recipe.made_as}"
    return chosen, make("capsfilter", caps=Gst.Caps.from_string(profile))


_SPS_AT: Final = 8
"""In "avcC" (ISO/IEC 14496-15 section 5.3.3.1): five bytes, a count and a length before it."""


def claim(made: VideoFormat, recipe: Recipe) -> VideoFormat:
    """With the flags of a kindred profile, where the encoder wrote those of its own."""
    if recipe.flags is None or made.profile not in (recipe.made_as, recipe.profile):
        return made
    config = bytearray(made.config)
    config[2] = config[_SPS_AT + 2] = recipe.flags
    caps = made.caps.replace(made.config.hex(), config.hex())
    caps = caps.replace(f"profile=(string){made.profile}", f"profile=(string){recipe.profile}")
    return replace(made, config=bytes(config), caps=caps, profile=recipe.profile)
