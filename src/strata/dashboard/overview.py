"""What is known of all streams, made once for all pages.

It is followed from the start, whoever looks: the small charts on the wall have two minutes behind
them, and a page is there at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from strata.control import lifecycle, tables
from strata.control.bus import News
from strata.control.following import What
from strata.control.platform import Platform
from strata.control.roles import User
from strata.control.streams import View
from strata.dashboard import rows
from strata.dashboard.rows import Head, Numbers
from strata.dashboard.words import NAMELESS, Names
from strata.errors import StoreUnavailable
from strata.tasks import TaskGroup
from strata.wire.worker import Stats

log = logging.getLogger(__name__)

POINTS: Final = 120
"""Of a small chart: one a second."""

TICKS_KNOWN: Final = 3
"""Numbers that are older are not shown any more: nobody knows whether they still hold."""

FAILED_SHOWN: Final = timedelta(minutes=30)
"""How long a broadcast that failed stays on the wall."""

AGAIN_S: Final = 5.0
"""After a failure of ours, before streams are followed again."""

EVERYTHING: Final = User("", "", "admin")
"""Who sees all: what a page may show of it is decided for each page."""


@dataclass(slots=True)
class Entry:
    """One stream.

    Attributes:
        head: replaced when something in it is different; its identity tells pages that it is.
        points: bitrates in and out, the latest last; None where they were not known.
        age_ticks: how long ago the numbers came.
        names: what people know its parts by.
    """

    row: tables.Stream
    head: Head
    numbers: Numbers
    points: deque[tuple[int | None, int | None]] = field(
        default_factory=lambda: deque(maxlen=POINTS)
    )
    stats: Stats | None = None
    age_ticks: int = 0
    names: Names = NAMELESS


class Overview:
    """
    Attributes:
        entries: by the ids of streams.
        order: those ids, trouble first.
        tasks: what is being sent to pages.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self.entries: dict[str, Entry] = {}
        self.order: list[str] = []
        self._is_sorted = False
        self._pages: set[Callable[[], None]] = set()
        self._hearers: set[Callable[[News], None]] = set()
        self._failed = asyncio.Event()
        self.tasks = TaskGroup()

    def start(self) -> None:
        self.tasks.spawn("overview", self._run())

    async def close(self) -> None:
        await self._platform.following.leave(self)
        await self.tasks.close()

    def add_page(self, tick: Callable[[], None], hear: Callable[[News], None]) -> None:
        """Calls that one each second, and with what is told."""
        self._pages.add(tick)
        self._hearers.add(hear)

    def drop_page(self, tick: Callable[[], None], hear: Callable[[News], None]) -> None:
        self._pages.discard(tick)
        self._hearers.discard(hear)

    def visible_to(self, user: User) -> list[str]:
        """The streams that the user may see, trouble first."""
        return [id for id in self.order if user.may_see(self.entries[id].row.owner_id)]

    async def _run(self) -> None:
        while True:
            self._failed.clear()
            self._platform.following.join(self)
            try:
                await self._begin()
                await self._failed.wait()
            except StoreUnavailable:
                log.warning("the database is away; the pages show streams once it is back")
            except Exception:  # a border: pages that stand still would seem to say that all is well
                log.exception("the pages could not be given the streams; they are in a moment")
            await asyncio.sleep(AGAIN_S)

    async def _begin(self) -> None:
        """What there is already."""
        recently = datetime.now(UTC) - FAILED_SHOWN
        for view in await self._platform.streams.visible_to(EVERYTHING):
            row = view.row
            failed_lately = row.state == "failed" and row.ended_at and row.ended_at > recently
            if row.id not in self.entries and (row.state not in lifecycle.OVER or failed_lately):
                self.take_stream(row, "changed")

    # As somebody who follows streams.

    def wants(self, stream_id: str) -> bool:
        return True

    def take_stream(self, row: tables.Stream, what: What) -> None:
        view = self._platform.streams.view_of(row)
        if row.state == "ended":
            self.entries.pop(row.id, None)
            self._is_sorted = False
            return
        entry = self.entries.get(row.id)
        head, names = self._describe(view, entry.names if entry is not None else NAMELESS)
        if entry is None:
            self.entries[row.id] = entry = Entry(row, head, rows.UNKNOWN)
            self._is_sorted = False
        entry.row, entry.names = row, names
        stats = view.live.stats if view.live is not None and view.is_observed else None
        if stats is not entry.stats:
            entry.stats, entry.age_ticks = stats, 0
            entry.numbers = rows.numbers(stats, names)
        if entry.head != head:
            self._is_sorted = self._is_sorted and rows.rank(entry.head) == rows.rank(head)
            entry.head = head

    def _names(self, view: View, before: Names) -> Names:
        sender = self._platform.agents.link_of(view.row.sender_id or "")
        told = sender.stats if sender is not None else None
        if told is not None and told.stream_id != view.row.id:
            told = None
        return Names(rows.forward_names(view), rows.link_names(told, before.links))

    def _describe(self, view: View, before: Names) -> tuple[Head, Names]:
        try:
            names = self._names(view, before)
            return rows.head(view, names), names
        except Exception:  # a border: one that cannot be described must not freeze the others
            log.exception("%s cannot be shown", view.row.id)
            return rows.unreadable(view.row), before

    def take_news(self, news: News) -> None:
        for hear in [*self._hearers]:
            hear(news)

    def take_tick(self) -> None:
        """Another second: each small chart has one more point, and pages are told."""
        for entry in self.entries.values():
            entry.age_ticks += 1
            if entry.age_ticks > TICKS_KNOWN:
                entry.numbers = rows.UNKNOWN
            entry.points.append((entry.numbers["in"], entry.numbers["out"]))
        self._forget()
        if not self._is_sorted:
            keys = {id: rows.rank(entry.head).key for id, entry in self.entries.items()}
            self.order = sorted(keys, key=keys.__getitem__)
            self._is_sorted = True
        for tick in [*self._pages]:
            tick()

    def fail(self) -> None:
        self._failed.set()

    def _forget(self) -> None:
        oldest = datetime.now(UTC) - FAILED_SHOWN
        for id, entry in [*self.entries.items()]:
            if entry.row.ended_at is not None and entry.row.ended_at < oldest:
                del self.entries[id]
                self._is_sorted = False
