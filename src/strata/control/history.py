"""The numbers of streams over time, for charts: a sample of each that runs, every 5 s."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import and_, delete, func, insert, select

from strata.control import tables
from strata.control.live import Live
from strata.control.roles import User
from strata.control.store import Store
from strata.control.streams import Streams
from strata.errors import NotFound, StoreUnavailable
from strata.tasks import TaskGroup
from strata.wire.worker import Stats

log = logging.getLogger(__name__)

EACH_S: Final = 5.0

POINTS_MAX: Final = 1000
"""In an answer; a chart is not wider."""


class History:
    def __init__(self, store: Store, streams: Streams) -> None:
        self._store = store
        self._streams = streams
        self._sampled: dict[str, Stats] = {}
        self._tasks = TaskGroup()

    def start(self) -> None:
        self._tasks.spawn("samples", self._run())

    async def close(self) -> None:
        await self._tasks.close()

    async def of(
        self, user: User, stream_id: str, since: datetime, until: datetime
    ) -> tuple[int, list[tables.Sample]]:
        """Samples of a stream, the oldest first, and of how many each is one.

        Raises:
            NotFound: there is no such stream, or it is another user's.
        """
        one = tables.Sample
        wanted = and_(one.stream_id == stream_id, one.at >= since, one.at <= until)
        async with self._store.begin() as session:
            row = await session.get(tables.Stream, stream_id)
            if row is None or not user.may_see(row.owner_id):
                raise NotFound(f"there is no stream {stream_id[:64]!r}")
            count = await session.scalar(select(func.count()).select_from(one).where(wanted)) or 0
            step = -(-count // POINTS_MAX) or 1
            # Which ones is read from the index; the numbers of those alone are fetched.
            number = func.row_number().over(order_by=one.at).label("number")
            numbered = select(one.at, number).where(wanted).subquery()
            query = (
                select(one)
                .join(numbered, and_(one.at == numbered.c.at, one.stream_id == stream_id))
                .where((numbered.c.number - 1) % step == 0)
                .order_by(one.at)
            )
            return step, list(await session.scalars(query))

    async def forget(self, keep: timedelta) -> None:
        """Deletes what is older than that."""
        oldest = datetime.now(UTC) - keep
        async with self._store.begin() as session:
            await session.execute(delete(tables.Sample).where(tables.Sample.at < oldest))

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            # One that came late does not make all that follow late.
            due = max(due + EACH_S, loop.time())
            await asyncio.sleep(due - loop.time())
            try:
                await self.sample()
            except StoreUnavailable:
                log.debug("the database is away; charts will have a hole")

    async def sample(self) -> None:
        """Writes down how each stream is now.

        Raises:
            StoreUnavailable: nothing was written.
        """
        live = dict(self._streams.observer.live)
        now = datetime.now(UTC)
        rows = [
            {"stream_id": id, "at": now, "data": numbers(each, self._news(id, each))}
            for id, each in live.items()
        ]
        self._sampled = {id: each.stats for id, each in live.items() if each.stats is not None}
        if rows:
            async with self._store.begin() as session:
                await session.execute(insert(tables.Sample), rows)

    def _news(self, id: str, live: Live) -> Stats | None:
        """Its numbers, if they are of now: those of a worker that is silent are old."""
        return live.stats if live.stats is not self._sampled.get(id) else None


def numbers(live: Live, stats: Stats | None) -> dict[str, Any]:
    """What is kept of a stream; what is not known is None, never 0."""
    return {
        "bitrate_in_kbps": stats.bitrate_in_kbps if stats else None,
        "bitrate_out_kbps": stats.bitrate_out_kbps if stats else None,
        "buffer_ms": stats.buffer_ms if stats else None,
        "quality_percent": stats.flow.quality_percent if stats else None,
        "received": stats.flow.received if stats else None,
        "recovered": stats.flow.recovered if stats else None,
        "lost": stats.flow.lost if stats else None,
        "cpu_percent": stats.cpu_percent if stats else None,
        "slate": live.program.video == "slate",
        "links": [
            {"port": each.port, "bitrate_kbps": each.bitrate_kbps, "rtt_ms": each.rtt_ms}
            for each in (stats.links if stats else ())
        ],
        "forwards": [
            {"forward": each.forward, "bitrate_kbps": each.bitrate_kbps, "state": each.state}
            for each in (stats.forwards if stats else ())
        ],
    }
