"""One stream from its ports to its destinations, from start to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections import Counter
from typing import Final

import msgspec

import strata
from strata.errors import Conflict, StrataError
from strata.rist import Receiver, ReceiverTuning
from strata.tasks import TaskGroup
from strata.wire import forward_url
from strata.wire import worker as wire
from strata.worker import forwards, ingest
from strata.worker.config import WorkerConfig
from strata.worker.control_socket import Client, ControlSocket
from strata.worker.forwards import Forwards
from strata.worker.hub import Hub
from strata.worker.intake import Intake
from strata.worker.onair import OnAir
from strata.worker.output import Feed
from strata.worker.stats import StatsMeter

log = logging.getLogger(__name__)

STATS_AGAIN_S: Final = 0.2
"""Two clients that ask within this time get the same numbers: a rate over less is noise."""

FLOWING_S: Final = 2.0
"""Without media for so long, a new destination cannot prove itself."""

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
        self._ready: wire.Ready | None = None
        self._stoppers: list[tuple[Client, wire.Command]] = []
        self._meter = StatsMeter()
        self._stats: tuple[float, wire.Stats] | None = None
        self._stats_interval_s = config.stats_interval_ms / 1000

    async def run(self) -> int:
        """Carries the stream until told to stop; returns the exit status.

        Raises:
            StrataError: it could not start; nothing is left behind.
        """
        config = self._config
        self._loop = asyncio.get_running_loop()
        self._stop: asyncio.Future[wire.StopReason] = self._loop.create_future()
        for signum in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(signum, self._request_stop, "eos")
        forwards.require(config.forwards, ingest.ELEMENTS)
        self._hub = Hub()
        self._forwards = Forwards(self._hub, config.max_egress_kbps, self._tell, self._is_flowing)
        self._receiver = Receiver(
            config.ports,
            config.psk,
            bind=config.bind,
            aes_bits=config.aes_bits,
            tuning=ReceiverTuning(buffer_ms=config.buffer_ms),
        )
        self._on_air = OnAir(
            self._hub,
            config.slate,
            self._tell,
            self._on_error,
            keep_damaged=config.keep_damaged,
            can_silence=config.can_silence,
        )
        self._intake = Intake(
            self._receiver, self._hub, self._on_air, self._on_media, self._on_error
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
        self._forwards.start(config.forwards, config.forward_ids, config.last_forward)
        self._intake.start()
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
        self._intake.stop()
        self._on_air.stop()
        # To a platform, a broadcast whose sender is lost is not over: it may come back.
        await self._forwards.stop(is_over=reason not in ("no_input", "orphaned"))
        await self._on_air.close()
        for client, command in self._stoppers:
            client.send(wire.Ok("stop", command.id))
        self._socket.broadcast(wire.Stopped(reason))
        log.info("stopped: %s", reason)

    def _request_stop(self, reason: wire.StopReason) -> None:
        if not self._stop.done():
            self._stop.set_result(reason)

    # The stream.

    def _on_media(self) -> None:
        self._last_media_at = time.monotonic()
        if self._input.state != "receiving":
            self._set_input("receiving")

    def _on_error(self, error: StrataError) -> None:
        log.warning("%s", error.message)
        self._socket.broadcast(wire.Error(error.message, error.code))

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
            for trouble in self._meter.links.changes(self._receiver.counters().links, now):
                log.warning("%s", trouble.message)
                self._socket.broadcast(trouble)
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
            await asyncio.sleep(self._stats_interval_s)
            for report in self._receiver.take_reports():
                self._meter.add_report(report)
            self._socket.broadcast(self._measure(None))

    def _measure(self, id: wire.CommandId) -> wire.Stats:
        now = time.monotonic()
        if self._stats is None or now - self._stats[0] > STATS_AGAIN_S:
            measured = self._meter.measure(self._receiver.counters(), self._hub, self._forwards.all)
            measured = msgspec.structs.replace(measured, line=self._on_air.counts())
            self._stats = (now, measured)
        return wire.with_id(self._stats[1], id)

    def _set_input(self, state: wire.InputState) -> None:
        log.info("input: %s -> %s", self._input.state, state)
        self._input = wire.Input(state, 0.0)
        self._input_at = time.monotonic()
        self._socket.broadcast(self._input)

    def _greeting(self) -> list[wire.Event]:
        if self._ready is None:
            return []
        since_s = round(time.monotonic() - self._input_at, 3)
        return [
            self._ready,
            wire.Input(self._input.state, since_s),
            self._on_air.program,
            *(forward.event() for forward in self._forwards.all),
        ]

    def _on_command(self, command: wire.Command, client: Client) -> None:
        match command:
            case wire.Stop() | wire.Shutdown():
                self._stoppers.append((client, command))
                self._request_stop(command.reason if isinstance(command, wire.Stop) else "eos")
            case wire.GetStats():
                client.send(self._measure(command.id))
            case wire.Configure():
                client.send(self._configure(command))
            case _:
                self._tasks.spawn("change", self._change(client, command))

    def _configure(self, command: wire.Configure) -> wire.Event:
        try:
            self._on_air.configure(command.slate, command.slate_now)
        except StrataError as error:
            return wire.Error(error.message, error.code, id=command.id)
        if command.keep_damaged is not None:
            self._on_air.line.keep_damaged = command.keep_damaged
        if command.stats_interval_ms is not None:
            self._stats_interval_s = command.stats_interval_ms / 1000
        if command.max_egress_kbps is not None:
            self._forwards.set_cap(command.max_egress_kbps)
        return wire.Ok("configure", command.id)

    async def _change(self, client: Client, command: wire.ForwardCommand) -> None:
        """Carries out a change of the forwards and answers, whatever comes of it."""
        try:
            answer = await self._changed(command)
        except StrataError as error:
            client.send(wire.Error(error.message, error.code, id=command.id))
        except asyncio.CancelledError:
            client.send(wire.Error("the stream has ended meanwhile", Conflict.code, id=command.id))
            raise
        else:
            client.send(answer)

    async def _changed(self, command: wire.ForwardCommand) -> wire.Ok:
        match command:
            case wire.AddForward():
                forward = await self._forwards.add(forward_url.parse(command.url))
                return wire.Ok("add_forward", command.id, forward.id)
            case wire.RemoveForward():
                await self._forwards.remove(command.forward)
                return wire.Ok("remove_forward", command.id, command.forward)
            case wire.UpdateForward():
                url = forward_url.parse(command.url)
                forward, overlap = await self._forwards.update(command.forward, url)
                return wire.Ok("update_forward", command.id, forward.id, overlap)

    def _tell(self, event: wire.Event) -> None:
        self._socket.broadcast(event)

    def _is_flowing(self, feed: Feed) -> bool:
        if feed == "units" and self._on_air.program.video == "slate":
            return True
        at = self._last_media_at
        return at is not None and time.monotonic() - at < FLOWING_S and self._on_air.has_begun

    def _on_task_failure(self, name: str, error: BaseException) -> None:
        self._socket.broadcast(
            wire.Error(
                f"internal failure in {name}: {type(error).__name__}; the worker ends, "
                "its log has the details",
                "internal",
            )
        )
        self._request_stop("failed")
