"""What one machine does for the control plane."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from strata.errors import Conflict, HostError, NoCapacity, NotFound, PortTaken
from strata.host import process
from strata.host.ports import PortPool
from strata.host.supervised import Outcome, SupervisedWorker
from strata.host.worker_client import WorkerClient
from strata.settings import Settings, split_range
from strata.wire import host as wire
from strata.wire import worker as worker_wire

log = logging.getLogger(__name__)

ENDED_KEPT: Final = 1000
"""Ends that control can still ask for: twice as many as there are pairs of ports."""

RUNTIME_DIR_BYTES_MAX: Final = 65
"""107 bytes of a socket's path (unix(7)), less ``/``, 36 of a stream's id and ``.sock``."""


class Host:
    """Starts, watches and stops the workers of this machine.

    Args:
        notify: told of every event and every end.
    """

    def __init__(self, settings: Settings, notify: Callable[[wire.Notice], None]) -> None:
        self._settings = settings
        self._notify = notify
        self._runtime_dir = runtime_dir(settings)
        self._ports = PortPool(split_range(settings.host.port_range), settings.host.port_rest_s)
        self._workers: dict[str, SupervisedWorker] = {}
        self._ended: deque[wire.Ended] = deque(maxlen=ENDED_KEPT)

    async def handle(self, request: wire.Request) -> wire.Reply:
        """Carries out one request.

        Raises:
            StrataError: it could not be, and nothing is left behind.
        """
        match request:
            case wire.Start():
                return await self._start(request)
            case wire.Stop():
                return await self._stop(request.stream_id)
            case wire.List():
                running = [worker.snapshot() for worker in self._workers.values()]
                return wire.Streams(running, list(self._ended))

    async def close(self) -> None:
        """Stops every worker, all at once, and those that are started meanwhile."""
        while self._workers:
            await asyncio.gather(*(worker.stop() for worker in tuple(self._workers.values())))

    async def _start(self, request: wire.Start) -> wire.Started:
        if request.stream_id in self._workers:
            raise Conflict(f"{request.stream_id} runs already")
        error: PortTaken | None = None
        for _ in range(self._settings.host.port_attempts):
            try:
                return await self._start_once(request)
            except PortTaken as taken:
                # The pair rests like any other that is given back, so the next try gets
                # another one.
                log.warning("%s: %s", request.stream_id, taken.message)
                error = taken
        assert error is not None
        raise error

    async def _start_once(self, request: wire.Start) -> wire.Started:
        settings = self._settings
        async with AsyncExitStack() as undo:
            ports = self._ports.allocate(request.links, time.monotonic())
            if ports is None:
                raise NoCapacity(
                    f"no {request.links} ports of {settings.host.port_range} are free (a freed "
                    f"one rests {settings.host.port_rest_s:.0f} s); widen host.port_range or "
                    "stop a stream"
                )
            undo.callback(lambda: self._ports.release(ports, time.monotonic()))
            socket = self._runtime_dir / f"{request.stream_id}.sock"
            worker = SupervisedWorker(
                request.stream_id, ports, socket, settings.host, self._on_event, self._on_end
            )
            self._workers[request.stream_id] = worker
            undo.callback(lambda: self._workers.pop(request.stream_id, None))
            command = process.argv(
                request.stream_id,
                ports,
                socket,
                settings.host.bind,
                settings.worker,
                name=request.name,
                slate=request.slate,
            )
            await worker.start(
                command,
                worker_wire.Secrets(request.psk, request.forwards),
                settings.log_dir / f"{request.stream_id}.log",
            )
            undo.pop_all()
        return wire.Started(list(ports), worker.pid)

    async def _stop(self, stream_id: str) -> wire.Stopped:
        worker = self._workers.get(stream_id)
        if worker is None:
            await self._end_stray(stream_id)
            raise NotFound(f"{stream_id} does not run on this host")
        outcome = await worker.stop()
        return wire.Stopped(outcome.reason, outcome.detail)

    async def _end_stray(self, stream_id: str) -> None:
        """Ends a worker that an earlier host left behind: it serves its socket still."""
        path = self._runtime_dir / f"{stream_id}.sock"
        if not path.exists():
            return
        client = WorkerClient(path, lambda event: None)
        try:
            async with asyncio.timeout(self._settings.host.stop_timeout_s):
                await client.order(worker_wire.Stop())
            log.warning("%s: a worker that an earlier host left behind has ended", stream_id)
        except TimeoutError:
            raise HostError(
                f"a worker that an earlier host left behind serves {path} and does not end; "
                f"end it by hand: pkill -f {stream_id}"
            ) from None

    def _on_event(self, worker: SupervisedWorker, event: worker_wire.Event) -> None:
        self._notify(wire.WorkerSaid(worker.stream_id, event))

    def _on_end(self, worker: SupervisedWorker, outcome: Outcome) -> None:
        if self._workers.get(worker.stream_id) is worker:
            del self._workers[worker.stream_id]
            self._ports.release(worker.ports, time.monotonic())
        ended = wire.Ended(worker.stream_id, outcome.reason, outcome.detail)
        self._ended.append(ended)
        self._notify(ended)


def runtime_dir(settings: Settings) -> Path:
    """Where sockets live: private, on a file system that a reboot empties.

    Raises:
        HostError: there is no such place.
    """
    path = settings.host.runtime_dir
    if path is None:
        base = os.environ.get("XDG_RUNTIME_DIR")
        path = Path("/run/strata") if os.geteuid() == 0 else Path(base or "/nonexistent", "strata")
    path = path.expanduser().absolute()
    if len(os.fsencode(path)) > RUNTIME_DIR_BYTES_MAX:
        raise HostError(
            f"the folder for sockets, {path}, has a name of more than {RUNTIME_DIR_BYTES_MAX} "
            "bytes, and Linux takes no longer paths of sockets; set host.runtime_dir to a "
            "shorter one"
        )
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
    except OSError as error:
        raise HostError(
            f"the folder for sockets, {path}, cannot be made: {error.strerror}; set "
            "XDG_RUNTIME_DIR or host.runtime_dir to a folder of this user"
        ) from error
    return path
