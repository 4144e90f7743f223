"""RTMP: FLV to a platform or a media server.

appsrc video, appsrc audio -> flvmux -> rtmp2sink
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from strata.errors import (
    DestinationError,
    DestinationRefused,
    DestinationUnreachable,
    StrataError,
    UnsupportedMedia,
)
from strata.wire.forward_url import Kind
from strata.worker.gst import Gst, make
from strata.worker.output import Output
from strata.worker.units import Program, codec_of


class Rtmp(Output):
    KIND: ClassVar[Kind] = "rtmp"
    ELEMENTS: ClassVar[tuple[str, ...]] = ("appsrc", "flvmux", "rtmp2sink")

    _sink: Any

    @classmethod
    def check(cls, program: Program) -> None:
        if program.video is not None and codec_of(program.video) != "h264":
            raise UnsupportedMedia(
                f"the sender's video is {codec_of(program.video)}, and RTMP from this machine "
                "carries H.264 only; set the encoder to H.264"
            )
        if program.audio is not None and codec_of(program.audio) != "aac":
            raise UnsupportedMedia(
                f"the sender's audio is {codec_of(program.audio)}, and RTMP carries AAC only; "
                "set the encoder to AAC"
            )

    def build(self, pipeline: Gst.Pipeline) -> None:
        # skip-backwards-streams: a stamp that steps back is dropped, not clamped onto the
        # other track's.
        mux: Any = make("flvmux", streamable=True, skip_backwards_streams=True)
        self._sink = make(
            "rtmp2sink",
            location=self.url.url,
            sync=False,
            async_connect=False,
            peak_kbps=self.peak_kbps,
            enable_last_sample=False,
        )
        self._sink.set_property("async", False)
        pipeline.add(mux)
        pipeline.add(self._sink)
        mux.link(self._sink)
        for track, caps in self.program.tracks():
            source = self.add_source(track, caps)
            source.get_static_pad("src").link(mux.request_pad_simple(track))

    def bytes_out(self) -> int:
        stats = self._sink.get_property("stats")
        found, total = stats.get_uint64("out-bytes-total")
        return int(total) if found else 0

    def explain(self, text: str, debug: str) -> StrataError:
        where = f"{self.url.host}:{self.url.port}"
        said = f"{text} {debug}".lower()
        for signs, kind, message in _EXPLANATIONS:
            if any(sign in said for sign in signs):
                return kind(message.format(where=where, host=self.url.host, url=self.url.shown))
        return DestinationError(f"RTMP to {where} failed: {text}; see the worker's log")


_EXPLANATIONS: Final[tuple[tuple[tuple[str, ...], type[DestinationError], str], ...]] = (
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
        "{where} does not answer; check the address, and that a firewall lets RTMP out",
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
