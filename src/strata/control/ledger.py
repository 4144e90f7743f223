"""The rows of streams and of what happened: the one place where they change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import and_, false, or_, select, true

from strata.control import lifecycle, tables
from strata.control.bus import News
from strata.control.journal import Journal
from strata.control.lifecycle import State
from strata.control.roles import User
from strata.control.store import Store

log = logging.getLogger(__name__)

LISTED: Final = 200
"""Streams that are told of at once, where nobody asks for more."""


class Ledger:
    """What should run, and what became of it."""

    def __init__(self, store: Store, journal: Journal) -> None:
        self._store = store
        self._journal = journal
        # SQLite locks no row that is read: two steps at once would both start from the old
        # state, and the later would undo the earlier.
        self._one_step = asyncio.Lock()

    async def add(self, row: tables.Stream, by: User) -> None:
        """A stream that is about to be started."""
        async with self._journal.begin() as change:
            change.session.add(row)
            change.note("start_requested", row.id, row.owner_id, by, name=row.name)

    async def get(self, stream_id: str) -> tables.Stream | None:
        async with self._store.begin() as session:
            return await session.get(tables.Stream, stream_id)

    async def rows(self, ids: Collection[str]) -> list[tables.Stream]:
        async with self._store.begin() as session:
            query = select(tables.Stream).where(tables.Stream.id.in_(ids))
            return list(await session.scalars(query))

    async def unfinished(self) -> list[tables.Stream]:
        """Every stream that is not over."""
        async with self._store.begin() as session:
            query = select(tables.Stream).where(tables.Stream.state.not_in(lifecycle.OVER))
            return list(await session.scalars(query))

    async def ended_since(self, moment: datetime) -> set[str]:
        """The ids of the streams that are not over, or have not been for longer."""
        query = select(tables.Stream.id).where(
            tables.Stream.ended_at.is_(None) | (tables.Stream.ended_at >= moment)
        )
        async with self._store.begin() as session:
            return set(await session.scalars(query))

    async def visible_to(
        self, user: User, before: str | None = None, limit: int = LISTED
    ) -> list[tables.Stream]:
        """The streams that the user may see, the newest first: so many, and beside them each
        that is not over, however old.

        Args:
            before: the id of a stream: only older ones.
        """
        seen = true() if user.sees_all else tables.Stream.owner_id.in_(user.sees)
        newest = select(tables.Stream.id).where(seen).order_by(tables.Stream.id.desc())
        if before is not None:
            newest = newest.where(tables.Stream.id < before)
        all_that_run = true() if before is None else false()
        wanted = or_(
            tables.Stream.id.in_(newest.limit(limit)),
            and_(all_that_run, tables.Stream.state.not_in(lifecycle.OVER)),
        )
        query = select(tables.Stream).where(seen, wanted).order_by(tables.Stream.id.desc())
        async with self._store.begin() as session:
            return list(await session.scalars(query))

    async def past(self, user: User, before: str | None, limit: int) -> list[tables.Stream]:
        """The streams that are over and that the user may see, the newest first.

        Args:
            before: the id of a stream: only older ones.
        """
        query = select(tables.Stream).where(tables.Stream.state.in_(lifecycle.OVER))
        if not user.sees_all:
            query = query.where(tables.Stream.owner_id.in_(user.sees))
        if before is not None:
            query = query.where(tables.Stream.id < before)
        async with self._store.begin() as session:
            found = await session.scalars(query.order_by(tables.Stream.id.desc()).limit(limit))
            return list(found)

    async def note(
        self,
        stream_id: str,
        type: str,
        data: dict[str, Any],
        by: User | None = None,
        at: datetime | None = None,
    ) -> None:
        """Writes down what happened to a stream, for whoever asks afterwards.

        Args:
            at: when; None: now.
        """
        async with self._journal.begin() as change:
            row = await change.session.get(tables.Stream, stream_id)
            owner_id = row.owner_id if row is not None else None
            change.note(type, stream_id, owner_id, by, at, **data)

    async def set_forwards(
        self, stream_id: str, sealed: bytes, type: str, by: User | None = None, **data: Any
    ) -> None:
        """Writes down where a stream goes from now on, and what that comes from."""
        async with self._journal.begin() as change:
            row = await change.session.get(tables.Stream, stream_id, with_for_update=True)
            assert row is not None  # rows of streams stay
            row.forwards_sealed = sealed
            change.note(type, stream_id, row.owner_id, by, **data)

    def tell(self, type: str, stream_id: str, owner_id: str | None) -> None:
        """Tells those who follow streams that something about one is different now."""
        self._journal.tell(News("streams", type, stream_id, owner_id))

    async def latest(self, stream_id: str, count: int) -> list[tables.Event]:
        """What happened last to a stream, the oldest first."""
        return await self._journal.latest(stream_id, count)

    async def end(
        self, stream_id: str, reason: str, detail: str, at: datetime | None = None
    ) -> bool:
        """Writes down that a stream is over, and why; see :meth:`advance`."""
        return await self.advance(
            stream_id,
            lifecycle.end_state(reason),
            reason=reason,
            detail=detail,
            at=at,
            ended_at=at or datetime.now(UTC),
        )

    async def advance(
        self, stream_id: str, state: State, at: datetime | None = None, **columns: Any
    ) -> bool:
        """Changes the state of a stream, and says whether it did: a step that the table of
        transitions does not know is left out, because the later word came first."""
        async with self._one_step, self._journal.begin() as change:
            row = await change.session.get(tables.Stream, stream_id, with_for_update=True)
            if row is None:
                return False
            old: State = row.state  # type: ignore[assignment]
            if not lifecycle.may_advance(old, state):
                return False
            row.state = state
            for name, value in columns.items():
                setattr(row, name, value)
            told: dict[str, Any] = {k: columns[k] for k in ("reason", "detail") if k in columns}
            told = {"from": old, "to": state, **told}
            change.note("state", stream_id, row.owner_id, at=at, **told)
        level = logging.WARNING if state in ("degraded", "failed") else logging.INFO
        log.log(
            level,
            "%s: %s -> %s%s",
            stream_id,
            old,
            state,
            f": {columns['reason']}: {columns['detail']}" if "reason" in columns else "",
        )
        return True
