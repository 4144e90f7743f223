"""Pieces that the pipelines of all sources are made of.

picture, as it came ─► h264parse | h265parse ──────────────────────────┐
picture, other      ─► decoder ─► raw ─► queue ─► rate, size ─► encoder┤
sound, AAC          ─► aacparse ───────────────────────────────────────┼► mpegtsmux ─► appsink
sound, other        ─► decoder ─► AAC ─────────────────────────────────┘
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from strata.errors import PartMissing
from strata.media.gst import GLib, Gst, make
from strata.sender.source.choice import Codec, Shape
from strata.sender.source.encoders import Asked, Encoder

SOUND_RATE: Final = 48_000

QUEUE: Final = "queue max-size-time=3000000000 max-size-bytes=16000000 max-size-buffers=0"
"""Well above a group of pictures in time: a muxer that waits for the other track must not block
the one that is ahead."""
LIVE_QUEUE: Final = "queue leaky=downstream max-size-buffers=4 max-size-bytes=0 max-size-time=0"
"""Of raw pictures: an encoder that is too slow leaves some out, rather than be ever later."""
WAITING_QUEUE: Final = "queue max-size-buffers=4 max-size-bytes=0 max-size-time=0"

TABLES_EACH: Final = 18_000
"""0.2 s in ticks of 90 kHz; 0.5 s are allowed (ETSI TR 101 290 section 5.2.1)."""

NO_FREEZE: Final = 500_000_000
"""For so long a missing picture is replaced by the one before, in ns; a longer pause stays one."""


def chain(pipeline: Any, description: str, *, begins: bool = False) -> Any:
    """Elements in a row, as one; unconnected ends are its pads.

    Args:
        begins: with a source, so that nothing goes in (a text overlay has an end that would be
            waited for).

    Raises:
        PartMissing: one of them is not installed.
    """
    try:
        made: Any = Gst.parse_bin_from_description(description, not begins)
    except GLib.Error as error:
        raise PartMissing(
            f"a part of GStreamer that this source needs is missing ({error.message}); run "
            "script/bootstrap (Debian packages: gstreamer1.0-plugins-base, -good, -bad, -ugly, "
            "gstreamer1.0-x and gstreamer1.0-alsa)"
        ) from None
    if begins:
        made.add_pad(Gst.GhostPad.new("src", made.find_unlinked_pad(Gst.PadDirection.SRC)))
    pipeline.add(made)
    return made


def raw_caps(format: str, shape: Shape) -> str:
    return (
        f'capsfilter caps="video/x-raw,format={format},width={shape.width},height={shape.height},'
        f"framerate={shape.fps.numerator}/{shape.fps.denominator},"
        'pixel-aspect-ratio=1/1"'
    )


def fit(encoder: Encoder, shape: Shape, *, live: bool) -> str:
    """From any raw picture to those that the encoder takes."""
    return (
        f"{LIVE_QUEUE if live else WAITING_QUEUE} ! "
        f"videorate max-duplication-time={NO_FREEZE} ! videoconvertscale add-borders=true ! "
        f"{raw_caps(encoder.raw, shape)}"
    )


def parser(codec: Codec) -> str:
    """Whole pictures, the parameter sets before each key frame."""
    short = codec.removeprefix("h")
    return (
        f"h{short}parse config-interval=-1 ! "
        f'capsfilter caps="video/x-{codec},stream-format=byte-stream,alignment=au"'
    )


@dataclass(frozen=True, slots=True)
class EncoderChain:
    """An encoder in a pipeline, with what is told to it while it runs."""

    first: Any
    last: Any
    element: Any
    encoder: Encoder

    def tell(self, asked: Asked) -> None:
        told(self.element, self.encoder.changes(asked))


def encoder(pipeline: Any, chosen: Encoder, asked: Asked) -> EncoderChain:
    """The encoder, told what is asked of it, and its parser."""
    element = make(chosen.element)
    told(element, chosen.properties(asked))
    pipeline.add(element)
    profile = f",{chosen.profile}" if chosen.profile else ""
    rest = chain(
        pipeline,
        f'capsfilter caps="video/x-{asked.codec}{profile}" ! {parser(asked.codec)}',
    )
    element.link(rest)
    return EncoderChain(element, rest, element, chosen)


def told(element: Any, properties: dict[str, str]) -> None:
    """Sets what the element knows; versions of it differ."""
    for name, text in properties.items():
        if element.find_property(name) is not None:
            Gst.util_set_object_arg(element, name, text)


def muxer(pipeline: Any) -> Any:
    mux = make("mpegtsmux", alignment=7, pat_interval=TABLES_EACH, pmt_interval=TABLES_EACH)
    pipeline.add(mux)
    return mux


def aac(kbps: int) -> str:
    """From raw sound."""
    return (
        "audioconvert ! audioresample ! "
        f'capsfilter caps="audio/x-raw,rate={SOUND_RATE},channels=2,layout=interleaved" ! '
        f"voaacenc bitrate={kbps * 1000} ! {AAC_PARSER}"
    )


AAC_PARSER: Final = (
    'aacparse ! capsfilter caps="audio/mpeg,mpegversion=4,stream-format=adts" ! ' + QUEUE
)
SILENCE: Final = "audiotestsrc is-live=true wave=silence"


def join(pipeline: Any, elements: Iterable[Any]) -> None:
    """Has elements that were added to a running pipeline run with it, the last first."""
    for element in reversed(list(elements)):
        element.sync_state_with_parent()
