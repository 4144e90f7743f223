"""The life of one worker, seen from its parent.

spawning -> ready -> stopping -> ended
    \\----------\\----------------> ended
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import msgspec

from strata.errors import (
    BadArguments,
    Conflict,
    HostError,
    PartMissing,
    PortTaken,
    StrataError,
    WorkerFailed,
)
from strata.host.limits import Group
from strata.host.process import Exit, Identity, Process
from strata.host.worker_client import WorkerClient
from strata.settings import Host as HostSettings
from strata.tasks import TaskGroup
from strata.wire import host as host_wire
from strata.wire import worker as wire

log = logging.getLogger(__name__)

State: TypeAlias = Literal["spawning", "ready", "stopping", "ended"]
OnOk: TypeAlias = Callable[[wire.Ok], None]

TRANSITIONS: Final[dict[State, frozenset[State]]] = {
    "spawning": frozenset(("ready", "stopping", "ended")),
    "ready": frozenset(("stopping", "ended")),
    "stopping": frozenset(("ended",)),
    "ended": frozenset(),
}

STATUS_NO_INPUT: Final = 10
STATUS_ORPHANED: Final = 11

ORDER_DEADLINE_S: Final = 30.0
"""A worker answers each command within this time, mostly within 15 s; it is longest where a
destination has been left a moment ago and its server may believe that it is still taken."""

TERM_DEADLINE_S: Final = 3.0
"""From SIGTERM to SIGKILL, after the worker did not answer ``stop`` in time."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Why a worker is gone; travels unchanged to the operator's page."""

    reason: host_wire.EndReason
    detail: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


REQUESTED: Final = Outcome("user_stop", "stopped on request")


@dataclass(frozen=True, slots=True)
class _Asked:
    """A command that waits for its answer."""

    on_ok: OnOk
    answer: asyncio.Future[wire.Ok | StrataError]


class SupervisedWorker:
    """One worker process and the connection to it.

    Args:
        group: what limits it.
        on_event: called with each event of the worker.

    Attributes:
        outcome: how it ended, once it has.
        heard_at: when it last reported, in seconds of the monotonic clock.
    """

    def __init__(
        self,
        stream_id: str,
        ports: tuple[int, ...],
        socket: Path,
        group: Group,
        settings: HostSettings,
        on_event: Callable[[wire.Event], None],
    ) -> None:
        self.stream_id = stream_id
        self.ports = ports
        self.state: State = "spawning"
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.heard_at = time.monotonic()
        self._socket = socket
        self._group = group
        self._kills = self._kills_before = group.kills()
        self._settings = settings
        self._on_event = on_event
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._latest: dict[str, wire.Event] = {}
        self._orders: dict[wire.CommandId, _Asked] = {}
        self._numbers = itertools.count(1)
        self._said: wire.StopReason | None = None
        self._asked: Outcome | None = None
        self._killed_for = ""
        self._tasks = TaskGroup()
        self._client = WorkerClient(socket, self._hear)
        self._process: Process | None = None

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    @property
    def identity(self) -> Identity | None:
        return self._process.identity if self._process is not None else None

    @property
    def latest(self) -> list[wire.Event]:
        """The latest of each of its events."""
        return list(self._latest.values())

    def adopt(self, process: Process) -> None:
        """Follows a worker that somebody else has spawned."""
        self._follow(process)
        log.info("%s: worker %d adopted", self.stream_id, self.pid)

    async def start(
        self,
        command: list[str],
        secrets: wire.Secrets,
        log_file: Path,
        on_spawn: Callable[[Identity], None],
    ) -> None:
        """Spawns the worker and waits until it is ready.

        Args:
            on_spawn: told which process it is, as soon as there is one.

        Raises:
            PortTaken, PartMissing, BadArguments, WorkerFailed: it did not become ready; its
                process is gone.
        """
        process = Process.spawn(self._group.enter(command), secrets, log_file)
        self._follow(process)
        log.info("%s: worker %d spawned on ports %s", self.stream_id, self.pid, self.ports)
        waited: set[asyncio.Future[Any]] = {self._ready, self.outcome}
        try:
            on_spawn(process.identity)
            await asyncio.wait(
                waited,
                timeout=self._settings.ready_timeout_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
        except BaseException:
            await self._kill(process)
            raise
        if self._ready.done() and not self.outcome.done():
            return
        if not self.outcome.done():
            await self._kill(process)
            raise WorkerFailed(
                f"the worker was not ready in {self._settings.ready_timeout_s:.0f} s and was "
                f"killed; {process.last_words() or 'it said nothing'}"
            )
        raise _start_error(process.exit.result(), process.last_words(), self.ports)

    async def stop(self, why: Outcome = REQUESTED) -> Outcome:
        """Asks the worker to end, insists after the deadlines, and says how it ended.

        Args:
            why: what is told of its end; the first to ask decides.
        """
        process = self._process
        if process is None:
            raise HostError(f"{self.stream_id} has no process to stop")
        if self.state in ("spawning", "ready"):
            self._asked = why
            if self.state == "ready":
                reason: Literal["eos", "no_input"] = (
                    "no_input" if why.reason == "no_input" else "eos"
                )
                self._client.send(wire.Stop(reason))
            else:
                process.signal(signal.SIGTERM)
            self._advance("stopping")
            await asyncio.wait({process.exit}, timeout=self._settings.stop_timeout_s)
            for number, deadline_s in ((signal.SIGTERM, TERM_DEADLINE_S), (signal.SIGKILL, None)):
                if process.exit.done():
                    break
                log.warning(
                    "%s: worker %d does not stop; %s", self.stream_id, self.pid, number.name
                )
                process.signal(number)
                await asyncio.wait({process.exit}, timeout=deadline_s)
        return await asyncio.shield(self.outcome)

    async def ask(self, command: wire.ForwardCommand | wire.Configure, on_ok: OnOk) -> wire.Ok:
        """Has the worker carry out a command, and says what it answered.

        Args:
            on_ok: called as soon as it has been carried out, even where nobody waits any more.

        Raises:
            Conflict: the worker is not there to be asked.
            WorkerFailed: it has ended, or did not answer in time.
            StrataError: whatever the worker said.
        """
        if self.state != "ready" or not self._client.is_connected:
            raise Conflict(
                f"{self.stream_id}: its worker cannot be asked just now, so nothing was changed; "
                "try again in a moment"
            )
        id = next(self._numbers)
        answer: asyncio.Future[wire.Ok | StrataError] = asyncio.get_running_loop().create_future()
        self._orders[id] = _Asked(on_ok, answer)
        self._client.send(msgspec.structs.replace(command, id=id))
        await asyncio.wait({answer}, timeout=ORDER_DEADLINE_S)
        if not answer.done():
            raise WorkerFailed(
                f"{self.stream_id}: the worker has not answered for {ORDER_DEADLINE_S:.0f} s, so "
                "nobody knows whether this was carried out; look at the stream, then try again"
            )
        said = answer.result()
        if isinstance(said, StrataError):
            raise said
        return said

    def forget_forward(self, id: str) -> None:
        """What was said of a forward that has been removed holds no more."""
        self._latest.pop(f"{wire.Forward.__name__}{id}", None)

    def kill(self, why: str) -> None:
        """Ends a worker that is of no use any more; its next one may take its place."""
        if self._process is not None:
            log.warning("%s: worker %d is killed: %s", self.stream_id, self.pid, why)
            self._killed_for = why
            self._process.signal(signal.SIGKILL)

    def look(self) -> None:
        """Remembers what the kernel has killed in the worker's group so far: a helper, while
        the worker goes on. What was found last may be the worker's own end, of which the
        process's exit tells a moment later."""
        if not self.outcome.done():
            self._kills_before, self._kills = self._kills, self._group.kills()

    async def leave(self) -> None:
        """Follows it no more; it goes on."""
        await self._tasks.close()
        if self._process is not None:
            self._process.leave()

    def _follow(self, process: Process) -> None:
        self._process = process
        self._tasks.spawn(f"{self.stream_id}-events", self._client.run(process.pid))
        self._tasks.spawn(f"{self.stream_id}-exit", self._await_exit(process))

    async def _kill(self, process: Process) -> None:
        """Returns when the process and its socket are gone."""
        process.signal(signal.SIGKILL)
        await asyncio.shield(self.outcome)

    def _hear(self, event: wire.Event) -> None:
        if isinstance(event, wire.Ok | wire.Error) and event.id in self._orders:
            self._hear_answer(self._orders.pop(event.id), event)
            return
        match event:
            case wire.Ready():
                if self.state == "spawning":
                    self._advance("ready")
                    self._ready.set_result(None)
            case wire.Stats():
                self.heard_at = time.monotonic()
            case wire.Stopped():
                self._said = event.reason
        key = type(event).__name__
        if isinstance(event, wire.Forward):
            key += event.forward
        if not isinstance(event, wire.Ok | wire.Error):
            self._latest[key] = event
        self._on_event(event)

    def _hear_answer(self, asked: _Asked, said: wire.Ok | wire.Error) -> None:
        if isinstance(said, wire.Ok):
            asked.on_ok(said)
            asked.answer.set_result(said)
        else:
            failed = host_wire.Failed(said.code, said.message)
            asked.answer.set_result(host_wire.error_of(failed))

    def _answer_for_the_dead(self, outcome: Outcome) -> None:
        for asked in self._orders.values():
            asked.answer.set_result(
                WorkerFailed(
                    f"{self.stream_id}: the worker ended before it had carried this out "
                    f"({outcome.detail}), so nothing was changed; try again once the stream is back"
                )
            )
        self._orders.clear()

    async def _await_exit(self, process: Process) -> None:
        exit = await asyncio.shield(process.exit)  # leave() ends this task, not the future
        await asyncio.sleep(0)  # what the worker said last is read before its end is told
        self._advance("ended")
        outcome = self._judge(exit, process.last_words())
        level = logging.INFO if exit.status in (0, None) else logging.ERROR
        log.log(level, "%s: worker %d ended: %s: %s", self.stream_id, self.pid, exit, outcome)
        with contextlib.suppress(OSError):  # nearly always the worker has removed it
            self._socket.unlink()
        self._answer_for_the_dead(outcome)
        self.outcome.set_result(outcome)
        await self._tasks.close()

    def _judge(self, exit: Exit, words: str) -> Outcome:
        if self._asked is not None:
            well = exit.status in (0, STATUS_NO_INPUT, None)
            killed = "" if well else f"; the worker had to be ended by {exit}"
            return Outcome(self._asked.reason, self._asked.detail + killed)
        if self._killed_for:
            return Outcome("worker_crash", self._killed_for)
        if self._group.kills() > self._kills_before:
            return Outcome(
                "out_of_memory",
                "the worker needed more memory than a worker may have (limits.memory_mb) and was "
                "killed by the kernel; no other stream was touched",
            )
        if exit.status == 0 or self._said == "eos":
            return Outcome("eos", "the worker was told to stop by someone on its machine")
        if exit.status == STATUS_NO_INPUT or self._said == "no_input":
            return Outcome("no_input", "no media came in time")
        if exit.status == STATUS_ORPHANED or self._said == "orphaned":
            return Outcome("no_input", "no media came while its host was away")
        return Outcome("worker_crash", f"the worker ended by {exit}; {words or 'it said nothing'}")

    def _advance(self, state: State) -> None:
        if state not in TRANSITIONS[self.state]:
            raise AssertionError(f"{self.stream_id}: {self.state} -> {state}")
        log.debug("%s: %s -> %s", self.stream_id, self.state, state)
        self.state = state


def _start_error(exit: Exit, words: str, ports: tuple[int, ...]) -> StrataError:
    """Why a worker ended before it was ready, from its exit status and its last words."""
    message = words or f"the worker ended at its start by {exit} and said nothing"
    if exit.status == PortTaken.exit_status:
        error = PortTaken(ports[0])
        error.args = (message,)
        return error
    if exit.status == PartMissing.exit_status:
        return PartMissing(message)
    if exit.status == BadArguments.exit_status:
        return BadArguments(message)
    return WorkerFailed(message)
