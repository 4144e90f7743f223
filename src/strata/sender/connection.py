"""One connection to control, from the moment it is open until it is closed.

The other end of this is :mod:`strata.control.agent_link`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol, TypeAlias

from strata import ids
from strata.tasks import TaskGroup
from strata.wire import agent as wire

log = logging.getLogger(__name__)

SEND_DEADLINE_S: Final = 10.0
"""For one frame. It waits only while what was sent before is not taken: the links are full of
media, and that goes before."""
CLOSE_DEADLINE_S: Final = 2.0
ORDERS_MAX: Final = 16
"""Carried out at once; control waits for each that it gives."""
GOING_AWAY: Final = 1001


@dataclass(frozen=True, slots=True)
class Parting:
    """Why a connection ended. ``code`` is that of the WebSocket; 1006: there was none."""

    code: int
    word: str


class Gone(Exception):
    """The other end has closed the connection, or is not there any more."""

    def __init__(self, code: int, word: str) -> None:
        super().__init__(word)
        self.parting = Parting(code, word)


class Socket(Protocol):
    """A WebSocket that is open."""

    async def receive(self) -> str | bytes:
        """One frame.

        Raises:
            Gone: there will be no more.
        """

    async def send(self, text: str) -> None:
        """Waits while too much of what was sent is not taken.

        Raises:
            Gone: the connection has ended.
        """

    async def close(self, code: int) -> None: ...


class Unanswered(Exception):
    """There was no answer in time."""


Obey: TypeAlias = Callable[[wire.Order], Awaitable[wire.Done]]
Duty: TypeAlias = Callable[["Connection"], Awaitable[None]]


class Connection:
    """
    Args:
        obey: carries out an order, and answers; it may be cancelled while it waits.
    """

    def __init__(self, socket: Socket, obey: Obey) -> None:
        self._socket = socket
        self._obey = obey
        self._waiting: dict[str, asyncio.Future[wire.Message]] = {}
        self._orders = 0
        self._parting: Parting | None = None
        self._is_closing = asyncio.Event()
        self._tasks = TaskGroup()

    async def run(self, duty: Duty) -> Parting:
        """Serves the connection until it has ended, and says why it did.

        Args:
            duty: what is done here by itself; the connection ends with it.
        """
        try:
            self._tasks.spawn("control-reads", self._or_part(self._read))
            self._tasks.spawn("control-duty", self._or_part(lambda: duty(self)))
            await self._is_closing.wait()
        finally:
            parting = self.part(GOING_AWAY, "the program ends")
            await self._tasks.close()
            with contextlib.suppress(Gone, TimeoutError):
                async with asyncio.timeout(CLOSE_DEADLINE_S):
                    await self._socket.close(GOING_AWAY)
        return parting

    def part(self, code: int, word: str) -> Parting:
        """Ends it soon. The first reason counts; it is returned."""
        if self._parting is None:
            self._parting = Parting(code, word)
            self._is_closing.set()
        return self._parting

    def spawn(self, name: str, duty: Duty) -> None:
        """One more thing to do for as long as it is open; should it end, the connection does."""
        self._tasks.spawn(name, self._or_part(lambda: duty(self)))

    async def _or_part(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Gone as gone:
            self.part(gone.parting.code, gone.parting.word)
        finally:
            self.part(GOING_AWAY, "its work is done")

    # Writing.

    async def say(self, message: wire.Report) -> None:
        """
        Raises:
            Gone: the connection has ended.
        """
        await self._send(wire.frame(ids.uuid7(), message))

    async def ask(self, message: wire.Report, timeout_s: float) -> wire.Message:
        """What control answers.

        Raises:
            Unanswered: it did not, in that time.
            Gone: the connection has ended.
        """
        id = ids.uuid7()
        answer: asyncio.Future[wire.Message] = asyncio.get_running_loop().create_future()
        self._waiting[id] = answer
        try:
            await self._send(wire.frame(id, message))
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError:
            raise Unanswered from None
        finally:
            del self._waiting[id]

    async def _send(self, frame: wire.Frame) -> None:
        try:
            text = wire.encode(frame, datetime.now(UTC))
        except wire.BadFrame as bad:
            log.error("%s is not sent: %s", frame.type, bad)
            return
        try:
            async with asyncio.timeout(SEND_DEADLINE_S):
                await self._socket.send(text)
        except TimeoutError:
            raise Gone(1006, f"nothing was taken for {SEND_DEADLINE_S:g} s") from None

    # Reading.

    async def _read(self) -> None:
        while True:
            data = await self._socket.receive()
            try:
                frame = wire.decode_from_control(data)
            except wire.BadFrame as bad:
                log.warning("control says something that is not understood here: %s", bad)
                if (answer := bad.answer()) is not None:
                    await self._send(answer)
                continue
            match frame.message:
                case wire.Done() | wire.Error() | wire.LoggedIn():
                    self._settle(frame)
                case wire.StreamStart() | wire.StreamStop() | wire.StreamMove():
                    await self._take(frame, frame.message)
                case wire.ConfigUpdate():
                    await self._take(frame, frame.message)

    def _settle(self, frame: wire.Frame) -> None:
        answer = self._waiting.get(frame.id)
        if answer is not None and not answer.done():
            answer.set_result(frame.message)

    async def _take(self, frame: wire.Frame, order: wire.Order) -> None:
        if self._orders >= ORDERS_MAX:
            text = f"{ORDERS_MAX} orders are being carried out already"
            await self._send(frame.answered(wire.Done(False, "too_many", text)))
            return
        self._orders += 1
        self._tasks.spawn(f"order-{frame.type}", self._carry_out(frame, order))

    async def _carry_out(self, frame: wire.Frame, order: wire.Order) -> None:
        try:
            await self._send(frame.answered(await self._obey(order)))
        except Gone as gone:
            self.part(gone.parting.code, gone.parting.word)
        finally:
            self._orders -= 1
