"""A test picture that shows whether it is live: moving bars, a clock, a frame number, a tone.

    videotestsrc -> textoverlay (frame) -> clockoverlay -> x264enc --\\
    audiotestsrc -> voaacenc ------------------------------------------> mpegtsmux -> appsink
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from strata.errors import HostError, PartMissing
from strata.media.gst import GLib, Gst, GstApp
from strata.sender.source.choice import Shape

__all__ = ["GstApp", "Picture", "TestSource"]

AUDIO_KBPS: Final = 128
MUX_OVERHEAD: Final = 1.06
"""Transport-stream headers and tables take about 6 % at these rates."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What to make. ``bitrate_kbps`` is that of the whole transport stream."""

    width: int = 1280
    height: int = 720
    fps: int = 25
    bitrate_kbps: int = 2500
    keyframe_interval_s: float = 2.0

    @property
    def video_kbps(self) -> int:
        return max(100, int(self.bitrate_kbps / MUX_OVERHEAD) - AUDIO_KBPS)


class TestSource:
    """Makes the test stream in real time."""

    def __init__(self, picture: Picture) -> None:
        try:
            pipeline: Any = Gst.parse_launch(_launch_line(picture))
        except GLib.Error as error:
            raise PartMissing(
                f"a GStreamer element of the test source is missing ({error.message}); "
                "run script/bootstrap (Debian packages: gstreamer1.0-plugins-base, -good, "
                "-bad, -ugly and gstreamer1.0-x)"
            ) from None
        self._pipeline = pipeline
        self._sink = self._pipeline.get_by_name("out")
        self._label = self._pipeline.get_by_name("frame")
        self._frames = 0
        pad = self._label.get_static_pad("video_sink")
        pad.add_probe(Gst.PadProbeType.BUFFER, self._number)

    def start(self) -> None:
        self._pipeline.set_state(Gst.State.PLAYING)

    def read(self, timeout_s: float) -> bytes | None:
        """The next 1316 bytes (seven transport-stream packets), or None after the timeout.

        Raises:
            HostError: the pipeline failed.
        """
        sample = self._sink.try_pull_sample(int(timeout_s * Gst.SECOND))
        if sample is not None:
            buffer = sample.get_buffer()
            return bytes(buffer.extract_dup(0, buffer.get_size()))
        message = self._pipeline.get_bus().pop_filtered(Gst.MessageType.ERROR)
        if message is not None:
            raise HostError(f"the test source failed: {message.parse_error()[0].message}")
        return None

    def stop(self) -> None:
        self._pipeline.set_state(Gst.State.NULL)

    def _number(self, pad: Any, info: Any) -> Any:
        self._frames += 1
        self._label.set_property("text", f"frame {self._frames:06d}")
        return Gst.PadProbeReturn.OK


_TEXT: Final = "shaded-background=true draw-outline=false draw-shadow=false"


def describe(shape: Shape, format: str) -> str:
    """The picture as it is before it is encoded; ``frame`` is where its number is written."""
    rate = f"{shape.fps.numerator}/{shape.fps.denominator}"
    return (
        "videotestsrc is-live=true pattern=smpte horizontal-speed=4 ! "
        f"video/x-raw,format={format},width={shape.width},height={shape.height},framerate={rate} ! "
        'textoverlay name=frame valignment=bottom halignment=right font-desc="Monospace 18" '
        f"{_TEXT} ! "
        'clockoverlay time-format="%H:%M:%S" valignment=top halignment=left '
        f'font-desc="Monospace 28" {_TEXT}'
    )


def _launch_line(picture: Picture) -> str:
    keyint = max(1, round(picture.keyframe_interval_s * picture.fps))
    shape = Shape(picture.width, picture.height, Fraction(picture.fps))
    return (
        "mpegtsmux name=mux alignment=7 ! "
        "appsink name=out sync=false max-buffers=500 drop=true "
        f"{describe(shape, 'I420')} ! "
        f"x264enc speed-preset=ultrafast tune=zerolatency bitrate={picture.video_kbps} "
        f"key-int-max={keyint} vbv-buf-capacity=600 ! "
        "video/x-h264,profile=constrained-baseline ! h264parse config-interval=-1 ! "
        "queue max-size-time=2000000000 max-size-bytes=0 max-size-buffers=0 ! mux. "
        "audiotestsrc is-live=true wave=sine freq=440 volume=0.1 ! "
        "audio/x-raw,rate=48000,channels=2 ! audioconvert ! "
        f"voaacenc bitrate={AUDIO_KBPS * 1000} ! aacparse ! "
        "queue max-size-time=2000000000 max-size-bytes=0 max-size-buffers=0 ! mux."
    )
