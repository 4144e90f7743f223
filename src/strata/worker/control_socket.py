"""The worker's side of its control socket: many clients, lines in, events out."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from strata.errors import BadArguments, Conflict
from strata.wire import worker as wire
from strata.wire.lines import LineSplitter, LineTooLong

log = logging.getLogger(__name__)

CLIENTS_MAX: Final = 64
UNREAD_BYTES_MAX: Final = 1024 * 1024
"""What a client may leave unread; 15 minutes of statistics. Then it is cut off, because
its events would otherwise fill the worker's memory."""

CLOSE_DEADLINE_S: Final = 1.0
DRAIN_DEADLINE_S: Final = 5.0

PATH_BYTES_MAX: Final = 107
"""``sun_path`` has 108 bytes with its closing NUL (unix(7))."""


class Client:
    """One connection; what the worker answers goes through :meth:`send`."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    def send(self, event: wire.Event) -> None:
        transport = self._writer.transport
        if transport.is_closing():
            return
        if transport.get_write_buffer_size() > UNREAD_BYTES_MAX:
            log.warning("a client of the control socket does not read; it is cut off")
            transport.abort()
            return
        self._writer.write(wire.encode(event))

    async def drained(self) -> None:
        """Returns when the client has read nearly all: before more is sent than it may leave
        unread.

        Raises:
            TimeoutError: it does not read.
            ConnectionError: it has gone.
        """
        async with asyncio.timeout(DRAIN_DEADLINE_S):
            await self._writer.drain()

    async def close(self) -> None:
        """Ends the connection once all that was sent has been read, or after a deadline."""
        self._writer.close()
        closed = asyncio.shield(self._writer.wait_closed())
        try:
            await asyncio.wait_for(closed, CLOSE_DEADLINE_S)
        except TimeoutError:
            self._writer.transport.abort()
        except OSError:
            log.debug("a client of the control socket went away")


class ControlSocket:
    """Serves ``path``.

    Args:
        greet: events that a new client is sent first.
        on_command: called with each command and who sent it.
    """

    def __init__(
        self,
        path: Path,
        greet: Callable[[], list[wire.Event]],
        on_command: Callable[[wire.Command, Client], None],
    ) -> None:
        self._path = path
        self._greet = greet
        self._on_command = on_command
        self._clients: set[Client] = set()
        self._server: asyncio.AbstractServer | None = None

    @property
    def clients(self) -> int:
        return len(self._clients)

    async def start(self) -> None:
        """Binds with mode 0600. A socket that a dead worker left behind is replaced.

        Raises:
            BadArguments: the path is too long, or cannot be written to.
            Conflict: a living process serves the path.
        """
        path = os.fspath(self._path)
        if len(os.fsencode(path)) > PATH_BYTES_MAX:
            raise BadArguments(
                f"the control socket's path has more than {PATH_BYTES_MAX} bytes, which Linux "
                "does not take; choose a shorter folder"
            )
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                # So says Linux also of a plain file and of a folder.
                if not self._path.is_socket():
                    raise BadArguments(
                        f"{path} exists and is no socket; choose another path for the control "
                        "socket"
                    ) from None
                self._path.unlink()
            except OSError:
                pass  # it does not exist, which is how it should be
            else:
                raise Conflict(
                    f"a running worker serves {path}; stop it first, or choose another path"
                )
        mask = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._serve, path)
        except OSError as error:
            raise BadArguments(
                f"cannot make the control socket {path}: {error.strerror}; choose a folder "
                "that exists and that this user may write to"
            ) from error
        finally:
            os.umask(mask)

    def broadcast(self, event: wire.Event) -> None:
        for client in tuple(self._clients):
            client.send(event)

    async def stop(self) -> None:
        """Delivers what was sent, closes every connection and removes the path."""
        if self._server is None:
            return
        self._server.close()
        await asyncio.gather(*(client.close() for client in tuple(self._clients)))
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = Client(writer)
        if len(self._clients) >= CLIENTS_MAX:
            client.send(
                wire.Error(f"the worker serves {CLIENTS_MAX} clients already", "too_many_clients")
            )
            await client.close()
            return
        self._clients.add(client)
        try:
            for event in self._greet():
                client.send(event)
            await self._read(reader, client)
        except LineTooLong as error:
            client.send(wire.Error(f"{error}; the connection is closed", "line_too_long"))
        except ConnectionError:
            log.debug("a client of the control socket went away")
        finally:
            self._clients.discard(client)
            await client.close()

    async def _read(self, reader: asyncio.StreamReader, client: Client) -> None:
        splitter = LineSplitter()
        while data := await reader.read(16 * 1024):
            for line in splitter.feed(data):
                try:
                    command = wire.decode_command(line)
                except wire.BadCommand as error:
                    client.send(wire.Error(str(error), "bad_command", id=error.id))
                else:
                    self._on_command(command, client)
