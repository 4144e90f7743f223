"""A worker as a host starts it, and a client of its control socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

from support.children import POLL_S, Child
from support.ports import free_udp_ports

PSK: Final = "a-psk-of-the-tests-0123"

Event: TypeAlias = dict[str, Any]

READY_DEADLINE_S: Final = 30.0
EVENT_DEADLINE_S: Final = 20.0


class ControlClient:
    """A connection to a control socket: plain JSON, so that field names are tested too."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.events: list[Event] = []
        self._reader = reader
        self._writer = writer
        self._news = asyncio.Condition()
        self._closed = False
        self._task = asyncio.create_task(self._listen(), name="control-client")

    @classmethod
    async def connect(cls, path: Path) -> Self:
        return cls(*await asyncio.open_unix_connection(path))

    async def _listen(self) -> None:
        try:
            while line := await self._reader.readline():
                async with self._news:
                    self.events.append(json.loads(line))
                    self._news.notify_all()
        except ConnectionError:
            pass
        finally:
            async with self._news:
                self._closed = True
                self._news.notify_all()

    def send(self, command: Mapping[str, Any]) -> None:
        self.send_bytes(json.dumps(command).encode() + b"\n")

    def send_bytes(self, data: bytes) -> None:
        self._writer.write(data)

    async def wait_for(
        self,
        wanted: Callable[[Event], object],
        deadline_s: float = EVENT_DEADLINE_S,
        *,
        after: int = 0,
    ) -> Event:
        """The first event that is wanted, among those that came and those that will.

        Args:
            after: how many of the first events not to look at.

        Raises:
            TimeoutError: none came in time, or the connection was closed before.
        """
        seen = after

        def found() -> Event | None:
            nonlocal seen
            while seen < len(self.events):
                seen += 1
                if wanted(self.events[seen - 1]):
                    return self.events[seen - 1]
            return None

        try:
            async with asyncio.timeout(deadline_s), self._news:
                while (event := found()) is None:
                    if self._closed:
                        raise TimeoutError("the connection was closed")
                    await self._news.wait()
                return event
        except TimeoutError as error:
            told = "\n".join(str(each)[:400] for each in self.events[-20:])
            why = str(error) or "not in time"
            raise TimeoutError(f"{why}; the last events:\n{told}") from None

    async def event(self, name: str, deadline_s: float = EVENT_DEADLINE_S, **fields: Any) -> Event:
        """The first event of that name whose fields have these values."""
        return await self.wait_for(lambda event: has(event, name, **fields), deadline_s)

    async def closed(self, deadline_s: float = EVENT_DEADLINE_S) -> None:
        """Returns when the other side has closed the connection."""
        await asyncio.wait_for(asyncio.shield(self._task), deadline_s)

    async def close(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def has(event: Event, name: str, **fields: Any) -> bool:
    return event["event"] == name and all(event.get(key) == fields[key] for key in fields)


class WorkerProcess:
    """One ``strata-receiver`` in its own process.

    Args:
        folder: holds its control socket and its log.
        forwards: URLs; they and the PSK go over standard input.
        arguments: more of the command line.
        environment: added to what a host hands down.
        wrapper: a command that becomes the worker, such as ``unshare``.
    """

    def __init__(
        self,
        folder: Path,
        forwards: Sequence[str] = (),
        *,
        ports: Sequence[int] | None = None,
        psk: str = PSK,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.ports = tuple(ports or free_udp_ports())
        self.socket = folder / "worker.sock"
        secrets = json.dumps({"psk": psk, "forwards": list(forwards)})
        self.child = Child(
            [
                *wrapper,
                *(sys.executable, "-I", "-m", "strata.worker", "--stream-id", "str_test"),
                *("--ports", ",".join(map(str, self.ports))),
                *("--control-socket", os.fspath(self.socket), *arguments, "--secrets-stdin"),
            ],
            folder / "worker.log",
            stdin=secrets.encode() + b"\n",
            env=inherited() | dict(environment or {}),
        )
        self._client: ControlClient | None = None
        self._asked = 0

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    def client(self) -> ControlClient:
        assert self._client is not None, "the worker has not been waited for"
        return self._client

    def log(self) -> str:
        return self.child.said()

    async def connect(self) -> ControlClient:
        """One more client."""
        return await ControlClient.connect(self.socket)

    async def ready(self) -> Event:
        """The ``ready`` event, once the worker has come that far."""

        async with asyncio.timeout(READY_DEADLINE_S):
            while self._client is None:
                assert self.child.status is None, f"the worker ended: {self.log()}"
                try:
                    self._client = await self.connect()
                except (FileNotFoundError, ConnectionRefusedError):
                    await asyncio.sleep(POLL_S)
        return await self._client.event("ready", READY_DEADLINE_S)

    async def ask(self, cmd: str, deadline_s: float = EVENT_DEADLINE_S, **fields: Any) -> Event:
        """Sends a command and returns what it is answered: ``ok``, ``error`` or ``stats``."""
        self._asked += 1
        id = f"ask-{self._asked}"
        self.client.send({"cmd": cmd, "id": id, **fields})
        return await self.client.wait_for(lambda event: event.get("id") == id, deadline_s)

    async def stop(self, deadline_s: float = 30.0) -> int:
        """Its exit status after the command ``stop``."""
        self.client.send({"cmd": "stop"})
        return await self.child.wait(deadline_s)

    async def __aenter__(self) -> Self:
        try:
            await self.ready()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            if self._client is not None:
                await self._client.close()
        finally:
            await self.child.__aexit__()


def inherited() -> dict[str, str]:
    """What of this process's environment a host hands down to a worker."""
    names = ("PATH", "HOME", "LANG", "TZ", "TMPDIR", "XDG_CACHE_HOME")
    return {name: os.environ[name] for name in names if name in os.environ}
