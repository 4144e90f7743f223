"""Segments as transport streams, one after the other without a seam.

    appsrc video ! h264parse | h265parse, appsrc audio -> mpegtsmux -> giostreamsink (memory)

A segment is muxed when it is complete, in one go: that takes some milliseconds every few
seconds, where a pipeline that runs along would wake up for every picture.
"""

from __future__ import annotations

from typing import Any, Final

from strata.errors import StrataError
from strata.worker.gst import Gio, Gst, bus_error, make
from strata.worker.units import AccessUnit, Program, codec_of

ELEMENTS: Final = ("appsrc", "h264parse", "h265parse", "mpegtsmux", "giostreamsink")

PACKET: Final = 188
_DEADLINE_NS: Final = 10 * 1_000_000_000
_PARSERS: Final = {"h264": "h264parse", "h265": "h265parse"}


class TsMuxer:
    """Muxes the segments of one stream. Blocks; use it from one thread at a time."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._counters: dict[int, int] = {}

    def mux(self, units: list[AccessUnit]) -> bytes:
        """The segment's file.

        Raises:
            StrataError: the units cannot be muxed.
        """
        pipeline: Any = Gst.Pipeline.new(None)
        stream: Any = Gio.MemoryOutputStream.new_resizable()
        muxer: Any = make("mpegtsmux", alignment=0)
        sink: Any = make("giostreamsink", stream=stream, sync=False, enable_last_sample=False)
        pipeline.add(muxer)
        pipeline.add(sink)
        muxer.link(sink)
        sources = {}
        for track, caps in self._program.tracks():
            source: Any = make("appsrc", format=Gst.Format.TIME, caps=caps, max_bytes=0)
            sources[track] = source
            pipeline.add(source)
            last = source
            if track == "video":
                # Back to start codes, with the parameter sets before every key frame.
                parser = make(_PARSERS[codec_of(caps)], config_interval=-1)
                pipeline.add(parser)
                source.link(parser)
                last = parser
            last.link(muxer)
        for unit in units:
            if unit.track in sources:
                sources[unit.track].push_sample(unit.sample)
        for source in sources.values():
            source.end_of_stream()
        try:
            pipeline.set_state(Gst.State.PLAYING)
            kinds = Gst.MessageType.EOS | Gst.MessageType.ERROR
            message = pipeline.get_bus().timed_pop_filtered(_DEADLINE_NS, kinds)
        finally:
            pipeline.set_state(Gst.State.NULL)
        if message is None or message.type == Gst.MessageType.ERROR:
            said = bus_error(message)[0] if message is not None else "it took too long"
            raise StrataError(f"a segment could not be made: {said}")
        stream.close(None)
        data = bytearray(stream.steal_as_bytes().get_data())
        self._count_on(data)
        return bytes(data)

    def _count_on(self, data: bytearray) -> None:
        """Lets the continuity counters go on where those of the segment before stopped: each
        muxer begins at 0, which a player takes for a loss (ISO/IEC 13818-1 section 2.4.3.3)."""
        offsets: dict[int, int] = {}
        counters = self._counters
        for at in range(0, len(data), PACKET):
            control = data[at + 3]
            pid = (data[at + 1] & 0x1F) << 8 | data[at + 2]
            counter = control & 0x0F
            if pid not in offsets:
                # A packet with payload counts up, one without keeps the number.
                step = 1 if control & 0x10 else 0
                offsets[pid] = counters[pid] + step - counter if pid in counters else 0
            counter = (counter + offsets[pid]) & 0x0F
            data[at + 3] = control & 0xF0 | counter
            counters[pid] = counter
