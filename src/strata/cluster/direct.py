"""Control and host within one process and one event loop, for tests and for embedding.

What they say is encoded and decoded as on any other way: what cannot be sent does not pass
here either, and neither end holds an object of the other's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from strata.cluster.exchange import READ_BYTES, Connection, ControlSide, HostSide
from strata.wire import host as wire


class Meeting:
    """Where the two find each other, as others do at the path of a socket.

    Attributes:
        host: who serves here now.
    """

    def __init__(self) -> None:
        self.host: DirectHost | None = None


class DirectHost(HostSide):
    """The host's side."""

    def __init__(self, meeting: Meeting) -> None:
        super().__init__()
        self._meeting = meeting

    def connect(self) -> Connection:
        """The other end of a new connection to this host."""
        ours, theirs = _End(), _End()
        ours.other, theirs.other = theirs, ours
        self._accept(ours)
        return theirs

    async def _listen(self) -> None:
        self._meeting.host = self

    async def _hush(self) -> None:
        if self._meeting.host is self:
            self._meeting.host = None


class DirectControl(ControlSide):
    """Control's side.

    Args:
        meeting: where the host serves.
        on_connect: called (as a task) after each connection, to compare notes.
        on_notice: called with each notice.
    """

    def __init__(
        self,
        meeting: Meeting,
        on_connect: Callable[[], Awaitable[None]],
        on_notice: Callable[[wire.Notice], None],
        request_timeout_s: float,
    ) -> None:
        super().__init__(on_connect, on_notice, request_timeout_s)
        self._meeting = meeting

    async def _connect(self) -> Connection:
        if self._meeting.host is None:
            raise ConnectionRefusedError("nobody serves here")
        return self._meeting.host.connect()


class _End(Connection):
    """An end of a connection in memory."""

    def __init__(self) -> None:
        self.other: _End
        self._inbox = bytearray()
        self._is_over = False
        self._news = asyncio.Event()

    async def read(self) -> bytes:
        await asyncio.sleep(0)  # whoever writes without end must not keep the others from work
        while not self._inbox and not self._is_over:
            self._news.clear()
            await self._news.wait()
        data = bytes(self._inbox[:READ_BYTES])
        del self._inbox[:READ_BYTES]
        return data

    def write(self, data: bytes) -> None:
        if not self._is_over:
            self.other._inbox += data
            self.other._news.set()

    def unread_bytes(self) -> int:
        return len(self.other._inbox)

    def abort(self) -> None:
        self.other._inbox.clear()
        self._end()

    async def close(self) -> None:
        self._end()

    def _end(self) -> None:
        """The other end may still read what has come to it."""
        self._inbox.clear()
        for each in (self, self.other):
            each._is_over = True
            each._news.set()
