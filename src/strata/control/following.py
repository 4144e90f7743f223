"""Streams as they change, followed once for all who show them: the sockets and the pages.

A change is shown at once; numbers, of which there are many, once a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import Final, Literal, Protocol, TypeAlias

from strata.control import tables
from strata.control.bus import Bus, FellBehind, Listener, News
from strata.control.streams import Streams
from strata.errors import StoreUnavailable
from strata.tasks import TaskGroup

log = logging.getLogger(__name__)

TICK_S: Final = 1.0

What: TypeAlias = Literal["changed", "stats"]


class Follower(Protocol):
    """Somebody who shows streams. What it raises ends that for it, and for nobody else."""

    def wants(self, stream_id: str) -> bool:
        """Whether it shows that one."""

    def take_stream(self, row: tables.Stream, what: What) -> None:
        """A stream is different, or has new numbers."""

    def take_news(self, news: News) -> None:
        """Anything else that was told."""

    def take_tick(self) -> None:
        """Another second is over, and the numbers of it have been told."""

    def fail(self) -> None:
        """It follows no more."""


class Following:
    """Follows the news while anybody wants to know."""

    def __init__(self, bus: Bus, streams: Streams) -> None:
        self._bus = bus
        self._streams = streams
        self._followers: set[Follower] = set()
        self._tasks = TaskGroup(self._fail)
        self._listening: contextlib.ExitStack | None = None
        self._rows: dict[str, tables.Stream] = {}
        self._changed: set[str] = set()
        self._measured: set[str] = set()
        self._was_observed = False

    def join(self, follower: Follower) -> None:
        """Tells that one, too. One that has joined already goes on."""
        self._followers.add(follower)
        if self._listening is None:
            self._listening = contextlib.ExitStack()
            listener = self._listening.enter_context(self._bus.listen())
            self._tasks.spawn("following", self._follow(listener))
            self._tasks.spawn("following-numbers", self._tick())

    async def leave(self, follower: Follower) -> None:
        """No longer tells that one."""
        self._followers.discard(follower)
        if self._followers:
            return
        self._stop_listening()
        tasks, self._tasks = self._tasks, TaskGroup(self._fail)
        for kept in (self._rows, self._changed, self._measured):
            kept.clear()
        await tasks.close()

    def _fail(self, name: str, error: BaseException) -> None:
        # Whoever goes on watching would believe that nothing changes.
        self._stop_listening()  # who follows again begins anew
        followers, self._followers = self._followers, set()
        for follower in followers:
            follower.fail()

    def _stop_listening(self) -> None:
        if self._listening is not None:
            self._listening.close()
            self._listening = None

    def _tell(self, tell: Callable[[Follower], None]) -> None:
        for follower in [*self._followers]:
            try:
                tell(follower)
            except Exception:  # a border: one that fails must not take the others along
                log.exception("somebody who shows streams failed, and follows them no more")
                self._followers.discard(follower)
                follower.fail()

    async def _follow(self, listener: Listener) -> None:
        while True:
            try:
                self._take(await listener.next())
                while listener.has_more:
                    self._take(await listener.next())
            except FellBehind:
                self._changed |= {*self._rows, *self._streams.observer.live}
            await self._tell_changes()

    def _take(self, news: News) -> None:
        if news.topic == "streams":
            (self._measured if news.type == "stats" else self._changed).add(news.data)
            return
        if news.topic == "events" and (news.data.subject or "").startswith("str_"):
            self._changed.add(news.data.subject)
        self._tell(lambda follower: follower.take_news(news))

    async def _tell_changes(self) -> None:
        changed, self._changed = self._changed, set()
        try:
            rows = await self._streams.rows(self._wanted(changed))
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
            if self._streams.can_start != self._was_observed:
                self._was_observed = self._streams.can_start
                self._changed |= self._streams.observer.live.keys()
            measured, self._measured = self._measured, set()
            self._changed |= measured - self._rows.keys()
            if self._changed:
                await self._tell_changes()
            for id in self._wanted(measured & self._rows.keys()):
                row = self._rows.get(id)
                if row is not None:  # else it has ended since
                    self._tell_stream(row, "stats")
                await asyncio.sleep(0)  # with hundreds of streams, others have their turn
            self._tell(lambda follower: follower.take_tick())

    def _wanted(self, stream_ids: Iterable[str]) -> list[str]:
        """Those of the streams that anybody shows."""
        return [id for id in stream_ids if any(each.wants(id) for each in self._followers)]

    def _tell_stream(self, row: tables.Stream, what: What) -> None:
        self._tell(lambda each: each.take_stream(row, what) if each.wants(row.id) else None)
