"""The life of one stream on a host: its ports, its worker, and the next worker when that dies.

starting -> running <-> restarting
    any of them -> stopping -> over
    any of them -> over
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec

from strata.errors import Conflict, HostError, StrataError
from strata.host import health, process
from strata.host.admission import Cost, Share
from strata.host.limits import Allowance, Group, Limits
from strata.host.packets import Packets
from strata.host.process import Identity, Process
from strata.host.records import Record, Records
from strata.host.restarts import STEADY_S, TIMES, WITHIN_S, Restarts
from strata.host.supervised import REQUESTED, Outcome, SupervisedWorker
from strata.settings import Settings
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

_GOODBYE: Final = re.compile(r"stopped: (eos|no_input|orphaned)$")
"""The last line of a worker's log that ended as it was told to."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What all streams of a host share.

    Attributes:
        starting: how many workers may be on their way at once; each keeps a core busy.
    """

    settings: Settings
    runtime_dir: Path
    limits: Limits
    packets: Packets
    records: Records
    starting: asyncio.Semaphore


class Stream:
    """One stream.

    Args:
        notify: told what happens to it.
        on_over: called once, when a stream that had started is over and nothing of it is left.

    Attributes:
        share: what it takes of the machine.
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
        self.share = share
        self.state: State = "starting"
        self._record = record
        self._machine = machine
        self._notify = notify
        self._on_over = on_over
        self._secrets: asyncio.Future[worker_wire.Secrets] = (
            asyncio.get_running_loop().create_future()
        )
        self._over: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._worker: SupervisedWorker | None = None
        self._group: Group | None = None
        self._restarts = Restarts()
        self._started_at = self._media_at = time.monotonic()
        self._first_media_at: float | None = None
        self._had_media = record.had_media
        self._alarms: tuple[wire.Alarm, ...] = ()
        self._tasks = TaskGroup()
        self._life: asyncio.Task[None] | None = None

    @property
    def ports(self) -> tuple[int, ...]:
        return tuple(self._record.ports)

    @property
    def pid(self) -> int:
        return self._worker.pid if self._worker is not None else 0

    def snapshot(self) -> wire.Snapshot:
        has_worker = self.state in ("running", "stopping") and self._worker is not None
        return wire.Snapshot(
            self.id,
            list(self.ports),
            self.pid if has_worker else 0,
            self._worker.latest if has_worker and self._worker is not None else [],
            list(self._alarms),
            needs_secrets=not self._secrets.done(),
        )

    # Its beginning.

    async def start(self, secrets: worker_wire.Secrets) -> None:
        """Starts its first worker; when it returns, a sender may send.

        Raises:
            StrataError: it could not be, and nothing of it is left.
        """
        self._secrets.set_result(secrets)
        try:
            await self._spawn(secrets)
        except BaseException as error:
            stopped = self.state == "stopping"
            self._advance("over")
            self._machine.records.forget(self.id)
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
        found = self._find()
        if found is not None:
            self._worker = self._new_worker(self._group)
            self._worker.adopt(found)
            if found.identity != self._identity:
                self._remember(found.identity)
            self._advance("running")
            self._life = self._tasks.spawn(f"{self.id}-life", self._live())
            self._tasks.spawn(f"{self.id}-limits", self._limit(self._group))
            return
        outcome = self._posthumous()
        self._life = self._tasks.spawn(f"{self.id}-life", self._live(outcome))

    def entrust(self, secrets: worker_wire.Secrets) -> None:
        """What its next worker needs to know; the newest is what counts."""
        if self._secrets.done():
            self._secrets = asyncio.get_running_loop().create_future()
        self._secrets.set_result(secrets)

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
        verdict = health.judge(self._report(worker), self._rules)
        if verdict.action == "kill":
            worker.kill(verdict.detail)
        elif verdict.action == "reclaim":
            log.warning("%s: %s", self.id, verdict.detail)
            self._tasks.spawn(f"{self.id}-reclaim", self.stop(Outcome("no_input", verdict.detail)))
        self._set_alarms(verdict.alarms)

    def _report(self, worker: SupervisedWorker) -> health.Report:
        now = time.monotonic()
        stats = next((e for e in worker.latest if isinstance(e, worker_wire.Stats)), None)
        program = next((e for e in worker.latest if isinstance(e, worker_wire.Program)), None)
        said = {e.forward: e for e in worker.latest if isinstance(e, worker_wire.Forward)}
        idle = {f.forward: f.last_progress_age_s for f in stats.forwards} if stats else {}
        return health.Report(
            heard_s=now - worker.heard_at,
            quiet_s=now - self._media_at,
            had_media=self._had_media,
            is_fed=program is not None and program.video != "none",
            forwards=tuple(
                health.ForwardReport(each.forward, each.state, each.message, idle.get(each.forward))
                for each in said.values()
            ),
        )

    @property
    def _rules(self) -> health.Rules:
        host = self._machine.settings.host
        return health.Rules(
            silence_s=host.silence_timeout_s,
            stall_s=self._machine.settings.worker.stall_timeout_s,
            no_input_s=host.no_input_timeout_s,
            first_media_s=self._record.first_media_s,
        )

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
                await self._spawn(await asyncio.shield(self._secrets))
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

    async def _spawn(self, secrets: worker_wire.Secrets) -> None:
        """A worker that is ready.

        Raises:
            StrataError: there is none, and nothing of it is left.
        """
        machine, settings = self._machine, self._machine.settings
        try:
            async with machine.starting:
                if self.state == "stopping":
                    raise _stopped_meanwhile(self.id)
                self._group = await machine.limits.make(self.id, self._allowance)
                worker = self._worker = self._new_worker(self._group)
                self._remember(None)
                command = process.argv(
                    self.id,
                    self.ports,
                    self._socket,
                    settings.host.bind,
                    settings.worker,
                    name=self._record.name,
                    slate=self._record.slate,
                )
                # Strangers may wait for it to listen; it takes longer to do so than this.
                self._tasks.spawn(
                    f"{self.id}-packets", machine.packets.allow(self.id, None, 0, self.ports)
                )
                await asyncio.sleep(0)  # until it is asked for: its release comes after that
                await worker.start(command, secrets, self._log, self._remember)
            self._started_at = time.monotonic()
            await self._limit(self._group)
        except BaseException:
            await asyncio.shield(self._put_away())
            raise

    async def _limit(self, group: Group) -> None:
        """Holds a worker that is up to its share of processor and uplink."""
        await group.slow_down()
        kbps = self._machine.settings.worker.max_egress_kbps
        await self._machine.packets.allow(self.id, group.classified_by, kbps, self.ports)

    def _new_worker(self, group: Group) -> SupervisedWorker:
        return SupervisedWorker(
            self.id, self.ports, self._socket, group, self._machine.settings.host, self._hear
        )

    async def _put_away(self) -> None:
        """Removes what a worker that has ended leaves behind."""
        await self._machine.packets.release(self.id)
        if self._group is not None:
            await self._group.remove()
        self._socket.unlink(missing_ok=True)

    def _finish(self, outcome: Outcome) -> None:
        self._advance("over")
        self._machine.records.forget(self.id)
        self._over.set_result(outcome)
        self._on_over(self, outcome)

    # What it is known by.

    def _find(self) -> Process | None:
        identity = self._identity if self._record.pid else process.find(self._socket)
        return Process.adopt(identity, self._log) if identity is not None else None

    def _posthumous(self) -> Outcome:
        """How a worker ended that nobody was there to see."""
        words = process.last_words(self._log)
        if self._group is not None and self._group.kills():
            return Outcome("out_of_memory", "the kernel killed the worker for want of memory")
        if (told := _GOODBYE.search(process.last_line(self._log))) is not None:
            if told[1] == "eos":
                return Outcome("eos", "the worker was told to stop while the host was away")
            return Outcome("no_input", "no media came while the host was away")
        if self._record.boot != process.boot_id():
            return Outcome("worker_crash", "the machine was started anew")
        said = words or "it said nothing"
        return Outcome("worker_crash", f"the worker ended while the host was away; {said}")

    @property
    def _identity(self) -> Identity:
        return Identity(self._record.pid, self._record.started, self._record.boot)

    @property
    def _allowance(self) -> Allowance:
        limits = self._machine.settings.limits
        return Allowance(limits.cpu_cores, limits.memory_mb, limits.tasks)

    @property
    def _socket(self) -> Path:
        return self._machine.runtime_dir / f"{self.id}.sock"

    @property
    def _log(self) -> Path:
        return self._machine.settings.log_dir / f"{self.id}.log"

    def _remember(self, identity: Identity | None) -> None:
        """Writes down which process its worker is; None: one is about to be spawned.

        Raises:
            HostError: the disk refuses.
        """
        pid, started, boot = (
            (identity.pid, identity.started, identity.boot) if identity else (0, 0, "")
        )
        self._record = msgspec.structs.replace(
            self._record, pid=pid, started=started, boot=boot, had_media=self._had_media
        )
        try:
            self._machine.records.write(self._record)
        except OSError as error:
            raise HostError(
                f"what runs here cannot be written down: {error.strerror}; a host that is "
                "started anew would not find the stream, so it was not started. Check the disk "
                "(df -h) and the rights on the data folder"
            ) from error

    def _hear(self, event: worker_wire.Event) -> None:
        now = time.monotonic()
        match event:
            case worker_wire.Input(state="waiting"):
                if not self._had_media:
                    self._media_at = now - event.since_s
            case worker_wire.Input(state="stalled"):
                stall_s = self._machine.settings.worker.stall_timeout_s
                self._media_at = min(self._media_at, now - event.since_s - stall_s)
                self._had_media = True
            case worker_wire.Input():
                self._hear_media(now)
            case worker_wire.Stats():
                if event.bitrate_in_kbps > 0:
                    self._hear_media(now)
                settle_s = self._machine.settings.admission.settle_s
                first = self._first_media_at
                self.share.is_settled = first is not None and now - first >= settle_s
                self.share.measure(
                    Cost(event.cpu_percent / 100.0, event.rss_mb, event.bitrate_out_kbps)
                )
        self._notify(wire.WorkerSaid(self.id, event))

    def _hear_media(self, now: float) -> None:
        self._media_at = now
        if self._first_media_at is None:
            self._first_media_at = now
        if not self._had_media:
            self._had_media = True
            if self._worker is not None and self._worker.identity is not None:
                try:
                    self._remember(self._worker.identity)
                except HostError as error:
                    log.warning("%s: %s", self.id, error.message)

    def _advance(self, state: State) -> None:
        if state not in TRANSITIONS[self.state]:
            raise AssertionError(f"{self.id}: {self.state} -> {state}")
        log.debug("%s: %s -> %s", self.id, self.state, state)
        self.state = state


def _stopped_meanwhile(stream_id: str) -> Conflict:
    return Conflict(f"{stream_id} was stopped while it was starting")
