"""A host without media: it speaks to control as a real one does, so that control is measured."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Final

from strata.cluster.unix import HostServer
from strata.errors import NotFound
from strata.wire import host as wire
from strata.wire import worker

STATS_S: Final = 1.0
LOAD_S: Final = 5.0
FORWARDS: Final = 2

PICTURE: Final = bytes(10_000)
"""Of the size of one; nobody looks at it."""


class MemoryHost:
    """Streams that report each second, as workers on the air do."""

    def __init__(self, path: Path) -> None:
        self._server = HostServer(path)
        self._running: dict[str, int] = {}
        self._chance = random.Random(1)
        self._speaking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self._server.start(self._answer)
        self._speaking = asyncio.create_task(self._speak(), name="memory-host")

    async def close(self) -> None:
        if self._speaking is not None:
            self._speaking.cancel()
            await asyncio.wait([self._speaking])
        await self._server.close()

    async def _answer(self, request: wire.Request) -> wire.Reply:
        match request:
            case wire.Start():
                first = 15000 + 4 * len(self._running)
                self._running[request.stream_id] = first
                asyncio.get_running_loop().call_soon(self._begin, request.stream_id)
                return wire.Started([first, first + 2], 4711)
            case wire.Stop():
                if self._running.pop(request.stream_id, None) is None:
                    raise NotFound(f"{request.stream_id} does not run here")
                return wire.Stopped("user_stop", "stopped on request")
            case wire.List():
                return wire.Streams([], [], self._load())
            case wire.Thumbnail():
                return wire.Picture(PICTURE, 1.0, "live")
            case _:
                return wire.Done()

    def _begin(self, id: str) -> None:
        self._say(id, worker.Input("receiving", 0.0))
        self._say(id, worker.Program("live", "live"))
        for number in range(1, FORWARDS + 1):
            self._say(id, worker.Forward(f"fwd_{number}", "rtmp", "live", "rtmp://x/live/****"))

    async def _speak(self) -> None:
        seconds = 0
        while True:
            seconds += 1
            for id, first in tuple(self._running.items()):
                self._say(id, self._stats(first, float(seconds)))
                await asyncio.sleep(STATS_S / max(len(self._running), 1))
            if not self._running:
                await asyncio.sleep(STATS_S)
            if not seconds % int(LOAD_S):
                self._server.notify(self._load())

    def _say(self, id: str, event: worker.Event) -> None:
        self._server.notify(wire.WorkerSaid(id, event))

    def _stats(self, first: int, seconds: float) -> worker.Stats:
        kbps = self._chance.gauss(5200.0, 100.0)
        return worker.Stats(
            bitrate_in_kbps=kbps,
            bitrate_out_kbps=2 * kbps,
            buffer_ms=1000.0,
            uptime_s=seconds,
            cpu_percent=4.0,
            rss_mb=60.0,
            media=worker.Media(
                worker.VideoMedia("h264", 1920, 1080, 30.0, 2.0),
                worker.AudioMedia("aac", 48000, 2),
            ),
            flow=worker.Flow(received=int(500 * seconds), recovered=3),
            links=[
                worker.LinkStats(
                    port, "10.0.0.7:4711", kbps / 2, 50.0, int(250 * seconds), 0.01, "up", 42.0
                )
                for port in (first, first + 2)
            ],
            forwards=[
                worker.ForwardStats(
                    f"fwd_{number}",
                    "rtmp",
                    "live",
                    kbps,
                    int(650_000 * seconds),
                    0,
                    0,
                    seconds,
                    0.1,
                )
                for number in range(1, FORWARDS + 1)
            ],
        )

    def _load(self) -> wire.Load:
        streams = len(self._running)
        return wire.Load(
            cpu_cores=32.0,
            memory_mb=65536.0,
            free_disk_mb=1e6,
            streams=streams,
            free_ports=1000 - 2 * streams,
            used_cpu_cores=0.04 * streams,
            used_memory_mb=60.0 * streams,
            used_egress_kbps=10400.0 * streams,
            egress_kbps=1e6,
            limits="none",
        )
