"""From a transport stream to access units.

    (TS batches) -> tsdemux -> h264parse | capssetter ! h265parse | aacparse -> appsink

There is no thread in it: :meth:`Ingest.push` demultiplexes and parses a batch (a fraction of
a millisecond) before it returns, and :meth:`Ingest.pull` fetches what came of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from strata.media.gst import SECOND_NS, Gst, bus_error, make, pop_messages, watch_bus
from strata.worker.caps import format_of
from strata.worker.formats import AudioFormat, Program, Track, VideoFormat
from strata.worker.units import NO_TIME, AccessUnit

log = logging.getLogger(__name__)

ELEMENTS: Final = ("tsdemux", "h264parse", "capssetter", "h265parse", "aacparse", "appsink")

PARSERS: Final[dict[str, tuple[Track, str, str]]] = {
    # H.264 in FLV, MP4 and Matroska is length-prefixed ("avc"): parsed once, here.
    "video/x-h264": ("video", "h264parse", "video/x-h264,stream-format=avc,alignment=au"),
    "video/x-h265": ("video", "h265parse", "video/x-h265,stream-format=hvc1,alignment=au"),
    "audio/mpeg": ("audio", "aacparse", "audio/mpeg,mpegversion=4,stream-format=raw,framed=true"),
}
"""By the caps that the demuxer offers: track, parser, and the form that forwards are given."""

WHOLE_UNITS: Final = "video/x-h265,alignment=au"
"""A packetized elementary stream of H.265 holds one access unit in each packet (ETSI TS 101 154
section 5.14.1). h265parse 1.22 has to be told: looking for their ends itself, it takes the
first byte of the next for the last of this one, and gives each unit the stamps of the one
before."""

WHOLE: Final = (1 << 63) - 1
"""As many bytes as there are."""
_DELTA: Final = int(Gst.BufferFlags.DELTA_UNIT)
_DISCONT: Final = int(Gst.BufferFlags.DISCONT)

TS_CAPS: Final = "video/mpegts,systemstream=true,packetsize=188"


@dataclass(slots=True)
class _Branch:
    """One elementary stream on its way out of the demuxer."""

    track: Track
    elements: list[Any]
    sink: Any
    caps: Gst.Caps | None = None
    format: VideoFormat | AudioFormat | None = None
    """What ``caps`` say."""

    def learn(self, caps: Gst.Caps | None) -> VideoFormat | AudioFormat | None:
        if caps is not None and (self.caps is None or not self.caps.is_equal(caps)):
            self.caps, self.format = caps, format_of(caps)
        return self.format


class Ingest:
    """The ingest pipeline of one stream.

    Args:
        on_failure: called on the event loop when the pipeline cannot go on; the message
            says why. The caller replaces the pipeline.
        on_unusable: called with the name of a stream in the program that no forward can
            use.
        zero_s: the stamp that units count from; None for that of the first packets. One that
            takes over from another counts on from there, or forwards would see time go back.
    """

    def __init__(
        self,
        on_failure: Callable[[str], None],
        on_unusable: Callable[[str], None],
        zero_s: float | None = None,
    ) -> None:
        self._on_failure = on_failure
        self._on_unusable = on_unusable
        self._branches: dict[str, _Branch] = {}
        self.zero_s = zero_s
        self._complete = False
        self._pipeline = Gst.Pipeline.new("ingest")
        self._source: Any = Gst.Pad.new("source", Gst.PadDirection.SRC)
        demuxer: Any = make("tsdemux")
        demuxer.connect("pad-added", self._on_pad_added)
        demuxer.connect("pad-removed", self._on_pad_removed)
        demuxer.connect("no-more-pads", self._on_no_more_pads)
        self._pipeline.add(demuxer)
        self._source.link(demuxer.get_static_pad("sink"))
        self._bus = self._pipeline.get_bus()
        self._unwatch: Callable[[], None] = lambda: None

    def start(self) -> None:
        self._unwatch = watch_bus(self._bus, self._on_bus)
        self._pipeline.set_state(Gst.State.PLAYING)
        self._source.set_active(True)
        caps: Any = Gst.Caps.from_string(TS_CAPS)
        segment = Gst.Segment()
        segment.init(Gst.Format.TIME)
        for event in (
            Gst.Event.new_stream_start("sender"),
            Gst.Event.new_caps(caps),
            Gst.Event.new_segment(segment),
        ):
            self._source.push_event(event)

    def push(self, packets: bytes, stamp_s: float) -> None:
        """Parses whole transport-stream packets with their time (:mod:`strata.worker.pace`).

        The demuxer maps the sender's clock onto these times, which is what makes a
        restarted sender continue where the old one stopped.
        """
        if self.zero_s is None:
            self.zero_s = stamp_s
        buffer = Gst.Buffer.new_wrapped(packets)
        buffer.pts = max(0, int((stamp_s - self.zero_s) * SECOND_NS))
        self._source.push(buffer)

    def pull(self) -> Iterator[AccessUnit]:
        """What has been parsed since the last call, in decoding order within each track."""
        for branch in tuple(self._branches.values()):
            while (sample := branch.sink.try_pull_sample(0)) is not None:
                unit = _unit(branch, sample)
                if unit is not None:
                    yield unit

    def program(self) -> Program | None:
        """The tracks, once the stream has announced them all and each parser knows its own."""
        if not self._complete:
            return None
        branches = tuple(self._branches.values())
        if not branches or any(_learn(branch) is None for branch in branches):
            return None
        return self.known()

    def known(self) -> Program:
        """The tracks whose formats are known by now, complete or not."""
        video: VideoFormat | None = None
        audio: AudioFormat | None = None
        for branch in tuple(self._branches.values()):
            found = _learn(branch)
            if isinstance(found, VideoFormat):
                video = found
            elif isinstance(found, AudioFormat):
                audio = found
        return Program(video, audio)

    def end(self) -> None:
        """No more batches: the parsers put out what they still hold."""
        self._source.push_event(Gst.Event.new_eos())

    def stop(self) -> None:
        self._unwatch()
        self._source.set_active(False)
        self._pipeline.set_state(Gst.State.NULL)

    def _on_pad_added(self, demuxer: Gst.Element, pad: Any) -> None:
        caps = pad.get_current_caps() or pad.query_caps(None)
        structure = caps.get_structure(0)
        name = structure.get_name()
        known = PARSERS.get(name)
        if name == "audio/mpeg" and structure.get_int("mpegversion")[1] == 1:
            known, name = None, "MPEG-1 audio (MP1, MP2 or MP3)"
        if known is None:
            self._on_unusable(str(name))
            return
        track, parser_name, form = known
        # Pads are named video_<generation>_<pid>. A second track of one generation is an
        # extra (a second language) that no forward carries; one of the next generation
        # replaces the track, because the sender announced a new program.
        generation = pad.get_name().split("_")[1]
        for other, branch in self._branches.items():
            if branch.track == track and other.split("_")[1] == generation:
                return
        parser: Any = make(parser_name)
        sink: Any = make(
            "appsink",
            sync=False,
            enable_last_sample=False,
            max_buffers=0,  # no bound: a full sink would block push(), and so everything
            wait_on_eos=False,  # pull() comes after the end, on the same thread
            caps=Gst.Caps.from_string(form),
        )
        # Without "async" a sink added to a running pipeline does not wait for a preroll.
        sink.set_property("async", False)
        elements = [parser, sink]
        if parser_name == "h265parse":
            whole: Any = Gst.Caps.from_string(WHOLE_UNITS)
            elements.insert(0, make("capssetter", caps=whole, join=True, replace=False))
        for element in elements:
            self._pipeline.add(element)
        for element, following in pairwise(elements):
            element.link(following)
        for element in reversed(elements):
            element.sync_state_with_parent()
        pad.link(elements[0].get_static_pad("sink"))
        self._branches[pad.get_name()] = _Branch(track, elements, sink)

    def _on_pad_removed(self, demuxer: Gst.Element, pad: Any) -> None:
        branch = self._branches.pop(pad.get_name(), None)
        if branch is None:
            return
        for element in branch.elements:
            element.set_state(Gst.State.NULL)
            self._pipeline.remove(element)

    def _on_no_more_pads(self, demuxer: Gst.Element) -> None:
        self._complete = True

    def _on_bus(self) -> None:
        for message in pop_messages(self._bus):
            if message.type == Gst.MessageType.WARNING:
                log.debug("ingest: %s", bus_error(message)[0])  # one per gap in the stream
            elif not message.src.has_as_ancestor(self._pipeline):
                log.debug("ingest: %s", bus_error(message)[0])  # of a track that has ended
            elif message.type == Gst.MessageType.ERROR:
                text, debug = bus_error(message)
                log.warning("ingest failed: %s (%s)", text, debug.replace("\n", " "))
                self._on_failure(text)


def _learn(branch: _Branch) -> VideoFormat | AudioFormat | None:
    """The format that the units to come have, before the first is there."""
    return branch.learn(branch.sink.get_static_pad("sink").get_current_caps())


def _unit(branch: _Branch, sample: Any) -> AccessUnit | None:
    buffer, format = sample.get_buffer(), branch.learn(sample.get_caps())
    if format is None:
        return None
    flags = int(buffer.get_flags())
    return AccessUnit(
        format,
        buffer.extract_dup(0, WHOLE),
        _time(buffer.pts),
        _time(buffer.dts),
        not flags & _DELTA,
        not flags & _DISCONT,
    )


def _time(stamp: int) -> int:
    return NO_TIME if stamp == Gst.CLOCK_TIME_NONE else stamp
