"""A GStreamer pipeline that is fed from the event loop.

    appsrc per track -> what a kind of output needs

It takes media from the moment it is built: an ``appsrc`` keeps what it is given until the
pipeline runs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias

from strata.media.gst import SECOND_NS, Gst, bus_error, make, pop_messages, watch_bus
from strata.tasks import in_thread
from strata.worker.formats import Track
from strata.worker.units import AccessUnit

log = logging.getLogger(__name__)

Feeder: TypeAlias = Track | Literal["packets", "tags"]

START_DEADLINE_S: Final = 5.0
STOP_DEADLINE_S: Final = 3.0


class Pipeline:
    """One pipeline and its sources.

    Args:
        name: of what it is for, in the log; holds no secret.
        on_end: called on the event loop, once: with what the pipeline says of its failure
            and GStreamer's details, or with None when all that it was given is through.
    """

    def __init__(self, name: str, on_end: Callable[[tuple[str, str] | None], None]) -> None:
        self.name = name
        self.bin: Any = Gst.Pipeline.new(None)
        self._on_end = on_end
        self._ended = False
        self._sources: dict[Feeder, Any] = {}
        self._unwatch: Callable[[], None] = lambda: None

    def add(self, *elements: Gst.Element) -> None:
        for element in elements:
            self.bin.add(element)

    def add_source(self, feeder: Feeder, caps: Gst.Caps | None) -> Any:
        # Not "live": a muxer then waits for both tracks instead of for the clock, and its
        # output depends on the stamps alone. max-bytes=0: who pushes looks at queued_bytes.
        source = make("appsrc", format=Gst.Format.TIME, caps=caps, max_bytes=0)
        self.bin.add(source)
        self._sources[feeder] = source
        return source

    async def start(self) -> None:
        """A failure to start comes through ``on_end`` too.

        Raises:
            TimeoutError: something in it hangs.
        """
        self._unwatch = watch_bus(self.bin.get_bus(), self._on_bus)
        await in_thread(
            "output-start", lambda: self.bin.set_state(Gst.State.PLAYING), START_DEADLINE_S
        )

    def takes(self, feeder: Feeder) -> bool:
        return feeder in self._sources

    def push_bytes(self, feeder: Feeder, data: bytes) -> None:
        self._sources[feeder].push_buffer(Gst.Buffer.new_wrapped(data))

    def push_tag(self, data: bytes, at_ns: int) -> None:
        # One by one: 1.22 crashes now and then when it takes lists of buffers from Python.
        buffer = Gst.Buffer.new_wrapped(data)
        buffer.dts = at_ns
        self._sources["tags"].push_buffer(buffer)

    def push_unit(self, unit: AccessUnit, shift_ns: int, data: bytes | None = None) -> None:
        """One unit, its stamps moved by ``shift_ns``; other ``data`` in place of its own."""
        buffer = Gst.Buffer.new_wrapped(unit.data if data is None else data)
        buffer.pts = max(0, unit.pts_ns + shift_ns)
        buffer.dts = max(0, unit.dts_ns + shift_ns)
        buffer.duration = unit.format.unit_ns
        if not unit.key:
            buffer.set_flags(Gst.BufferFlags.DELTA_UNIT)
        self._sources[unit.track].push_buffer(buffer)

    def queued_bytes(self, feeder: Feeder) -> int:
        return int(self._sources[feeder].get_current_level_bytes())

    @property
    def queued_in_all(self) -> int:
        """Bytes that wait, over all sources."""
        return sum(map(self.queued_bytes, self._sources))

    def queued_s(self, feeder: Feeder) -> float:
        """By the stamps of the media; 0 for packets, which have none, and where the pipeline
        has failed and its queue knows no times any more."""
        waiting_ns = int(self._sources[feeder].get_current_level_time())
        return 0.0 if waiting_ns == Gst.CLOCK_TIME_NONE else waiting_ns / SECOND_NS

    def end(self) -> None:
        """No more media: delivers what is queued, then ``on_end(None)``."""
        for source in self._sources.values():
            source.end_of_stream()

    async def stop(self) -> None:
        """Takes it down, delivered or not. One that hangs is left behind."""
        self._unwatch()
        self._ended = True
        try:
            await in_thread(
                "output-stop", lambda: self.bin.set_state(Gst.State.NULL), STOP_DEADLINE_S
            )
        except TimeoutError:
            log.error("%s does not let go after %.0f s; left behind", self.name, STOP_DEADLINE_S)

    def _on_bus(self) -> None:
        for message in pop_messages(self.bin.get_bus()):
            if message.type == Gst.MessageType.EOS:
                self._finish(None)
            elif message.type == Gst.MessageType.ERROR:
                self._finish(bus_error(message))
            else:
                log.debug("%s: %s", self.name, bus_error(message)[0])

    def _finish(self, failure: tuple[str, str] | None) -> None:
        if not self._ended:
            self._ended = True
            self._on_end(failure)
