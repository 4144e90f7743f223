"""A broadcast that sends nothing, and a control plane's end of a connection."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from strata import ids
from strata.errors import StrataError
from strata.secrets import Secret
from strata.sender.connection import Gone
from strata.sender.post import Ended
from strata.sender.settings import SenderSettings
from strata.wire import agent as wire

DEADLINE_S = 10.0


def order(stream_id: str = "str_1", mode: Any = "test", **more: Any) -> wire.StreamStart:
    return wire.StreamStart(
        stream_id,
        wire.Source(mode, **more),
        wire.Encoder(),
        ["rist://127.0.0.1:15000", "rist://127.0.0.1:15002"],
        "canary-psk-of-the-tests",
    )


class FakeBroadcast:
    """
    Attributes:
        begins: to be set before it has begun.
        problem: why it cannot begin, or move.
        log: what was done to it.
    """

    def __init__(self, told: wire.StreamStart) -> None:
        self.order = told
        self.total_bytes = 4711
        self.uptime_s = 12.5
        self.begins = asyncio.Event()
        self.begins.set()
        self.stops = asyncio.Event()
        self.stops.set()
        self.problem: Exception | None = None
        self.log: list[str] = []
        self._end: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        self.log.append("start")
        await self.begins.wait()
        if self.problem is not None:
            raise self.problem

    async def move(self, destinations: list[str], psk: Secret) -> None:
        self.log.append(f"move to {' '.join(destinations)}")
        if self.problem is not None:
            raise self.problem

    async def ended(self) -> Ended:
        return await self._end

    def end(self, reason: str = "eos", detail: str = "the file is over") -> None:
        self._end.set_result(Ended(reason, detail))

    def fail(self, error: Exception) -> None:
        self._end.set_exception(error)

    def stats(self) -> wire.StreamStats:
        return wire.StreamStats(self.order.stream_id, self.uptime_s, 5000.0)

    async def stop(self) -> None:
        self.log.append("stop")
        await self.stops.wait()


class Broadcasts:
    """
    Attributes:
        made: all of them, the latest last.
        slow: whether the next ones begin only when they are told to.
        refuse: why none can be made.
    """

    def __init__(self) -> None:
        self.made: list[FakeBroadcast] = []
        self.slow = False
        self.problem: Exception | None = None
        self.refuse: StrataError | None = None

    def begin(self, told: wire.StreamStart, settings: SenderSettings) -> FakeBroadcast:
        if self.refuse is not None:
            raise self.refuse
        one = FakeBroadcast(told)
        one.problem = self.problem
        if self.slow:
            one.begins.clear()
        self.made.append(one)
        return one

    @property
    def latest(self) -> FakeBroadcast:
        return self.made[-1]


class FakeSocket:
    """The agent's end of a connection; the tests are control.

    Attributes:
        closed: with which code the agent closed it.
        is_stuck: whether nothing is taken any more.
    """

    def __init__(self) -> None:
        self.to_agent: asyncio.Queue[str | bytes | Gone] = asyncio.Queue()
        self.sent: asyncio.Queue[str] = asyncio.Queue()
        self.closed: int | None = None
        self.is_stuck = False

    async def receive(self) -> str | bytes:
        data = await self.to_agent.get()
        if isinstance(data, Gone):
            raise data
        return data

    async def send(self, text: str) -> None:
        if self.is_stuck:
            await asyncio.Event().wait()
        self.sent.put_nowait(text)

    async def close(self, code: int) -> None:
        self.closed = code

    # As control.

    async def heard(self) -> wire.Frame:
        """What the agent says next."""
        async with asyncio.timeout(DEADLINE_S):
            return wire.decode_from_agent(await self.sent.get())

    async def heard_of(self, kind: type[Any]) -> wire.Frame:
        """What it says next of this kind; the rest is passed over."""
        while not isinstance((frame := await self.heard()).message, kind):
            continue
        return frame

    def say(self, frame: wire.Frame) -> None:
        self.to_agent.put_nowait(wire.encode(frame, datetime.now(UTC)))

    def tell(self, message: wire.Order) -> str:
        id = ids.uuid7()
        self.say(wire.frame(id, message))
        return id

    async def answer_to(self, id: str) -> wire.Done:
        while (frame := await self.heard()).id != id:
            continue
        assert isinstance(frame.message, wire.Done), frame
        return frame.message

    async def obeyed(self, message: wire.Order) -> wire.Done:
        return await self.answer_to(self.tell(message))

    async def log_in(self, **more: Any) -> wire.Login:
        """Lets it in."""
        frame = await self.heard()
        assert isinstance(frame.message, wire.Login)
        told: dict[str, Any] = {"sender_id": "snd_1", "config": wire.Config("Van")}
        self.say(frame.answered(wire.LoggedIn(True, **told | more)))
        return frame.message

    def drop(self, code: int = 1006, word: str = "it broke") -> None:
        self.to_agent.put_nowait(Gone(code, word))
