"""The socket over which pages and programs watch: subscriptions in, news out."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
from typing import Any, Final

import msgspec
from fastapi import APIRouter, WebSocket
from pydantic import TypeAdapter
from starlette.websockets import WebSocketDisconnect

from strata.control.api import hosts
from strata.control.api.alerts import LIMIT_MAX, AlertOut
from strata.control.api.feed import FAILED, Feed, Watcher, message
from strata.control.api.hosts import HostOut
from strata.control.api.senders import SenderOut
from strata.control.api.streams import StreamOut
from strata.control.platform import Platform
from strata.control.roles import User
from strata.errors import NotAllowed, NotFound, StoreUnavailable, StrataError
from strata.tasks import TaskGroup

log = logging.getLogger(__name__)

router = APIRouter()

LOGIN_DEADLINE_S: Final = 10.0
CLOSE_DEADLINE_S: Final = 2.0
TOPICS_MAX: Final = 200

RIGHTS_EACH_S: Final = 30.0
"""How soon a login that has ended ends its sockets."""

NOT_LOGGED_IN: Final = 4401

TOPIC: Final = re.compile(r"streams|hosts|alerts|stream:str_[0-9a-f]{32}|sender:snd_[0-9a-f]{32}")

_streams: Final = TypeAdapter(list[StreamOut])
_hosts: Final = TypeAdapter(list[HostOut])
_alerts: Final = TypeAdapter(list[AlertOut])


class _Command(msgspec.Struct, forbid_unknown_fields=True):
    """What a watcher may say once it is logged in."""

    subscribe: list[str] = []
    unsubscribe: list[str] = []


class _Login(msgspec.Struct, forbid_unknown_fields=True):
    """What it says first, where it could not set a header."""

    token: str


class _End(Exception):
    """The socket is closed: with a code and a word, or by the other side."""

    def __init__(self, code: int = 1000, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


@router.websocket("/api/ws")
async def watch(socket: WebSocket) -> None:
    """First ``{"token": ...}`` where there is no Authorization header, then any number of
    ``{"subscribe": [topic, ...]}`` and ``{"unsubscribe": [...]}``. Each topic begins with a
    ``snapshot``. In changes of a stream ``events`` is empty: they come one by one, as ``event``
    on ``stream:...``."""
    await socket.accept()
    session = _Session(socket, socket.app.state.platform, socket.app.state.feed)
    end = await session.run()
    # One that does not read does not take the word either, and must not hold this up.
    with contextlib.suppress(TimeoutError, RuntimeError, WebSocketDisconnect):
        await asyncio.wait_for(socket.close(end.code, end.reason), CLOSE_DEADLINE_S)


class _Session:
    """One watcher's socket."""

    def __init__(self, socket: WebSocket, platform: Platform, feed: Feed) -> None:
        self._socket = socket
        self._platform = platform
        self._feed = feed
        self._token = ""
        self._watcher: Watcher
        self._ended: asyncio.Future[_End] = asyncio.get_running_loop().create_future()

    async def run(self) -> _End:
        """Serves until somebody ends it; says how."""
        try:
            user = await asyncio.wait_for(self._log_in(), LOGIN_DEADLINE_S)
        except TimeoutError:
            return _End(NOT_LOGGED_IN, 'say who you are: {"token": "..."} comes first')
        except WebSocketDisconnect:
            return _End()
        except _End as end:
            return end
        self._watcher = Watcher(user, self._end)
        tasks = TaskGroup(lambda name, error: self._end(FAILED, "an internal failure"))
        async with self._feed.watched(self._watcher):
            for name, work in (
                ("read", self._read()),
                ("write", self._write()),
                ("rights", self._keep_rights()),
            ):
                tasks.spawn(f"socket-{name}", self._until_end(work))
            try:
                return await self._ended
            finally:
                await tasks.close()

    async def _log_in(self) -> User:
        scheme, _, token = self._socket.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            self._token = token
        else:
            try:
                self._token = msgspec.json.decode(await self._receive(), type=_Login).token
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                raise _End(NOT_LOGGED_IN, 'say who you are: {"token": "..."} first') from None
        return await self._user()

    async def _user(self) -> User:
        try:
            return await self._platform.logins.user_of(self._token)
        except NotAllowed as error:
            raise _End(NOT_LOGGED_IN, error.message) from None
        except StoreUnavailable:
            raise _End(1013, "the database does not answer; try again in a moment") from None

    def _end(self, code: int = 1000, reason: str = "") -> None:
        if not self._ended.done():
            self._ended.set_result(_End(code, reason))

    async def _until_end(self, work: Any) -> None:
        try:
            await work
        except WebSocketDisconnect:
            self._end()
        except _End as end:
            self._end(end.code, end.reason)
        finally:
            work.close()

    async def _receive(self) -> str:
        heard = await self._socket.receive()
        if heard["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(heard.get("code") or 1005)
        text = heard.get("text")
        return text if text is not None else (heard.get("bytes") or b"").decode(errors="replace")

    async def _write(self) -> None:
        while True:
            await self._socket.send_text(await self._watcher.next())

    async def _keep_rights(self) -> None:
        """Ends with the login, and follows what its user may see."""
        while True:
            await asyncio.sleep(RIGHTS_EACH_S)
            with contextlib.suppress(StoreUnavailable):
                try:
                    self._watcher.user = await self._platform.logins.user_of(self._token)
                except NotAllowed as error:
                    raise _End(NOT_LOGGED_IN, error.message) from None

    async def _read(self) -> None:
        while True:
            text = await self._receive()
            try:
                command = msgspec.json.decode(text, type=_Command)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                self._refuse(None, "bad_request", f"not a command: {str(error)[:200]}")
                continue
            for topic in command.unsubscribe:
                self._watcher.topics.pop(topic, None)
            for topic in command.subscribe:
                await self._subscribe(topic)

    async def _subscribe(self, topic: str) -> None:
        topics = self._watcher.topics
        if not TOPIC.fullmatch(topic):
            known = "streams, hosts, alerts, stream:str_..., sender:snd_..."
            self._refuse(topic[:64], "not_found", f"there is no such topic; there are {known}")
        elif topic not in topics and len(topics) >= TOPICS_MAX:
            text = f"one connection may have {TOPICS_MAX} topics; unsubscribe from some"
            self._refuse(topic, "too_many", text)
        else:
            topics[topic] = []
            try:
                snapshot = await self._snapshot(topic)
            except StrataError as error:
                topics.pop(topic, None)
                self._refuse(topic, error.code, error.message)
            else:
                self._watcher.begin(topic, message(topic, "snapshot", snapshot))

    async def _snapshot(self, topic: str) -> str:
        """JSON of what there is now, as REST tells it.

        Raises:
            NotFound: it is not there, or not for this user.
        """
        at, user = self._platform, self._watcher.user
        match topic.split(":"):
            case ["streams"]:
                views = await at.streams.visible_to(user)
                listed = [StreamOut.of(view, at.settings.host) for view in views]
                return _streams.dump_json(listed).decode()
            case ["hosts"]:
                return _hosts.dump_json(await hosts.listed(at)).decode()
            case ["alerts"]:
                rows = await at.alerts.visible_to(user, True, None, LIMIT_MAX)
                return _alerts.dump_json([AlertOut.of(row) for row in rows]).decode()
            case ["stream", id]:
                view = await at.streams.view(user, id)
                return StreamOut.of(view, at.settings.host).model_dump_json()
            case ["sender", id]:
                row = await at.senders.get(user, id)
                return SenderOut.of(row, at).model_dump_json()
        raise NotFound(f"there is nothing to watch that is called {topic[:80]!r}")

    def _refuse(self, topic: str | None, code: str, text: str) -> None:
        data = json.dumps({"code": code, "message": text})
        self._watcher.send(message(topic, "error", data))
