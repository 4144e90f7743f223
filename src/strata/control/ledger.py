"""The rows of streams and of what happened: the one place where they change."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select

from strata import ids
from strata.control import lifecycle, tables
from strata.control.lifecycle import State
from strata.control.store import Store

log = logging.getLogger(__name__)


class Ledger:
    """What should run, and what became of it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # SQLite locks no row that is read: two steps at once would both start from the old
        # state, and the later would undo the earlier.
        self._one_step = asyncio.Lock()

    async def add(self, row: tables.Stream, user_id: str) -> None:
        """A stream that is about to be started."""
        async with self._store.begin() as session:
            session.add(row)
            session.add(_event(row.id, user_id, "start_requested", {"name": row.name}))

    async def get(self, stream_id: str) -> tables.Stream | None:
        async with self._store.begin() as session:
            return await session.get(tables.Stream, stream_id)

    async def unfinished(self) -> list[tables.Stream]:
        """Every stream that is not over."""
        async with self._store.begin() as session:
            query = select(tables.Stream).where(tables.Stream.state.not_in(lifecycle.OVER))
            return list(await session.scalars(query))

    async def of_owner(self, owner_id: str | None) -> list[tables.Stream]:
        """That user's streams, or everybody's; the newest first."""
        query = select(tables.Stream).order_by(tables.Stream.id.desc())
        if owner_id is not None:
            query = query.where(tables.Stream.owner_id == owner_id)
        async with self._store.begin() as session:
            return list(await session.scalars(query))

    async def note(
        self, stream_id: str, type: str, data: dict[str, Any], user_id: str | None = None
    ) -> None:
        """Writes down what happened, for whoever asks afterwards."""
        async with self._store.begin() as session:
            session.add(_event(stream_id, user_id, type, data))

    async def latest(self, stream_id: str, count: int) -> list[tables.Event]:
        """What happened last to a stream, the oldest first."""
        async with self._store.begin() as session:
            events = await session.scalars(
                select(tables.Event)
                .where(tables.Event.stream_id == stream_id)
                .order_by(tables.Event.id.desc())
                .limit(count)
            )
            return list(events)[::-1]

    async def end(self, stream_id: str, reason: str, detail: str) -> bool:
        """Writes down that a stream is over, and why; see :meth:`advance`."""
        return await self.advance(
            stream_id,
            lifecycle.end_state(reason),
            reason=reason,
            detail=detail,
            ended_at=datetime.now(UTC),
        )

    async def advance(self, stream_id: str, state: State, **columns: Any) -> bool:
        """Changes the state of a stream, and says whether it did: a step that the table of
        transitions does not know is left out, because the later word came first."""
        async with self._one_step, self._store.begin() as session:
            row = await session.get(tables.Stream, stream_id, with_for_update=True)
            if row is None:
                return False
            old: State = row.state  # type: ignore[assignment]
            if not lifecycle.may_advance(old, state):
                return False
            row.state = state
            for name, value in columns.items():
                setattr(row, name, value)
            told: dict[str, Any] = {k: columns[k] for k in ("reason", "detail") if k in columns}
            session.add(_event(stream_id, None, "state", {"from": old, "to": state, **told}))
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


def _event(
    stream_id: str | None, user_id: str | None, type: str, data: dict[str, Any]
) -> tables.Event:
    return tables.Event(
        id=ids.new("evt"),
        at=datetime.now(UTC),
        stream_id=stream_id,
        user_id=user_id,
        type=type,
        data=data,
    )
