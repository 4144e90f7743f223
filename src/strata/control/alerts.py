"""Alerts: what is wrong now, and what was, kept for whoever asks afterwards.

What is wrong is decided by :mod:`strata.control.troubles`; here it is written down, told and
acknowledged. All that is known is looked at each second, a stream that changes at once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, or_, select

from strata import ids
from strata.control import lifecycle, tables, troubles
from strata.control.bus import Bus, FellBehind, Listener, News
from strata.control.journal import Change, Journal
from strata.control.observer import LOCAL_HOST
from strata.control.roles import User
from strata.control.store import Store
from strata.control.streams import Streams
from strata.control.troubles import Key, Standing, Step, Troubles
from strata.errors import NotFound, StoreUnavailable
from strata.tasks import TaskGroup

log = logging.getLogger(__name__)

LOOK_S: Final = 1.0

HOST_GRACE_S: Final = 5.0
"""A host that is started anew, or a control plane, is back sooner than that."""


@dataclass(slots=True)
class Subject:
    """A stream or a host.

    Attributes:
        standing: what is wrong with it, or was a moment ago.
        rows: the ids of those alerts.
    """

    owner_id: str | None
    standing: dict[Key, Standing] = field(default_factory=dict)
    rows: dict[Key, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Found:
    """What a look at a subject found; ``is_over``: it has ended."""

    owner_id: str | None
    troubles: Troubles
    is_over: bool = False


class Alerts:
    """
    Args:
        clock: seconds since 1970.
    """

    def __init__(
        self,
        store: Store,
        journal: Journal,
        bus: Bus,
        streams: Streams,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._journal = journal
        self._bus = bus
        self._streams = streams
        self._clock = clock
        self._subjects: dict[str, Subject] = {}
        self._seen_at = clock()
        # Two looks at once would both find the same thing new.
        self._one_look = asyncio.Lock()
        self._remembers = False
        self._tasks = TaskGroup()

    def start(self) -> None:
        self._tasks.spawn("alerts", self._run())

    async def close(self) -> None:
        await self._tasks.close()

    # What people ask for.

    async def visible_to(
        self, user: User, is_open: bool | None, subject: str | None, limit: int
    ) -> list[tables.Alert]:
        """Alerts on what the user may see, the newest first.

        Args:
            is_open: those that stand; False: those that are over; None: both.
            subject: the id of what they are about; None: of anything.
        """
        query = select(tables.Alert).order_by(tables.Alert.id.desc()).limit(limit)
        if not user.sees_all:
            query = query.where(tables.Alert.owner_id.in_(user.sees))
        if is_open is not None:
            over = tables.Alert.cleared_at
            query = query.where(over.is_(None) if is_open else over.is_not(None))
        if subject is not None:
            query = query.where(tables.Alert.subject == subject)
        async with self._store.begin() as session:
            return list(await session.scalars(query))

    def standing(self) -> list[str]:
        """The kinds of all alerts that stand."""
        return [
            key.kind
            for subject in self._subjects.values()
            for key, each in subject.standing.items()
            if not each.is_over
        ]

    async def ack(self, user: User, alert_id: str) -> tables.Alert:
        """Somebody has seen it, and says so; who was first counts.

        Raises:
            NotAllowed, NotFound: not this user's to acknowledge.
        """
        user.require("operator")
        async with self._journal.begin() as change:
            row = await change.session.get(tables.Alert, alert_id, with_for_update=True)
            if row is None or not user.may_see(row.owner_id):
                raise NotFound(f"there is no alert {alert_id[:64]!r}")
            if row.acked_at is not None:
                return row
            row.acked_at, row.acked_by = datetime.now(UTC), user.id
            change.note("alert_acked", row.subject, row.owner_id, user, **_told(row))
        self._bus.publish(News("alerts", "alert_acked", row, row.owner_id))
        return row

    async def forget(self, keep: timedelta) -> None:
        """Deletes what has been over for longer than that."""
        oldest = datetime.now(UTC) - keep
        async with self._store.begin() as session:
            await session.execute(delete(tables.Alert).where(tables.Alert.cleared_at < oldest))

    # As it comes.

    async def _run(self) -> None:
        with self._bus.listen(lambda news: news.topic == "streams" and news.type != "stats") as all:
            loop = asyncio.get_running_loop()
            next_at = loop.time()
            while True:
                changed = await _next(all, next_at - loop.time())
                if changed is None:
                    next_at = loop.time() + LOOK_S
                await _tried(self.look(changed))

    async def _remember(self) -> None:
        """What stood when the control plane ended, or was over only just before."""
        now_s = self._clock()
        recently = datetime.fromtimestamp(now_s - troubles.SAME_S, UTC)
        over = tables.Alert.cleared_at
        query = select(tables.Alert).where(or_(over.is_(None), over > recently))
        async with self._store.begin() as session:
            rows = list(await session.scalars(query.order_by(tables.Alert.id)))
        for row in rows:
            subject = self._subjects.setdefault(row.subject, Subject(row.owner_id))
            text = row.detail if row.kind == "host_warning" else None
            key = Key(row.kind, row.forward, row.port, text)
            gone_at = row.cleared_at.timestamp() if row.cleared_at is not None else None
            subject.standing[key] = Standing(gone_at=gone_at, is_over=gone_at is not None)
            subject.rows[key] = row.id
        self._remembers = True

    async def look(self, changed: Collection[str] | None = None) -> None:
        """Finds what is wrong and writes down what is news.

        Args:
            changed: the streams to look at; None: all, and the host.

        Raises:
            StoreUnavailable: nothing was written; the next look finds it again.
        """
        async with self._one_look:
            if not self._remembers:
                await self._remember()
            now_s = self._clock()
            found = await self._find(changed, now_s)
            steps = {
                id: troubles.step(self._standing(id), each.troubles, now_s, is_final=each.is_over)
                for id, each in found.items()
            }
            told = []
            if any(news for _, news in steps.values()):
                async with self._journal.begin() as change:
                    for id, (_, news) in steps.items():
                        for one in news:
                            row = await self._write(change, id, found[id].owner_id, one, now_s)
                            told.append((one, id, row))
            for id, (standing, _) in steps.items():
                self._keep(id, found[id].owner_id, standing)
            for one, id, row in told:
                if id in self._subjects and one.key in self._subjects[id].standing:
                    self._subjects[id].rows[one.key] = row.id
                type = "alert_cleared" if one.what == "cleared" else "alert_raised"
                self._bus.publish(News("alerts", type, row, row.owner_id))

    async def _find(self, changed: Collection[str] | None, now_s: float) -> dict[str, Found]:
        live = self._streams.observer.live
        if self._streams.can_start:
            self._seen_at = now_s
        is_observed = now_s - self._seen_at <= HOST_GRACE_S
        wanted = set(changed) if changed is not None else {*live, *self._subjects}
        wanted.discard(LOCAL_HOST)
        found = {
            id: Found(live[id].owner_id, troubles.of_stream(live[id], is_observed=is_observed))
            for id in wanted & live.keys()
        }
        # What is not known yet, after a start, is not over.
        for id in await self._over(wanted & self._subjects.keys() - live.keys()):
            found[id] = Found(self._subjects[id].owner_id, {}, is_over=True)
        if changed is None:
            load = self._streams.observer.load
            wrong = troubles.of_host(load, is_connected=is_observed)
            found[LOCAL_HOST] = Found(None, wrong)
        return found

    async def _over(self, stream_ids: Collection[str]) -> set[str]:
        if not stream_ids:
            return set()
        running = select(tables.Stream.id).where(
            tables.Stream.id.in_(stream_ids), tables.Stream.state.not_in(lifecycle.OVER)
        )
        async with self._store.begin() as session:
            return set(stream_ids) - set(await session.scalars(running))

    def _standing(self, id: str) -> dict[Key, Standing]:
        return self._subjects[id].standing if id in self._subjects else {}

    def _keep(self, id: str, owner_id: str | None, standing: dict[Key, Standing]) -> None:
        if not standing:
            self._subjects.pop(id, None)
            return
        subject = self._subjects.setdefault(id, Subject(owner_id))
        subject.standing = standing
        subject.rows = {key: row for key, row in subject.rows.items() if key in standing}

    async def _write(
        self, change: Change, id: str, owner_id: str | None, one: Step, now_s: float
    ) -> tables.Alert:
        now, key = datetime.fromtimestamp(now_s, UTC), one.key
        if one.what == "raised":
            row = tables.Alert(
                id=ids.new("alr"),
                subject=id,
                owner_id=owner_id,
                kind=key.kind,
                detail=one.detail[: troubles.DETAIL_MAX],
                forward=key.forward,
                port=key.port,
                raised_at=now,
            )
            change.session.add(row)
        else:
            kept = await change.session.get(tables.Alert, self._subjects[id].rows[key])
            assert kept is not None
            row = kept
            row.cleared_at = now if one.what == "cleared" else None
        type = "alert_cleared" if one.what == "cleared" else "alert_raised"
        change.note(type, id, owner_id, **_told(row))
        return row


async def _tried(work: Awaitable[None]) -> None:
    """What could not be done is found again by the next look."""
    try:
        await work
    except StoreUnavailable:
        pass
    except Exception:
        # What cannot be written of one stream must not end the alerts of all.
        log.exception("alerts could not be looked after")


async def _next(listener: Listener, wait_s: float) -> set[str] | None:
    """The stream that changes next; None where none does for so long, or many did."""
    if wait_s <= 0:
        return None
    try:
        async with asyncio.timeout(wait_s):
            return {(await listener.next()).data}
    except (TimeoutError, FellBehind):
        return None


def _told(row: tables.Alert) -> dict[str, Any]:
    return {
        "alert": row.id,
        "kind": row.kind,
        "detail": row.detail,
        "forward": row.forward,
        "port": row.port,
    }
