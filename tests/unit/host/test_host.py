"""What a host decides; its workers are processes of a few lines (``fake_worker``)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Self

import msgspec
import pytest

from strata import ids, settings
from strata.errors import (
    BadUrl,
    Conflict,
    HostError,
    NoCapacity,
    NotFound,
    PortTaken,
    StrataError,
)
from strata.host import health, limits, process, restarts
from strata.host import host as host_module
from strata.host.host import Host, runtime_dir
from strata.settings import Settings
from strata.wire import host as wire
from strata.wire import worker as worker_wire
from support import fake_worker
from support.children import until
from support.control import Place, place
from unit.host.spawned import Spawned

DEADLINE_S = 20.0


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(restarts, "FIRST_DELAY_S", 0.01)
    with place() as one:
        yield one


class Stage:
    """A host whose workers behave as ``modes`` tells, one after the other."""

    def __init__(
        self,
        here: Place,
        monkeypatch: pytest.MonkeyPatch,
        sections: Mapping[str, object] = MappingProxyType({}),
        **host: object,
    ) -> None:
        self.here = here
        self.modes = ["obedient"]
        self.notices: list[wire.Notice] = []
        self.ports_tried: list[tuple[int, ...]] = []
        self.settings = settings.load(
            data_dir=here.data,
            host={"runtime_dir": here.run, "port_range": "15000-15007", **host},
            **{"limits": {"enforce": False}, **sections},
        )
        settings.make_folders(self.settings)
        self.host = Host(self.settings, self.notices.append)
        self.spawned = Spawned(monkeypatch)
        monkeypatch.setattr(process, "argv", self._argv)

    def _argv(
        self, stream_id: str, ports: Sequence[int], path: Path, *_: object, **more: object
    ) -> list[str]:
        mode = self.modes.pop(0) if len(self.modes) > 1 else self.modes[0]
        self.ports_tried.append(tuple(ports))
        listed = ",".join(map(str, ports))
        return [sys.executable, "-I", fake_worker.__file__, mode, str(path), stream_id, listed]

    async def __aenter__(self) -> Self:
        await self.host.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
        self.spawned.kill()

    async def heir(self) -> None:
        """The next host on the same data."""
        await self.host.leave()
        self.notices.clear()
        self.host = Host(self.settings, self.notices.append)
        await self.host.open()

    async def start(
        self, stream_id: str = "str_1", links: int = 2, forwards: Sequence[str] = ()
    ) -> wire.Started:
        request = wire.Start(stream_id, "a-psk-of-the-tests", list(forwards), links)
        async with asyncio.timeout(DEADLINE_S):
            reply = await self.host.handle(request)
        assert isinstance(reply, wire.Started)
        return reply

    async def stop(self, stream_id: str = "str_1") -> wire.Stopped:
        async with asyncio.timeout(DEADLINE_S):
            reply = await self.host.handle(wire.Stop(stream_id))
        assert isinstance(reply, wire.Stopped)
        return reply

    async def list(self) -> wire.Streams:
        """What runs and what has ended; how full the machine is, is nobody's to foresee."""
        reply = await self.host.handle(wire.List())
        assert isinstance(reply, wire.Streams)
        return msgspec.structs.replace(reply, load=None)

    def ends(self) -> list[wire.Ended]:
        return [notice for notice in self.notices if isinstance(notice, wire.Ended)]

    def restarts(self) -> list[wire.Restarting]:
        return [notice for notice in self.notices if isinstance(notice, wire.Restarting)]

    def loads(self) -> list[wire.Load]:
        return [notice for notice in self.notices if isinstance(notice, wire.Load)]

    async def close(self) -> None:
        async with asyncio.timeout(DEADLINE_S):
            await self.host.close()

    def is_empty(self) -> bool:
        return not self.here.processes() and not self.here.sockets()


@pytest.fixture
async def stage(here: Place, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    async with Stage(here, monkeypatch) as one:
        yield one


async def test_a_stream_from_start_to_stop(stage: Stage) -> None:
    started = await stage.start()
    assert started.ports == [15000, 15002]
    assert started.pid in stage.here.processes()
    assert stage.here.sockets() == ["str_1.sock"]
    [snapshot] = (await stage.list()).streams
    assert (snapshot.stream_id, snapshot.ports) == ("str_1", [15000, 15002])
    assert snapshot.pid == started.pid
    assert await stage.stop() == wire.Stopped("user_stop", "stopped on request")
    assert stage.is_empty()
    ended = wire.Ended("str_1", "user_stop", "stopped on request")
    assert stage.ends() == [ended]
    assert await stage.list() == wire.Streams([], [ended])
    assert (stage.settings.log_dir / "str_1.log").exists()


async def test_what_a_worker_says_is_handed_on_with_its_name(stage: Stage) -> None:
    started = await stage.start()
    ready = worker_wire.Ready([15000, 15002], "str_1", started.pid, "0")
    assert stage.notices[0] == wire.WorkerSaid("str_1", ready)


async def test_streams_have_their_own_ports(stage: Stage) -> None:
    first, second = await asyncio.gather(stage.start("str_1"), stage.start("str_2"))
    assert (first.ports, second.ports) == ([15000, 15002], [15001, 15003])
    await stage.stop("str_1")
    assert [each.stream_id for each in (await stage.list()).streams] == ["str_2"]


async def test_a_freed_port_rests(stage: Stage) -> None:
    await stage.start("str_1")
    await stage.stop("str_1")
    assert (await stage.start("str_2")).ports == [15001, 15003]


async def test_a_stream_runs_once(stage: Stage) -> None:
    await stage.start()
    with pytest.raises(Conflict, match="str_1 runs already"):
        await stage.start()
    assert len((await stage.list()).streams) == 1


async def test_a_stream_that_nobody_runs_cannot_be_stopped(stage: Stage) -> None:
    with pytest.raises(NotFound, match="str_9 does not run on this host"):
        await stage.stop("str_9")


async def test_no_ports_left_says_what_to_do(stage: Stage) -> None:
    await stage.start("str_1", links=4)
    await stage.start("str_2", links=4)
    with pytest.raises(NoCapacity, match=r"no 2 ports of 15000-15007 .* rests 60 s\); widen"):
        await stage.start("str_3")
    assert len((await stage.list()).streams) == 2


async def test_a_taken_port_is_left_and_another_pair_tried(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.modes = ["exit:3:strata-receiver: error: UDP port 15002 is held", "obedient"]
    started = await stage.start()
    assert started.ports == [15001, 15003]
    assert stage.ports_tried == [(15000, 15002), (15001, 15003)]
    assert "UDP port 15002 is held" in caplog.text
    assert not stage.ends()


async def test_ports_that_are_all_taken_are_told(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(here, monkeypatch, port_attempts=2)
    stage.modes = ["exit:3:strata-receiver: error: UDP port 1 is held"]
    with pytest.raises(PortTaken, match="UDP port 1 is held"):
        await stage.start()
    assert stage.ports_tried == [(15000, 15002), (15001, 15003)]
    assert stage.is_empty()
    assert not (await stage.list()).streams


@pytest.mark.parametrize(
    "mode", ["exit:2:bad", "exit:4:missing", "exit:70:broken", "exit:0:", "silent"]
)
async def test_a_start_that_fails_leaves_nothing_and_the_next_one_works(
    here: Place, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    timeout_s = 0.3 if mode == "silent" else 15.0
    stage = Stage(
        here, monkeypatch, port_range="15000-15002", port_rest_s=0.0, ready_timeout_s=timeout_s
    )
    stage.modes = [mode]
    with pytest.raises(StrataError):
        await stage.start()
    assert stage.is_empty()
    assert await stage.list() == wire.Streams([], [])
    assert not stage.ends()
    patient = {"host": stage.settings.host.model_copy(update={"ready_timeout_s": 15.0})}
    stage.host._settings = stage.settings.model_copy(update=patient)
    stage.modes = ["obedient"]
    assert (await stage.start()).ports == [15000, 15002]
    await stage.close()


async def test_a_worker_that_crashes_for_good_frees_the_ports_and_is_told(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Stage(here, monkeypatch, port_range="15000-15002", port_rest_s=0.0) as stage:
        stage.modes = ["obedient", "exit:70:strata-receiver: error: broken"]
        started = await stage.start("str_1")
        os.kill(started.pid, signal.SIGKILL)
        await until(stage.ends, DEADLINE_S, "the end is told")
        [ended] = stage.ends()
        assert (ended.stream_id, ended.reason) == ("str_1", "worker_crash")
        assert (await stage.list()).ended == [ended]
        assert stage.is_empty()
        stage.modes = ["obedient"]
        assert (await stage.start("str_2")).ports == [15000, 15002]


async def test_a_worker_that_crashes_is_started_again_on_its_ports(stage: Stage) -> None:
    started = await stage.start("str_1")
    os.kill(started.pid, signal.SIGKILL)
    await until(lambda: len(stage.ports_tried) == 2, DEADLINE_S, "the next one is started")
    other = await stage.start("str_2")
    assert stage.ports_tried[:2] == [(15000, 15002)] * 2
    assert other.ports == [15001, 15003]
    assert not stage.ends()
    assert {each.stream_id for each in (await stage.list()).streams} == {"str_1", "str_2"}


async def test_ends_are_kept_for_a_control_plane_that_was_away_but_not_for_ever(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_module, "ENDED_KEPT", 2)
    stage = Stage(here, monkeypatch, port_rest_s=0.0)
    for name in ("str_1", "str_2", "str_3"):
        await stage.start(name)
        await stage.stop(name)
    assert [each.stream_id for each in (await stage.list()).ended] == ["str_2", "str_3"]


async def test_closing_stops_all(stage: Stage) -> None:
    await stage.start("str_1")
    await stage.start("str_2")
    await stage.close()
    assert sorted(each.stream_id for each in stage.ends()) == ["str_1", "str_2"]
    assert {each.reason for each in stage.ends()} == {"user_stop"}
    assert stage.is_empty()


async def test_closing_ends_a_start_that_is_under_way(stage: Stage) -> None:
    stage.modes = ["silent"]
    start = asyncio.create_task(stage.start())
    await until(stage.here.processes, DEADLINE_S, "it is spawned")
    await stage.close()
    with pytest.raises(Conflict, match="was stopped while it was starting"):
        await start
    assert stage.is_empty()


async def test_closing_ends_one_that_is_started_meanwhile(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(here, monkeypatch, stop_timeout_s=0.5)
    stage.modes = ["deaf", "obedient"]
    await stage.start("str_1")
    closing = asyncio.create_task(stage.close())
    await asyncio.sleep(0)
    with contextlib.suppress(Conflict):  # closed before it was ready
        await stage.start("str_2")
    await closing
    assert stage.is_empty()


async def test_a_worker_of_an_earlier_host_is_ended(stage: Stage) -> None:
    await stage.start()
    heir = Host(stage.settings, stage.notices.append)
    with pytest.raises(NotFound):
        await heir.handle(wire.Stop("str_1"))
    await until(stage.is_empty, DEADLINE_S, "it has ended")


async def test_a_socket_of_a_dead_worker_is_removed(stage: Stage) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(stage.here.run / "str_1.sock"))
    with pytest.raises(NotFound):
        await stage.stop()
    assert not stage.here.sockets()


async def test_a_worker_of_an_earlier_host_that_does_not_end_is_told(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(here, monkeypatch, stop_timeout_s=0.3)
    stage.modes = ["deaf"]
    await stage.start()
    heir = Host(stage.settings, stage.notices.append)
    with pytest.raises(HostError, match="does not end; end it by hand"):
        await heir.handle(wire.Stop("str_1"))
    await stage.close()


# Host after host.


async def test_the_next_host_takes_over_what_is_on_the_air(stage: Stage) -> None:
    started = await stage.start("str_1")
    await stage.heir()
    await until(lambda: stage.notices, DEADLINE_S, "its worker greets")
    [snapshot] = (await stage.list()).streams
    assert (snapshot.stream_id, snapshot.ports) == ("str_1", started.ports)
    assert (snapshot.pid, snapshot.needs_secrets) == (started.pid, True)
    assert (await stage.start("str_2")).ports == [15001, 15003]
    with pytest.raises(Conflict, match="str_1 runs already"):
        await stage.start("str_1")
    assert await stage.stop("str_1") == wire.Stopped("user_stop", "stopped on request")
    assert stage.here.sockets() == ["str_2.sock"]


async def test_secrets_are_entrusted_to_the_next_host(stage: Stage) -> None:
    await stage.start("str_1")
    await stage.heir()
    assert await stage.host.handle(wire.Entrust("str_1", "psk", [])) == wire.Done()
    [snapshot] = (await stage.list()).streams
    assert not snapshot.needs_secrets
    with pytest.raises(NotFound, match="str_9 does not run on this host"):
        await stage.host.handle(wire.Entrust("str_9", "psk", []))


async def test_a_stream_whose_worker_died_meanwhile_keeps_its_ports(stage: Stage) -> None:
    started = await stage.start("str_1")
    await stage.host.leave()
    stage.spawned.kill()
    await stage.heir()
    [snapshot] = (await stage.list()).streams
    assert (snapshot.pid, snapshot.ports) == (0, started.ports)
    assert (await stage.start("str_2")).ports == [15001, 15003]
    await stage.host.handle(wire.Entrust("str_1", "psk", []))
    await until(lambda: len(stage.ports_tried) == 3, DEADLINE_S, "the next one is started")
    assert stage.ports_tried[-1] == tuple(started.ports)


# What the machine has.


async def test_a_port_that_a_stranger_holds_is_not_tried_by_the_next_stream(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Stage(here, monkeypatch, port_rest_s=0.0) as stage:
        stage.modes = ["exit:3:strata-receiver: error: UDP port 15002 is held", "obedient"]
        await stage.start("str_1")
        await stage.stop("str_1")
        assert (await stage.start("str_2")).ports == [15001, 15003]
        assert (15000, 15002) not in stage.ports_tried[1:]


async def test_a_stream_that_does_not_fit_is_refused_and_leaves_nothing(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    sections = {"admission": {"reserve_egress_kbps": 8000.0, "reserve_cpu_cores": 0.0}}
    async with Stage(here, monkeypatch, sections, egress_mbps=20.0) as stage:
        forward = "rtmp://127.0.0.1/live/key"
        await stage.start("str_1", forwards=[forward])
        with pytest.raises(NoCapacity, match=r"24\.0 Mbps would go out"):
            await stage.start("str_2", forwards=[forward, forward])
        assert len(stage.ports_tried) == 1
        # What goes to the disk does not go out.
        media = stage.settings.media_dir
        await stage.start("str_2", forwards=[forward, f"file://{media}/x.ts"])
        assert stage.host.load().used_egress_kbps == 16_000.0
        await stage.heir()
        assert stage.host.load().used_egress_kbps == 16_000.0  # as it was at their start


async def test_what_changes_a_stream_is_carried_out_by_its_worker(stage: Stage) -> None:
    await stage.start("str_1", forwards=["rtmp://one/live/key"])
    added = await stage.host.handle(wire.AddForward("str_1", "rtmp://two/live/key"))
    assert added == wire.Changed("fwd_2")
    replaced = wire.ReplaceForward("str_1", "fwd_1", "rtmp://three/live/key")
    assert await stage.host.handle(replaced) == wire.Changed("fwd_1", overlap=True)
    removed = wire.RemoveForward("str_1", "fwd_2")
    assert await stage.host.handle(removed) == wire.Changed("fwd_2")
    assert await stage.host.handle(wire.Configure("str_1", slate="off")) == wire.Done()
    [snapshot] = (await stage.list()).streams
    assert (snapshot.forward_ids, snapshot.slate) == (["fwd_1"], "off")


@pytest.mark.parametrize(
    "order",
    [
        wire.AddForward("str_9", "rtmp://one/live/key"),
        wire.ReplaceForward("str_9", "fwd_1", "rtmp://one/live/key"),
        wire.RemoveForward("str_9", "fwd_1"),
        wire.Configure("str_9"),
    ],
    ids=lambda order: type(order).__name__,
)
async def test_a_stream_that_nobody_runs_cannot_be_changed(stage: Stage, order: wire.Order) -> None:
    with pytest.raises(NotFound, match="str_9 does not run on this host"):
        await stage.host.handle(order)


async def test_a_url_that_cannot_be_is_refused_before_the_worker_is_asked(stage: Stage) -> None:
    await stage.start("str_1")
    for order in (
        wire.AddForward("str_1", "gopher://one/canary"),
        wire.ReplaceForward("str_1", "fwd_1", "gopher://one/canary"),
    ):
        with pytest.raises(BadUrl) as raised:
            await stage.host.handle(order)
        assert "canary" not in raised.value.message
    assert "fake did" not in (stage.settings.log_dir / "str_1.log").read_text()


async def test_a_forward_that_does_not_fit_is_refused_and_leaves_nothing(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    sections = {"admission": {"reserve_egress_kbps": 8000.0, "min_disk_mb": 1e12}}
    async with Stage(here, monkeypatch, sections, egress_mbps=20.0) as stage:
        await stage.start("str_1", forwards=["rtmp://one/live/key"])
        await stage.host.handle(wire.AddForward("str_1", "rtmp://two/live/key"))
        with pytest.raises(NoCapacity, match=r"another forward: 24\.0 Mbps would go out"):
            await stage.host.handle(wire.AddForward("str_1", "rtmp://three/live/key"))
        with pytest.raises(NoCapacity, match=r"another forward: .* of disk are free"):
            await stage.host.handle(wire.AddForward("str_1", "file:///media/x.ts"))
        assert stage.host.load().used_egress_kbps == 16_000.0
        await stage.host.handle(wire.RemoveForward("str_1", "fwd_1"))
        added = await stage.host.handle(wire.AddForward("str_1", "rtmp://three/live/key"))
        assert added == wire.Changed("fwd_3")
        await stage.heir()
        assert stage.host.load().used_egress_kbps == 16_000.0  # as it was left


async def test_a_recording_needs_room_on_the_disk(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Stage(here, monkeypatch, {"admission": {"min_disk_mb": 1e12}}) as stage:
        with pytest.raises(NoCapacity, match="of disk are free"):
            await stage.start("str_1", forwards=[f"file://{stage.settings.media_dir}/x.ts"])
        await stage.start("str_1")


async def test_workers_on_their_way_wait_for_each_other(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Stage(here, monkeypatch, starting_at_once=1) as stage:
        stage.modes = ["silent", "obedient"]
        first = asyncio.create_task(stage.start("str_1"))
        await until(lambda: stage.ports_tried, DEADLINE_S, "it is on its way")
        second = asyncio.create_task(stage.start("str_2"))
        await asyncio.sleep(0.05)
        assert len(stage.ports_tried) == 1
        await stage.stop("str_1")
        await second
        with pytest.raises(Conflict):
            await first


async def test_how_full_it_is_is_told_with_each_look(
    here: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(health, "CHECK_S", 0.01)
    async with Stage(here, monkeypatch) as stage:
        await stage.start()
        stage.notices.clear()
        await until(lambda: len(stage.loads()) >= 2, DEADLINE_S, "it is told again and again")
        load = stage.loads()[-1]
        assert (load.streams, load.free_ports, load.limits) == (1, 6, "nothing")
        assert (load.used_cpu_cores, load.used_memory_mb) == (0.1, 64.0)
        assert "workers are not limited: limits.enforce is false" in load.warnings
        assert "workers are not limited: limits.enforce is false" in caplog.text
        assert load.warnings[1].startswith("what a worker sends is limited by its own pacing")


async def test_one_streams_trouble_does_not_end_the_care_for_the_others(
    here: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(health, "CHECK_S", 0.01)
    async with Stage(here, monkeypatch, silence_timeout_s=0.2) as stage:
        await stage.start("str_1")
        stage.host._streams["str_1"].look = lambda: 1 / 0  # type: ignore[method-assign]
        await stage.start("str_2")
        await until(lambda: stage.restarts(), DEADLINE_S, "the silence of the other is noticed")
        assert stage.restarts()[0].stream_id == "str_2"
        assert "str_1 could not be looked at" in caplog.text


class Classifying(limits.NoLimits):
    """Groups by which packets can be told apart."""

    classifies = True

    async def make(self, name: str, allowance: limits.Allowance) -> limits.Group:
        group = limits.NoGroup()
        group.classified_by = limits.Place(f"strata-x/{name}", 2)
        return group


def classify(here: Place, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With an ``nft`` that writes down what it is given."""
    script, given = here.folder / "bin" / "nft", here.folder / "given"
    script.parent.mkdir(parents=True)
    script.write_text(f"#!/bin/sh\ncat >>{given}\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(limits, "best", lambda name, enforce: Classifying(""))
    return given


async def test_what_a_worker_may_send_is_a_rule_of_the_kernel(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = classify(here, monkeypatch)
    async with Stage(here, monkeypatch) as stage:
        await stage.start()
        assert 'level 2 "strata-x/str_1" limit rate over' in given.read_text()
        assert stage.host.load().warnings == []


async def test_the_rule_of_the_kernel_follows_what_a_worker_may_send(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = classify(here, monkeypatch)
    async with Stage(here, monkeypatch) as stage:
        await stage.start()
        assert "limit rate over 2938 kbytes/second" in given.read_text()
        given.write_text("")
        await stage.host.handle(wire.Configure("str_1", max_egress_kbps=40_000))
        assert "limit rate over 5812 kbytes/second" in given.read_text()


async def test_an_operator_can_do_without_rules_of_the_kernel(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = classify(here, monkeypatch)
    async with Stage(
        here, monkeypatch, {"limits": {"kernel_egress": False, "kernel_nonces": False}}
    ) as stage:
        await stage.start()
    assert not given.exists()


def load(folder: Path | None) -> Settings:
    return settings.load(host={"runtime_dir": folder})


def test_the_folder_for_sockets_is_private(here: Place) -> None:
    assert runtime_dir(load(here.run / "deep")) == here.run / "deep"
    assert stat.S_IMODE((here.run / "deep").stat().st_mode) == 0o700
    assert runtime_dir(load(here.run / "deep")) == here.run / "deep"


def test_the_folder_for_sockets_does_not_depend_on_who_looks(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(here.folder)
    assert runtime_dir(load(Path("run"))) == here.run


@pytest.mark.parametrize("user", [0, 1000])
def test_where_sockets_lie_by_default(
    here: Place, monkeypatch: pytest.MonkeyPatch, user: int
) -> None:
    made: list[Path] = []
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(here.run))
    monkeypatch.setattr(Path, "mkdir", lambda self, **_: made.append(self))
    monkeypatch.setattr(Path, "chmod", lambda self, mode: None)
    wanted = Path("/run/strata") if user == 0 else here.run / "strata"
    assert runtime_dir(load(None)) == wanted
    assert made == [wanted]


def test_no_place_for_sockets_says_what_to_set(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here.folder / "file").touch()
    with pytest.raises(HostError, match=r"Not a directory; set XDG_RUNTIME_DIR or host.runtime"):
        runtime_dir(load(here.folder / "file" / "run"))


def test_the_path_of_every_socket_fits_or_the_folder_is_refused(here: Place) -> None:
    def folder(size: int) -> Path:
        return here.folder / ("x" * (size - len(os.fsencode(here.folder)) - 1))

    longest = runtime_dir(load(folder(host_module.RUNTIME_DIR_BYTES_MAX)))
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(longest / f"{ids.new('str')}.sock"))
    longer = folder(host_module.RUNTIME_DIR_BYTES_MAX + 1)
    with pytest.raises(HostError, match=r"set host.runtime_dir to a shorter one"):
        runtime_dir(load(longer))
    assert not longer.exists()
