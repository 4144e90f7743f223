"""What one machine does for the control plane."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from strata.errors import Conflict, HostError, NoCapacity, NotFound, PortTaken
from strata.host import admission, health, limits, machine
from strata.host.admission import Cost, Share
from strata.host.forwards import is_on_disk
from strata.host.machine import Machine
from strata.host.packets import Packets
from strata.host.ports import PortPool
from strata.host.records import Record, Records
from strata.host.stream import Stream
from strata.host.supervised import Outcome
from strata.host.worker_client import WorkerClient
from strata.settings import Settings, split_range
from strata.tasks import TaskGroup
from strata.wire import forward_url
from strata.wire import host as wire
from strata.wire import worker as worker_wire

log = logging.getLogger(__name__)

ENDED_KEPT: Final = 1000
"""Ends that control can still ask for: twice as many as there are pairs of ports."""

RUNTIME_DIR_BYTES_MAX: Final = 65
"""107 bytes of a socket's path (unix(7)), less ``/``, 36 of a stream's id and ``.sock``."""

STARTS_PER_CORE: Final = 2
STOOD_STILL_S: Final = 1.0


class Host:
    """Starts, watches and stops the streams of this machine.

    Args:
        notify: told of every event and every end.
    """

    def __init__(self, settings: Settings, notify: Callable[[wire.Notice], None]) -> None:
        self._settings = settings
        self._notify = notify
        self._runtime_dir = runtime_dir(settings)
        self._ports = PortPool(
            split_range(settings.host.port_range),
            settings.host.port_rest_s,
            settings.host.port_quarantine_s,
        )
        name = f"strata-{name_of(settings.data_dir)}"
        self._limits = limits.best(name, enforce=settings.limits.enforce)
        self._packets = Packets(
            name,
            egress=settings.limits.kernel_egress,
            nonces=settings.limits.kernel_nonces,
            classifies=self._limits.classifies,
        )
        self._records = Records(settings.data_dir / "workers")
        cores = len(os.sched_getaffinity(0))
        self._machine = Machine(
            settings,
            self._runtime_dir,
            self._limits,
            self._packets,
            self._records,
            asyncio.Semaphore(settings.host.starting_at_once or STARTS_PER_CORE * cores),
        )
        self._streams: dict[str, Stream] = {}
        self._ended: deque[wire.Ended] = deque(maxlen=ENDED_KEPT)
        self._tasks = TaskGroup()

    async def open(self) -> None:
        """Takes over what an earlier host has left on the air, and begins to look after it."""
        records = self._records.all()
        await self._limits.sweep({record.stream_id for record in records})
        await self._packets.open()
        log.info("workers are limited by %s", self._limits.description)
        for warning in self._warnings():
            log.warning("%s", warning)
        for record in records:
            # What it takes is measured anew; until then it counts as it did at its start.
            stream = self._new_stream(record, self._cost(record.forwards))
            self._ports.claim(record.ports)
            stream.adopt()
        self._tasks.spawn("health", self._look_after())

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
                running = [stream.snapshot() for stream in self._streams.values()]
                return wire.Streams(running, list(self._ended), self.load())
            case wire.Entrust():
                stream = self._stream(request.stream_id)
                stream.entrust(request.psk, request.forwards, request.forward_ids)
                return wire.Done()
            case _:
                return await self._change(request)

    async def close(self) -> None:
        """Stops every stream, all at once, and those that are started meanwhile."""
        while self._streams:
            await asyncio.gather(*(stream.stop() for stream in tuple(self._streams.values())))
        await self._tasks.close()
        await self._packets.close()
        await self._limits.close()

    async def leave(self) -> None:
        """Ends without touching what is on the air: the next host adopts it."""
        await self._tasks.close()
        for stream in self._streams.values():
            await stream.leave()

    def load(self) -> wire.Load:
        """How full the machine is."""
        has = machine.capacity(self._settings)
        takes = admission.used(stream.share for stream in self._streams.values())
        return wire.Load(
            cpu_cores=has.cpu_cores,
            memory_mb=round(has.memory_mb),
            free_disk_mb=round(has.free_disk_mb),
            streams=len(self._streams),
            free_ports=self._ports.free(time.monotonic()),
            used_cpu_cores=round(takes.cpu_cores, 3),
            used_memory_mb=round(takes.memory_mb, 1),
            used_egress_kbps=round(takes.egress_kbps, 1),
            egress_kbps=has.egress_kbps,
            limits=self._limits.description,
            warnings=self._warnings(),
        )

    def _warnings(self) -> list[str]:
        return [text for text in (self._limits.warning, *self._packets.warnings) if text]

    async def _look_after(self) -> None:
        while True:
            due = time.monotonic() + health.CHECK_S
            await asyncio.sleep(health.CHECK_S)
            late_s = time.monotonic() - due
            if late_s > STOOD_STILL_S:
                # What workers said meanwhile is not read yet: they would all seem to hang.
                log.warning("the host stood still for %.1f s; it looks again in a while", late_s)
                continue
            for stream in tuple(self._streams.values()):
                try:
                    stream.look()
                except Exception:  # one stream's trouble must not end the care for all
                    log.exception("%s could not be looked at", stream.id)
            self._notify(self.load())

    # Starting and stopping.

    async def _start(self, request: wire.Start) -> wire.Started:
        if request.stream_id in self._streams:
            raise Conflict(f"{request.stream_id} runs already")
        for url in request.forwards:
            forward_url.parse(url)
        on_disk = sum(map(is_on_disk, request.forwards))
        cost = self._cost(len(request.forwards) - on_disk)
        admission.admit(
            (stream.share for stream in self._streams.values()),
            cost,
            machine.capacity(self._settings),
            records=on_disk > 0,
        )
        error: PortTaken | None = None
        for _ in range(self._settings.host.port_attempts):
            try:
                return await self._start_once(request, cost)
            except PortTaken as taken:
                log.warning("%s: %s", request.stream_id, taken.message)
                error = taken
        assert error is not None
        raise error

    async def _start_once(self, request: wire.Start, cost: Cost) -> wire.Started:
        settings = self._settings
        ports = self._ports.allocate(request.links, time.monotonic())
        if ports is None:
            raise NoCapacity(
                f"no {request.links} ports of {settings.host.port_range} are free (a freed "
                f"one rests {settings.host.port_rest_s:.0f} s); widen host.port_range or "
                "stop a stream"
            )
        record = Record(
            request.stream_id,
            list(ports),
            name=request.name,
            slate=request.slate,
            first_media_s=request.first_media_s,
        )
        stream = self._new_stream(record, cost)
        try:
            await stream.start(request.psk, request.forwards)
        except BaseException as error:
            if self._streams.get(stream.id) is stream:
                del self._streams[stream.id]
                taken = isinstance(error, PortTaken)
                give_back = self._ports.quarantine if taken else self._ports.release
                give_back(ports, time.monotonic())
            raise
        return wire.Started(list(ports), stream.pid)

    async def _change(self, order: wire.Order) -> wire.Reply:
        """Carries out what changes a stream that runs."""
        stream = self._stream(order.stream_id)
        if isinstance(order, wire.AddForward | wire.ReplaceForward):
            forward_url.parse(order.url)
        if isinstance(order, wire.AddForward):
            on_disk = is_on_disk(order.url)
            admission.admit_forward(
                (stream.share for stream in self._streams.values()),
                0.0 if on_disk else self._cost(1).egress_kbps,
                machine.capacity(self._settings),
                records=on_disk,
            )
        return await stream.carry_out(order)

    def _new_stream(self, record: Record, cost: Cost) -> Stream:
        stream = self._streams[record.stream_id] = Stream(
            record, Share(cost), self._machine, self._notify, self._on_over
        )
        return stream

    def _cost(self, forwards: int) -> Cost:
        """What a stream with so many forwards to the network is expected to take."""
        reserve = self._settings.admission
        return Cost(
            reserve.reserve_cpu_cores,
            reserve.reserve_memory_mb,
            reserve.reserve_egress_kbps * forwards,
        )

    def _stream(self, stream_id: str) -> Stream:
        stream = self._streams.get(stream_id)
        if stream is None:
            raise NotFound(f"{stream_id} does not run on this host")
        return stream

    async def _stop(self, stream_id: str) -> wire.Stopped:
        if stream_id not in self._streams:
            await self._end_stray(stream_id)
        outcome = await self._stream(stream_id).stop()
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

    def _on_over(self, stream: Stream, outcome: Outcome) -> None:
        if self._streams.get(stream.id) is stream:
            del self._streams[stream.id]
            self._ports.release(stream.ports, time.monotonic())
        ended = wire.Ended(stream.id, outcome.reason, outcome.detail)
        self._ended.append(ended)
        self._notify(ended)


def name_of(data_dir: Path) -> str:
    """Of an installation: one for each data folder on a machine."""
    return hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]


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
