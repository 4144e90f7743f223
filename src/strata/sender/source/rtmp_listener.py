"""Listens for an encoder that publishes (OBS, a camera, a phone) to ``rtmp://:1935/app/key``.

    TCP ─► RtmpSession ─► appsrc ─► flvdemux ─► as any other source

One publishes at a time. Who has another key is refused, and told so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from strata.errors import SourceUnavailable
from strata.media.gst import Gst
from strata.sender.source import feeds
from strata.sender.source.encoders import Encoder
from strata.sender.source.feeds import OnEnd
from strata.sender.source.pipeline import Failure, MediaPipeline
from strata.sender.source.rtmp_session import FLV_HEADER, BadRtmp, RtmpSession
from strata.sender.source.tracks import Coding
from strata.sender.source.uri import SourceUri

log = logging.getLogger(__name__)

HELLO_DEADLINE_S: Final = 10.0
"""From connection to publication."""
SILENCE_S: Final = 10.0
WRITE_DEADLINE_S: Final = 5.0
READ_BYTES: Final = 256 * 1024
CONNECTIONS_MAX: Final = 8
QUEUED_BYTES_MAX: Final = 32 * 1024 * 1024
"""What the pipeline has not taken yet; more, and it is stuck."""


class RtmpListener:
    """One wait for a publisher, and its stream to the end."""

    def __init__(self, uri: SourceUri, coding: Coding, on_end: OnEnd) -> None:
        self.has_overflown = False
        self._uri = uri
        self._on_end = on_end
        self._pipeline: MediaPipeline = feeds.flv(uri, coding, on_end)
        self._source: Any = self._pipeline.bin.get_by_name(feeds.FLV_SOURCE)
        self._server: asyncio.Server | None = None
        self._is_taken = False
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def is_encoding(self) -> bool:
        return self._pipeline.is_encoding

    @property
    def encoder(self) -> Encoder | None:
        return self._pipeline.encoder

    async def start(self, on_media: Callable[[], None]) -> None:
        """Listens.

        Raises:
            SourceUnavailable: the port is taken.
        """
        port = self._uri.port
        try:
            self._server = await asyncio.start_server(
                self._serve, self._uri.host or None, port, limit=READ_BYTES
            )
        except OSError as error:
            raise SourceUnavailable(
                f"{self._uri.shown} cannot be listened on: {error.strerror}; another program may "
                f"hold the port (see: ss -tlnp 'sport = :{port}')"
            ) from None
        await self._pipeline.start(on_media)

    def pull(self) -> list[bytes]:
        found = self._pipeline.pull()
        self.has_overflown = self.has_overflown or self._pipeline.has_overflown
        self._pipeline.has_overflown = False
        return found

    def set_bitrate(self, total_kbps: int) -> None:
        self._pipeline.set_bitrate(total_kbps)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in tuple(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._pipeline.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._connections) >= CONNECTIONS_MAX:
            writer.transport.abort()
            return
        self._connections.add(task)
        session = RtmpSession(*self._uri.app_and_key)
        try:
            await self._converse(session, reader, writer)
        except (OSError, BadRtmp) as error:  # with TimeoutError, which is one
            log.info("%s: a connection has ended: %s", self._uri.shown, str(error) or "silence")
        finally:
            self._connections.discard(task)
            writer.transport.abort()
            if session.is_publishing:
                self._on_end(Failure("source", "who published has gone"))

    async def _converse(
        self,
        session: RtmpSession,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        loop = asyncio.get_running_loop()
        hello_until = loop.time() + HELLO_DEADLINE_S
        while not session.is_over:
            left_s = SILENCE_S if session.is_publishing else hello_until - loop.time()
            async with asyncio.timeout(left_s):
                data = await reader.read(READ_BYTES)
            if not data:
                return
            was_publishing = session.is_publishing
            answer, tags = session.feed(data)
            if session.is_publishing and not was_publishing:
                if self._is_taken:
                    session.is_publishing = False
                    log.warning("%s: a second encoder wants to publish", self._uri.shown)
                    return
                self._is_taken = True
                self._push(FLV_HEADER)
            if tags:
                self._push(tags)
            if answer:
                writer.write(answer)
                async with asyncio.timeout(WRITE_DEADLINE_S):
                    await writer.drain()
        if session.refused:
            log.warning("%s: %s; it was refused", self._uri.shown, session.refused)

    def _push(self, data: bytes) -> None:
        if int(self._source.get_current_level_bytes()) > QUEUED_BYTES_MAX:
            self._on_end(Failure("source", "the pipeline takes nothing"))
            return
        self._source.push_buffer(Gst.Buffer.new_wrapped(data))
