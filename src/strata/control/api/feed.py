"""What those who watch over a socket are sent, made once for all of them.

A change goes out at once; numbers, of which there are many, once a second. What is made of a
stream is the same that REST tells, and is made only while somebody watches.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import msgspec
from pydantic import BaseModel

from strata.control import tables
from strata.control.api import hosts
from strata.control.api.alerts import AlertOut
from strata.control.api.events import EventOut
from strata.control.api.streams import StreamOut
from strata.control.bus import FellBehind, Listener, News
from strata.control.platform import Platform
from strata.control.roles import User
from strata.errors import StoreUnavailable
from strata.tasks import TaskGroup

log = logging.getLogger(__name__)

TICK_S: Final = 1.0

UNSENT_MAX: Final = 2000
"""Messages that wait for one watcher; of fifty streams with their numbers, half a minute."""

FAILED: Final = 1011
TOO_SLOW: Final = 4408

Visible: TypeAlias = Callable[[User], bool]


class Watcher:
    """Somebody at the other end of a socket.

    Args:
        end: called, with a code and a word, where it can be served no more.

    Attributes:
        topics: that it has subscribed to; what comes before the snapshot of one has been sent
            is held back, and the list of it is None from then on.
    """

    def __init__(self, user: User, end: Callable[[int, str], None]) -> None:
        self.user = user
        self.topics: dict[str, list[str] | None] = {}
        self.end = end
        self._unsent: deque[str] = deque()
        self._some = asyncio.Event()

    async def next(self) -> str:
        """The oldest message that is not sent; waits for one."""
        while not self._unsent:
            self._some.clear()
            await self._some.wait()
        return self._unsent.popleft()

    def send(self, text: str) -> None:
        if len(self._unsent) >= UNSENT_MAX:
            self.end(TOO_SLOW, "more comes than this connection takes; connect again")
            return
        self._unsent.append(text)
        self._some.set()

    def tell(self, topic: str, text: str) -> None:
        """Something of a topic that it has subscribed to."""
        held = self.topics[topic]
        if held is None:
            self.send(text)
        else:
            held.append(text)

    def begin(self, topic: str, snapshot: str) -> None:
        """The snapshot of a topic, and then what has come meanwhile."""
        held, self.topics[topic] = self.topics[topic], None
        for text in (snapshot, *(held or ())):
            self.send(text)


class Feed:
    """Follows the news while anybody watches."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._watchers: set[Watcher] = set()
        self._tasks = TaskGroup(self._fail)
        self._listening: contextlib.ExitStack | None = None
        self._rows: dict[str, tables.Stream] = {}
        self._changed: set[str] = set()
        self._measured: set[str] = set()
        self._hosts: dict[str, str] = {}
        self._was_observed = False

    @property
    def watching(self) -> int:
        """How many watch."""
        return len(self._watchers)

    @contextlib.asynccontextmanager
    async def watched(self, watcher: Watcher) -> AsyncIterator[None]:
        """Sends to that one, too, until the end."""
        self._watchers.add(watcher)
        if self._listening is None:
            self._listening = contextlib.ExitStack()
            listener = self._listening.enter_context(self._platform.bus.listen())
            self._tasks.spawn("feed", self._follow(listener))
            self._tasks.spawn("feed-numbers", self._tick())
        try:
            yield
        finally:
            self._watchers.discard(watcher)
            if not self._watchers:
                self._stop_listening()
                tasks, self._tasks = self._tasks, TaskGroup(self._fail)
                for kept in (self._rows, self._hosts, self._changed, self._measured):
                    kept.clear()
                await tasks.close()

    def _fail(self, name: str, error: BaseException) -> None:
        # Whoever goes on watching would believe that nothing changes.
        for watcher in self._watchers:
            watcher.end(FAILED, "an internal failure; connect again")
        self._stop_listening()  # who connects again begins anew

    def _stop_listening(self) -> None:
        if self._listening is not None:
            self._listening.close()
            self._listening = None

    async def _follow(self, listener: Listener) -> None:
        while True:
            try:
                self._take(await listener.next())
                while listener.has_more:
                    self._take(await listener.next())
            except FellBehind:
                self._changed |= {*self._rows, *self._platform.streams.observer.live}
            await self._tell_changes()

    def _take(self, news: News) -> None:
        match news.topic:
            case "streams":
                (self._measured if news.type == "stats" else self._changed).add(news.data)
            case "events":
                self._take_event(news.data)
            case "alerts":
                text = AlertOut.of(news.data).model_dump_json()
                self._tell(("alerts",), news.type, text, lambda user: user.may_see(news.owner_id))
            case topic if topic.startswith("sender:"):  # its data can be sent as it is
                text = _json(news.data)
                self._tell((topic,), news.type, text, lambda user: user.may_see(news.owner_id))

    def _take_event(self, event: tables.Event) -> None:
        subject = event.subject or ""
        if not subject.startswith("str_"):
            return
        self._changed.add(subject)
        topic = f"stream:{subject}"
        if any(topic in each.topics for each in self._watchers):
            text = EventOut.of(event).model_dump_json()
            self._tell((topic,), "event", text, lambda user: user.may_see(event.owner_id))

    async def _tell_changes(self) -> None:
        changed, self._changed = self._changed, set()
        try:
            rows = await self._platform.streams.rows(self._wanted(changed))
        except StoreUnavailable:  # until it is back, with what was known before
            self._changed |= changed
            return
        for row in rows:
            self._rows[row.id] = row
            self._measured.discard(row.id)
            self._tell_stream(row, "changed")
            if row.ended_at is not None:
                del self._rows[row.id]

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            streams = self._platform.streams
            if streams.can_start != self._was_observed:
                self._was_observed = streams.can_start
                self._changed |= streams.observer.live.keys()
            measured, self._measured = self._measured, set()
            self._changed |= measured - self._rows.keys()
            if self._changed:
                await self._tell_changes()
            for id in self._wanted(measured & self._rows.keys()):
                row = self._rows.get(id)
                if row is not None:  # else it has ended since
                    self._tell_stream(row, "stats")
                await asyncio.sleep(0)  # with hundreds of streams, others have their turn
            await self._tell_hosts()

    def _wanted(self, stream_ids: Iterable[str]) -> list[str]:
        """Those of the streams that anybody has asked for."""
        topics = {topic for each in self._watchers for topic in each.topics}
        if "streams" in topics:
            return list(stream_ids)
        return [id for id in stream_ids if f"stream:{id}" in topics]

    def _tell_stream(self, row: tables.Stream, type: str) -> None:
        view = self._platform.streams.view_of(row)
        text = StreamOut.of(view, self._platform.settings.host).model_dump_json()
        topics = ("streams", f"stream:{row.id}")
        self._tell(topics, type, text, lambda user: user.may_see(row.owner_id))

    async def _tell_hosts(self) -> None:
        if not any("hosts" in each.topics for each in self._watchers):
            self._hosts.clear()
            return
        for host in await hosts.listed(self._platform):
            text = host.model_dump_json()
            if self._hosts.get(host.id, text) != text:
                self._tell(("hosts",), "changed", text, lambda user: True)
            self._hosts[host.id] = text

    def _tell(self, topics: Iterable[str], type: str, data: str, is_visible: Visible) -> None:
        for topic in topics:
            text = None
            for watcher in self._watchers:
                if topic in watcher.topics and is_visible(watcher.user):
                    text = text or message(topic, type, data)
                    watcher.tell(topic, text)


def message(topic: str | None, type: str, data: str) -> str:
    """One message; ``data`` is JSON already."""
    ts = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    head = msgspec.json.encode({"topic": topic, "type": type, "ts": ts}).decode()
    return f'{head[:-1]},"data":{data}}}'


def _json(data: Any) -> str:
    if isinstance(data, BaseModel):
        return data.model_dump_json()
    return msgspec.json.encode(data).decode()
