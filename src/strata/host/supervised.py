"""The life of one worker, seen from its parent.

spawning -> ready -> stopping -> ended
    \\----------\\----------------> ended
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from strata.errors import (
    BadArguments,
    HostError,
    PartMissing,
    PortTaken,
    StrataError,
    WorkerFailed,
)
from strata.host.process import Exit, Process
from strata.host.worker_client import WorkerClient
from strata.settings import Host as HostSettings
from strata.tasks import TaskGroup
from strata.wire import host as host_wire
from strata.wire import worker as wire

log = logging.getLogger(__name__)

State: TypeAlias = Literal["spawning", "ready", "stopping", "ended"]

TRANSITIONS: Final[dict[State, frozenset[State]]] = {
    "spawning": frozenset(("ready", "stopping", "ended")),
    "ready": frozenset(("stopping", "ended")),
    "stopping": frozenset(("ended",)),
    "ended": frozenset(),
}

TERM_DEADLINE_S: Final = 3.0
"""From SIGTERM to SIGKILL, after the worker did not answer ``stop`` in time."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Why a worker is gone; travels unchanged to the operator's page."""

    reason: host_wire.EndReason
    detail: str


class SupervisedWorker:
    """One worker process and the connection to it.

    Args:
        on_event: called with each event of the worker.
        on_end: called once, when the process of a worker that was ready has gone.
    """

    def __init__(
        self,
        stream_id: str,
        ports: tuple[int, ...],
        socket: Path,
        settings: HostSettings,
        on_event: Callable[[SupervisedWorker, wire.Event], None],
        on_end: Callable[[SupervisedWorker, Outcome], None],
    ) -> None:
        self.stream_id = stream_id
        self.ports = ports
        self.state: State = "spawning"
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._socket = socket
        self._settings = settings
        self._on_event = on_event
        self._on_end = on_end
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._latest: dict[str, wire.Event] = {}
        self._said: wire.StopReason | None = None
        self._tasks = TaskGroup()
        self._client = WorkerClient(socket, self._hear)
        self._process: Process | None = None

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    def snapshot(self) -> host_wire.Snapshot:
        return host_wire.Snapshot(
            self.stream_id, list(self.ports), self.pid, list(self._latest.values())
        )

    async def start(self, command: list[str], secrets: wire.Secrets, log_file: Path) -> None:
        """Spawns the worker and waits until it is ready.

        Raises:
            PortTaken, PartMissing, BadArguments, WorkerFailed: it did not become ready; its
                process is gone.
        """
        process = self._process = Process.spawn(command, secrets, log_file)
        log.info("%s: worker %d spawned on ports %s", self.stream_id, self.pid, self.ports)
        self._tasks.spawn(f"{self.stream_id}-events", self._client.run())
        self._tasks.spawn(f"{self.stream_id}-exit", self._await_exit(process))
        waited: set[asyncio.Future[Any]] = {self._ready, self.outcome}
        try:
            await asyncio.wait(
                waited,
                timeout=self._settings.ready_timeout_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
        except asyncio.CancelledError:
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

    async def stop(self) -> Outcome:
        """Asks the worker to end, insists after the deadlines, and says how it ended."""
        process = self._process
        if process is None:
            raise HostError(f"{self.stream_id} has no process to stop")
        if self.state in ("spawning", "ready"):
            if self.state == "ready":
                self._client.send(wire.Stop())
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

    async def _kill(self, process: Process) -> None:
        """Returns when the process and its socket are gone."""
        process.signal(signal.SIGKILL)
        await asyncio.shield(self.outcome)

    def _hear(self, event: wire.Event) -> None:
        match event:
            case wire.Ready():
                if self.state == "spawning":
                    self._advance("ready")
                    self._ready.set_result(None)
            case wire.Stopped():
                self._said = event.reason
        key = type(event).__name__
        if isinstance(event, wire.Forward):
            key += event.forward
        if not isinstance(event, wire.Ok | wire.Error):
            self._latest[key] = event
        self._on_event(self, event)

    async def _await_exit(self, process: Process) -> None:
        exit = await process.exit
        await asyncio.sleep(0)  # what the worker said last is read before its end is told
        asked = self.state == "stopping"
        self._advance("ended")
        outcome = self._judge(exit, process.last_words(), asked)
        level = logging.INFO if exit.status == 0 else logging.ERROR
        log.log(level, "%s: worker %d ended: %s: %s", self.stream_id, self.pid, exit, outcome)
        with contextlib.suppress(OSError):  # nearly always the worker has removed it
            self._socket.unlink()
        self.outcome.set_result(outcome)
        if self._ready.done():
            self._on_end(self, outcome)  # else start() tells
        await self._tasks.close()

    def _judge(self, exit: Exit, words: str, asked: bool) -> Outcome:
        if asked:
            killed = "" if exit.status == 0 else f"; the worker had to be ended by {exit}"
            return Outcome("user_stop", f"stopped on request{killed}")
        if exit.status == 0:
            return Outcome("eos", "the worker was told to stop by someone on its machine")
        if exit.status == 10:
            return Outcome("no_input", "no media came in time")
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
