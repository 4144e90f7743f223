"""What a host does when its workers, or it itself, come to harm."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from strata import settings
from strata.cluster.unix import HostClient
from strata.errors import NotFound
from strata.host import health, process, service
from strata.host.process import Identity
from strata.host.records import Record
from strata.wire import host as wire
from strata.wire import worker as worker_wire
from support.children import Child, until
from support.control import Place, environment_of, free_port_range, halt
from support.hosts import DEADLINE_S, PSK, Stage, needs_groups, nowhere, stage

FOREVER_S = 600.0


async def next_worker(one: Stage, old: int, deadline_s: float = DEADLINE_S) -> int:
    """The process that took the place of an old one, once it is ready."""
    found: list[int] = []

    async def look() -> None:
        while True:
            [snapshot] = (await one.list()).streams
            is_ready = any(isinstance(event, worker_wire.Ready) for event in snapshot.events)
            if snapshot.pid not in (0, old) and is_ready:
                found.append(snapshot.pid)
                return
            await asyncio.sleep(0.02)

    await asyncio.wait_for(look(), deadline_s)
    return found[0]


async def test_a_worker_that_is_killed_is_started_again_with_the_same_ports_and_key(
    here: Place,
) -> None:
    async with stage(here, ports=3) as one:
        stream_id, started = await one.start(nowhere())
        killed_at = time.monotonic()
        os.kill(started.pid, signal.SIGKILL)
        heir = await next_worker(one, started.pid)
        assert time.monotonic() - killed_at < 5.0
        assert one.bound() == started.ports
        assert one.here.workers() == [heir]
        [told] = [each for each in one.notices if isinstance(each, wire.Restarting)]
        assert "signal SIGKILL" in told.detail
        line = Path(f"/proc/{heir}/cmdline").read_bytes()
        assert PSK.encode() not in line
        assert (await one.stop(stream_id)).reason == "user_stop"
        assert one.nothing_is_left()


async def test_three_deaths_in_a_minute_end_the_stream(here: Place) -> None:
    async with stage(here, ports=3, port_rest_s=0.0) as one:
        stream_id, started = await one.start(nowhere())
        pid = started.pid
        for _ in range(2):
            os.kill(pid, signal.SIGKILL)
            pid = await next_worker(one, pid)
        os.kill(pid, signal.SIGKILL)
        ended = await one.ended(stream_id)
        assert ended.reason == "worker_crash"
        assert "signal SIGKILL" in ended.detail
        await until(one.nothing_is_left, DEADLINE_S, "nothing is left")
        assert await one.list() == wire.Streams([], [ended])
        await one.start(nowhere())  # on the same ports


async def test_a_stream_can_be_stopped_between_two_workers(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strata.host.restarts.FIRST_DELAY_S", FOREVER_S)
    async with stage(here) as one:
        stream_id, started = await one.start(nowhere())
        os.kill(started.pid, signal.SIGKILL)
        await until(
            lambda: any(isinstance(each, wire.Restarting) for each in one.notices),
            DEADLINE_S,
            "its death is told",
        )
        [snapshot] = (await one.list()).streams
        assert snapshot.pid == 0
        assert [alarm.kind for alarm in snapshot.alarms] == ["restarting"]
        assert await one.stop(stream_id) == wire.Stopped("user_stop", "stopped on request")
        assert one.nothing_is_left()


async def test_a_worker_that_hangs_is_killed_and_started_again(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "CHECK_S", 0.2)
    async with stage(here, silence_timeout_s=3.0) as one:
        stream_id, started = await one.start(nowhere())
        await halt(started.pid)
        heir = await next_worker(one, started.pid)
        told = [each.detail for each in one.notices if isinstance(each, wire.Restarting)]
        assert len(told) == 1
        assert told[0].startswith("the worker has reported nothing for 3 s")
        await asyncio.sleep(4.0)  # one that reports is left alone
        assert one.here.workers() == [heir]
        await one.stop(stream_id)


async def test_a_host_that_stood_still_does_not_take_it_for_the_workers_silence(
    here: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(health, "CHECK_S", 0.2)
    async with stage(here, silence_timeout_s=3.0) as one:
        _, started = await one.start(nowhere())
        await asyncio.sleep(1.5)
        time.sleep(4.0)
        await asyncio.sleep(1.5)
        assert one.here.workers() == [started.pid]
        assert "the host stood still for" in caplog.text


async def test_a_stream_that_nobody_sends_to_is_ended(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "CHECK_S", 0.2)
    async with stage(here) as one:
        start = wire.Start("str_nobody", PSK, [nowhere()], 2, first_media_s=2.0)
        await one.client.request(start)
        ended = await one.ended("str_nobody")
        assert ended.reason == "no_input"
        assert ended.detail.startswith("no media came at all in 2 s")
        assert one.nothing_is_left()


# The host goes, and another one comes.


async def test_the_next_host_adopts_what_runs(here: Place) -> None:
    async with stage(here, ports=8) as one:
        streams = [await one.start(nowhere()) for _ in range(2)]
        before = sorted(one.here.workers())
        await one.replace_host()
        assert sorted(one.here.workers()) == before
        listed = {each.stream_id: each for each in (await one.list()).streams}
        assert {id: each.pid for id, each in listed.items()} == {
            id: started.pid for id, started in streams
        }
        assert all(each.needs_secrets for each in listed.values())
        # Their ports are not given to others.
        _, third = await one.start(nowhere())
        assert not set(third.ports) & {port for _, started in streams for port in started.ports}
        for stream_id, _ in streams:
            assert await one.stop(stream_id) == wire.Stopped("user_stop", "stopped on request")
        assert len(one.here.workers()) == 1


async def test_a_worker_of_an_earlier_host_is_started_again_once_its_secrets_are_known(
    here: Place,
) -> None:
    async with stage(here) as one:
        stream_id, started = await one.start(nowhere())
        await one.replace_host()
        os.kill(started.pid, signal.SIGKILL)
        await until(
            lambda: any(isinstance(each, wire.Restarting) for each in one.notices),
            DEADLINE_S,
            "its death is told",
        )
        assert one.here.workers() == []
        assert await one.client.request(wire.Entrust(stream_id, PSK, [nowhere()])) == wire.Done()
        heir = await next_worker(one, started.pid)
        assert one.bound() == started.ports
        assert one.here.workers() == [heir]


async def test_what_died_while_no_host_was_there_is_found_out(here: Place) -> None:
    async with stage(here) as one:
        crashed, first = await one.start(nowhere())
        stopped, second = await one.start(nowhere())
        await one.host.leave()
        os.kill(first.pid, signal.SIGKILL)
        os.kill(second.pid, signal.SIGTERM)
        await until(lambda: not one.here.workers(), DEADLINE_S, "both are gone")
        await one.replace_host()
        reply = await one.list()
        assert [(each.stream_id, each.reason) for each in reply.ended] == [(stopped, "eos")]
        [waiting] = reply.streams
        assert (waiting.stream_id, waiting.pid, waiting.needs_secrets) == (crashed, 0, True)
        assert "while the host was away" in waiting.alarms[0].detail
        await one.client.request(wire.Entrust(crashed, PSK, [nowhere()]))
        await next_worker(one, 0)
        assert one.bound() == first.ports


async def test_a_worker_that_was_spawned_a_moment_before_its_host_was_killed_is_found(
    here: Place,
) -> None:
    async with stage(here) as one:
        stream_id, started = await one.start(nowhere())
        path = one.settings.data_dir / "workers" / f"{stream_id}.json"
        record = msgspec.json.decode(path.read_bytes(), type=Record)
        path.write_bytes(msgspec.json.encode(msgspec.structs.replace(record, pid=0)))
        await one.replace_host()
        [snapshot] = (await one.list()).streams
        assert snapshot.pid == started.pid
        after = msgspec.json.decode(path.read_bytes(), type=Record)
        assert after.pid == started.pid


async def test_a_host_that_is_killed_while_it_starts_a_stream_leaves_it_to_the_next(
    here: Place,
) -> None:
    """At ten moments between the request and the answer."""
    environment = environment_of(here) | {"STRATA_HOST__PORT_RANGE": free_port_range(16)}
    command = [sys.executable, "-I", "-m", "strata", "host", "--data-dir", str(here.data)]
    path = service.socket_path(settings.load(data_dir=here.data, host={"runtime_dir": here.run}))
    for step in range(10):
        async with (
            Child(command, here.folder / "host.log", env=environment) as first,
            connected(path) as client,
        ):
            order = wire.Start(f"str_{step}", PSK, [nowhere()], 2)
            starting = asyncio.create_task(client.request(order))
            await asyncio.sleep(step * 0.03)
            first.signal(signal.SIGKILL)
            await asyncio.wait({starting}, timeout=DEADLINE_S)
            starting.exception()
        async with Child(command, here.folder / "host.log", env=environment) as second:
            async with connected(path) as client:
                # Whatever there is of it has been found, and control can have it ended.
                with contextlib.suppress(NotFound):
                    await client.request(wire.Stop(f"str_{step}"))
                reply = await client.request(wire.List())
                assert isinstance(reply, wire.Streams)
                assert reply.streams == []
                assert here.workers() == []
                assert [name for name in here.sockets() if name.startswith("str_")] == []
                assert list((here.data / "workers").iterdir()) == []
            assert await second.end(DEADLINE_S) == 0


@asynccontextmanager
async def connected(path: Path) -> AsyncIterator[HostClient]:
    """Control's end of the way to a host."""

    async def nothing() -> None:
        return None

    client = HostClient(path, nothing, lambda notice: None, DEADLINE_S)
    client.start()
    try:
        await until(lambda: client.connected, DEADLINE_S, "connected")
        yield client
    finally:
        await client.close()


async def test_whoever_has_its_number_now_is_left_alone(here: Place) -> None:
    async with stage(here) as one:
        stream_id, started = await one.start(nowhere())
        await one.host.leave()
        os.kill(started.pid, signal.SIGKILL)
        await until(lambda: not one.here.workers(), DEADLINE_S, "it is gone")
        stranger = await asyncio.create_subprocess_exec("sleep", "600")
        path = one.settings.data_dir / "workers" / f"{stream_id}.json"
        record = msgspec.json.decode(path.read_bytes(), type=Record)
        path.write_bytes(msgspec.json.encode(msgspec.structs.replace(record, pid=stranger.pid)))
        try:
            await one.replace_host()
            assert (await one.stop(stream_id)).reason == "user_stop"
            assert stranger.returncode is None
            assert Identity.of(stranger.pid) is not None
            assert one.nothing_is_left()
        finally:
            stranger.kill()
            await stranger.wait()


# Limits.


@needs_groups
async def test_a_worker_is_in_its_group_from_its_first_instruction(here: Place) -> None:
    async with stage(here, limits={"memory_mb": 200, "tasks": 128, "cpu_cores": 0.4}) as one:
        stream_id, started = await one.start(nowhere())
        for group in one.groups():
            assert (group / "cgroup.procs").read_text().split() == [str(started.pid)]
            assert group.name == stream_id
        names = (
            *("pids.max", "cpu.cfs_quota_us", "cpu.cfs_period_us", "memory.limit_in_bytes"),
            *("cpu.max", "memory.max"),
        )
        found = {
            path.name: path.read_text().strip()
            for group in one.groups()
            for path in group.iterdir()
            if path.name in names
        }
        assert found["pids.max"] == "128"
        if "cpu.cfs_quota_us" in found:
            assert int(found["cpu.cfs_quota_us"]) == 0.4 * int(found["cpu.cfs_period_us"])
            assert int(found["memory.limit_in_bytes"]) == 200 * 2**20
        else:
            assert found["cpu.max"] == "40000 100000"
            assert int(found["memory.max"]) == 200 * 2**20


@needs_groups
async def test_a_worker_over_its_memory_limit_dies_alone(here: Place) -> None:
    async with stage(here, ports=8) as one:
        stream_id, started = await one.start(nowhere())
        other, beside = await one.start(nowhere())
        # As a leak would: what is charged to its group grows until the kernel steps in, which
        # takes the largest. So that this is the worker, it is told to be preferred.
        Path(f"/proc/{started.pid}/oom_score_adj").write_text("1000")
        [procs, *_] = [
            group / "cgroup.procs"
            for group in one.groups()
            if group.name == stream_id
            and ((group / "memory.max").exists() or (group / "memory.limit_in_bytes").exists())
        ]
        hog = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", HOG, str(procs)), stdin=asyncio.subprocess.DEVNULL
        )
        try:
            ended = await one.ended(stream_id)
        finally:
            if hog.returncode is None:
                hog.kill()
            await hog.wait()
        assert ended.reason == "out_of_memory"
        assert "no other stream was touched" in ended.detail
        assert one.here.workers() == [beside.pid]
        assert (await one.stop(other)).detail == "stopped on request"
        await until(one.nothing_is_left, DEADLINE_S, "nothing is left")


HOG = """
import os, sys, time
with open(sys.argv[1], "w") as group:
    group.write(str(os.getpid()))
kept = []
while True:
    kept.append(bytearray(os.urandom(1 << 20)))
    time.sleep(0.001)
"""


def test_a_process_that_has_ended_is_nobody() -> None:
    assert Identity.of(os.getpid()) is not None
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert Identity.of(child) is None  # it waits to be told of
    os.waitpid(child, 0)
    assert Identity.of(child) is None
    assert process.find(Path("/nobody/serves/this.sock")) is None
