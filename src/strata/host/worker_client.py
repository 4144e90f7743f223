"""The host's side of a worker's control socket."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

import msgspec

from strata.wire import worker as wire
from strata.wire.lines import LineSplitter, LineTooLong

log = logging.getLogger(__name__)

CONNECT_AGAIN_S = 0.01
MAX_EVENT_BYTES = 1024 * 1024


class WorkerClient:
    """Reads a worker's events until its socket closes.

    Args:
        on_event: called with each event.
    """

    def __init__(self, path: Path, on_event: Callable[[wire.Event], None]) -> None:
        self._path = path
        self._on_event = on_event
        self._writer: asyncio.StreamWriter | None = None

    async def run(self) -> None:
        """Connects as soon as the worker serves its socket; returns when that closes."""
        while True:
            try:
                reader, self._writer = await asyncio.open_unix_connection(self._path)
                break
            except (FileNotFoundError, ConnectionRefusedError):
                await asyncio.sleep(CONNECT_AGAIN_S)
        await self._follow(reader)

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
        if self._writer is not None and not self._writer.transport.is_closing():
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
