"""A stream that is attacked keeps to its share of the machine, and the one beside it is whole."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from strata.rist import Link, Sender
from strata.secrets import Secret
from strata.wire import worker as worker_wire
from support.children import Child, until
from support.control import Place, place
from support.hosts import PSK, Stage, needs_groups, stage
from support.media import FPS, RistSender, decode_errors, probe
from support.nginx import Nginx

KEY = "canary-stream-key"
ATTACK_S = 15.0
CORES = 0.5
MEMORY_MB = 256
FLOOD = """
import os, random, socket, sys, time
chance = random.Random(7)
pieces = [chance.randbytes(chance.randrange(1, 1400)) for _ in range(512)]
ports = [("127.0.0.1", int(port)) for port in sys.argv[2:]]
rate = int(sys.argv[1])
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
began, sent = time.monotonic(), 0
while True:
    due = int((time.monotonic() - began) * rate)
    while sent < due:
        sock.sendto(pieces[sent % 512], ports[sent % len(ports)])
        sent += 1
    time.sleep(0.002)
"""


@pytest.fixture
def here() -> Iterator[Place]:
    with place() as one:
        yield one


@asynccontextmanager
async def nonsense(ports: tuple[int, ...]) -> AsyncIterator[None]:
    """What has the right key and is no stream: packets of TS with anything in them."""
    chance = random.Random(3)
    sender = Sender([Link("127.0.0.1", port) for port in ports], Secret(PSK))

    async def send() -> None:
        while True:
            sender.write(b"".join(b"\x47" + chance.randbytes(187) for _ in range(7)))
            await asyncio.sleep(0.002)

    sender.start()
    sending = asyncio.create_task(send())
    try:
        yield
    finally:
        sending.cancel()
        await asyncio.wait({sending})
        sender.close()


class Meter:
    """What the kernel counts for the group of one worker."""

    def __init__(self, one: Stage, stream_id: str) -> None:
        self._groups = [group for group in one.groups() if group.name == stream_id]

    def cpu_s(self) -> float:
        for group in self._groups:
            if (usage := group / "cpuacct.usage").exists():
                return int(usage.read_text()) / 1e9
            stat = group / "cpu.stat"
            if stat.exists() and "usage_usec" in stat.read_text():
                lines = dict(line.split() for line in stat.read_text().splitlines())
                return int(lines["usage_usec"]) / 1e6
        # A tree in which the processor's time is limited, and not counted.
        pids = (self._groups[0] / "cgroup.procs").read_text().split()
        ticks = 0
        for pid in pids:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def peak_mb(self) -> float:
        for group in self._groups:
            for name in ("memory.max_usage_in_bytes", "memory.peak"):
                if (group / name).exists():
                    return int((group / name).read_text()) / 2**20
        raise AssertionError(f"no memory is counted in {self._groups}")


@needs_groups
@pytest.mark.timeout(200)
async def test_junk_and_nonsense_take_no_more_than_one_worker_may(
    here: Place, tmp_path: Path, long_file: Path
) -> None:
    limits = {"cpu_cores": CORES, "memory_mb": MEMORY_MB}
    async with Nginx(tmp_path / "nginx") as nginx, stage(here, ports=8, limits=limits) as one:
        attacked, first = await one.start(nginx.url("attacked"))
        beside, second = await one.start(nginx.url(KEY))
        async with RistSender(tmp_path / "sender", second.ports, PSK) as sender:
            await sender.begin(long_file, 60)
            await asyncio.sleep(3.0)
            flood = [sys.executable, "-I", "-S", "-c", FLOOD, "20000", *map(str, first.ports)]
            async with (
                Child(flood, tmp_path / "flood.log") as flooding,
                nonsense(tuple(first.ports)),
            ):
                meter = Meter(one, attacked)
                began, before_s = time.monotonic(), meter.cpu_s()
                await asyncio.sleep(ATTACK_S)
                passed_s, used_s = time.monotonic() - began, meter.cpu_s() - before_s
                assert flooding.status is None, flooding.said()
            print(f"{used_s / passed_s:.2f} cores, {meter.peak_mb():.0f} MB")
            assert used_s <= passed_s * CORES * 1.1 + 0.1
            assert meter.peak_mb() <= MEMORY_MB
            [alive, other] = (await one.list()).streams
            assert {alive.stream_id, other.stream_id} == {attacked, beside}
            assert {alive.pid, other.pid} == {first.pid, second.pid}
            await asyncio.sleep(2.0)
            assert (await one.stop(beside)).detail == "stopped on request"
            assert (await one.stop(attacked)).reason == "user_stop"
        [flv] = [path for path in await nginx.finished() if KEY in path.name]
        assert await decode_errors(flv) == ""
        found = await probe(flv)
        assert found.longest_step_s < 1.5 / FPS
        assert found.video_s > ATTACK_S


@pytest.mark.timeout(120)
async def test_a_sender_that_has_not_heard_of_the_end_reaches_nobody(
    here: Place, tmp_path: Path, test_file: Path
) -> None:
    """Its port is another stream's by now, with another key."""
    recording = tmp_path / "recording.ts"
    async with stage(here, ports=3, port_rest_s=0.0) as one:
        old, first = await one.start(f"file://{tmp_path}/first.ts")
        async with RistSender(tmp_path / "old", first.ports, PSK) as sender:
            await sender.begin(test_file, 60)
            await until((tmp_path / "first.ts").exists, 30.0, "it is received")
            await one.stop(old)
            psk = "another-psk-0123456789"
            _, second = await one.start(f"file://{recording}", psk=psk)
            assert second.ports == first.ports
            await asyncio.sleep(4.0)
            [snapshot] = (await one.list()).streams
            [stats] = [each for each in snapshot.events if isinstance(each, worker_wire.Stats)]
            assert stats.flow.received == 0
            assert stats.bitrate_in_kbps == 0.0
            assert not recording.exists()
            async with RistSender(tmp_path / "new", second.ports, psk) as right:
                await right.begin(test_file, 60)
                await until(recording.exists, 30.0, "whoever has the key is received")
