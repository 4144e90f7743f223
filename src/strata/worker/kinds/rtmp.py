"""RTMP and RTMPS: FLV to a platform or a media server.

units -> FLV tags (:mod:`strata.worker.flv`) -> appsrc -> rtmp2sink
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final

from strata.errors import (
    CertificateRefused,
    DestinationError,
    DestinationRefused,
    DestinationUnreachable,
    StrataError,
)
from strata.media.gst import Gst, make
from strata.wire.forward_url import ForwardUrl
from strata.worker.flv import FlvTags
from strata.worker.formats import Program
from strata.worker.output import Gate, PipelineOutput
from strata.worker.units import AccessUnit

CHUNK_BYTES: Final = 4096
"""What OBS sends, so what every platform takes. At the 128 bytes of the protocol's start
(RTMP 1.0 section 5.4.1) a forward costs a third more CPU."""

TIMEOUT_S: Final = 12
"""For the socket to take or bring anything. The kernel says that there is room again when a
third of its buffer is free, up to 1.3 MB: 11 s for a server that reads 1 Mbit/s, which is slow
and alive. One that has stopped is found out well within 30 s."""

CODECS: Final = frozenset(("h264", "h265") if Gst.ElementFactory.find("eflvmux") else ("h264",))
"""``rtmp2sink`` is known to carry the tags of Enhanced RTMP, which H.265 needs, from GStreamer
1.28 on; that brings this element, too."""


class Rtmp(PipelineOutput):
    ELEMENTS: ClassVar[tuple[str, ...]] = ("appsrc", "rtmp2sink")
    NETWORKED: ClassVar[bool] = True
    VIDEO: ClassVar[frozenset[str]] = CODECS

    _sink: Any
    _farewell: Any

    def __init__(
        self,
        url: ForwardUrl,
        program: Program,
        share_kbps: int,
        on_end: Callable[[StrataError | None], None],
    ) -> None:
        super().__init__(url, program, share_kbps, on_end)
        self._gate = Gate(program)
        self._tags = FlvTags()
        self.pipeline.push_bytes("tags", self._tags.begin(program))

    def build(self) -> None:
        self._sink = make(
            "rtmp2sink",
            location=self.url.url,
            sync=False,
            async_connect=False,
            peak_kbps=self.share_kbps,
            chunk_size=CHUNK_BYTES,
            timeout=TIMEOUT_S,
            enable_last_sample=False,
        )
        self._sink.set_property("async", False)
        # A session that is closed in form is over for a platform; one that breaks off is held
        # for a while. So the words of the close are for the end alone.
        self._farewell = self._sink.get_property("stop-commands")
        self._sink.set_property("stop-commands", 0)
        self.pipeline.add(self._sink)
        self.pipeline.add_source("tags", Gst.Caps.from_string("video/x-flv")).link(self._sink)

    def push(self, *units: AccessUnit) -> None:
        has_room = self.has_room("tags")
        for unit in units:
            if self._gate.passes(unit, has_room):
                for tag in self._tags.unit(unit):
                    self.pipeline.push_tag(tag, unit.dts_ns)
            elif unit.track == "video" and self._gate.was_open:
                self.dropped += 1

    def end(self, *, is_over: bool = True) -> None:
        if is_over:
            self._sink.set_property("stop-commands", self._farewell)
        super().end(is_over=is_over)

    def set_share(self, kbps: int) -> None:
        super().set_share(kbps)
        self._sink.set_property("peak-kbps", kbps)

    def bytes_out(self) -> int:
        stats = self._sink.get_property("stats")
        found, total = stats.get_uint64("out-bytes-total")
        return int(total) if found else 0

    def explain(self, text: str, debug: str) -> StrataError:
        where = f"{self.url.host}:{self.url.port}"
        said = f"{text} {debug}".lower()
        if "timed out" in said and self.bytes_out():
            return DestinationError(f"{where} has stopped taking the stream, without a word")
        for signs, kind, message in _EXPLANATIONS:
            if any(sign in said for sign in signs):
                scheme = self.url.url.partition(":")[0].upper()
                words = {"where": where, "host": self.url.host, "scheme": scheme}
                return kind(message.format(url=self.url.shown, **words))
        return DestinationError(f"RTMP to {where} failed: {text}; see the worker's log")


_EXPLANATIONS: Final[tuple[tuple[tuple[str, ...], type[DestinationError], str], ...]] = (
    (
        ("certificate",),
        CertificateRefused,
        "the certificate of {where} cannot be trusted, so nothing was sent there; check the "
        "name and the clock of this machine, or install the authority that signed it",
    ),
    (
        ("tls", "handshake: an unexpected"),
        DestinationRefused,
        "what listens on {where} does not speak TLS; check the port, or write rtmp:// for a "
        "server without encryption",
    ),
    (
        ("resolv", "name or service not known"),
        DestinationUnreachable,
        "the name {host} does not resolve; check the forward URL",
    ),
    (
        ("connection refused", "could not connect"),
        DestinationUnreachable,
        "RTMP connection refused: nothing listens on {where}; check the address and that the "
        "server is up",
    ),
    (
        ("timed out", "timeout", "unreachable"),
        DestinationUnreachable,
        "{where} does not answer; check the address, that it speaks {scheme}, and that a "
        "firewall lets it out",
    ),
    (
        ("short read", "handshake"),
        DestinationRefused,
        "what listens on {where} does not speak RTMP; check the port of the forward URL",
    ),
    (
        ("badname", "publish", "denied", "not authorized", "authentication"),
        DestinationRefused,
        "{where} refused to take {url}; check the stream key, and that nobody else is "
        "publishing with it",
    ),
    (
        ("'connect' cmd failed",),
        DestinationRefused,
        "{where} refused the application of {url}; check the part of the URL after the host",
    ),
    (
        ("closed remotely", "broken pipe", "connection reset"),
        DestinationError,
        "{where} closed the connection; it is down, or has ended the broadcast",
    ),
)
"""Words of rtmp2sink's messages, the error that they mean, and what to tell the operator.
The first line that fits counts."""
