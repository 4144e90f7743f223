"""A host with real workers, over the socket that control uses."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from strata import ids
from strata.errors import (
    BadArguments,
    BadUrl,
    HostError,
    NoCapacity,
    NotFound,
    PartMissing,
    PortTaken,
    StrataError,
    WorkerFailed,
)
from strata.host import process
from strata.host.host import Host
from strata.wire import host as wire
from strata.wire import worker as worker_wire
from support.children import until
from support.control import Place, halt
from support.hosts import DEADLINE_S, PSK, Stage, needs_groups, nowhere, stage
from support.worker import ControlClient


async def test_from_start_to_stop_and_again_at_once(here: Place) -> None:
    async with stage(here, ports=3, port_rest_s=0.0) as one:
        for _ in range(2):
            stream_id, started = await one.start(nowhere())
            first = one.ports[0]
            assert started.ports == [first, first + 2]
            assert one.bound() == started.ports
            assert one.here.workers() == [started.pid]
            assert one.here.sockets() == [f"{stream_id}.sock"]
            [snapshot] = (await one.list()).streams
            assert (snapshot.stream_id, snapshot.pid) == (stream_id, started.pid)
            assert any(isinstance(event, worker_wire.Ready) for event in snapshot.events)
            assert await one.stop(stream_id) == wire.Stopped("user_stop", "stopped on request")
            assert one.nothing_is_left()
            assert (await one.ended(stream_id)).reason == "user_stop"


async def test_streams_live_side_by_side(here: Place) -> None:
    async with stage(here, ports=8) as one:
        names = [ids.new("str") for _ in range(4)]
        found = await asyncio.gather(*(one.start(nowhere(), stream_id=name) for name in names))
        ports = sorted(port for _, started in found for port in started.ports)
        assert ports == list(one.ports)
        assert one.bound() == ports
        await one.stop(names[1])
        left = {each.stream_id for each in (await one.list()).streams}
        assert left == set(names) - {names[1]}
        assert len(one.here.workers()) == 3
        with pytest.raises(NoCapacity):  # a freed port rests
            await one.start(nowhere())


def taken_plainly(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("0.0.0.0", port))
    return sock


def taken_and_shared(port: int) -> socket.socket:
    """As other RIST receivers do: a second one would get in, and get its packets."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("0.0.0.0", port))
    return sock


@pytest.mark.parametrize("take", [taken_plainly, taken_and_shared])
@pytest.mark.parametrize("which", [0, 2])
async def test_a_taken_port_makes_the_host_take_another_pair(
    here: Place, take: Callable[[int], socket.socket], which: int
) -> None:
    async with stage(here, ports=8) as one:
        first = one.ports[0]
        with take(first + which):
            _, started = await one.start(nowhere())
            assert started.ports == [first + 1, first + 3]
            assert sorted(one.bound()) == sorted([first + which, first + 1, first + 3])
            assert len(one.here.workers()) == 1
        # The stranger has gone, and may be back: the pair is in quarantine.
        _, another = await one.start(nowhere())
        assert not {first, first + 2} & set(another.ports)


async def test_ports_that_are_all_taken_are_told_in_the_workers_words(here: Place) -> None:
    with ExitStack() as held:
        async with stage(here, ports=8, port_attempts=2) as one:
            for port in one.ports:
                held.enter_context(taken_plainly(port))
            with pytest.raises(PortTaken, match=r"UDP port \d+ .*; .*another"):
                await one.start(nowhere())
            held.close()
            assert one.nothing_is_left()
            assert not (await one.list()).streams


async def test_a_missing_element_is_told_in_the_workers_words(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine without gstreamer1.0-plugins-bad; a worker inherits GST_*."""
    empty = here.folder / "plugins"
    empty.mkdir()
    monkeypatch.setenv("GST_PLUGIN_SYSTEM_PATH_1_0", str(empty))
    monkeypatch.setenv("GST_REGISTRY", str(here.folder / "registry.bin"))
    async with stage(here) as one:
        with pytest.raises(
            PartMissing, match=r"rtmp2sink.*; install with: apt-get install "
        ) as raised:
            await one.start(nowhere())
        assert "strata-receiver" not in raised.value.message
        assert one.nothing_is_left()
        monkeypatch.delenv("GST_PLUGIN_SYSTEM_PATH_1_0")
        monkeypatch.delenv("GST_REGISTRY")
        await one.start(nowhere())


async def test_a_worker_that_somebody_else_stops_was_told_to(here: Place) -> None:
    async with stage(here) as one:
        stream_id, started = await one.start(nowhere())
        os.kill(started.pid, signal.SIGTERM)
        assert (await one.ended(stream_id)).reason == "eos"
        assert one.nothing_is_left()


async def test_a_worker_that_hangs_is_stopped_all_the_same(here: Place) -> None:
    async with stage(here, stop_timeout_s=0.5) as one:
        stream_id, started = await one.start(nowhere())
        await halt(started.pid)
        stopped = await one.stop(stream_id)
        assert stopped.reason == "user_stop"
        assert stopped.detail.endswith("had to be ended by signal SIGKILL")
        assert one.nothing_is_left()


async def test_a_worker_that_hangs_does_not_hold_up_the_others(here: Place) -> None:
    async with stage(here, stop_timeout_s=DEADLINE_S) as one:
        hanging, started = await one.start(nowhere())
        await halt(started.pid)
        stopping = asyncio.create_task(one.stop(hanging))
        other, _ = await one.start(nowhere())
        assert (await one.stop(other)).reason == "user_stop"
        assert not stopping.done()
        os.kill(started.pid, signal.SIGCONT)
        assert (await stopping).detail == "stopped on request"


# A start that fails at some step leaves nothing, and the next one works.


async def too_many_links(one: Stage) -> None:
    with pytest.raises(NoCapacity, match=r"host\.port_range"):
        await one.start(nowhere(), links=8)


async def no_log(one: Stage) -> None:
    one.settings.log_dir.rmdir()
    one.settings.log_dir.touch()
    try:
        with pytest.raises(WorkerFailed, match=r"log of a worker, .*, cannot be written: "):
            await one.start(nowhere())
    finally:
        one.settings.log_dir.unlink()
        one.settings.log_dir.mkdir()


async def bad_url(one: Stage) -> None:
    with pytest.raises(BadUrl, match="write rtmp://host/app/key"):
        await one.start("gopher://127.0.0.1/canary-stream-key")


async def bad_key(one: Stage) -> None:
    with pytest.raises(BadArguments, match="the PSK has 5 bytes"):
        await one.start(nowhere(), psk="short")


async def no_room_for_the_recording(one: Stage) -> None:
    with pytest.raises(StrataError, match=r"cannot record to /proc/version"):
        await one.start("file:///proc/version/x.ts")


async def somebody_serves_the_socket(one: Stage) -> None:
    stream_id = ids.new("str")
    path = one.here.run / f"{stream_id}.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()
        with pytest.raises(StrataError, match="a running worker serves"):
            await one.start(nowhere(), stream_id=stream_id)
    path.unlink(missing_ok=True)


async def killed_before_it_is_ready(one: Stage) -> None:
    starting = asyncio.create_task(one.start(nowhere()))
    await until(one.here.workers, DEADLINE_S, "it is spawned")
    [pid] = one.here.workers()
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(WorkerFailed, match="signal SIGKILL"):
        await starting


async def never_ready(one: Stage) -> None:
    usual = one.host._machine
    hurried = one.settings.host.model_copy(update={"ready_timeout_s": 0.02})
    settings = one.settings.model_copy(update={"host": hurried})
    one.host._machine = dataclasses.replace(usual, settings=settings)
    try:
        with pytest.raises(WorkerFailed, match=r"not ready in 0 s and was killed; "):
            await one.start(nowhere())
    finally:
        one.host._machine = usual


async def no_group(one: Stage) -> None:
    """The kernel refuses a limit."""
    usual = one.host._machine
    limits = one.settings.limits.model_copy(update={"tasks": -1})
    settings = one.settings.model_copy(update={"limits": limits})
    one.host._machine = dataclasses.replace(usual, settings=settings)
    try:
        with pytest.raises(HostError, match="limits of a worker cannot be set"):
            await one.start(nowhere())
    finally:
        one.host._machine = usual


async def no_record(one: Stage) -> None:
    """The disk refuses to remember the stream."""
    folder = one.settings.data_dir / "workers"
    folder.rmdir()
    try:
        with pytest.raises(HostError, match="cannot be written down"):
            await one.start(nowhere())
    finally:
        folder.mkdir()


async def given_up(one: Stage) -> None:
    starting = asyncio.create_task(one.host.handle(wire.Start(ids.new("str"), PSK, [nowhere()], 2)))
    await until(one.here.workers, DEADLINE_S, "it is spawned")
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting


@pytest.mark.parametrize(
    "step",
    [
        too_many_links,
        no_log,
        bad_url,
        bad_key,
        no_room_for_the_recording,
        somebody_serves_the_socket,
        killed_before_it_is_ready,
        never_ready,
        pytest.param(no_group, marks=needs_groups),
        no_record,
        given_up,
    ],
    ids=lambda step: step.__name__,
)
async def test_a_start_that_fails_leaves_nothing(here: Place, step: Callable[[Stage], Any]) -> None:
    async with stage(here, ports=3, port_rest_s=0.0) as one:
        await step(one)
        assert one.nothing_is_left()
        assert await one.list() == wire.Streams([], [])
        assert not [notice for notice in one.notices if isinstance(notice, wire.Ended)]
        stream_id, started = await one.start(nowhere())
        assert started.ports == [one.ports[0], one.ports[2]]
        await one.stop(stream_id)


async def test_a_host_that_closes_ends_what_runs_and_what_starts(here: Place) -> None:
    async with stage(here) as one:
        stream_id, _ = await one.start(nowhere())
        starting = asyncio.create_task(one.start(nowhere()))
        await until(lambda: len(one.here.workers()) == 2, DEADLINE_S, "both are spawned")
        await one.host.close()
        await asyncio.wait({starting}, timeout=DEADLINE_S)
        assert (await one.ended(stream_id)).reason == "user_stop"
        await until(one.nothing_is_left, DEADLINE_S, "nothing is left")
        starting.exception()


async def test_a_worker_of_a_host_that_was_killed_is_ended_by_the_next(here: Place) -> None:
    async with stage(here) as one:
        stream_id, _ = await one.start(nowhere())
        heir = Host(one.settings, lambda notice: None)
        with pytest.raises(NotFound):
            await heir.handle(wire.Stop(stream_id))
        await until(one.nothing_is_left, DEADLINE_S, "it has ended")


# What nobody else may see.


async def test_the_worker_is_spawned_with_the_line_of_production(here: Place) -> None:
    async with stage(here) as one:
        stream_id, started = await one.start(nowhere())
        found = Path(f"/proc/{started.pid}/cmdline").read_bytes().decode().split("\0")[:-1]
        assert found == process.argv(
            stream_id,
            started.ports,
            here.run / f"{stream_id}.sock",
            one.settings.host.bind,
            one.settings.worker,
        )


async def test_secrets_are_where_they_belong_and_nowhere_else(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRATA_ADMIN_PASSWORD", "canary-password")
    monkeypatch.setenv("STRATA_DATABASE__URL", "postgresql+psycopg://me:canary-database@/x")
    monkeypatch.setenv("LC_ALL", "C")
    async with stage(here) as one:
        stream_id, started = await one.start(nowhere())
        # Wait until the forward has been tried: what it says of that is in the log, too.
        await until(
            lambda: any(
                isinstance(notice, wire.WorkerSaid)
                and isinstance(notice.event, worker_wire.Forward)
                for notice in one.notices
            ),
            DEADLINE_S,
            "the forward is told of",
        )
        seen = {
            name: Path(f"/proc/{started.pid}/{name}").read_bytes()
            for name in ("cmdline", "environ")
        }
        environment = seen["environ"].split(b"\0")
        assert not [each for each in environment if each.startswith((b"STRATA_", b"LC_"))]
        async with await ControlClient.connect(here.run / f"{stream_id}.sock") as client:
            await client.event("ready")
            seen["control socket"] = repr(client.events).encode()
        seen["notices"] = repr(one.notices).encode()
        await one.stop(stream_id)
        seen["log"] = (one.settings.log_dir / f"{stream_id}.log").read_bytes()
    assert seen["log"]
    assert not [name for name, content in seen.items() if b"canary" in content]
