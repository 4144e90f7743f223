"""Control and host over a Unix socket.

The host serves (:class:`HostServer`); control connects (:class:`HostClient`), and connects
again for ever: either side may be restarted without the other noticing more than silence.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec

from strata.cluster.ends import Handler
from strata.errors import HostUnreachable, StrataError
from strata.tasks import TaskGroup
from strata.wire import host as wire
from strata.wire.lines import LineSplitter, LineTooLong

log = logging.getLogger(__name__)

READ_BYTES: Final = 64 * 1024
UNREAD_BYTES_MAX: Final = 16 * 1024 * 1024
RECONNECT_S: Final = 0.25
CLOSE_DEADLINE_S: Final = 1.0


class HostServer:
    """The host's side: answers requests and sends notices to whoever is connected."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handler: Handler | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks = TaskGroup()
        self._server: asyncio.AbstractServer | None = None

    async def start(self, handler: Handler) -> None:
        """Binds the socket, which only this user may open (its folder has mode 0700).

        Args:
            handler: answers each request; the StrataErrors that it raises become ``failed``.
        """
        self._handler = handler
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, self._path)
        self._path.chmod(0o600)

    def notify(self, notice: wire.Notice) -> None:
        """Tells every control plane that is connected; those that are not ask ``list``."""
        line = wire.encode(wire.Frame(notice=notice))
        for writer in tuple(self._writers):
            if writer.transport.get_write_buffer_size() > UNREAD_BYTES_MAX:
                log.warning("control does not read what the host says; its connection is cut")
                writer.transport.abort()
            else:
                writer.write(line)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in tuple(self._writers):
            await _close(writer)
        await self._tasks.close()
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        splitter = LineSplitter(wire.MAX_FRAME_BYTES)
        try:
            while data := await reader.read(READ_BYTES):
                for line in splitter.feed(data):
                    frame = wire.decode(line)
                    if frame.request is not None:
                        name = f"request-{type(frame.request).__name__}"
                        self._tasks.spawn(name, self._answer(frame, writer))
        except (LineTooLong, msgspec.DecodeError, ConnectionError) as error:
            log.warning("the connection from control is closed: %s", error)
        finally:
            self._writers.discard(writer)
            await _close(writer)

    async def _answer(self, frame: wire.Frame, writer: asyncio.StreamWriter) -> None:
        assert frame.request is not None
        assert self._handler is not None
        try:
            reply = await self._handler(frame.request)
        except StrataError as error:
            reply = wire.Failed(error.code, error.message)
        except Exception:
            log.exception("request %r failed", frame.request)
            reply = wire.Failed("internal", "the host failed internally; its log has the details")
        if not writer.transport.is_closing():
            writer.write(wire.encode(wire.Frame(id=frame.id, reply=reply)))


class HostClient:
    """Control's side.

    Args:
        on_connect: called (as a task) after each connection, to compare notes.
        on_notice: called with each notice.
    """

    def __init__(
        self,
        path: Path,
        on_connect: Callable[[], Awaitable[None]],
        on_notice: Callable[[wire.Notice], None],
        request_timeout_s: float,
    ) -> None:
        self._path = path
        self._on_connect = on_connect
        self._on_notice = on_notice
        self._request_timeout_s = request_timeout_s
        self._writer: asyncio.StreamWriter | None = None
        self._waiting: dict[int, asyncio.Future[wire.Reply]] = {}
        self._ids = itertools.count(1)
        self._tasks = TaskGroup()

    @property
    def connected(self) -> bool:
        return self._writer is not None

    def start(self) -> None:
        self._tasks.spawn("host-connection", self._stay_connected())

    async def request(self, request: wire.Request) -> wire.Reply:
        """The host's answer.

        Raises:
            HostUnreachable: no connection, or no answer in time.
            StrataError: whatever the host raised.
        """
        if self._writer is None:
            raise HostUnreachable(
                "the host is not connected, so nothing can be started or stopped now; streams "
                "that run go on. Try again in a moment, and see the host's log if that fails"
            )
        id = next(self._ids)
        answer: asyncio.Future[wire.Reply] = asyncio.get_running_loop().create_future()
        self._waiting[id] = answer
        try:
            self._writer.write(wire.encode(wire.Frame(id=id, request=request)))
            reply = await asyncio.wait_for(answer, self._request_timeout_s)
        except TimeoutError:
            raise HostUnreachable(
                f"the host has not answered for {self._request_timeout_s:.0f} s; see its log"
            ) from None
        finally:
            self._waiting.pop(id, None)
        if isinstance(reply, wire.Failed):
            raise wire.error_of(reply)
        return reply

    async def close(self) -> None:
        await self._tasks.close()
        if self._writer is not None:
            await _close(self._writer)

    async def _stay_connected(self) -> None:
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(self._path)
            except OSError:
                await asyncio.sleep(RECONNECT_S)
                continue
            log.info("connected to the host")
            self._writer = writer
            self._tasks.spawn("host-connected", self._greet())
            try:
                await self._read(reader)
            except (LineTooLong, msgspec.DecodeError, ConnectionError) as error:
                log.warning("the connection to the host broke: %s", error)
            finally:
                self._writer = None
                self._fail_waiting()
                await _close(writer)
            log.warning("the host is gone; its streams are not observed until it is back")

    async def _greet(self) -> None:
        await self._on_connect()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        splitter = LineSplitter(wire.MAX_FRAME_BYTES)
        while data := await reader.read(READ_BYTES):
            for line in splitter.feed(data):
                frame = wire.decode(line)
                if frame.notice is not None:
                    self._on_notice(frame.notice)
                elif frame.reply is not None and frame.id in self._waiting:
                    answer = self._waiting[frame.id]
                    if not answer.done():
                        answer.set_result(frame.reply)

    def _fail_waiting(self) -> None:
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(
                    HostUnreachable("the host went away before it answered; ask again")
                )


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        await asyncio.wait_for(writer.wait_closed(), CLOSE_DEADLINE_S)
