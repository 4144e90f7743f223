"""Control and host over a Unix socket.

The host serves (:class:`HostServer`); control connects (:class:`HostClient`), and connects
again for ever: either side may be restarted without the other noticing more than silence.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from strata.cluster.exchange import READ_BYTES, Connection, ControlSide, HostSide
from strata.wire import host as wire

CLOSE_DEADLINE_S: Final = 1.0


class HostServer(HostSide):
    """The host's side, at the socket ``path``."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._server: asyncio.Server | None = None

    async def _listen(self) -> None:
        """Binds the socket, which only this user may open (its folder has mode 0700)."""
        self._path.unlink(missing_ok=True)
        # Not a coroutine: asyncio would keep the task of one to itself.
        self._server = await asyncio.start_unix_server(self._connected, self._path)
        self._path.chmod(0o600)

    async def _hush(self) -> None:
        if self._server is None:
            return
        for listener in self._server.sockets:
            asyncio.get_running_loop().remove_reader(listener.fileno())
        # One round for a connection that has just been taken: asyncio's server, once closed,
        # stumbles over it and leaves it to the garbage collector (python/cpython#109564).
        await asyncio.sleep(0)
        self._server.close()
        self._server = None
        self._path.unlink(missing_ok=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._accept(_Socket(reader, writer))


class HostClient(ControlSide):
    """Control's side.

    Args:
        path: where the host serves.
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
        super().__init__(on_connect, on_notice, request_timeout_s)
        self._path = path

    async def _connect(self) -> Connection:
        return _Socket(*await asyncio.open_unix_connection(self._path))


class _Socket(Connection):
    """An end of a socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._closing: asyncio.Task[None] | None = None

    async def read(self) -> bytes:
        return await self._reader.read(READ_BYTES)

    def write(self, data: bytes) -> None:
        if not self._writer.transport.is_closing():
            self._writer.write(data)

    def unread_bytes(self) -> int:
        return self._writer.transport.get_write_buffer_size()

    def abort(self) -> None:
        # One that closed by itself, after it had written what it held, has no protocol any
        # more, and to abort it is an error within asyncio.
        if self._writer.transport.get_protocol() is not None:
            self._writer.transport.abort()

    async def close(self) -> None:
        # In a task, because several may close it: the writer can be waited for but once.
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name="socket-close")
        try:
            await asyncio.wait({self._closing})
        except asyncio.CancelledError:
            self.abort()
            await asyncio.wait({self._closing})  # a round of the loop or two
            raise

    async def _close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            await asyncio.wait_for(self._writer.wait_closed(), CLOSE_DEADLINE_S)
        self.abort()  # for one whose other end did not read in time
        await asyncio.sleep(0)  # asyncio closes the descriptor in its next round
