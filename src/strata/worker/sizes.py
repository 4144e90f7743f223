"""Keeps pictures from decoders that would take more memory than there is."""

from __future__ import annotations

from typing import Any, Final

from strata.media.gst import Gst

MAX_PIXELS: Final = 36_000_000
"""Of a picture: 8192x4320 is 35 million, with 4 bytes each a third of a helper's memory."""


class SizeGuard:
    """Lets no picture through to a decoder that is larger than ``most`` pixels.

    Decoders ask for the memory of a whole picture when they hear of its size, and GLib
    ends the process when there is none.

    Attributes:
        refused: what was, and why; empty where nothing was.
    """

    def __init__(self, most: int = MAX_PIXELS) -> None:
        self._most = most
        self.refused = ""

    def watch(self, pad: Any) -> None:
        pad.add_probe(Gst.PadProbeType.EVENT_DOWNSTREAM, self._on_event)

    def _on_event(self, _pad: Any, info: Any) -> Any:
        event = info.get_event()
        if event.type != Gst.EventType.CAPS:
            return Gst.PadProbeReturn.OK
        structure = event.parse_caps().get_structure(0)
        width, height = structure.get_int("width")[1], structure.get_int("height")[1]
        if width * height <= self._most:
            return Gst.PadProbeReturn.OK
        self.refused = (
            f"its picture is of {width}x{height}, and more than {self._most // 1_000_000} "
            "million pixels are not taken; make it smaller"
        )
        return Gst.PadProbeReturn.DROP
