"""One connection of an agent, from the moment it is taken until it is closed.

A sender has as many of these as it dials; the latest that has logged in is the sender's
(:mod:`strata.control.agents`), and an older one that closes takes nothing with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, Protocol, TypeAlias

from strata import ids
from strata.errors import SenderOffline, SenderRefused
from strata.tasks import TaskGroup
from strata.wire import agent as wire

log = logging.getLogger(__name__)

State: TypeAlias = Literal["greeting", "present", "known", "closed"]

TRANSITIONS: Final[dict[State, frozenset[State]]] = {
    # Connected; nobody knows yet whose it is.
    "greeting": frozenset(("present", "closed")),
    # It has logged in. What it runs is not known.
    "present": frozenset(("known", "closed")),
    # It has said what it runs: now it is told what it should.
    "known": frozenset(("closed",)),
    "closed": frozenset(),
}

UNSENT_MAX: Final = 64
SEND_DEADLINE_S: Final = 5.0
"""For one frame; it waits only while what was sent before is not read."""
CLOSE_DEADLINE_S: Final = 2.0
BURST: Final = 10.0
"""Times what may come in a second: what an agent has kept while it was away comes at once."""


class Gone(Exception):
    """The other end has closed the connection, or is not there any more."""


class Socket(Protocol):
    """A WebSocket that has been accepted."""

    async def receive(self) -> str | bytes:
        """One frame.

        Raises:
            Gone: there will be no more.
        """

    async def send(self, text: str) -> None:
        """Waits while too much of what was sent is not read.

        Raises:
            Gone: the connection has ended.
        """

    async def close(self, code: int, word: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Closing:
    """Why a connection ends; ``word`` goes to the other end, too."""

    code: int
    word: str


class Allowance:
    """How many messages may come: so many a second, and some more at once. Pure.

    Args:
        per_s: in the long run.
        now: seconds of any clock that does not go back.
    """

    def __init__(self, per_s: float, now: float) -> None:
        self._per_s = per_s
        self._left = self._most = per_s * BURST
        self._at = now

    def take(self, now: float) -> bool:
        """One more; False where that is too many."""
        self._left = min(self._most, self._left + (now - self._at) * self._per_s)
        self._at = now
        self._left -= 1.0
        return self._left >= 0.0


class Link:
    """
    Attributes:
        address: where it comes from.
        sender_id, owner_id: once it has logged in.
        heard_at: when anything came last.
        status, stats: the latest of each.
        doing: what it makes of its stream, by its own word or by its answer to an order; of no
            meaning before it is known.
    """

    def __init__(
        self,
        socket: Socket,
        address: str,
        messages_per_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.address = address
        self.state: State = "greeting"
        self.sender_id = ""
        self.owner_id = ""
        self.heard_at = datetime.now(UTC)
        self.status: wire.Status | None = None
        self.stats: wire.StreamStats | None = None
        self.doing: wire.StreamState | None = None
        self._socket = socket
        self._clock = clock
        self._allowance = Allowance(messages_per_s, clock())
        self._unsent: asyncio.Queue[str] = asyncio.Queue(UNSENT_MAX)
        self._waiting: dict[str, asyncio.Future[wire.Done | wire.Error]] = {}
        self._closing: Closing | None = None
        self._is_closing = asyncio.Event()
        self._tasks = TaskGroup()

    async def run(self, work: Callable[[Link], Coroutine[Any, Any, None]]) -> Closing:
        """Serves the connection until it has ended, and says why it did.

        Args:
            work: reads, with :meth:`next`, until that raises ``Gone``.
        """
        try:
            self._tasks.spawn("agent-writes", self._or_close(self._write))
            self._tasks.spawn("agent-reads", self._or_close(lambda: work(self)))
            await self._is_closing.wait()
        finally:
            self.close(wire.CLOSE_FAILED, "ending")
            assert self._closing is not None
            self.advance("closed", self._closing.word)
            self._fail_waiting()
            await self._tasks.close()
            await self._part(self._closing)
        return self._closing

    def advance(self, state: State, reason: str) -> None:
        if state not in TRANSITIONS[self.state]:
            raise AssertionError(f"agent {self.sender_id}: {self.state} -> {state}")
        who = self.sender_id or self.address
        log.debug("agent %s: %s -> %s: %s", who, self.state, state, reason)
        self.state = state

    def close(self, code: int, word: str) -> None:
        """Ends it soon; what it was told before still goes out. The first reason counts."""
        if self._closing is None:
            self._closing = Closing(code, word)
            self._is_closing.set()

    @property
    def why_closed(self) -> str:
        return self._closing.word if self._closing is not None else ""

    async def _or_close(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Gone as gone:
            self.close(wire.CLOSE_FAILED, str(gone) or "gone")
        finally:
            self.close(wire.CLOSE_FAILED, "failed")

    async def _part(self, closing: Closing) -> None:
        """Sends what is left, and closes; who does not read has had its time."""
        with contextlib.suppress(Gone, TimeoutError):
            async with asyncio.timeout(CLOSE_DEADLINE_S):
                while not self._unsent.empty():
                    await self._socket.send(self._unsent.get_nowait())
                await self._socket.close(closing.code, closing.word)

    # Reading.

    async def next(self) -> wire.Frame:
        """What it says or asks next. Answers go to who waits for them, and what cannot be read
        is answered here.

        Raises:
            Gone: the connection has ended.
        """
        while True:
            data = await self._socket.receive()
            self.heard_at = datetime.now(UTC)
            if not self._allowance.take(self._clock()):
                self.close(wire.CLOSE_TOO_MANY, "too_many_messages")
                raise Gone("too_many_messages")
            try:
                frame = wire.decode_from_agent(data)
            except wire.BadFrame as bad:
                log.info("agent %s: %s", self.sender_id or self.address, bad)
                if (answer := bad.answer()) is not None:
                    self.say(answer)
                    await asyncio.sleep(0)  # many may have come at once: answers go out between
                continue
            if isinstance(frame.message, wire.Done | wire.Error):
                self._settle(frame.id, frame.message)
            else:
                return frame

    def _settle(self, id: str, message: wire.Done | wire.Error) -> None:
        answer = self._waiting.get(id)
        if answer is not None and not answer.done():
            answer.set_result(message)

    # Writing.

    def say(self, frame: wire.Frame) -> None:
        """Never waits; an agent that does not read is cut off."""
        try:
            self._unsent.put_nowait(wire.encode(frame, datetime.now(UTC)))
        except asyncio.QueueFull:
            self.close(wire.CLOSE_LATE, "does_not_read")

    async def ask(self, order: wire.Order, timeout_s: float) -> None:
        """Returns when the agent has carried it out.

        Raises:
            SenderRefused: it did not, and says why.
            SenderOffline: there was no answer in time, or the connection ended before.
        """
        id = ids.uuid7()
        answer: asyncio.Future[wire.Done | wire.Error]
        answer = self._waiting[id] = asyncio.get_running_loop().create_future()
        try:
            if self.state == "closed":
                self._fail_waiting()
            else:
                self.say(wire.frame(id, order))
            message = await asyncio.wait_for(answer, timeout_s)
        except TimeoutError:
            raise SenderOffline(
                f"the sender is connected, and did not answer within {timeout_s:g} s; it may "
                "hang: look after it, then try again"
            ) from None
        finally:
            del self._waiting[id]
        if isinstance(message, wire.Error) or not message.success:
            words = wire.plain(message.message) or wire.plain(message.code) or "it does not say why"
            raise SenderRefused(f"the sender refuses: {words}")

    def _fail_waiting(self) -> None:
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(
                    SenderOffline("the sender went away before it answered; try again")
                )

    async def _write(self) -> None:
        while True:
            text = await self._unsent.get()
            try:
                async with asyncio.timeout(SEND_DEADLINE_S):
                    await self._socket.send(text)
            except TimeoutError:
                raise Gone("does_not_read") from None
