"""What is old goes: the log of events, alerts, numbers, deliveries."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Final

from strata.control.alerts import Alerts
from strata.control.history import History
from strata.control.journal import Journal
from strata.control.webhooks import Webhooks
from strata.errors import StoreUnavailable
from strata.settings import Database
from strata.tasks import TaskGroup

log = logging.getLogger(__name__)

EACH_S: Final = 3600.0


class Upkeep:
    """Looks after the database once an hour, first soon after the start."""

    def __init__(
        self,
        settings: Database,
        journal: Journal,
        alerts: Alerts,
        history: History,
        webhooks: Webhooks,
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._alerts = alerts
        self._history = history
        self._webhooks = webhooks
        self._tasks = TaskGroup()

    def start(self) -> None:
        self._tasks.spawn("upkeep", self._run())

    async def close(self) -> None:
        await self._tasks.close()

    async def _run(self) -> None:
        while True:
            try:
                await self.once()
            except StoreUnavailable:
                log.debug("the database is away; what is old goes later")
            await asyncio.sleep(EACH_S)

    async def once(self) -> None:
        events = timedelta(days=self._settings.keep_events_days)
        count = await self._journal.forget(events)
        await self._alerts.forget(events)
        await self._webhooks.forget()
        await self._history.forget(timedelta(days=self._settings.keep_samples_days))
        if count:
            log.info("%d events older than %g days deleted", count, self._settings.keep_events_days)
