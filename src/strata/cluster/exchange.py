"""What every transport does in the same way, once it has a connection.

Asking, answering and telling, the deadline of a request, and what happens when a connection
ends. A transport adds how the ends find each other, and a :class:`Connection` that moves
bytes.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import msgspec

from strata.cluster.ends import ControlEnd, Handler, HostEnd
from strata.errors import HostUnreachable, StrataError
from strata.tasks import TaskGroup
from strata.wire import host as wire
from strata.wire.lines import LineSplitter, LineTooLong

log = logging.getLogger(__name__)

READ_BYTES: Final = 64 * 1024
UNREAD_BYTES_MAX: Final = 16 * 1024 * 1024
RECONNECT_S: Final = 0.25

_BROKEN: Final = (LineTooLong, msgspec.DecodeError, OSError)


class Connection(Protocol):
    """One connection as one of its ends sees it: bytes each way, in their order."""

    async def read(self) -> bytes:
        """What has come, some of it at least; nothing once the connection has ended.

        Raises:
            OSError: the connection broke.
        """

    def write(self, data: bytes) -> None:
        """Never waits; where the connection has ended, nothing happens."""

    def unread_bytes(self) -> int:
        """How much of what was written still waits here for the other end."""

    def abort(self) -> None:
        """Ends it at once; what the other end has not read may be lost."""

    async def close(self) -> None:
        """Ends it; what was written arrives, unless the other end does not read.

        When this returns, nothing of this end is left. It may be called again.
        """


class HostSide(HostEnd):
    """The host's side: answers requests and sends notices to whoever is connected."""

    def __init__(self) -> None:
        self._handler: Handler | None = None
        self._connections: set[Connection] = set()
        self._is_closed = False
        self._tasks = TaskGroup()

    @abstractmethod
    async def _listen(self) -> None:
        """Lets control connect: each connection goes to :meth:`_accept`."""

    @abstractmethod
    async def _hush(self) -> None:
        """Lets nobody connect any more."""

    async def start(self, handler: Handler) -> None:
        """Begins to serve.

        Args:
            handler: answers each request; the StrataErrors that it raises become ``failed``.
        """
        self._handler = handler
        await self._listen()

    def notify(self, notice: wire.Notice) -> None:
        """Tells every control plane that is connected; those that are not ask ``list``."""
        line = wire.encode(wire.Frame(notice=notice))
        for connection in tuple(self._connections):
            if connection.unread_bytes() > UNREAD_BYTES_MAX:
                log.warning("control does not read what the host says; its connection is cut")
                connection.abort()
            else:
                connection.write(line)

    async def close(self) -> None:
        """Ends all connections, and what they had asked for."""
        self._is_closed = True
        await self._hush()
        await asyncio.gather(*(each.close() for each in self._connections))
        await self._tasks.close()

    def _accept(self, connection: Connection) -> None:
        if self._is_closed:
            connection.abort()
            return
        self._connections.add(connection)
        self._tasks.spawn("control-connection", self._serve(connection))

    async def _serve(self, connection: Connection) -> None:
        def take(frame: wire.Frame) -> None:
            if frame.request is not None:
                name = f"request-{type(frame.request).__name__}"
                self._tasks.spawn(name, self._answer(frame.id, frame.request, connection))

        try:
            await _read(connection, take)
        except _BROKEN as error:
            log.warning("the connection from control is closed: %s", error)
        finally:
            await connection.close()
            self._connections.discard(connection)

    async def _answer(self, id: int | None, request: wire.Request, connection: Connection) -> None:
        assert self._handler is not None
        try:
            line = wire.encode(wire.Frame(id=id, reply=await self._handler(request)))
        except Exception as error:
            line = wire.encode(wire.Frame(id=id, reply=_failed(error, request)))
        connection.write(line)


def _failed(error: Exception, request: wire.Request) -> wire.Failed:
    if isinstance(error, StrataError):
        return wire.Failed(error.code, error.message)
    log.error("request %r failed", request, exc_info=error)
    return wire.Failed("internal", "the host failed internally; its log has the details")


class ControlSide(ControlEnd):
    """Control's side.

    Args:
        on_connect: called (as a task) after each connection, to compare notes.
        on_notice: called with each notice.
    """

    def __init__(
        self,
        on_connect: Callable[[], Awaitable[None]],
        on_notice: Callable[[wire.Notice], None],
        request_timeout_s: float,
    ) -> None:
        self._on_connect = on_connect
        self._on_notice = on_notice
        self._request_timeout_s = request_timeout_s
        self._connection: Connection | None = None
        self._waiting: dict[int, asyncio.Future[wire.Reply]] = {}
        self._ids = itertools.count(1)
        self._tasks = TaskGroup()

    @abstractmethod
    async def _connect(self) -> Connection:
        """A new connection.

        Raises:
            OSError: the host is not there.
        """

    @property
    def connected(self) -> bool:
        return self._connection is not None

    def start(self) -> None:
        """Begins to connect, and to stay connected."""
        self._tasks.spawn("host-connection", self._stay_connected())

    async def request(self, request: wire.Request) -> wire.Reply:
        """The host's answer.

        Raises:
            HostUnreachable: no connection, or no answer in time.
            StrataError: whatever the host raised.
        """
        if self._connection is None:
            raise HostUnreachable(
                "the host is not connected, so nothing can be started or stopped now; streams "
                "that run go on. Try again in a moment, and see the host's log if that fails"
            )
        id = next(self._ids)
        answer: asyncio.Future[wire.Reply] = asyncio.get_running_loop().create_future()
        line = wire.encode(wire.Frame(id=id, request=request))
        self._waiting[id] = answer
        try:
            self._connection.write(line)
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
        """Ends the connection for good."""
        await self._tasks.close()

    async def _stay_connected(self) -> None:
        while True:
            try:
                connection = await self._connect()
            except OSError:
                await asyncio.sleep(RECONNECT_S)
                continue
            log.info("connected to the host")
            self._connection = connection
            self._tasks.spawn("host-connected", self._greet())
            try:
                await _read(connection, self._take)
            except _BROKEN as error:
                log.warning("the connection to the host broke: %s", error)
            finally:
                self._connection = None
                self._fail_waiting()
                await connection.close()
            log.warning("the host is gone; its streams are not observed until it is back")
            await asyncio.sleep(RECONNECT_S)  # one that cuts us off again and again is no hurry

    async def _greet(self) -> None:
        await self._on_connect()

    def _take(self, frame: wire.Frame) -> None:
        if frame.notice is not None:
            try:
                self._on_notice(frame.notice)
            except Exception:  # what one notice does must not end the connection for good
                log.exception("a notice could not be taken in")
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


async def _read(connection: Connection, take: Callable[[wire.Frame], None]) -> None:
    """Hands on each frame until the connection ends.

    Raises:
        LineTooLong, msgspec.DecodeError: the other end speaks another language.
        OSError: the connection broke.
    """
    splitter = LineSplitter(wire.MAX_FRAME_BYTES)
    while data := await connection.read():
        for line in splitter.feed(data):
            take(wire.decode(line))
