"""What those who watch over a socket are sent, made once for all of them.

A change goes out at once; numbers, of which there are many, once a second. What is made of a
stream is the same that REST tells, and is made only while somebody watches.
"""

from __future__ import annotations

import asyncio
import contextlib
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
from strata.control.bus import News
from strata.control.following import What
from strata.control.platform import Platform
from strata.control.roles import User
from strata.errors import StoreUnavailable
from strata.tasks import TaskGroup

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
    """Tells watchers what is different. A failure of its own ends them: they connect again."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._watchers: set[Watcher] = set()
        self._tasks = TaskGroup(lambda name, error: self.fail())
        self._hosts: dict[str, str] = {}
        self._is_telling_hosts = False

    @property
    def watching(self) -> int:
        """How many watch."""
        return len(self._watchers)

    @contextlib.asynccontextmanager
    async def watched(self, watcher: Watcher) -> AsyncIterator[None]:
        """Sends to that one, too, until the end."""
        self._watchers.add(watcher)
        self._platform.following.join(self)
        try:
            yield
        finally:
            self._watchers.discard(watcher)
            if not self._watchers:
                self._hosts.clear()
                await self._platform.following.leave(self)
                await self._tasks.close()

    def fail(self) -> None:
        # Whoever goes on watching would believe that nothing changes.
        for watcher in self._watchers:
            watcher.end(FAILED, "an internal failure; connect again")

    def wants(self, stream_id: str) -> bool:
        wanted = {"streams", f"stream:{stream_id}"}
        return any(not wanted.isdisjoint(each.topics) for each in self._watchers)

    def take_stream(self, row: tables.Stream, what: What) -> None:
        view = self._platform.streams.view_of(row)
        text = StreamOut.of(view, self._platform.settings.host).model_dump_json()
        topics = ("streams", f"stream:{row.id}")
        self._tell(topics, what, text, lambda user: user.may_see(row.owner_id))

    def take_news(self, news: News) -> None:
        match news.topic:
            case "events":
                self._take_event(news.data)
            case "alerts":
                text = AlertOut.of(news.data).model_dump_json()
                self._tell(("alerts",), news.type, text, lambda user: user.may_see(news.owner_id))
            case topic if topic.startswith("sender:"):  # its data can be sent as it is
                text = _json(news.data)
                self._tell((topic,), news.type, text, lambda user: user.may_see(news.owner_id))

    def take_tick(self) -> None:
        if not any("hosts" in each.topics for each in self._watchers):
            self._hosts.clear()
        elif not self._is_telling_hosts:
            self._is_telling_hosts = True
            self._tasks.spawn("feed-hosts", self._tell_hosts())

    def _take_event(self, event: tables.Event) -> None:
        topic = f"stream:{event.subject}"
        if any(topic in each.topics for each in self._watchers):
            text = EventOut.of(event).model_dump_json()
            self._tell((topic,), "event", text, lambda user: user.may_see(event.owner_id))

    async def _tell_hosts(self) -> None:
        try:
            for host in await hosts.listed(self._platform):
                text = host.model_dump_json()
                if self._hosts.get(host.id, text) != text:
                    self._tell(("hosts",), "changed", text, lambda user: True)
                self._hosts[host.id] = text
        except StoreUnavailable:  # what was told of them last holds until it is back
            return
        finally:
            self._is_telling_hosts = False

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
