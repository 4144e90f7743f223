"""One attempt to reach a destination: a pipeline of its own.

    appsrc (per track, or one for the transport stream) -> what the kind needs -> sink

Each kind of destination (:mod:`strata.worker.kinds`) subclasses :class:`Output` and says
which elements stand between.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, ClassVar, Final, Literal, TypeAlias

from strata.errors import DestinationError, StrataError
from strata.secrets import scrub
from strata.tasks import in_thread
from strata.wire.forward_url import ForwardUrl, Kind
from strata.worker.gst import Gst, bus_error, make, pop_messages, watch_bus
from strata.worker.units import AccessUnit, Program, Track

log = logging.getLogger(__name__)

Feed: TypeAlias = Literal["units", "packets"]

QUEUE_BYTES_MAX: Final = 12 * 1024 * 1024
"""Media that may wait for a slow destination, per track: 5 s at the egress cap of 20 Mbps,
19 s at 5 Mbps, so well above a group of pictures, and a fraction of a worker's memory."""

START_DEADLINE_S: Final = 5.0
STOP_DEADLINE_S: Final = 3.0


class Output:
    """Base of all kinds.

    Args:
        url: where to.
        program: the tracks to expect; empty for an output that takes packets.
        peak_kbps: what the socket may send at most; 0 for no limit.
        on_end: called on the event loop, once, when the pipeline ended: with the error, or
            with None after :meth:`end` when everything has been delivered.
    """

    KIND: ClassVar[Kind]
    FEED: ClassVar[Feed] = "units"
    ELEMENTS: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        url: ForwardUrl,
        program: Program,
        peak_kbps: int,
        on_end: Callable[[StrataError | None], None],
    ) -> None:
        self.url = url
        self.program = program
        self.peak_kbps = peak_kbps
        self.dropped = 0
        self._on_end = on_end
        self._ended = False
        self._sources: dict[Track | Literal["packets"], Any] = {}
        self._wants_key = True
        self._pipeline = Gst.Pipeline.new(None)
        self._unwatch: Callable[[], None] = lambda: None

    # What a kind provides.

    @classmethod
    def check(cls, program: Program) -> None:
        """Raises UnsupportedMedia where the destination cannot carry these codecs."""

    @classmethod
    def prepare(cls, url: ForwardUrl) -> None:
        """Raises BadUrl where it is plain before any media that the URL cannot work."""

    def build(self, pipeline: Gst.Pipeline) -> None:
        """Adds and links the elements; sources come from :meth:`add_source`."""
        raise NotImplementedError

    def bytes_out(self) -> int:
        """Bytes that the destination has taken since the start."""
        raise NotImplementedError

    def explain(self, text: str, debug: str) -> StrataError:
        """An error of the pipeline in the operator's words."""
        return DestinationError(f"{self.url.shown}: {text}")

    # What all share.

    def add_source(self, track: Track | Literal["packets"], caps: Gst.Caps | None) -> Any:
        # Not "live": a muxer then waits for both tracks instead of for the clock, and its
        # output depends on the stamps alone. max-bytes=0: the bound is kept in _has_room().
        source = make("appsrc", format=Gst.Format.TIME, caps=caps, max_bytes=0)
        self._pipeline.add(source)
        self._sources[track] = source
        return source

    async def start(self) -> None:
        """Builds and starts the pipeline; a failure comes through ``on_end``."""
        self.build(self._pipeline)
        self._unwatch = watch_bus(self._pipeline.get_bus(), self._on_bus)
        await in_thread(
            "output-start", lambda: self._pipeline.set_state(Gst.State.PLAYING), START_DEADLINE_S
        )

    def push(self, unit: AccessUnit) -> None:
        """Queues a unit, or drops it: until the first key frame, and, when the destination
        is too slow, whole groups of pictures up to the next key frame that fits."""
        source = self._sources.get(unit.track)
        if source is None:
            return
        if self._wants_key:
            if not self._is_start(unit):
                self.dropped += unit.track == "video"
                return
            self._wants_key = False
        if not self._has_room(source):
            self._wants_key = True
            self.dropped += 1
            return
        source.push_sample(unit.sample)

    def push_packets(self, batch: bytes) -> None:
        """Queues whole transport-stream packets, or drops them where there is no room."""
        source = self._sources["packets"]
        if self._has_room(source):
            source.push_buffer(Gst.Buffer.new_wrapped(batch))
        else:
            self.dropped += len(batch) // 188

    def end(self) -> None:
        """No more media: deliver what is queued, close cleanly, then ``on_end(None)``."""
        for source in self._sources.values():
            source.end_of_stream()

    async def stop(self) -> None:
        """Ends the pipeline, delivered or not. One that hangs is left behind."""
        self._unwatch()
        self._ended = True
        try:
            await in_thread(
                "output-stop", lambda: self._pipeline.set_state(Gst.State.NULL), STOP_DEADLINE_S
            )
        except TimeoutError:
            log.error("%s does not let go after %.0f s; left behind", self.url, STOP_DEADLINE_S)

    def _is_start(self, unit: AccessUnit) -> bool:
        if self.program.video is not None:
            return unit.track == "video" and unit.key and self._has_room(self._sources["video"])
        return unit.key

    def _has_room(self, source: Any) -> bool:
        return int(source.get_current_level_bytes()) < QUEUE_BYTES_MAX

    def _on_bus(self) -> None:
        for message in pop_messages(self._pipeline.get_bus()):
            if message.type == Gst.MessageType.EOS:
                self._finish(None)
            elif message.type == Gst.MessageType.ERROR:
                text, debug = (scrub(each, self.url.url) for each in bus_error(message))
                log.info("%s: %s (%s)", self.url, text, " ".join(debug.split()))
                self._finish(self.explain(text, debug))
            else:
                warning = scrub(bus_error(message)[0], self.url.url)
                log.warning("%s: %s", self.url, warning)

    def _finish(self, error: StrataError | None) -> None:
        if not self._ended:
            self._ended = True
            self._on_end(error)
