"""One GStreamer pipeline that gives a transport stream to the event loop.

    (a source, see feeds.py) ─► appsink ─► pull()

Its bus wakes the loop; media does not: it is fetched each time somebody looks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from strata.errors import SourceUnavailable
from strata.media.gst import Gst, GstApp, bus_error, make, pop_messages, told, watch_bus
from strata.secrets import scrub
from strata.sender.source.encoders import Asked, Encoder, video_kbps
from strata.sender.source.graph import EncoderChain
from strata.tasks import in_thread

log = logging.getLogger(__name__)

__all__ = ["Failure", "GstApp", "MediaPipeline"]

START_DEADLINE_S: Final = 6.0
STOP_DEADLINE_S: Final = 3.0
LIVE_BUFFERS: Final = 4000
"""Of seven packets: 5 MB, 8 s at 5 Mbps. Nobody has read for so long: then groups are left out."""

_ALL: Final = (1 << 63) - 1

_REMEDIES: Final = (
    ("NOT_AUTHORIZED", "it wants another name or password; give them as user:password@ in the URI"),
    ("NOT_FOUND", "nothing of that name is there; see its name, and whether it is plugged in"),
    ("BUSY", "another program uses it; end that program"),
    ("OPEN_READ", "it cannot be opened; see whether it is on, its address, and the network"),
    ("READ", "it stopped giving media; see whether it is on, and the network"),
)
"""By GStreamer's resource errors."""
_USUAL_REMEDY: Final = "see whether it is on, and plays in another program"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a pipeline gives no more; holds no secret.

    Attributes:
        part: what failed. ``sound`` is a device for the sound alone.
        detail: what happened.
        remedy: what to do.
        is_final: another try would find the same; of a source that has played, none does.
    """

    part: Literal["source", "encoder", "sound"]
    detail: str
    remedy: str = _USUAL_REMEDY
    is_final: bool = False


_NO_PICTURE: Final = Failure(
    "source", "it has no picture, only sound", "give one that has H.264 or H.265", is_final=True
)


class MediaPipeline:
    """One pipeline. Whoever makes it adds a source and links it to :attr:`sink`.

    Args:
        name: of what it plays, for logs; holds no secret.
        uri: whose secrets are left out of what it says.
        on_end: called once on the event loop: with its failure, or None at the end of media.
    """

    def __init__(self, name: str, uri: str, on_end: Callable[[Failure | None], None]) -> None:
        self.name = name
        self.bin: Any = Gst.Pipeline.new(None)
        self.sink: Any = make(
            "appsink",
            sync=False,
            enable_last_sample=False,
            wait_on_eos=False,
            buffer_list=True,
            max_buffers=LIVE_BUFFERS,
            drop=True,
        )
        # Without "async" a pipeline is playing before its first media has come.
        self.sink.set_property("async", False)
        self.bin.add(self.sink)
        self.encoding: EncoderChain | None = None
        self.asked: Asked | None = None
        self.audio_kbps = 0
        self.sound: Any = None
        """What gives the sound alone, if a device does."""
        self.has_overflown = False
        self.has_picture = True
        """False until the source has offered one, where its tracks are taken apart."""
        self._uri = uri
        self._on_end = on_end
        self._has_ended = False
        self._unwatch: Callable[[], None] = lambda: None

    def wait_for_reader(self, buffers: int) -> None:
        """Media that comes faster than it is read waits; for files."""
        self.sink.set_property("drop", False)
        self.sink.set_property("max-buffers", buffers)

    def encode_with(self, chain: EncoderChain, asked: Asked, audio_kbps: int) -> None:
        self.encoding, self.asked, self.audio_kbps = chain, asked, audio_kbps

    @property
    def is_encoding(self) -> bool:
        return self.encoding is not None

    @property
    def encoder(self) -> Encoder | None:
        return self.encoding.encoder if self.encoding is not None else None

    async def start(self, on_media: Callable[[], None]) -> None:
        """Plays. A failure comes through ``on_end``; ``on_media`` is called, on the event loop,
        when the first media has come through.

        Raises:
            SourceUnavailable: something in it hangs.
        """
        loop = asyncio.get_running_loop()

        def first(pad: Any, info: Any) -> Any:
            # All tracks have been offered before media of any comes.
            if self.has_picture:
                loop.call_soon_threadsafe(on_media)
            else:
                loop.call_soon_threadsafe(self.fail, _NO_PICTURE)
            return Gst.PadProbeReturn.REMOVE

        kinds = Gst.PadProbeType.BUFFER | Gst.PadProbeType.BUFFER_LIST
        self.sink.get_static_pad("sink").add_probe(kinds, first)
        self._unwatch = watch_bus(self.bin.get_bus(), self._on_bus)
        try:
            await in_thread(
                "source-start", lambda: self.bin.set_state(Gst.State.PLAYING), START_DEADLINE_S
            )
        except TimeoutError:
            raise SourceUnavailable(
                f"{self.name} does not open within {START_DEADLINE_S:.0f} s; unplug it and plug it "
                "in again, or see the network to it"
            ) from None

    def pull(self) -> list[bytes]:
        """Buffers that wait; for most sources of seven packets each."""
        found: list[bytes] = []
        while (sample := self.sink.try_pull_sample(0)) is not None:
            buffers = sample.get_buffer_list()
            if buffers is None:
                found.append(sample.get_buffer().extract_dup(0, _ALL))
            else:
                found += [
                    buffers.get(index).extract_dup(0, _ALL) for index in range(buffers.length())
                ]
        if len(found) >= LIVE_BUFFERS and self.sink.get_property("drop"):
            self.has_overflown = True
        return found

    def set_bitrate(self, total_kbps: int) -> None:
        if self.encoding is not None and self.asked is not None:
            asked = self.asked
            kbps = video_kbps(total_kbps, self.audio_kbps, asked.shape.fps)
            self.asked = Asked(asked.codec, asked.shape, kbps, asked.gop)
            self.encoding.tell(self.asked)

    async def stop(self) -> None:
        """Takes it down. One that hangs is left behind."""
        self._unwatch()
        self._unwatch = lambda: None
        self._has_ended = True
        try:
            await in_thread(
                "source-stop", lambda: self.bin.set_state(Gst.State.NULL), STOP_DEADLINE_S
            )
        except TimeoutError:
            log.error("%s does not let go after %.0f s; left behind", self.name, STOP_DEADLINE_S)

    def fail(self, failure: Failure | None) -> None:
        """It is over, as its bus says or whoever watches it; once."""
        if not self._has_ended:
            self._has_ended = True
            self._on_end(failure)

    def _on_bus(self) -> None:
        for message in pop_messages(self.bin.get_bus()):
            if message.type == Gst.MessageType.EOS:
                self.fail(None)
            elif message.type == Gst.MessageType.ERROR:
                self.fail(self._judge(message))
            else:
                log.debug("%s: %s", self.name, scrub(bus_error(message)[0], self._uri))

    def _judge(self, message: Any) -> Failure:
        text = scrub(told(message), self._uri)
        origin = message.src
        if self.encoding is not None and origin == self.encoding.element:
            return Failure("encoder", f"the encoder {self.encoding.encoder.name} failed: {text}")
        if self.sound is not None and origin.has_as_ancestor(self.sound):
            return Failure("sound", text, "see its name (arecord -L), and whether it is plugged in")
        error = message.parse_error()[0]
        for name, remedy in _REMEDIES:
            if error.matches(Gst.ResourceError.quark(), getattr(Gst.ResourceError, name)):
                return Failure("source", text, remedy)
        missing = error.matches(Gst.CoreError.quark(), Gst.CoreError.MISSING_PLUGIN)
        wrong = error.matches(Gst.StreamError.quark(), Gst.StreamError.TYPE_NOT_FOUND)
        codec = error.matches(Gst.StreamError.quark(), Gst.StreamError.CODEC_NOT_FOUND)
        if missing or wrong or codec:
            remedy = "nothing here can read its media; have it send H.264 or H.265 with AAC"
            return Failure("source", text, remedy, is_final=True)
        return Failure("source", text)
