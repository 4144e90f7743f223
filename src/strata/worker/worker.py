"""One stream from its ports to its destinations, from start to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections import Counter
from typing import Final

import strata
from strata.errors import StrataError
from strata.rist import Receiver, ReceiverTuning
from strata.tasks import TaskGroup
from strata.wire import worker as wire
from strata.worker import gst, ingest, kinds
from strata.worker.config import WorkerConfig
from strata.worker.control_socket import Client, ControlSocket
from strata.worker.forward import Forward
from strata.worker.hub import Hub
from strata.worker.ingest import Ingest
from strata.worker.pace import Pace
from strata.worker.stats import StatsMeter
from strata.worker.ts_start import TsStart

log = logging.getLogger(__name__)

BATCH_S: Final = 0.020
"""Media is fetched from librist, and from the parsers, this often. librist itself puts out
at this pace; each tick costs 0.1 ms or so, a call per packet cost four times the whole."""

PROGRAM_DEADLINE_S: Final = 2.0
"""Sound that was announced and has not come after this long is done without."""

VIDEO_DEADLINE_S: Final = 12.0
"""Video is known from its first key frame, and a sender may be joined just after one: the
longest interval in use is 10 s. Going on the air without it would be for good."""

STATS_AGAIN_S: Final = 0.2
"""Two clients that ask within this time get the same numbers: a rate over less is noise."""

INGEST_RESTARTS_S: Final = 1.0
"""A stream that breaks the demuxer is demuxed anew this often at most."""

FLUSH_DEADLINE_S: Final = 1.0

EXIT_STATUS: Final[dict[wire.StopReason, int]] = {
    "eos": 0,
    "no_input": 10,
    "orphaned": 11,
    "failed": 70,
}


class Worker:
    """Runs one stream. The constructor only keeps the configuration."""

    def __init__(self, config: WorkerConfig) -> None:
        self._config = config
        self._tasks = TaskGroup(self._on_task_failure)
        self._started_at = time.monotonic()
        self._input: wire.Input = wire.Input("waiting", 0.0)
        self._input_at = self._started_at
        self._client_at = self._started_at
        self._last_media_at: float | None = None
        self._first_unit_at: float | None = None
        self._ready: wire.Ready | None = None
        self._stoppers: list[tuple[Client, wire.Command]] = []
        self._meter = StatsMeter()
        self._stats: tuple[float, wire.Stats] | None = None
        self._start = TsStart()
        self._pace = Pace()
        self._unusable: set[str] = set()
        self._ingest_restart: asyncio.TimerHandle | None = None

    async def run(self) -> int:
        """Carries the stream until told to stop; returns the exit status.

        Raises:
            StrataError: it could not start; nothing is left behind.
        """
        config = self._config
        self._loop = asyncio.get_running_loop()
        self._stop: asyncio.Future[wire.StopReason] = self._loop.create_future()
        gst.require(
            (
                *ingest.ELEMENTS,
                *(e for f in config.forwards for e in kinds.BY_KIND[f.kind].ELEMENTS),
            )
        )
        for forward in config.forwards:
            kinds.BY_KIND[forward.kind].prepare(forward)
        self._hub = Hub()
        self._receiver = Receiver(
            config.ports,
            config.psk,
            bind=config.bind,
            aes_bits=config.aes_bits,
            tuning=ReceiverTuning(buffer_ms=config.buffer_ms),
        )
        self._socket = ControlSocket(config.control_socket, self._greeting, self._on_command)
        await self._socket.start()
        try:
            self._receiver.start()
            self._begin()
            reason = await self._stop
            log.info("stopping: %s", reason)
            await self._end(reason)
        finally:
            self._receiver.close()
            await self._tasks.close()
            await self._socket.stop()
        return EXIT_STATUS[reason]

    def _begin(self) -> None:
        config = self._config
        self._ingest = self._new_ingest()
        for number, url in enumerate(config.forwards, 1):
            peak_kbps = config.peak_kbps if url.host is not None else 0
            self._hub.add(
                Forward(f"fwd_{number}", url, peak_kbps, self._on_forward, self._on_forward_error)
            )
        for signum in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(signum, self._request_stop, "eos")
        self._loop.add_reader(self._receiver.fileno(), self._on_receiver)
        self._tasks.spawn("stats", self._report())
        self._tasks.spawn("watch", self._watch())
        self._ready = wire.Ready(
            list(config.ports), config.stream_id, os.getpid(), strata.__version__
        )
        log.info(
            "ready: %s listens on %s ports %s, forwards to %s",
            config.stream_id,
            config.bind,
            ",".join(map(str, config.ports)),
            ", ".join(f.shown for f in config.forwards) or "nowhere",
        )
        for event in self._greeting():
            self._socket.broadcast(event)

    async def _end(self, reason: wire.StopReason) -> None:
        """Puts out what is there, closes each forward, says goodbye."""
        self._loop.remove_reader(self._receiver.fileno())
        self._carry()
        self._ingest.end()
        deadline = time.monotonic() + FLUSH_DEADLINE_S
        while not self._ingest.ended and time.monotonic() < deadline:
            await asyncio.sleep(0.005)
            self._hub.push(self._ingest.pull())
        self._hub.push(self._ingest.pull())
        await asyncio.gather(*(forward.stop() for forward in self._hub.forwards.values()))
        await self._ingest.stop()
        for client, command in self._stoppers:
            client.send(wire.Ok("stop", command.id))
        self._socket.broadcast(wire.Stopped(reason))
        log.info("stopped: %s", reason)

    def _request_stop(self, reason: wire.StopReason) -> None:
        if not self._stop.done():
            self._stop.set_result(reason)

    # Media.

    def _on_receiver(self) -> None:
        """Something waits in the inbox: let a batch gather, then carry it on."""
        self._receiver.hush()
        self._loop.call_later(BATCH_S, self._tick)

    def _tick(self) -> None:
        if self._stop.done():
            return
        if self._carry():
            # What has just been pushed is parsed by the next tick, media or not.
            self._loop.call_later(BATCH_S, self._tick)
            self._receiver.hush()

    def _carry(self) -> bool:
        """Moves one batch in and what has been parsed out; False when there was neither."""
        batch = self._receiver.take()
        if batch:
            self._last_media_at = time.monotonic()
            if self._input.state != "receiving":
                self._set_input("receiving")
            for at, passed in self._start.pass_on(batch, self._last_media_at):
                self._hub.push_packets(passed)
                for stamp_s, piece in self._pace.split(passed, at):
                    self._ingest.push(piece, stamp_s)
        units = list(self._ingest.pull())
        if units:
            self._first_unit_at = self._first_unit_at or time.monotonic()
            self._hub.push(units)
        if not self._hub.program.done():
            self._learn_program()
        return bool(batch or units)

    def _learn_program(self) -> None:
        program = self._ingest.program()
        if program is None and self._first_unit_at is not None:
            waited_s = time.monotonic() - self._first_unit_at
            known = self._ingest.known()
            if waited_s > (VIDEO_DEADLINE_S if known.video is None else PROGRAM_DEADLINE_S):
                program = known
        if program is None:
            return
        self._hub.program.set_result(program)
        event = self._program_event()
        log.info("program: video %s, audio %s", event.video, event.audio)
        self._socket.broadcast(event)

    def _new_ingest(self) -> Ingest:
        fresh = Ingest(
            self._on_ingest_failure,
            lambda name: (self._loop.call_soon_threadsafe(self._on_unusable, name), None)[1],
        )
        fresh.start()
        return fresh

    def _on_ingest_failure(self, message: str) -> None:
        """The stream broke the demuxer. Forwards stay; a new demuxer takes over."""
        if self._ingest_restart is not None or self._stop.done():
            return
        self._socket.broadcast(
            wire.Error(
                f"the sender's stream cannot be read ({message}); reading it anew, check the "
                "encoder if this repeats",
                "bad_stream",
            )
        )
        self._ingest_restart = self._loop.call_later(INGEST_RESTARTS_S, self._replace_ingest)

    def _replace_ingest(self) -> None:
        self._ingest_restart = None
        if self._stop.done():
            return
        old, self._ingest = self._ingest, self._new_ingest()
        self._tasks.spawn("ingest-stop", old.stop())

    def _on_unusable(self, name: str) -> None:
        if name in self._unusable:
            return
        self._unusable.add(name)
        message = (
            f"the sender's stream holds {name}, which no forward can carry; it is left out "
            "of all but .ts recordings. Send H.264 or H.265 video and AAC audio"
        )
        log.warning("%s", message)
        self._socket.broadcast(wire.Error(message, "unsupported_media"))

    # Watching and telling.

    async def _watch(self) -> None:
        """Looks each second at the silences that have a limit."""
        config = self._config
        while True:
            await asyncio.sleep(1.0)
            for (level, text), times in Counter(self._receiver.take_logs()).items():
                log.log(
                    logging.WARNING if level in ("error", "warning") else logging.INFO,
                    "librist: %s%s",
                    text,
                    f" ({times} times)" if times > 1 else "",
                )
            now = time.monotonic()
            silent_s = now - (self._last_media_at or self._started_at)
            if self._input.state == "receiving" and silent_s >= config.stall_timeout_s:
                self._set_input("stalled")
                self._socket.broadcast(
                    wire.Error(
                        f"no media for {silent_s:.0f} s; check the sender and its links",
                        "stalled",
                    )
                )
            if 0 < config.no_input_timeout_s <= silent_s:
                self._request_stop("no_input")
            if self._socket.clients:
                self._client_at = now
            alone_s = now - max(self._client_at, self._last_media_at or 0.0)
            if 0 < config.orphan_timeout_s <= alone_s:
                self._request_stop("orphaned")

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(self._config.stats_interval_ms / 1000)
            for report in self._receiver.take_reports():
                self._meter.add_report(report)
            self._socket.broadcast(self._measure(None))

    def _measure(self, id: wire.CommandId) -> wire.Stats:
        now = time.monotonic()
        if self._stats is None or now - self._stats[0] > STATS_AGAIN_S:
            self._stats = (now, self._meter.measure(self._receiver.counters(), self._hub))
        return wire.with_id(self._stats[1], id)

    def _set_input(self, state: wire.InputState) -> None:
        log.info("input: %s -> %s", self._input.state, state)
        self._input = wire.Input(state, 0.0)
        self._input_at = time.monotonic()
        self._socket.broadcast(self._input)

    def _program_event(self) -> wire.Program:
        if not self._hub.program.done():
            return wire.Program("none", "none")
        program = self._hub.program.result()
        return wire.Program(
            "live" if program.video is not None else "none",
            "live" if program.audio is not None else "none",
        )

    def _greeting(self) -> list[wire.Event]:
        if self._ready is None:
            return []
        since_s = round(time.monotonic() - self._input_at, 3)
        return [
            self._ready,
            wire.Input(self._input.state, since_s),
            self._program_event(),
            *(forward.event() for forward in self._hub.forwards.values()),
        ]

    def _on_command(self, command: wire.Command, client: Client) -> None:
        match command:
            case wire.Stop() | wire.Shutdown():
                self._stoppers.append((client, command))
                self._request_stop("eos")
            case wire.GetStats():
                client.send(self._measure(command.id))

    def _on_forward(self, forward: Forward) -> None:
        self._socket.broadcast(forward.event())

    def _on_forward_error(self, forward: Forward, error: StrataError) -> None:
        self._socket.broadcast(wire.Error(error.message, error.code, forward=forward.id))

    def _on_task_failure(self, name: str, error: BaseException) -> None:
        self._socket.broadcast(
            wire.Error(
                f"internal failure in {name}: {type(error).__name__}; the worker ends, "
                "its log has the details",
                "internal",
            )
        )
        self._request_stop("failed")
