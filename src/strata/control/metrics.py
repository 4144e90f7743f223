"""What Prometheus reads: the control plane's own numbers, and with them all others."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from strata.control import readings
from strata.control.alerts import Alerts
from strata.control.observer import LOCAL_HOST
from strata.control.roles import User
from strata.control.store import Store
from strata.control.streams import Streams
from strata.tasks import TaskGroup

LAG_EACH_S: Final = 0.5

# From what a request to a database in memory takes to what makes a person wait.
REQUEST_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 90)
LAG_BUCKETS_S: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)


class Metrics:
    """
    Attributes:
        requests: to the API, by method, template of the route and status.
    """

    def __init__(self, store: Store, streams: Streams, alerts: Alerts) -> None:
        self._store = store
        self._streams = streams
        self._alerts = alerts
        # Not the one of the process: two platforms in one process would count together.
        self._registry = CollectorRegistry()
        self.requests = Histogram(
            "strata_http_request_duration_seconds",
            "Requests to the API",
            ("method", "route", "status"),
            buckets=REQUEST_BUCKETS_S,
            registry=self._registry,
        )
        self._lag = Histogram(
            "strata_event_loop_lag_seconds",
            "How late the control plane comes to what is due",
            buckets=LAG_BUCKETS_S,
            registry=self._registry,
        )
        self._gauges: dict[str, tuple[str, Callable[[], float]]] = {}
        self._tasks = TaskGroup()

    def start(self) -> None:
        self._tasks.spawn("loop-lag", self._measure_lag())

    async def close(self) -> None:
        await self._tasks.close()

    def gauge(self, name: str, about: str, read: Callable[[], float]) -> None:
        """One more number, read when it is asked for."""
        self._gauges[name] = (about, read)

    def collect(self, user: User | None) -> Iterator[Metric]:
        """Everything, or what the user may see.

        Args:
            user: None: whoever asks may see everything.
        """
        live = self._streams.observer.live
        sees_all = user is None or user.sees_all
        if user is not None and not user.sees_all:
            live = {id: each for id, each in live.items() if user.may_see(each.owner_id)}
        yield from readings.of_streams(live)
        hosts = {LOCAL_HOST: (self._streams.can_start, self._streams.observer.load)}
        yield from readings.of_hosts(hosts)
        if not sees_all:
            return
        yield GaugeMetricFamily("strata_streams", "Streams that run", value=len(live))
        yield from readings.of_alerts(Counter(self._alerts.standing()))
        yield CounterMetricFamily(
            "strata_database_errors", "Times that it did not answer", value=self._store.failures
        )
        for name, (about, read) in self._gauges.items():
            yield GaugeMetricFamily(name, about, value=read())
        yield from self._registry.collect()

    async def _measure_lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_EACH_S
            await asyncio.sleep(LAG_EACH_S)
            self._lag.observe(max(0.0, loop.time() - due))
