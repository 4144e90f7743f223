"""Colour bars and a tone, as a sender's transport stream would bring them.

    videotestsrc ! timeoverlay ! x264enc ! h264parse -----\\
    audiotestsrc ! voaacenc ! aacparse --------------------> mpegtsmux ! appsink
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import Any, Final

from strata.media.gst import Gst, require
from strata.rist import Mark

WIDTH: Final = 1280
HEIGHT: Final = 720
FPS: Final = 30
VIDEO_KBPS: Final = 1500
AUDIO_KBPS: Final = 128
KEY_S: Final = 2
"""Between key frames: what platforms ask for."""

ELEMENTS: Final = (
    *("videotestsrc", "timeoverlay", "x264enc", "h264parse", "audiotestsrc", "audioconvert"),
    *("voaacenc", "aacparse", "mpegtsmux", "queue", "capsfilter", "appsink"),
)

_LINE: Final = f"""
    mpegtsmux name=mux alignment=7 ! appsink name=out sync=false emit-signals=true
    videotestsrc is-live=true pattern=smpte !
        video/x-raw,format=I420,width={WIDTH},height={HEIGHT},framerate={FPS}/1 !
        timeoverlay halignment=center valignment=center font-desc="Sans 36" !
        x264enc speed-preset=ultrafast tune=zerolatency bitrate={VIDEO_KBPS}
            vbv-buf-capacity=1000 key-int-max={FPS * KEY_S} threads=1
            option-string=scenecut=0:nal-hrd=cbr !
        video/x-h264,profile=main ! h264parse config-interval=-1 !
        queue max-size-time=2000000000 max-size-bytes=0 max-size-buffers=0 ! mux.
    audiotestsrc is-live=true wave=sine freq=1000 volume=0.1 !
        audio/x-raw,rate=48000,channels=2 ! audioconvert !
        voaacenc bitrate={AUDIO_KBPS * 1000} ! aacparse !
        queue max-size-time=2000000000 max-size-bytes=0 max-size-buffers=0 ! mux.
"""


class Bars:
    """Made in real time, and read like what a receiver has received.

    Attributes:
        taken: bytes that were read.
    """

    def __init__(self) -> None:
        require(ELEMENTS)
        self.taken = 0
        self._event = os.eventfd(0, os.EFD_NONBLOCK)
        self._lock = threading.Lock()
        self._waiting = bytearray()
        pipeline: Any = Gst.parse_launch(_LINE)
        self._pipeline = pipeline
        self._sink: Any = self._pipeline.get_by_name("out")
        self._sink.connect("new-sample", self._on_sample)

    def start(self) -> None:
        self._pipeline.set_state(Gst.State.PLAYING)

    def fileno(self) -> int:
        """Can be read when there is something to take."""
        return self._event

    def take_marked(self) -> tuple[bytes, list[Mark]]:
        """All that waits; nothing of it is ever missing."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._event)
        with self._lock:
            taken = bytes(self._waiting)
            self._waiting.clear()
        self.taken += len(taken)
        return taken, []

    def close(self) -> None:
        self._pipeline.set_state(Gst.State.NULL)
        os.close(self._event)

    def _on_sample(self, sink: Any) -> Any:
        """Called by a thread of GStreamer."""
        sample = sink.try_pull_sample(0)
        if sample is not None:
            buffer = sample.get_buffer()
            with self._lock:
                self._waiting += buffer.extract_dup(0, buffer.get_size())
            os.eventfd_write(self._event, 1)
        return Gst.FlowReturn.OK
