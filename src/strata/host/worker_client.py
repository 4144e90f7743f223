"""The host's side of a worker's control socket."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import msgspec

from strata.wire import worker as wire
from strata.wire.lines import LineSplitter, LineTooLong

log = logging.getLogger(__name__)

CONNECT_AGAIN_S = 0.01
RECONNECT_S = 0.25
MAX_EVENT_BYTES = 1024 * 1024


class WorkerClient:
    """Reads a worker's events.

    Args:
        on_event: called with each event.
    """

    def __init__(self, path: Path, on_event: Callable[[wire.Event], None]) -> None:
        self._path = path
        self._on_event = on_event
        self._writer: asyncio.StreamWriter | None = None

    @property
    def is_connected(self) -> bool:
        return self._writer is not None and not self._writer.transport.is_closing()

    async def run(self, pid: int) -> None:
        """Follows process ``pid`` for ever: connects as soon as it serves its socket, and
        again should it close the connection. To be cancelled when it has ended."""
        again_s = CONNECT_AGAIN_S
        while True:
            try:
                reader, self._writer = await asyncio.open_unix_connection(self._path)
            except OSError:
                await asyncio.sleep(again_s)
                continue
            again_s = RECONNECT_S
            if (served_by := _peer_pid(self._writer)) == pid:
                await self._follow(reader)
            else:
                log.warning(
                    "%s: process %d serves its socket, not %d", self._path.stem, served_by, pid
                )
                self._writer.close()
                self._writer = None
            await asyncio.sleep(again_s)

    async def _follow(self, reader: asyncio.StreamReader) -> None:
        assert self._writer is not None
        try:
            await self._read(reader)
        except (LineTooLong, ConnectionError) as error:
            log.warning("%s: what the worker says cannot be read: %s", self._path.stem, error)
        finally:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()
            self._writer = None

    async def order(self, command: wire.Command) -> None:
        """Sends one command to a worker that is not followed, and waits until it is gone.

        A socket that nobody serves any more is removed.
        """
        try:
            reader, self._writer = await asyncio.open_unix_connection(self._path)
        except OSError:
            self._path.unlink(missing_ok=True)
            return
        self.send(command)
        await self._follow(reader)

    def send(self, command: wire.Command) -> None:
        """Sends a command; one to a worker that has gone is dropped, its exit is the answer."""
        if self._writer is not None and self.is_connected:
            self._writer.write(wire.encode(command))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        splitter = LineSplitter(MAX_EVENT_BYTES)
        while data := await reader.read(64 * 1024):
            for line in splitter.feed(data):
                try:
                    event = wire.decode_event(line)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    log.warning("%s: an event cannot be read: %s", self._path.stem, error)
                    continue
                if event is not None:
                    self._on_event(event)


def _peer_pid(writer: asyncio.StreamWriter) -> int:
    """Who serves the other end (unix(7), SO_PEERCRED)."""
    sock: socket.socket = writer.get_extra_info("socket")
    pid, _, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(pid)
