"""The life of one stream on a host: its ports, its worker, and the next worker when that dies.

starting -> running <-> restarting
    any of them -> stopping -> over
    any of them -> over
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Final, Literal, TypeAlias

from strata.errors import Conflict, StrataError
from strata.host import process
from strata.host.admission import Share
from strata.host.forwards import Forwards
from strata.host.limits import Allowance, Group
from strata.host.machine import Machine
from strata.host.orders import Orders
from strata.host.records import Record
from strata.host.restarts import STEADY_S, TIMES, WITHIN_S, Restarts
from strata.host.supervised import REQUESTED, Outcome, SupervisedWorker
from strata.host.trace import Trace
from strata.host.vitals import Vitals
from strata.tasks import TaskGroup
from strata.wire import host as wire
from strata.wire import worker as worker_wire

log = logging.getLogger(__name__)

State: TypeAlias = Literal["starting", "running", "restarting", "stopping", "over"]

TRANSITIONS: Final[dict[State, frozenset[State]]] = {
    "starting": frozenset(("running", "restarting", "stopping", "over")),
    "running": frozenset(("restarting", "stopping", "over")),
    "restarting": frozenset(("running", "stopping", "over")),
    "stopping": frozenset(("over",)),
    "over": frozenset(),
}

_NOT_NOW: Final[dict[State, str]] = {
    "starting": "it is still being started; try again once it is",
    "restarting": "its worker has died and the next one is on its way; try again once it is back",
    "stopping": "it is being stopped",
    "over": "it has ended",
}


class Stream:
    """One stream.

    Args:
        share: what it takes of the machine.
        notify: told what happens to it.
        on_over: called once, when a stream that had started is over and nothing of it is left.
    """

    def __init__(
        self,
        record: Record,
        share: Share,
        machine: Machine,
        notify: Callable[[wire.Notice], None],
        on_over: Callable[[Stream, Outcome], None],
    ) -> None:
        self.id = record.stream_id
        self.state: State = "starting"
        self._machine = machine
        self._trace = Trace(record, machine.records, machine.runtime_dir, machine.settings.log_dir)
        self._vitals = Vitals(
            share,
            machine.settings,
            had_media=record.had_media,
            first_media_s=record.first_media_s,
        )
        self._forwards = Forwards(record.forward_ids, record.last_forward)
        self._orders = Orders(
            self._trace,
            self._forwards,
            machine.settings.worker.max_egress_kbps,
            self._limit_egress,
            self._vitals.expect,
        )
        self._notify = notify
        self._on_over = on_over
        self._psk: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """There as soon as what only control knows is known here."""
        self._over: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._worker: SupervisedWorker | None = None
        self._group: Group | None = None
        self._restarts = Restarts()
        self._started_at = time.monotonic()
        self._alarms: tuple[wire.Alarm, ...] = ()
        self._tasks = TaskGroup()
        self._life: asyncio.Task[None] | None = None

    @property
    def ports(self) -> tuple[int, ...]:
        return tuple(self._trace.record.ports)

    @property
    def share(self) -> Share:
        return self._vitals.share

    @property
    def pid(self) -> int:
        return self._worker.pid if self._worker is not None else 0

    def snapshot(self) -> wire.Snapshot:
        record = self._trace.record
        has_worker = self.state in ("running", "stopping") and self._worker is not None
        return wire.Snapshot(
            self.id,
            list(self.ports),
            self.pid if has_worker else 0,
            self._worker.latest if has_worker and self._worker is not None else [],
            list(self._alarms),
            needs_secrets=not self._psk.done(),
            forward_ids=self._forwards.ids,
            slate=record.slate,
            slate_now=record.slate_now,
            max_egress_kbps=self._orders.egress_kbps,
            keep_damaged=record.keep_damaged,
        )

    # Its beginning.

    async def start(self, psk: str, forwards: Sequence[str]) -> None:
        """Starts its first worker; when it returns, a sender may send.

        Raises:
            StrataError: it could not be, and nothing of it is left.
        """
        self._forwards.begin(forwards)
        self._psk.set_result(psk)
        try:
            await self._spawn()
        except BaseException as error:
            stopped = self.state == "stopping"
            self._advance("over")
            self._trace.forget()
            self._over.set_result(REQUESTED)
            if stopped and isinstance(error, StrataError):
                raise _stopped_meanwhile(self.id) from None
            raise
        self._life = self._tasks.spawn(f"{self.id}-life", self._live())
        if self.state == "stopping":
            await asyncio.shield(self._over)
            raise _stopped_meanwhile(self.id)
        self._advance("running")

    def adopt(self) -> None:
        """Takes over from an earlier host: follows its worker or, where that has ended
        meanwhile, sees to the next one."""
        self._group = self._machine.limits.adopt(self.id, self._allowance)
        found = self._trace.find()
        if found is not None:
            self._worker = self._new_worker(self._group)
            self._worker.adopt(found)
            if found.identity != self._trace.identity:
                self._trace.note_process(found.identity)
            self._advance("running")
            self._life = self._tasks.spawn(f"{self.id}-life", self._live())
            self._tasks.spawn(f"{self.id}-limits", self._limit(self._group))
            return
        outcome = self._trace.end_of_worker(kernel_killed=bool(self._group.kills()))
        self._life = self._tasks.spawn(f"{self.id}-life", self._live(outcome))

    def entrust(self, psk: str, forwards: Sequence[str], ids: Sequence[str] = ()) -> None:
        """What its next worker needs to know, as far as it is not known here.

        Raises:
            BadArguments: forwards and ids do not belong together.
        """
        self._forwards.entrust(forwards, ids)
        if not self._psk.done():
            self._psk.set_result(psk)

    # While it runs.

    async def carry_out(self, order: wire.Order) -> wire.Reply:
        """Changes it while it runs.

        Raises:
            Conflict: it has no worker that could.
            StrataError: it could not be, and everything is as it was.
        """
        if self.state != "running" or self._worker is None:
            raise Conflict(f"{self.id} cannot be changed now: {_NOT_NOW[self.state]}")
        return await self._orders.carry_out(order, self._worker)

    # Its end.

    async def stop(self, why: Outcome = REQUESTED) -> Outcome:
        """Ends it, and says how it ended when nothing of it is left."""
        if self.state == "restarting":
            self._advance("stopping")
            assert self._life is not None
            self._life.cancel()
            await asyncio.wait({self._life})
            await self._put_away()
            self._finish(why)
        elif self.state in ("starting", "running"):
            self._advance("stopping")
            if self._worker is not None:
                await self._worker.stop(why)
        return await asyncio.shield(self._over)

    async def leave(self) -> None:
        """Follows it no more; its worker goes on, for the next host to adopt. A start that is
        under way is not touched: whoever waits for it gives it up."""
        if self.state == "starting":
            return
        await self._tasks.close()
        if self._worker is not None:
            await self._worker.leave()

    # What a look at it finds.

    def look(self) -> None:
        """Looks whether it is well, tells what has changed, and does what has to be done."""
        worker = self._worker
        if self.state != "running" or worker is None:
            return
        worker.look()
        verdict = self._vitals.judge(worker.latest, worker.heard_at)
        if verdict.action == "kill":
            worker.kill(verdict.detail)
        elif verdict.action == "reclaim":
            log.warning("%s: %s", self.id, verdict.detail)
            self._tasks.spawn(f"{self.id}-reclaim", self.stop(Outcome("no_input", verdict.detail)))
        self._set_alarms(verdict.alarms)

    def _set_alarms(self, alarms: tuple[wire.Alarm, ...]) -> None:
        before = {(each.kind, each.forward) for each in self._alarms}
        self._alarms = alarms
        if before != {(each.kind, each.forward) for each in alarms}:
            for alarm in alarms:
                if (alarm.kind, alarm.forward) not in before:
                    log.warning("%s: %s: %s", self.id, alarm.kind, alarm.detail)
            self._notify(wire.Alarms(self.id, list(alarms)))

    # Worker after worker.

    async def _live(self, died: Outcome | None = None) -> None:
        """Its life to the end, whatever happens.

        Args:
            died: how the last worker ended, where there is none to wait for.
        """
        try:
            outcome = await self._worker_after_worker(died)
        except Exception:  # a border: a stream that nobody follows would be on the air for ever
            log.exception("%s: the host failed to follow it", self.id)
            if self._worker is not None:
                self._worker.kill("the host failed")
            outcome = Outcome("worker_crash", "the host failed internally; its log has the details")
        self._finish(outcome)

    async def _worker_after_worker(self, died: Outcome | None) -> Outcome:
        """Waits for the end of its worker, and starts the next one for as long as it may."""
        outcome = died or await self._end_of_worker()
        await self._put_away()
        while (delay_s := self._next_start(outcome)) is not None:
            if self.state != "restarting":
                self._advance("restarting")
            log.warning("%s: the next worker comes in %.2f s", self.id, delay_s)
            self._notify(wire.Restarting(self.id, outcome.detail))
            self._set_alarms((wire.Alarm("restarting", outcome.detail),))
            await asyncio.sleep(delay_s)
            try:
                await asyncio.shield(self._psk)
                await self._spawn()
            except StrataError as error:
                outcome = Outcome("worker_crash", f"no new worker could start: {error.message}")
                continue
            self._advance("running")
            self._set_alarms(())
            outcome = await self._end_of_worker()
            await self._put_away()
        return outcome

    async def _end_of_worker(self) -> Outcome:
        assert self._worker is not None
        return await asyncio.shield(self._worker.outcome)

    def _next_start(self, outcome: Outcome) -> float | None:
        """Seconds until the next worker is to be started; None where none is."""
        now = time.monotonic()
        leaked = outcome.reason == "out_of_memory" and now - self._started_at > STEADY_S
        if self.state == "stopping" or not (outcome.reason == "worker_crash" or leaked):
            return None
        delay_s = self._restarts.after_death(now)
        if delay_s is None:
            log.error("%s: its worker died %d times in %.0f s", self.id, TIMES, WITHIN_S)
        return delay_s

    async def _spawn(self) -> None:
        """A worker that is ready.

        Raises:
            StrataError: there is none, and nothing of it is left.
        """
        machine, settings = self._machine, self._machine.settings
        record = self._trace.record
        for lost in self._forwards.drop_unknown():
            log.error("%s: %s does not come back: nobody knows its address", self.id, lost)
        try:
            async with machine.starting:
                if self.state == "stopping":
                    raise _stopped_meanwhile(self.id)
                self._group = await machine.limits.make(self.id, self._allowance)
                worker = self._worker = self._new_worker(self._group)
                self._trace.note_process(None, **self._forwards.to_note())
                command = process.argv(
                    self.id,
                    self.ports,
                    self._trace.socket,
                    settings.host.bind,
                    settings.worker,
                    name=record.name,
                    slate=record.slate,
                    slate_now=record.slate_now,
                    max_egress_kbps=record.max_egress_kbps,
                    keep_damaged=record.keep_damaged,
                )
                # Strangers may wait for it to listen; it takes longer to do so than this.
                self._tasks.spawn(
                    f"{self.id}-packets", machine.packets.allow(self.id, None, 0, self.ports)
                )
                await asyncio.sleep(0)  # until it is asked for: its release comes after that
                secrets = self._forwards.secrets(self._psk.result())
                await worker.start(command, secrets, self._trace.log, self._trace.note_process)
            self._started_at = time.monotonic()
            await self._limit(self._group)
        except BaseException:
            await asyncio.shield(self._put_away())
            raise

    async def _limit(self, group: Group) -> None:
        """Holds a worker that is up to its share of processor and uplink."""
        await group.slow_down()
        kbps = self._orders.egress_kbps
        await self._machine.packets.allow(self.id, group.classified_by, kbps, self.ports)

    async def _limit_egress(self, kbps: int) -> None:
        """Another share of the uplink for the worker that runs."""
        if self.state == "running" and self._group is not None:
            group = self._group
            await self._machine.packets.allow(self.id, group.classified_by, kbps, self.ports)

    def _new_worker(self, group: Group) -> SupervisedWorker:
        return SupervisedWorker(
            self.id, self.ports, self._trace.socket, group, self._machine.settings.host, self._hear
        )

    async def _put_away(self) -> None:
        """Removes what a worker that has ended leaves behind."""
        await self._machine.packets.release(self.id)
        if self._group is not None:
            await self._group.remove()
        self._trace.socket.unlink(missing_ok=True)

    def _finish(self, outcome: Outcome) -> None:
        self._advance("over")
        self._trace.forget()
        self._over.set_result(outcome)
        self._on_over(self, outcome)

    @property
    def _allowance(self) -> Allowance:
        limits = self._machine.settings.limits
        return Allowance(limits.cpu_cores, limits.memory_mb, limits.tasks)

    # What its worker says.

    def _hear(self, event: worker_wire.Event) -> None:
        self._vitals.hear(event)
        if self._vitals.had_media and not self._trace.record.had_media:
            self._trace.note_if_possible(had_media=True)
        if isinstance(event, worker_wire.Forward):
            self._orders.hear(event)
        self._notify(wire.WorkerSaid(self.id, event))

    def _advance(self, state: State) -> None:
        if state not in TRANSITIONS[self.state]:
            raise AssertionError(f"{self.id}: {self.state} -> {state}")
        log.debug("%s: %s -> %s", self.id, self.state, state)
        self.state = state


def _stopped_meanwhile(stream_id: str) -> Conflict:
    return Conflict(f"{stream_id} was stopped while it was starting")
