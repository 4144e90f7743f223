"""What is old goes: events, alerts, numbers, deliveries, and previews of streams that are over."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import UTC, datetime, timedelta
from typing import Final

from strata.control.alerts import Alerts
from strata.control.history import History
from strata.control.journal import Journal
from strata.control.ledger import Ledger
from strata.control.previews import Previews
from strata.control.webhooks import Webhooks
from strata.errors import StoreUnavailable
from strata.settings import Database
from strata.tasks import TaskGroup

log = logging.getLogger(__name__)

EACH_S: Final = 3600.0
CLOSE_DEADLINE_S: Final = 5.0

KEEP_PREVIEWS: Final = timedelta(hours=1)
"""After the end of a stream: for whoever looks how it ended."""


class Upkeep:
    """Looks after the database and the media folder once an hour, first soon after the start."""

    def __init__(
        self,
        settings: Database,
        journal: Journal,
        ledger: Ledger,
        previews: Previews,
        alerts: Alerts,
        history: History,
        webhooks: Webhooks,
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._ledger = ledger
        self._previews = previews
        self._alerts = alerts
        self._history = history
        self._webhooks = webhooks
        self._ending = asyncio.Event()
        self._looking: asyncio.Task[None]
        self._tasks = TaskGroup()

    def start(self) -> None:
        self._looking = self._tasks.spawn("upkeep", self._run())

    async def close(self) -> None:
        """Ends; a look that is under way is finished first, because a connection to the
        database that is opened just then would stay open."""
        self._ending.set()
        await asyncio.wait({self._looking}, timeout=CLOSE_DEADLINE_S)
        await self._tasks.close()

    async def _run(self) -> None:
        while not self._ending.is_set():
            try:
                await self.once()
            except StoreUnavailable:
                log.debug("the database is away; what is old goes later")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EACH_S):
                    await self._ending.wait()

    async def once(self) -> None:
        events = timedelta(days=self._settings.keep_events_days)
        count = await self._journal.forget(events)
        await self._alerts.forget(events)
        await self._webhooks.forget()
        await self._history.forget(timedelta(days=self._settings.keep_samples_days))
        if count:
            log.info("%d events older than %g days deleted", count, self._settings.keep_events_days)
        await self._remove_previews()

    async def _remove_previews(self) -> None:
        try:
            # These first: a stream that begins meanwhile has its row before its folder.
            there = await self._previews.there()
            kept = await self._ledger.ended_since(datetime.now(UTC) - KEEP_PREVIEWS)
            await self._previews.remove(there - kept)
        except (OSError, TimeoutError) as error:
            log.warning("old previews could not be removed: %s", error)
        else:
            if there - kept:
                log.info("the previews of %d streams that are over deleted", len(there - kept))
