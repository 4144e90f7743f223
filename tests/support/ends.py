"""Both ends between control and host, over any transport, and what they heard."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Protocol

from strata.cluster.direct import DirectControl, DirectHost, Meeting
from strata.cluster.ends import ControlEnd, HostEnd
from strata.cluster.unix import HostClient, HostServer
from strata.errors import NoCapacity
from strata.wire import host as wire
from support.children import until

DEADLINE_S: Final = 10.0


class Transport(Protocol):
    """One place where a host serves and control connects."""

    def host(self) -> HostEnd: ...

    def control(
        self,
        on_connect: Callable[[], Awaitable[None]],
        on_notice: Callable[[wire.Notice], None],
        request_timeout_s: float,
    ) -> ControlEnd: ...


class Unix(Transport):
    def __init__(self, path: Path) -> None:
        self.path = path

    def host(self) -> HostEnd:
        return HostServer(self.path)

    def control(
        self,
        on_connect: Callable[[], Awaitable[None]],
        on_notice: Callable[[wire.Notice], None],
        request_timeout_s: float,
    ) -> ControlEnd:
        return HostClient(self.path, on_connect, on_notice, request_timeout_s)


class Direct(Transport):
    def __init__(self) -> None:
        self.meeting = Meeting()

    def host(self) -> HostEnd:
        return DirectHost(self.meeting)

    def control(
        self,
        on_connect: Callable[[], Awaitable[None]],
        on_notice: Callable[[wire.Notice], None],
        request_timeout_s: float,
    ) -> ControlEnd:
        return DirectControl(self.meeting, on_connect, on_notice, request_timeout_s)


class Control:
    """Control's end, and what it heard.

    Attributes:
        greet, take: what it does, beside writing it down, on a connection and on a notice.
    """

    def __init__(self, transport: Transport, request_timeout_s: float = DEADLINE_S) -> None:
        self.notices: list[wire.Notice] = []
        self.connections = 0
        self.greet: Callable[[], Awaitable[None]] | None = None
        self.take: Callable[[wire.Notice], None] | None = None
        self.end = transport.control(self._on_connect, self._on_notice, request_timeout_s)

    async def _on_connect(self) -> None:
        self.connections += 1
        if self.greet is not None:
            await self.greet()

    def _on_notice(self, notice: wire.Notice) -> None:
        self.notices.append(notice)
        if self.take is not None:
            self.take(notice)

    async def connected(self, times: int = 1) -> None:
        """Returns when it is, and has been greeted."""
        await until(
            lambda: self.end.connected and self.connections == times,
            DEADLINE_S,
            f"connected {times} times",
        )

    async def ask(self, request: wire.Request) -> wire.Reply:
        return await asyncio.wait_for(self.end.request(request), DEADLINE_S)

    async def heard(self, count: int) -> list[wire.Notice]:
        await until(lambda: len(self.notices) >= count, DEADLINE_S, f"{count} notices came")
        return self.notices


async def answer(request: wire.Request) -> wire.Reply:
    """A host with nothing to run and no room."""
    match request:
        case wire.List():
            return wire.Streams([])
        case wire.Stop(stream_id):
            return wire.Stopped("user_stop", stream_id)
        case wire.Entrust():
            return wire.Done()
        case wire.Start():
            raise NoCapacity("no ports are free")
        case wire.AddForward():
            return wire.Changed("fwd_9")
        case wire.ReplaceForward(forward=forward):
            return wire.Changed(forward, overlap=True)
        case wire.RemoveForward(forward=forward):
            return wire.Changed(forward)
        case wire.Configure():
            return wire.Done()
