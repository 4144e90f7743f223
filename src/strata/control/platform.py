"""Everything that the control plane does, put together: what interfaces call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias

from strata.cluster.ends import ControlEnd
from strata.control import rotation
from strata.control.alerts import Alerts
from strata.control.bus import Bus
from strata.control.history import History
from strata.control.journal import Journal
from strata.control.logins import Logins
from strata.control.metrics import Metrics
from strata.control.observer import Observer
from strata.control.passwords import Passwords
from strata.control.policies import Policies
from strata.control.seal import Seal
from strata.control.store import Store
from strata.control.streams import Streams
from strata.control.upkeep import Upkeep
from strata.control.users import Users
from strata.control.webhooks import Webhooks
from strata.settings import Settings

Connect: TypeAlias = Callable[[Observer], ControlEnd]
"""Makes the way to the host, which tells the observer what it says."""


@dataclass(frozen=True, slots=True)
class Platform:
    settings: Settings
    store: Store
    seal: Seal
    bus: Bus
    journal: Journal
    users: Users
    logins: Logins
    streams: Streams
    alerts: Alerts
    metrics: Metrics
    history: History
    webhooks: Webhooks
    policies: Policies


@asynccontextmanager
async def opened(settings: Settings, connect: Connect) -> AsyncIterator[Platform]:
    """The platform on its database, connected to its host."""
    store = Store(settings)
    try:
        await store.open()
        seal = Seal.load(settings.data_dir / "seal.key")
        await rotation.finish(store, seal)
        bus = Bus()
        journal = Journal(store, bus)
        passwords = Passwords()
        users = Users(store, journal, passwords)
        logins = Logins(store, journal, passwords, settings.server.session_hours)
        streams = Streams(settings, store, seal, journal)
        host = connect(streams.observer)
        streams.start(host)
        host.start()
        alerts = Alerts(store, journal, bus, streams)
        alerts.start()
        metrics = Metrics(store, streams, alerts)
        metrics.start()
        history = History(store, streams)
        history.start()
        webhooks = Webhooks(settings.forward, store, seal, journal, bus)
        webhooks.start()
        policies = Policies(journal, bus, streams, host)
        policies.start()
        upkeep = Upkeep(settings.database, journal, alerts, history, webhooks)
        upkeep.start()
        try:
            yield Platform(
                settings,
                store,
                seal,
                bus,
                journal,
                users,
                logins,
                streams,
                alerts,
                metrics,
                history,
                webhooks,
                policies,
            )
        finally:
            await upkeep.close()
            await policies.close()
            await webhooks.close()
            await history.close()
            await metrics.close()
            await alerts.close()
            await host.close()
            await streams.close()
    finally:
        await store.close()
