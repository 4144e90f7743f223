"""What is known of all streams, made once for all pages.

It is followed from the start, whoever looks: the small charts on the wall have two minutes behind
them, and a page is there at once.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from strata.control import tables
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

SECONDS_KNOWN: Final = 3
"""Numbers that are older are not shown any more: nobody knows whether they still hold."""

FAILED_SHOWN: Final = timedelta(minutes=30)
"""How long a broadcast that failed stays on the wall."""

AGAIN_S: Final = 5.0
"""After a failure of ours, before streams are followed again."""

EVERYTHING: Final = User("", "", "admin")
"""Who sees all: what a page may show of it is decided for each page."""


class Page(Protocol):
    """A part of a page that somebody looks at."""

    def take_second(self) -> None:
        """Another second is over."""

    def hear_news(self, news: News) -> None:
        """Something was told."""

    def anew(self) -> None:
        """Something may have been told that was not heard."""


@dataclass(slots=True)
class Entry:
    """One stream.

    Attributes:
        head: replaced when something in it is different; its identity tells pages that it is.
        points: bitrates in and out, the latest last; None where they were not known.
        age_ticks: how long ago the numbers came.
        is_silent: whether that is too long: nobody knows how it is.
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
    is_silent: bool = False


class Overview:
    """
    Attributes:
        entries: by the ids of streams.
        order: those ids, trouble first; of one that has just gone, it may still hold the id.
        is_whole: whether what ran before is in there already.
        tasks: what is being sent to pages.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self.entries: dict[str, Entry] = {}
        self.order: list[str] = []
        self.is_whole = False
        self._is_sorted = False
        self._ticks_known = _ticks_known(platform.settings.worker.stats_interval_ms)
        self._pages: set[Page] = set()
        self._failed = asyncio.Event()
        self.tasks = TaskGroup()

    def start(self) -> None:
        self.tasks.spawn("overview", self._run())

    async def close(self) -> None:
        await self._platform.following.leave(self)
        await self.tasks.close()

    def add_page(self, page: Page) -> None:
        """Tells that one from now on."""
        self._pages.add(page)

    def drop_page(self, page: Page) -> None:
        self._pages.discard(page)

    def _tell_pages(self, tell: Callable[[Page], None]) -> None:
        for page in [*self._pages]:
            try:
                tell(page)
            except Exception:  # a border: one that fails must not take the others along
                log.exception("%s could not be told", type(page).__name__)

    def visible_to(self, user: User) -> list[str]:
        """The streams that the user may see, trouble first."""
        shown = ((id, self.entries.get(id)) for id in self.order)
        return [id for id, each in shown if each and user.may_see(each.row.owner_id)]

    async def _run(self) -> None:
        while True:
            self._failed.clear()
            self._platform.following.join(self)
            try:
                await self._begin()
                self._tell_pages(lambda page: page.anew())
                await self._failed.wait()
            except StoreUnavailable:
                log.warning("the database is away; the pages show streams once it is back")
            except Exception:  # a border: pages that stand still would seem to say that all is well
                log.exception("the pages could not be given the streams; they are in a moment")
            await asyncio.sleep(AGAIN_S)

    async def _begin(self) -> None:
        """What there is already."""
        recently = datetime.now(UTC) - FAILED_SHOWN
        streams = self._platform.streams
        running = await streams.running(EVERYTHING)
        latest = [each.row for each in await streams.visible_to(EVERYTHING)]
        failed = [row for row in latest if row.state == "failed" and row.ended_at]
        for row in (*(each.row for each in running), *failed):
            if row.id not in self.entries and (not row.ended_at or row.ended_at > recently):
                self.take_stream(row, "changed")
        self.is_whole = True

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
        if entry is None:
            head, names = self._describe(view, NAMELESS)
            self.entries[row.id] = entry = Entry(row, head, rows.UNKNOWN)
            self._is_sorted = False
        stats = view.live.stats if view.live is not None and view.is_observed else None
        if stats is not entry.stats:
            entry.stats, entry.age_ticks, entry.is_silent = stats, 0, False
        head, names = self._describe(view, entry.names, is_silent=entry.is_silent)
        entry.row, entry.names = row, names
        entry.numbers = rows.UNKNOWN if entry.is_silent else rows.numbers(stats, names)
        self._put(entry, head)

    def _put(self, entry: Entry, head: Head) -> None:
        if entry.head != head:
            self._is_sorted = self._is_sorted and rows.rank(entry.head) == rows.rank(head)
            entry.head = head

    def _names(self, view: View, before: Names) -> Names:
        sender = self._platform.agents.link_of(view.row.sender_id or "")
        told = sender.stats if sender is not None else None
        if told is not None and told.stream_id != view.row.id:
            told = None
        return Names(rows.forward_names(view), rows.link_names(told, before.links))

    def describe(self, view: View) -> Head:
        """What the pages say of it right now, in the same words everywhere."""
        entry = self.entries.get(view.row.id)
        before = entry.names if entry is not None else NAMELESS
        is_silent = entry is not None and entry.is_silent
        return self._describe(view, before, is_silent=is_silent)[0]

    def _describe(
        self, view: View, before: Names, *, is_silent: bool = False
    ) -> tuple[Head, Names]:
        try:
            names = self._names(view, before)
            return rows.head(view, names, is_silent=is_silent), names
        except Exception:  # a border: one that cannot be described must not freeze the others
            log.exception("%s cannot be shown", view.row.id)
            return rows.unreadable(view.row), before

    def take_news(self, news: News) -> None:
        self._tell_pages(lambda page: page.hear_news(news))

    def take_tick(self) -> None:
        """Another second: each small chart has one more point, and pages are told."""
        for entry in self.entries.values():
            entry.age_ticks += 1
            if entry.age_ticks > self._ticks_known and not entry.is_silent:
                self._fall_silent(entry)
            entry.points.append((entry.numbers["in"], entry.numbers["out"]))
        self._forget()
        if not self._is_sorted:
            keys = {id: rows.rank(entry.head).key for id, entry in self.entries.items()}
            self.order = sorted(keys, key=keys.__getitem__)
            self._is_sorted = True
        self._tell_pages(lambda page: page.take_second())

    def _fall_silent(self, entry: Entry) -> None:
        entry.is_silent, entry.numbers = True, rows.UNKNOWN
        self._put(entry, self.describe(self._platform.streams.view_of(entry.row)))

    def fail(self) -> None:
        self._failed.set()

    def _forget(self) -> None:
        oldest = datetime.now(UTC) - FAILED_SHOWN
        for id, entry in [*self.entries.items()]:
            if entry.row.ended_at is not None and entry.row.ended_at < oldest:
                del self.entries[id]
                self._is_sorted = False


def _ticks_known(interval_ms: int) -> int:
    return max(SECONDS_KNOWN, math.ceil(3 * interval_ms / 1000))
