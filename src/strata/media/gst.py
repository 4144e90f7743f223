"""GStreamer, loaded once, and the few calls that everything here shares."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
from collections.abc import Callable, Iterable
from typing import Any, Final

from strata.errors import PartMissing
from strata.media import debug_log

# libsrt throws inside itself where a peer goes away. GStreamer brings libunwind into the process,
# which has functions of the same names as the unwinder of GCC that a C++ library loaded before
# has used: one half of each then unwinds, and the process dies. So GCC's comes first.
with contextlib.suppress(OSError):
    ctypes.CDLL("libgcc_s.so.1", mode=ctypes.RTLD_GLOBAL)

try:
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstApp", "1.0")
    from gi.repository import GLib, Gst, GstApp
except (ImportError, ValueError) as error:
    raise PartMissing(
        f"GStreamer's Python binding cannot be loaded ({error}); run script/bootstrap "
        "(Debian packages: gir1.2-gstreamer-1.0, gir1.2-gst-plugins-base-1.0)"
    ) from error

__all__ = [
    "SECOND_NS",
    "GLib",
    "Gst",
    "GstApp",
    "bus_error",
    "forget_all_but",
    "pop_messages",
    "require",
    "told",
    "watch_bus",
]

debug_log.set_up()
Gst.init(None)

SECOND_NS: Final = 1_000_000_000

PACKAGES: Final = {
    "bin": "libgstreamer1.0-0",
    "pipeline": "libgstreamer1.0-0",
    "appsrc": "gstreamer1.0-plugins-base",
    "appsink": "gstreamer1.0-plugins-base",
    "capssetter": "gstreamer1.0-plugins-good",
    "fdsink": "libgstreamer1.0-0",
    "matroskamux": "gstreamer1.0-plugins-good",
    "mp4mux": "gstreamer1.0-plugins-good",
    "srtsink": "gstreamer1.0-plugins-bad",
    "tsdemux": "gstreamer1.0-plugins-bad",
    "h264parse": "gstreamer1.0-plugins-bad",
    "h265parse": "gstreamer1.0-plugins-bad",
    "aacparse": "gstreamer1.0-plugins-good",
    "rtmp2sink": "gstreamer1.0-plugins-bad",
    "videotestsrc": "gstreamer1.0-plugins-base",
    "imagefreeze": "gstreamer1.0-plugins-good",
    "compositor": "gstreamer1.0-plugins-base",
    "videoconvertscale": "gstreamer1.0-plugins-base",
    "videoconvert": "gstreamer1.0-plugins-base",
    "videorate": "gstreamer1.0-plugins-base",
    "decodebin": "gstreamer1.0-plugins-base",
    "typefind": "libgstreamer1.0-0",
    "multiqueue": "libgstreamer1.0-0",
    "filesrc": "libgstreamer1.0-0",
    "capsfilter": "libgstreamer1.0-0",
    "textoverlay": "gstreamer1.0-x",
    "pngparse": "gstreamer1.0-plugins-bad",
    "jpegparse": "gstreamer1.0-plugins-bad",
    "pngdec": "gstreamer1.0-plugins-good",
    "jpegdec": "gstreamer1.0-plugins-good",
    "videoflip": "gstreamer1.0-plugins-good",
    "qtdemux": "gstreamer1.0-plugins-good",
    "matroskademux": "gstreamer1.0-plugins-good",
    "openh264dec": "gstreamer1.0-plugins-bad",
    "libde265dec": "gstreamer1.0-plugins-bad",
    "avdec_h264": "gstreamer1.0-libav",
    "avdec_h265": "gstreamer1.0-libav",
    "jpegenc": "gstreamer1.0-plugins-good",
    "voaacenc": "gstreamer1.0-plugins-bad",
    "audiotestsrc": "gstreamer1.0-plugins-base",
    "audioconvert": "gstreamer1.0-plugins-base",
    "timeoverlay": "gstreamer1.0-x",
    "mpegtsmux": "gstreamer1.0-plugins-bad",
    "queue": "libgstreamer1.0-0",
    "vp8dec": "gstreamer1.0-plugins-good",
    "vp9dec": "gstreamer1.0-plugins-good",
    "x264enc": "gstreamer1.0-plugins-ugly",
    "x265enc": "gstreamer1.0-plugins-bad",
}
"""Debian package of each element that a pipeline of a worker is made of."""

FIELD_PACKAGES: Final = {
    "alsasrc": "gstreamer1.0-alsa",
    "fakesink": "libgstreamer1.0-0",
    "flvdemux": "gstreamer1.0-plugins-good",
    "parsebin": "gstreamer1.0-plugins-base",
    "rtmp2src": "gstreamer1.0-plugins-bad",
    "rtspsrc": "gstreamer1.0-plugins-good",
    "souphttpsrc": "gstreamer1.0-plugins-good",
    "srtsrc": "gstreamer1.0-plugins-bad",
    "v4l2src": "gstreamer1.0-plugins-good",
}
"""The same of what only a sender needs."""


def require(elements: Iterable[str]) -> None:
    """Checks that the elements are installed.

    Raises:
        PartMissing: naming each one and the packages that bring them.
    """
    missing = [name for name in sorted(set(elements)) if Gst.ElementFactory.find(name) is None]
    if missing:
        known = FIELD_PACKAGES | PACKAGES
        packages = " ".join(sorted({known.get(name, "(none known)") for name in missing}))
        raise PartMissing(
            f"GStreamer lacks the element{'s' if len(missing) > 1 else ''} "
            f"{', '.join(missing)}, without which this stream cannot be carried; "
            f"install with: apt-get install {packages}"
        )


def make(factory: str, **properties: Any) -> Gst.Element:
    """One element with its properties (underscores for dashes).

    Raises:
        PartMissing: the element is not installed.
    """
    element = Gst.ElementFactory.make(factory, None)
    if element is None:
        require([factory])
        raise PartMissing(f"GStreamer's element {factory} is installed but does not load")
    for name, value in properties.items():
        element.set_property(name.replace("_", "-"), value)
    return element


def pop_messages(bus: Gst.Bus) -> list[Gst.Message]:
    """Errors, warnings and ends of stream that wait on the bus; other kinds are dropped."""
    found = []
    kinds = Gst.MessageType.ERROR | Gst.MessageType.EOS | Gst.MessageType.WARNING
    while (message := bus.pop_filtered(kinds)) is not None:
        found.append(message)
    return found


def watch_bus(bus: Gst.Bus, call: Callable[[], None]) -> Callable[[], None]:
    """Calls ``call`` on the event loop when messages wait; no GLib loop is needed.

    Returns what ends the watch.
    """
    loop = asyncio.get_running_loop()
    descriptor = bus.get_pollfd().fd
    loop.add_reader(descriptor, call)
    return lambda: (loop.remove_reader(descriptor), None)[1]


def bus_error(message: Gst.Message) -> tuple[str, str]:
    """What an ERROR or WARNING message says, and GStreamer's debug text with the details."""
    parse = message.parse_error if message.type == Gst.MessageType.ERROR else message.parse_warning
    error, debug = parse()
    return error.message, debug or ""


def told(message: Gst.Message) -> str:
    """An ERROR message in one line for people."""
    what, debug = bus_error(message)
    detail = debug.strip().rpartition("\n")[2].rpartition(": ")[2]
    tells_more = detail and not detail.startswith("/Gst")  # that is only where it happened
    return f"{what.rstrip('.')} ({detail})" if tells_more else what.rstrip(".")


def forget_all_but(elements: Iterable[str]) -> None:
    """This process knows no others: what media holds chooses among few, and none that follows
    an address in it (as players of HLS and DASH do)."""
    kept = set(elements)
    registry = Gst.Registry.get()
    kind: Any = Gst.ElementFactory
    for feature in registry.get_feature_list(kind):
        if feature.get_name() not in kept:
            registry.remove_feature(feature)
