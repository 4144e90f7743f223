"""An agent without a network, as the platform sees it."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import Any, Literal, Self

from strata import ids
from strata.control.agent_link import Closing, Gone
from strata.control.platform import Platform
from strata.secrets import Secret
from strata.wire import agent as wire

DEADLINE_S = 10.0
CAMERA = wire.MediaInput("v4l2", "/dev/video0", "camera")
ADDRESS = "192.0.2.1"


class FakeSocket:
    """The platform's end of a connection; the tests hold the other.

    Attributes:
        is_stuck: whether what is sent is not read any more.
    """

    def __init__(self) -> None:
        self.to_control: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self.sent: asyncio.Queue[str] = asyncio.Queue()
        self.closed: tuple[int, str] | None = None
        self.is_stuck = False

    async def receive(self) -> str | bytes:
        data = await self.to_control.get()
        if data is None:
            raise Gone("the connection broke")
        return data

    async def send(self, text: str) -> None:
        if self.is_stuck:
            await asyncio.Event().wait()
        if self.closed is not None:
            raise Gone("the connection broke")
        self.sent.put_nowait(text)

    async def close(self, code: int, word: str) -> None:
        self.closed = (code, word)


class FakeAgent:
    """One connection of an agent that does as it is told.

    Attributes:
        doing: what it sends.
        ordered: every order that it got.
        refuses: what it answers to a start, where it refuses.
        is_mute: whether it answers nothing.
        tells_first: whether it reports what it does now before it answers.
    """

    def __init__(
        self,
        platform: Platform,
        token: Secret,
        *,
        kind: Literal["enrollment", "device"] = "device",
        sends: str | None = None,
    ) -> None:
        self._platform = platform
        self._login = {f"{kind}_token": token.reveal()}
        self.socket = FakeSocket()
        self.doing = wire.StreamState(sends, "running") if sends is not None else None
        self.ordered: list[wire.StreamStart | wire.StreamStop] = []
        self.heard: list[wire.Frame] = []
        self.refuses: wire.Done | None = None
        self.is_mute = False
        self.tells_first = False
        self.answer: wire.LoggedIn | None = None
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[Any]] = []
        self.end: asyncio.Task[Closing]

    def say(self, message: Any, id: str | None = None) -> str:
        """Sends a report; returns its id."""
        id = id or ids.uuid7()
        self.socket.to_control.put_nowait(wire.encode(wire.frame(id, message), datetime.now(UTC)))
        return id

    def report(self, **more: Any) -> None:
        self.say(wire.Status(stream_state=self.doing, media_inputs=[CAMERA], **more))

    async def until(self, holds: Any, what: str) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not holds():
                self._news.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), 0.05)
        assert holds(), what

    def drop(self) -> None:
        """The network is gone."""
        self.socket.to_control.put_nowait(None)

    async def log_in(self) -> wire.LoggedIn:
        self.end = asyncio.create_task(self._platform.agents.serve(self.socket, ADDRESS))
        self._tasks.append(asyncio.create_task(self._listen()))
        self.say(wire.Login(**self._login, agent_version="0.1.0", hostname="box", arch="aarch64"))
        await self.until(lambda: self.answer is not None, "the login is answered")
        assert self.answer is not None
        return self.answer

    async def _listen(self) -> None:
        while True:
            frame = wire.decode_from_control(await self.socket.sent.get())
            self.heard.append(frame)
            self._news.set()
            match frame.message:
                case wire.LoggedIn() as answer:
                    self.answer = answer
                case wire.StreamStart() as start:
                    self.ordered.append(start)
                    self._obey(frame, wire.StreamState(start.stream_id, "running"), self.refuses)
                case wire.StreamStop() as stop:
                    self.ordered.append(stop)
                    is_it = self.doing is not None and self.doing.stream_id == stop.stream_id
                    self._obey(frame, None if is_it else self.doing, None)

    def _obey(
        self, frame: wire.Frame, doing: wire.StreamState | None, refusal: wire.Done | None
    ) -> None:
        if self.is_mute:
            return
        if refusal is None:
            self.doing = doing
            if self.tells_first:
                self.report()
        answer = frame.answered(refusal or wire.Done(True))
        self.socket.to_control.put_nowait(wire.encode(answer, datetime.now(UTC)))

    def starts(self) -> list[wire.StreamStart]:
        return [each for each in self.ordered if isinstance(each, wire.StreamStart)]

    def stops(self) -> list[tuple[str, str]]:
        return [(o.stream_id, o.reason) for o in self.ordered if isinstance(o, wire.StreamStop)]

    async def closed(self) -> Closing:
        return await asyncio.wait_for(asyncio.shield(self.end), DEADLINE_S)

    async def __aenter__(self) -> Self:
        answer = await self.log_in()
        assert answer.success, answer
        self.report()
        return self

    async def __aexit__(self, *_: object) -> None:
        if hasattr(self, "end"):
            self.drop()
            await self.closed()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
