"""In which ways a camera or a capture card gives pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any, Final

from strata.errors import SourceUnavailable
from strata.media.gst import Gst, make, pop_messages, told
from strata.sender.source.choice import DeviceMode, best_mode
from strata.tasks import in_thread

OPEN_DEADLINE_S: Final = 4.0

_RANGE_WIDTHS: Final = ((1920, 1080), (1280, 720), (640, 480))
"""Of a device that takes any size: those that are asked for."""


async def mode_of(path: str) -> DeviceMode:
    """The best way of the device.

    Raises:
        StrataError: it is not there, cannot be opened, or gives nothing that can be used.
    """
    if not Path(path).exists():
        raise SourceUnavailable(
            f"the device {path} is not there; see what is plugged in (v4l2-ctl --list-devices)"
        )
    try:
        text = await in_thread("device-look", lambda: _caps_of(path), OPEN_DEADLINE_S)
    except TimeoutError:
        raise SourceUnavailable(
            f"the device {path} does not open within {OPEN_DEADLINE_S:.0f} s; unplug it and plug "
            "it in again"
        ) from None
    mode = best_mode(modes_in(text))
    if mode is None:
        raise SourceUnavailable(
            f"the device {path} gives no picture up to 1080p that can be used, but: "
            f"{text[:300] or 'nothing'}; use another one"
        )
    return mode


def _caps_of(path: str) -> str:
    source: Any = make("v4l2src", device=path)
    pipeline: Any = Gst.Pipeline.new(None)
    pipeline.add(source)
    try:
        if pipeline.set_state(Gst.State.READY) == Gst.StateChangeReturn.FAILURE:
            errors = [told(each) for each in pop_messages(pipeline.get_bus())]
            why = errors[0] if errors else "it says not why"
            raise SourceUnavailable(
                f"the device {path} cannot be opened: {why}; see whether another program uses it, "
                "and its permissions (group video)"
            )
        return str(source.get_static_pad("src").query_caps(None).to_string())
    finally:
        pipeline.set_state(Gst.State.NULL)


def modes_in(caps: str) -> Iterator[DeviceMode]:
    """The ways that GStreamer's text for them holds; fields may be lists and ranges."""
    for structure in caps.split(";"):
        media = structure.split(",")[0].strip()
        if "(memory:" in media and "SystemMemory" not in media:
            continue
        fields = dict(
            re.findall(r"([a-z-]+)=(?:\([a-z]+\))?(\{[^}]*\}|\[[^\]]*\]|[^,]+)", structure)
        )
        if "width" not in fields or "height" not in fields:
            continue
        sizes = list(_sizes(fields["width"], fields["height"]))
        formats = [each.strip() for each in _listed(fields.get("format", ""))]
        for (width, height), rate, format in product(sizes, _rates(fields), formats):
            yield DeviceMode(media.split("(")[0], width, height, rate, format)


def _listed(text: str) -> list[str]:
    return text.strip().strip("{}").split(",")


def _sizes(width: str, height: str) -> Iterator[tuple[int, int]]:
    if "[" in width or "[" in height:
        (low_w, high_w), (low_h, high_h) = _ends(width), _ends(height)
        for one, other in _RANGE_WIDTHS:
            if low_w <= one <= high_w and low_h <= other <= high_h:
                yield one, other
    else:
        yield from product(map(int, _listed(width)), map(int, _listed(height)))


def _ends(text: str) -> tuple[int, int]:
    numbers = [int(each) for each in re.findall(r"\d+", text)]
    return numbers[0], numbers[1] if "[" in text else numbers[-1]


def _rates(fields: dict[str, str]) -> list[Fraction]:
    text = fields.get("framerate", "30/1")
    found = [Fraction(int(a), int(b)) for a, b in re.findall(r"(\d+)/(\d+)", text) if int(b)]
    if "[" in text and len(found) == 2:
        low, high = found
        found = [each for each in map(Fraction, (30, 25)) if low <= each <= high] or [high]
    return [each for each in found if each > 0]
