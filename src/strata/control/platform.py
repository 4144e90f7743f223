"""Everything that the control plane does, put together: what interfaces call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias

from strata.cluster.ends import ControlEnd
from strata.control import rotation
from strata.control.agents import Agents
from strata.control.alerts import Alerts
from strata.control.assignments import Assignments
from strata.control.bus import Bus
from strata.control.destinations import Destinations
from strata.control.following import Following
from strata.control.history import History
from strata.control.hosts import Hosts
from strata.control.journal import Journal
from strata.control.ledger import Ledger
from strata.control.logins import Logins
from strata.control.metrics import Metrics
from strata.control.observer import Observer
from strata.control.orders import Orders
from strata.control.passwords import Passwords
from strata.control.policies import Policies
from strata.control.preflights import Preflights
from strata.control.previews import Previews
from strata.control.seal import Seal
from strata.control.senders import Senders
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
    following: Following
    senders: Senders
    agents: Agents
    assignments: Assignments
    destinations: Destinations
    previews: Previews
    orders: Orders
    hosts: Hosts
    preflights: Preflights
    alerts: Alerts
    metrics: Metrics
    history: History
    webhooks: Webhooks
    policies: Policies
    upkeep: Upkeep


@asynccontextmanager
async def opened(settings: Settings, connect: Connect) -> AsyncIterator[Platform]:
    """The platform on its database, connected to its host."""
    async with AsyncExitStack() as stack:
        store = Store(settings)
        stack.push_async_callback(store.close)
        await store.open()
        seal = Seal.load(settings.data_dir / "seal.key")
        await rotation.finish(store, seal)
        platform = _put_together(settings, store, seal)
        await _start(platform, connect, stack)
        yield platform


def _put_together(settings: Settings, store: Store, seal: Seal) -> Platform:
    bus = Bus()
    journal = Journal(store, bus)
    passwords = Passwords()
    ledger = Ledger(store, journal)
    destinations = Destinations(settings, store, seal, journal, ledger)
    previews = Previews(settings.media_dir)
    hosts = Hosts(store, journal)
    streams = Streams(settings, seal, ledger, destinations, previews, hosts)
    senders = Senders(store, journal, settings.agents.enrollment_days)
    agents = Agents(settings.agents, senders, bus)
    assignments = Assignments(settings, ledger, seal, senders, agents, bus)
    alerts = Alerts(store, journal, bus, streams)
    history = History(store, streams)
    webhooks = Webhooks(settings.forward, store, seal, journal, bus)
    return Platform(
        settings=settings,
        store=store,
        seal=seal,
        bus=bus,
        journal=journal,
        users=Users(store, journal, passwords),
        logins=Logins(store, journal, passwords, settings.server.session_hours),
        streams=streams,
        following=Following(bus, streams),
        senders=senders,
        agents=agents,
        assignments=assignments,
        destinations=destinations,
        previews=previews,
        orders=Orders(streams, ledger, seal, destinations),
        hosts=hosts,
        preflights=Preflights(settings, streams, destinations, hosts, assignments),
        alerts=alerts,
        metrics=Metrics(store, streams, alerts),
        history=history,
        webhooks=webhooks,
        policies=Policies(journal, bus, streams),
        upkeep=Upkeep(settings.database, journal, ledger, previews, alerts, history, webhooks),
    )


async def _start(one: Platform, connect: Connect, stack: AsyncExitStack) -> None:
    """What begins last ends first: who acts on streams before who observes them."""
    host = connect(one.streams.observer)
    await one.assignments.start(one.streams.observer)
    one.streams.start(host, one.assignments)
    stack.push_async_callback(one.streams.close)
    one.destinations.start(host)
    one.orders.start(host)
    host.start()
    for end in (host, one.assignments, one.agents):
        stack.push_async_callback(end.close)
    one.policies.start(host)
    stack.push_async_callback(one.policies.close)
    for service in (one.alerts, one.metrics, one.history, one.webhooks, one.upkeep):
        service.start()
        stack.push_async_callback(service.close)
