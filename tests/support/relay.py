"""A TCP relay that can be a bad server: refuse, cut, stall, or read slowly."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Final, Self

_PIECE: Final = 16 * 1024
_BUFFER: Final = 64 * 1024
"""What the kernel takes for a relay that does not read; small, so that it shows soon."""


class TcpRelay:
    """Stands in for the server on ``target``, a port of this machine.

    Attributes:
        stalled: it accepts and takes nothing.
        kbps: what it takes of each connection at most; 0 for no limit.
    """

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self.stalled = False
        self.kbps = 0
        self.accepted = 0
        self._target = target
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        sock.bind(("127.0.0.1", self.port))
        self._server = await asyncio.start_server(self._serve, sock=sock, limit=_BUFFER)

    async def refuse(self) -> None:
        """Cuts what is connected and listens no longer."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in tuple(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, back, is_slow=True))
                group.create_task(self._pump(there, writer, is_slow=False))
        except* OSError:
            pass
        finally:
            self._connections.discard(task)
            for each in (writer, back):
                with contextlib.suppress(OSError):
                    each.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_slow: bool
    ) -> None:
        while data := await reader.read(_PIECE):
            while is_slow and self.stalled:
                await asyncio.sleep(0.05)
            if is_slow and self.kbps:
                await asyncio.sleep(len(data) * 8 / 1000 / self.kbps)
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError  # ends the other direction too

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()
