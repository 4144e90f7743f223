"""One attempt to reach a destination. Each kind (:mod:`strata.worker.kinds`) is one.

An output takes media as soon as it is made, bounds what waits in it, and says how much the
destination has taken. It ends once: because it was asked to, or with an error.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Final, Literal, TypeAlias

from strata.errors import DestinationError, StrataError, UnsupportedMedia
from strata.secrets import scrub
from strata.wire.forward_url import ForwardUrl
from strata.worker.average import Pieces
from strata.worker.formats import Program
from strata.worker.pipeline import Feeder, Pipeline
from strata.worker.ts_keys import Packets
from strata.worker.units import AccessUnit

log = logging.getLogger(__name__)

Feed: TypeAlias = Literal["units", "packets"]

QUEUE_BYTES_MAX: Final = 12 * 1024 * 1024
"""Media that may wait for a slow destination, per track: 5 s at the egress cap of 20 Mbps,
19 s at 5 Mbps, so well above a group of pictures, and a fraction of a worker's memory."""

QUEUE_S_MAX: Final = 10.0
"""And by time, so that a destination that was slow for a while is not behind for the rest of
the broadcast. Above the longest group of pictures in use."""


class Output(ABC):
    """Base of all kinds.

    Args:
        url: where to.
        program: the tracks to expect; empty for an output that takes packets.
        share_kbps: what it may send at most; 0 for no limit.
        on_end: called on the event loop, once, when the output ended: with the error, or
            with None after :meth:`end` when everything has been delivered.
    """

    FEED: ClassVar[Feed] = "units"
    ELEMENTS: ClassVar[tuple[str, ...]]
    NETWORKED: ClassVar[bool] = False
    """Whether what it sends counts against the egress cap."""
    RIGID: ClassVar[bool] = False
    """Whether it cannot be held to its share by pacing."""
    OVERHEAD: ClassVar[float] = 1.02
    """What it sends at most, in terms of the media that it is given."""
    TAKES_BURSTS: ClassVar[bool] = True
    """Whether it can be given seconds of media at once."""
    VIDEO: ClassVar[frozenset[str]] = frozenset(("h264", "h265"))
    AUDIO: ClassVar[frozenset[str]] = frozenset(("aac",))
    FIRST_PROGRESS_S: ClassVar[float] = 15.0
    """From the first media to the first byte taken: name, connection, handshake, publish."""
    PROGRESS_S: ClassVar[float] = 20.0
    """A destination that takes nothing for this long, while media is offered, has stalled."""

    def __init__(
        self,
        url: ForwardUrl,
        program: Program,
        share_kbps: int,
        on_end: Callable[[StrataError | None], None],
    ) -> None:
        self.url = url
        self.program = program
        self.share_kbps = share_kbps
        self.dropped = 0
        self._on_end = on_end
        self._ended = False

    # What a kind provides.

    @classmethod  # noqa: B027 - most kinds have nothing to prepare
    def prepare(cls, url: ForwardUrl) -> None:
        """Raises BadUrl where it is plain before any media that the URL cannot work."""

    @abstractmethod
    async def start(self) -> None: ...

    def push(self, *units: AccessUnit) -> None:
        raise AssertionError(f"{self.url.kind} is fed {self.FEED}")

    def push_packets(self, packets: Packets) -> None:
        raise AssertionError(f"{self.url.kind} is fed {self.FEED}")

    @abstractmethod
    def bytes_out(self) -> int:
        """Bytes that the destination has taken since the start."""

    def pieces(self) -> Pieces | None:
        """How it hands media over in pieces, so that its bitrate means nothing over less; None
        where media goes out as it comes."""
        return None

    def idle(self) -> str | None:
        """Why taking nothing is in order at the moment, or None where it is not."""
        return None

    def copies(self) -> int:
        """How often it sends the stream at the moment."""
        return 1

    def set_share(self, kbps: int) -> None:
        """Another limit on what it may send."""
        self.share_kbps = kbps

    @abstractmethod
    def end(self, *, is_over: bool = True) -> None:
        """No more media: deliver what is queued, close, then ``on_end(None)``.

        Args:
            is_over: tell the destination that the broadcast is over.
        """

    @abstractmethod
    async def stop(self) -> None:
        """Ends, delivered or not."""

    # What all share.

    @classmethod
    def check(cls, program: Program, url: ForwardUrl) -> None:
        """Raises UnsupportedMedia where the destination cannot carry these codecs."""
        for codec, known in zip(program.codecs, (cls.VIDEO, cls.AUDIO), strict=True):
            if codec is not None and codec not in known:
                wanted = " or ".join(sorted(map(str.upper, known)))
                raise UnsupportedMedia(
                    f"the sender's stream holds {codec}, and {url.shown} can carry "
                    f"{wanted} only from this machine; set the encoder to {wanted}"
                )

    def scrub(self, text: str) -> str:
        return scrub(text, self.url.url)

    def finish(self, error: StrataError | None) -> None:
        if not self._ended:
            self._ended = True
            self._on_end(error)


class PipelineOutput(Output):
    """An output that is one GStreamer pipeline from its first unit to its last."""

    def __init__(
        self,
        url: ForwardUrl,
        program: Program,
        share_kbps: int,
        on_end: Callable[[StrataError | None], None],
    ) -> None:
        super().__init__(url, program, share_kbps, on_end)
        self.pipeline = Pipeline(url.shown, self._on_pipeline_end)
        self._packet_gate = PacketGate()
        self._had_room = True
        self.build()

    @abstractmethod
    def build(self) -> None:
        """Adds and links the elements of :attr:`pipeline`."""

    def explain(self, text: str, debug: str) -> StrataError:
        """An error of the pipeline in the operator's words."""
        return DestinationError(f"{self.url.shown}: {text}")

    async def start(self) -> None:
        await self.pipeline.start()

    def push_packets(self, packets: Packets) -> None:
        gate = self._packet_gate
        is_joining = not gate.is_open
        if gate.passes(packets, self.has_room("packets")):
            data = packets.tables + packets.data if is_joining else packets.data
            self.pipeline.push_bytes("packets", data)
        elif gate.was_open:
            self.dropped += packets.pictures

    def end(self, *, is_over: bool = True) -> None:
        self.pipeline.end()

    async def stop(self) -> None:
        self._ended = True
        await self.pipeline.stop()

    def has_room(self, feeder: Feeder) -> bool:
        size, length_s = self.pipeline.queued_bytes(feeder), self.pipeline.queued_s(feeder)
        has_room = size < QUEUE_BYTES_MAX and length_s < QUEUE_S_MAX
        if not has_room and self._had_room:
            log.info(
                "%s is behind: %s of %.1f MB, %.1f s waits; leaving out whole groups of pictures",
                self.url,
                feeder,
                size / 1e6,
                length_s,
            )
        self._had_room = has_room
        return has_room

    def _on_pipeline_end(self, failure: tuple[str, str] | None) -> None:
        if failure is None:
            self.finish(None)
            return
        text, debug = map(self.scrub, failure)
        log.info("%s: %s (%s)", self.url, text, " ".join(debug.split()))
        self.finish(self.explain(text, debug))


class Gate:
    """Which units go on to a destination: from a key frame, and as long as there is room;
    after that from the next key frame that has room."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._is_open = False
        self.was_open = False

    def passes(self, unit: AccessUnit, has_room: bool) -> bool:
        if not self._is_open and not self._may_open(unit):
            return False
        self._is_open = has_room
        self.was_open = self.was_open or self._is_open
        return self._is_open

    def _may_open(self, unit: AccessUnit) -> bool:
        return unit.key and (self._program.video is None or unit.track == "video")


class PacketGate:
    """The same for packets."""

    def __init__(self) -> None:
        self.is_open = False
        self.was_open = False

    def passes(self, packets: Packets, has_room: bool) -> bool:
        self.is_open = has_room and (self.is_open or packets.key)
        self.was_open = self.was_open or self.is_open
        return self.is_open
