"""An agent over a real WebSocket, which sends nothing but does as if."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import Any, Final, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from strata import ids
from strata.wire import agent as wire

DEADLINE_S: Final = 20.0


class Agent:
    """
    Attributes:
        device_token: what it logs in with, once it has got it.
        doing: what it says that it sends.
        ordered: each order that it got.
        closed: with which code and word, once it is.
    """

    def __init__(
        self,
        port: int,
        *,
        enrollment_token: str | None = None,
        device_token: str | None = None,
        doing: wire.StreamState | None = None,
    ) -> None:
        self.url = f"ws://127.0.0.1:{port}/agent/ws"
        self.enrollment_token = enrollment_token
        self.device_token = device_token
        self.doing = doing
        self.ordered: list[Any] = []
        self.frames: list[wire.Frame] = []
        self.closed: tuple[int, str] | None = None
        self._news = asyncio.Event()
        self._socket: ClientConnection
        self._listening: asyncio.Task[None]

    async def connect(self) -> None:
        """A connection, without a login."""
        self._socket = await connect(
            self.url, proxy=None, open_timeout=DEADLINE_S, ping_interval=None, close_timeout=1.0
        )
        self._listening = asyncio.create_task(self._listen())

    async def log_in(self) -> wire.LoggedIn:
        """The answer to its login."""
        id = await self.say(
            wire.Login(self.enrollment_token, self.device_token, "0.1.0", "box", "aarch64")
        )
        await self.until(lambda: self.answers(id), "the login is answered")
        [answer] = self.answers(id)
        assert isinstance(answer, wire.LoggedIn), answer
        if answer.device_token is not None:
            self.enrollment_token, self.device_token = None, answer.device_token
        return answer

    async def say(self, message: Any, id: str | None = None) -> str:
        id = id or ids.uuid7()
        await self._socket.send(wire.encode(wire.frame(id, message), datetime.now(UTC)))
        return id

    async def say_raw(self, text: str | bytes) -> None:
        await self._socket.send(text)

    async def report(self) -> None:
        await self.say(wire.Status(stream_state=self.doing, cpu_percent=12.5))

    def answers(self, id: str) -> list[wire.Message]:
        return [each.message for each in self.frames if each.id == id]

    async def until(self, holds: Any, what: str) -> None:
        """Waits for something that follows from what control says."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not holds():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise TimeoutError(f"not within {DEADLINE_S} s: {what}; heard: {self.frames}") from None

    async def until_closed(self) -> tuple[int, str]:
        await self.until(lambda: self.closed is not None, "the connection is closed")
        assert self.closed is not None
        return self.closed

    def go_deaf(self) -> None:
        """Reads no more, and so answers no pings: as when the network is gone."""
        self._socket.transport.pause_reading()

    async def _listen(self) -> None:
        try:
            async for data in self._socket:
                frame = wire.decode_from_control(data)
                self.frames.append(frame)
                await self._obey(frame)
                self._news.set()
        except ConnectionClosed:
            pass
        finally:
            self.closed = (self._socket.close_code or 1006, self._socket.close_reason or "")
            self._news.set()

    async def _obey(self, frame: wire.Frame) -> None:
        match frame.message:
            case wire.StreamStart() as start:
                self.doing = wire.StreamState(start.stream_id, "running")
            case wire.StreamStop() as stop:
                if self.doing is not None and self.doing.stream_id == stop.stream_id:
                    self.doing = None
            case _:
                return
        self.ordered.append(frame.message)
        await self._socket.send(wire.encode(frame.answered(wire.Done(True)), datetime.now(UTC)))

    async def close(self) -> None:
        if hasattr(self, "_listening"):
            with contextlib.suppress(ConnectionClosed, OSError):
                await self._socket.close()
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)

    async def __aenter__(self) -> Self:
        await self.connect()
        try:
            answer = await self.log_in()
            assert answer.success, answer
            await self.report()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
