"""Everything that the control plane does, put together: what interfaces call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias

from strata.cluster.ends import ControlEnd
from strata.control import rotation
from strata.control.agents import Agents
from strata.control.assignments import Assignments
from strata.control.bus import Bus
from strata.control.destinations import Destinations
from strata.control.hosts import Hosts
from strata.control.journal import Journal
from strata.control.ledger import Ledger
from strata.control.logins import Logins
from strata.control.observer import Observer
from strata.control.orders import Orders
from strata.control.passwords import Passwords
from strata.control.preflights import Preflights
from strata.control.previews import Previews
from strata.control.seal import Seal
from strata.control.senders import Senders
from strata.control.store import Store
from strata.control.streams import Streams
from strata.control.upkeep import Upkeep
from strata.control.users import Users
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
    senders: Senders
    agents: Agents
    assignments: Assignments
    destinations: Destinations
    previews: Previews
    orders: Orders
    hosts: Hosts
    preflights: Preflights


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
        ledger = Ledger(store, journal)
        destinations = Destinations(settings, store, seal, journal, ledger)
        previews = Previews(settings.media_dir)
        hosts = Hosts(store, journal)
        streams = Streams(settings, seal, ledger, destinations, previews, hosts)
        senders = Senders(store, journal, settings.agents.enrollment_days)
        agents = Agents(settings.agents, senders, bus)
        assignments = Assignments(settings, ledger, seal, senders, agents, bus)
        orders = Orders(streams, ledger, seal, destinations)
        preflights = Preflights(settings, streams, destinations, hosts, assignments)
        host = connect(streams.observer)
        await assignments.start(streams.observer)
        streams.start(host, assignments)
        destinations.start(host)
        orders.start(host)
        host.start()
        upkeep = Upkeep(settings.database, journal, ledger, previews)
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
                senders,
                agents,
                assignments,
                destinations,
                previews,
                orders,
                hosts,
                preflights,
            )
        finally:
            await upkeep.close()
            await agents.close()
            await assignments.close()
            await host.close()
            await streams.close()
    finally:
        await store.close()
