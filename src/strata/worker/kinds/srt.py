"""SRT: the transport stream, packet for packet as it came, to or for another machine.

appsrc packets -> srtsink
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from typing import Any, ClassVar, Final

from strata.errors import (
    DestinationError,
    DestinationRefused,
    DestinationUnreachable,
    StrataError,
)
from strata.media.gst import Gst, make
from strata.wire.forward_url import ForwardUrl
from strata.worker.egress import Rate
from strata.worker.output import Feed, PipelineOutput
from strata.worker.ts_keys import Packets

log = logging.getLogger(__name__)

OVERHEAD_PERCENT: Final = 25
"""What libsrt may send beyond the stream itself, to repair losses (``SRTO_OHEADBW``; its
own default)."""
CONNECT_TIMEOUT_MS: Final = 3000
POLL_MS: Final = 1000
"""How long srtsink may wait before it looks whether it is to stop."""

LAST_PACKETS_S: Final = 0.2


class Srt(PipelineOutput):
    FEED: ClassVar[Feed] = "packets"
    ELEMENTS: ClassVar[tuple[str, ...]] = ("appsrc", "srtsink")
    NETWORKED: ClassVar[bool] = True
    RIGID: ClassVar[bool] = True
    OVERHEAD: ClassVar[float] = 1.0 + OVERHEAD_PERCENT / 100
    # libsrt takes the moment at which it is given a packet for the packet's time: what is
    # given at once arrives as a burst, or is dropped as too late.
    TAKES_BURSTS: ClassVar[bool] = False

    _sink: Any

    def build(self) -> None:
        url = self.url
        self._callers = 0
        self._pushed = Rate()
        host = f"[{url.host}]" if ":" in (url.host or "") else url.host
        # maxbw=0: as much as comes in, and the overhead on top.
        self._sink = make(
            "srtsink",
            uri=f"srt://{host}:{url.port}?mode={url.options['mode']}&maxbw=0&inputbw=0"
            f"&oheadbw={OVERHEAD_PERCENT}&conntimeo={CONNECT_TIMEOUT_MS}",
            latency=url.whole("latency"),
            poll_timeout=POLL_MS,
            wait_for_connection=not url.listens,
            auto_reconnect=False,
            sync=False,
            enable_last_sample=False,
        )
        self._sink.set_property("async", False)
        for option in ("passphrase", "streamid"):
            if option in url.options:
                self._sink.set_property(option, url.options[option])
        if "pbkeylen" in url.options:
            self._sink.set_property("pbkeylen", url.whole("pbkeylen"))
        if url.listens:
            self._sink.set_property("localport", url.port)
            self._sink.set_property("localaddress", url.host or "0.0.0.0")
            self._sink.connect("caller-connecting", self._may_call)
            self._sink.connect("caller-added", self._count_callers, 1)
            self._sink.connect("caller-removed", self._count_callers, -1)
        self.pipeline.add(self._sink)
        caps = Gst.Caps.from_string("video/mpegts,systemstream=true")
        self.pipeline.add_source("packets", caps).link(self._sink)

    async def start(self) -> None:
        if self.url.listens:
            _check_port(self.url)
        await super().start()

    def push_packets(self, packets: Packets) -> None:
        self._pushed.add(time.monotonic(), len(packets.data))
        super().push_packets(packets)

    def bytes_out(self) -> int:
        found, total = self._sink.get_property("stats").get_uint64("bytes-sent-total")
        return int(total) if found else 0

    def idle(self) -> str | None:
        if self.url.listens and not self._callers:
            return f"waiting for a caller on UDP port {self.url.port}"
        return None

    def copies(self) -> int:
        return max(1, self._callers)

    def explain(self, text: str, debug: str) -> StrataError:
        where = f"{self.url.host}:{self.url.port}"
        said = f"{text} {debug}".lower()
        for sign, kind, message in _EXPLANATIONS:
            if sign in said:
                return kind(message.format(where=where, host=self.url.host))
        return DestinationError(f"SRT to {where} failed: {text}; see the worker's log")

    def _on_pipeline_end(self, failure: tuple[str, str] | None) -> None:
        if failure is None:
            # libsrt has the last packets and is told to forget them when it is closed, so
            # the other side gets the time that it has to ask for a repair.
            wait_s = self.url.whole("latency") / 1000 + LAST_PACKETS_S
            asyncio.get_running_loop().call_later(wait_s, self.finish, None)
        else:
            super()._on_pipeline_end(failure)

    # Called by threads of libsrt.

    def _may_call(self, sink: Any, address: Any, stream_id: str) -> bool:
        """One caller always, more as far as the share goes: each gets a whole copy."""
        if not self._callers or not self.share_kbps:
            return True
        rate_kbps = self._pushed.kbps or 0.0
        fits = (self._callers + 1) * rate_kbps * self.OVERHEAD <= self.share_kbps
        if not fits:
            log.warning(
                "%s: a caller was turned away: one more copy of %.0f kbit/s does not fit what "
                "this forward may send (%d kbit/s)",
                self.url,
                rate_kbps,
                self.share_kbps,
            )
        return fits

    def _count_callers(self, sink: Any, unused: int, address: Any, change: int) -> None:
        self._callers += change


def _check_port(url: ForwardUrl) -> None:
    """libsrt shares a port with whoever shares it too, and one of the two gets nothing.

    Raises:
        DestinationError: another program has it.
    """
    family = socket.AF_INET6 if ":" in (url.host or "") else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((url.host or "0.0.0.0", url.port))
        except OSError as error:
            raise DestinationError(
                f"cannot wait for callers on UDP port {url.port}: {error.strerror}; end the "
                f"program that has it (see: ss -ulpn 'sport = :{url.port}'), or choose another"
            ) from None


_EXPLANATIONS: Final[tuple[tuple[str, type[DestinationError], str], ...]] = (
    (
        "incorrect passphrase",
        DestinationRefused,
        "{where} has another passphrase; check it on both sides",
    ),
    (
        "password required or unexpected",
        DestinationRefused,
        "one side of the SRT connection to {where} has a passphrase and the other has none; "
        "give both the same",
    ),
    (
        "failed to resolve",
        DestinationUnreachable,
        "the name {host} does not resolve; check the forward URL",
    ),
    (
        "connection timeout",
        DestinationUnreachable,
        "{where} does not answer SRT; check the address, that it waits for callers, and that "
        "a firewall lets UDP out",
    ),
    (
        "error on srt socket",
        DestinationRefused,
        "{where} refused the SRT connection; check its stream id and what it allows",
    ),
    (
        "broken or closed",
        DestinationError,
        "the SRT connection to {where} is gone: closed there, or nothing came back for 5 s",
    ),
)
"""Words of srtsink's messages, the error that they mean, and what to tell the operator.
The first line that fits counts."""
