"""What changes a stream that runs: carried out by its worker, and kept for the next one.

What the worker has carried out is in force at that moment, whether or not whoever asked still
waits; what it has refused changes nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from strata.errors import BadArguments
from strata.host.forwards import Forwards, is_on_disk
from strata.host.records import Record
from strata.host.supervised import SupervisedWorker
from strata.host.trace import Trace
from strata.wire import host as wire
from strata.wire import worker as worker_wire


class Orders:
    """Carries out the orders for one stream.

    Args:
        usual_kbps: what a worker may send where nothing else was asked for; 0 is no limit.
        limit: has the kernel hold the worker to so many kbit/s.
        on_forwards: told how many lead to the network, those on trial among them, whenever that
            may have changed.
    """

    def __init__(
        self,
        trace: Trace,
        forwards: Forwards,
        usual_kbps: int,
        limit: Callable[[int], Awaitable[None]],
        on_forwards: Callable[[int], None],
    ) -> None:
        self._trace = trace
        self._forwards = forwards
        self._usual_kbps = usual_kbps
        self._limit = limit
        self._on_forwards = on_forwards
        self._coming = 0

    @property
    def _outward(self) -> int:
        return self._forwards.outward + self._coming

    @property
    def egress_kbps(self) -> int:
        """What the worker may send; 0 is no limit."""
        asked_for = self._trace.record.max_egress_kbps
        return self._usual_kbps if asked_for is None else asked_for

    async def carry_out(self, order: wire.Order, worker: SupervisedWorker) -> wire.Reply:
        """Returns when the worker has.

        Raises:
            StrataError: it could not be, and everything is as it was.
        """
        match order:
            case wire.AddForward():
                return await self._add(order.url, worker)
            case wire.ReplaceForward():
                return await self._replace(order.forward, order.url, worker)
            case wire.RemoveForward():
                return await self._remove(order.forward, worker)
            case wire.Configure():
                return await self._configure(order, worker)

    def hear(self, forward: worker_wire.Forward) -> None:
        """One that somebody else has added, or that an earlier host left."""
        if self._forwards.hear(forward.forward):
            self._keep_forwards()

    async def _add(self, url: str, worker: SupervisedWorker) -> wire.Changed:
        def is_there(ok: worker_wire.Ok) -> None:
            assert isinstance(ok.forward, str)
            self._forwards.put(ok.forward, url)
            self._keep_forwards()

        with self._on_trial(url):
            ok = await worker.ask(worker_wire.AddForward(url), is_there)
        return _changed(ok)

    async def _replace(self, id: str, url: str, worker: SupervisedWorker) -> wire.Changed:
        def is_replaced(ok: worker_wire.Ok) -> None:
            self._forwards.put(id, url)
            self._keep_forwards()

        return _changed(await worker.ask(worker_wire.UpdateForward(url, id), is_replaced))

    async def _remove(self, id: str, worker: SupervisedWorker) -> wire.Changed:
        def is_gone(ok: worker_wire.Ok) -> None:
            worker.forget_forward(id)
            self._forwards.remove(id)
            self._keep_forwards()

        return _changed(await worker.ask(worker_wire.RemoveForward(id), is_gone))

    async def _configure(self, order: wire.Configure, worker: SupervisedWorker) -> wire.Done:
        kbps = order.max_egress_kbps
        if kbps is not None and not 0 <= kbps <= worker_wire.EGRESS_KBPS_MAX:
            raise BadArguments(
                f"max_egress_kbps is {kbps}; give 0 (no limit) to {worker_wire.EGRESS_KBPS_MAX:,}"
            )
        command = worker_wire.Configure(
            max_egress_kbps=kbps,
            slate=order.slate,
            slate_now=order.slate_now,
            keep_damaged=order.keep_damaged,
        )
        changes = settings_after(self._trace.record, order)
        if kbps is None:
            await worker.ask(command, lambda ok: self._trace.note_if_possible(**changes))
            return wire.Done()
        # Never less in the kernel than in the worker: what is dropped there breaks pictures.
        await self._limit(0 if 0 in (kbps, self.egress_kbps) else max(kbps, self.egress_kbps))
        try:
            await worker.ask(command, lambda ok: self._trace.note_if_possible(**changes))
        finally:
            await self._limit(self.egress_kbps)
        return wire.Done()

    @contextlib.contextmanager
    def _on_trial(self, url: str) -> Iterator[None]:
        """Counts one that comes as if it were there."""
        outward = int(not is_on_disk(url))
        self._coming += outward
        self._on_forwards(self._outward)
        try:
            yield
        finally:
            self._coming -= outward
            self._on_forwards(self._outward)

    def _keep_forwards(self) -> None:
        self._trace.note_if_possible(**self._forwards.to_note())
        self._on_forwards(self._outward)


def settings_after(record: Record, order: wire.Configure) -> dict[str, Any]:
    """What changes in the record of a stream that has been configured.

    As in the worker, a slate that is switched off or becomes another one is no longer held.
    """
    changes: dict[str, Any] = {
        "slate": order.slate,
        "slate_now": order.slate_now,
        "max_egress_kbps": order.max_egress_kbps,
        "keep_damaged": order.keep_damaged,
    }
    if order.slate not in (None, record.slate) and order.slate_now is None:
        changes["slate_now"] = False
    return {name: value for name, value in changes.items() if value is not None}


def _changed(ok: worker_wire.Ok) -> wire.Changed:
    assert isinstance(ok.forward, str)
    return wire.Changed(ok.forward, ok.overlap if isinstance(ok.overlap, bool) else None)
