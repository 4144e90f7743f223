"""What happened, and who did it: written in the same transaction as the thing itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from strata import ids
from strata.control import tables
from strata.control.bus import Bus, News
from strata.control.roles import User
from strata.control.store import Store

FORGOTTEN_AT_ONCE: Final = 5000
"""Rows deleted in one transaction: others wait for it."""


Also: TypeAlias = Callable[[AsyncSession, list[tables.Event]], Awaitable[None]]


class Change:
    """A transaction in which something happens.

    Attributes:
        session: on the database.
    """

    def __init__(self, session: AsyncSession) -> None:
        self.session = session
        self.events: list[tables.Event] = []

    def note(
        self,
        type: str,
        subject: str | None = None,
        owner_id: str | None = None,
        by: User | None = None,
        at: datetime | None = None,
        **data: Any,
    ) -> None:
        """Writes down what happens.

        Args:
            type: for programs.
            subject: the id of what it is about.
            owner_id: whose that is, who may read of it; None: administrators alone.
            by: who does it.
            at: when; None: now.
        """
        event = tables.Event(
            id=ids.new("evt"),
            at=at or datetime.now(UTC),
            subject=subject,
            owner_id=owner_id,
            user_id=by.id if by is not None else None,
            type=type,
            data=data,
        )
        self.session.add(event)
        self.events.append(event)


class Journal:
    """The log of events.

    Attributes:
        also: what follows from events, written in the same transaction.
    """

    def __init__(self, store: Store, bus: Bus) -> None:
        self._store = store
        self._bus = bus
        self.also: Also | None = None

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Change]:
        """A transaction; what it noted is published once it is committed.

        Raises:
            StoreUnavailable: the database does not answer; nothing was changed.
        """
        async with self._store.begin() as session:
            change = Change(session)
            yield change
            if change.events and self.also is not None:
                await self.also(session, change.events)
        for event in change.events:
            self._bus.publish(News("events", event.type, event, event.owner_id))

    def tell(self, news: News) -> None:
        """Publishes what is worth no place in the log: it comes often, or only shows."""
        self._bus.publish(news)

    async def latest(self, subject: str, count: int) -> list[tables.Event]:
        """What happened last to something, the oldest first."""
        async with self._store.begin() as session:
            events = await session.scalars(
                select(tables.Event)
                .where(tables.Event.subject == subject)
                .order_by(tables.Event.id.desc())
                .limit(count)
            )
            return list(events)[::-1]

    async def since(
        self, user: User, moment: datetime | None, after: str | None, limit: int
    ) -> list[tables.Event]:
        """What happened to the things that the user may see, the oldest first.

        Args:
            moment: from then on; None, without ``after``: the latest.
            after: the id of an event; those that followed it.
        """
        query = select(tables.Event).limit(limit)
        if not user.sees_all:
            query = query.where(tables.Event.owner_id.in_(user.sees))
        if moment is None and after is None:
            query = query.order_by(tables.Event.id.desc())
        else:
            query = query.order_by(tables.Event.id)
        if moment is not None:
            query = query.where(tables.Event.at >= moment)
        if after is not None:
            query = query.where(tables.Event.id > after)
        async with self._store.begin() as session:
            found = list(await session.scalars(query))
        return sorted(found, key=lambda event: event.id)

    async def until(self, user: User, before: str | None, limit: int) -> list[tables.Event]:
        """What happened last to the things that the user may see, the newest first.

        Args:
            before: the id of an event: only what happened before it.
        """
        query = select(tables.Event).order_by(tables.Event.id.desc()).limit(limit)
        if not user.sees_all:
            query = query.where(tables.Event.owner_id.in_(user.sees))
        if before is not None:
            query = query.where(tables.Event.id < before)
        async with self._store.begin() as session:
            return list(await session.scalars(query))

    async def forget(self, keep: timedelta) -> int:
        """Deletes what is older than that; returns how many."""
        oldest = datetime.now(UTC) - keep
        count = 0
        while True:
            async with self._store.begin() as session:
                old = select(tables.Event.id).where(tables.Event.at < oldest)
                ids = list(await session.scalars(old.limit(FORGOTTEN_AT_ONCE)))
                await session.execute(delete(tables.Event).where(tables.Event.id.in_(ids)))
            count += len(ids)
            if len(ids) < FORGOTTEN_AT_ONCE:
                return count
