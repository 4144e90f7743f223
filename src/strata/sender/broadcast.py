"""One broadcast: from a source to the receiver, over the links that there are at its start.

In this version the test picture, and librist's own way to share packets among links.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any, Final
from urllib.parse import urlsplit

from strata import rist
from strata.errors import BadArguments, HostError, StrataError
from strata.secrets import Secret
from strata.sender.interfaces import Watch
from strata.sender.links import Link, usable_links
from strata.sender.post import Begin, Ended
from strata.sender.settings import SenderSettings
from strata.sender.source import Picture, TestSource
from strata.tasks import in_thread
from strata.wire import agent as wire

READ_S: Final = 0.2
THREAD_DEADLINE_S: Final = 5.0
NULL_PACKETS: Final = (b"\x47\x1f\xff\x10" + b"\xff" * 184) * 7
"""Sent first: librist 0.2.7 does not deliver the first packet of a flow, and that of a
transport stream holds its tables."""


def beginning(watch: Watch) -> Begin:
    """How the agent gets a broadcast."""
    return lambda order, settings: LibristBroadcast(order, settings, watch)


class LibristBroadcast:
    """As :class:`strata.sender.post.Broadcast`."""

    def __init__(self, order: wire.StreamStart, settings: SenderSettings, watch: Watch) -> None:
        if order.source.mode != "test":
            raise BadArguments("this version of the sender sends the test picture only")
        self.order = order
        self.total_bytes = 0
        self._settings = settings
        self._watch = watch
        self._began_at = time.monotonic()
        self._lasted_s: float | None = None
        kbps = order.encoder.bitrate_kbps
        kbps = min(max(kbps, settings.encoder.floor_kbps), settings.encoder.ceiling_kbps)
        self._source = TestSource(Picture(bitrate_kbps=kbps))
        self._links: list[Link] = []
        self._sender: rist.Sender | None = None
        self._reports: dict[int, Any] = {}
        self._is_over = asyncio.Event()
        self._end = Ended("eos", "")
        self._is_stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def uptime_s(self) -> float:
        return self._lasted_s or time.monotonic() - self._began_at

    async def start(self) -> None:
        await in_thread("broadcast-open", self._open, THREAD_DEADLINE_S)
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(
            target=self._send, args=(loop,), name="broadcast", daemon=True
        )
        self._thread.start()

    async def move(self, destinations: list[str], psk: Secret) -> None:
        raise BadArguments("this version of the sender cannot move a stream; stop and start it")

    async def ended(self) -> Ended:
        await self._is_over.wait()
        return self._end

    def stats(self) -> wire.StreamStats:
        for report in self._sender.take_reports() if self._sender is not None else ():
            self._reports[report["id"]] = report["stats"]
        reports = [stats for _, stats in sorted(self._reports.items())]
        links = [
            wire.LinkStats(link.id, link.interface, "up", stats["avg_rtt"])
            for link, stats in zip(self._links, reports, strict=False)
        ]
        return wire.StreamStats(self.order.stream_id, self.uptime_s, None, links)

    async def stop(self) -> None:
        self._is_stopping.set()
        await in_thread("broadcast-close", self._close, THREAD_DEADLINE_S)
        self._lasted_s = self._lasted_s or time.monotonic() - self._began_at

    def _open(self) -> None:
        order = self.order
        self._links = usable_links(self._settings.links, self._watch.now, order.destinations)
        if not self._links:
            raise HostError(
                "no network interface of the sender is up, so nothing can be sent; plug in a "
                "modem or a cable, or see: ip address"
            )
        self._sender = rist.Sender(
            [_rist_link(each) for each in self._links],
            Secret(order.psk),
            aes_bits=order.aes_type,
            buffer_ms=order.buffer_ms,
        )
        self._sender.start()
        self._sender.write(NULL_PACKETS)
        self._source.start()

    def _send(self, loop: asyncio.AbstractEventLoop) -> None:
        assert self._sender is not None
        try:
            while not self._is_stopping.is_set():
                payload = self._source.read(READ_S)
                if payload is not None:
                    self._sender.write(payload)
                    self.total_bytes += len(payload)
        except StrataError as error:
            self._end = Ended("source", error.message)
            loop.call_soon_threadsafe(self._is_over.set)

    def _close(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._source.stop()
        if self._sender is not None:
            self._sender.close()


def _rist_link(link: Link) -> rist.Link:
    parts = urlsplit(link.destination)
    assert parts.hostname is not None
    assert parts.port is not None
    return rist.Link(parts.hostname, parts.port, interface=link.interface)
