"""The life of a stream on its host; its workers are processes of a few lines."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from strata.errors import Conflict, HostError, PortTaken
from strata.host import process, restarts
from strata.host.admission import NOTHING, Cost
from strata.host.records import Record, Records
from strata.host.stream import TRANSITIONS, State
from strata.host.supervised import REQUESTED, Outcome
from strata.wire import host as wire
from strata.wire import worker as worker_wire
from support.children import until
from support.control import halt
from unit.host.staged import DEADLINE_S, PORTS, PSK, SECRETS, URLS, Stage, number_of, staged

STATS = worker_wire.Stats(
    *(5000.0, 4900.0, 1000.0, 1.0, 20.0, 60.0),
    *(worker_wire.Media(), worker_wire.Flow(), [], []),
)
SILENT = msgspec.structs.replace(STATS, bitrate_in_kbps=0.0)
ON_AIR = worker_wire.Forward("fwd_1", "rtmp", "live", "rtmp://127.0.0.1/live/****")
REFUSED = worker_wire.Forward("fwd_1", "rtmp", "retrying", "rtmp://x/****", message="refused")


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    async with staged(monkeypatch) as one:
        yield one


def test_the_table_of_transitions_is_whole() -> None:
    states = set(get_args(State))
    assert set(TRANSITIONS) == states
    assert {each for row in TRANSITIONS.values() for each in row} == states - {"starting"}
    assert not TRANSITIONS["over"]
    assert all("over" in TRANSITIONS[state] for state in states - {"over"})


async def test_a_step_that_the_table_does_not_know_is_a_defect(stage: Stage) -> None:
    stage.stream._advance("over")
    with pytest.raises(AssertionError, match="str_1: over -> running"):
        stage.stream._advance("running")


# Its beginning and its end.


async def test_from_start_to_stop(stage: Stage) -> None:
    assert stage.stream.snapshot() == wire.Snapshot(
        "str_1", PORTS, 0, [], [], needs_secrets=True, max_egress_kbps=20_000
    )
    await stage.start()
    assert stage.stream.state == "running"
    snapshot = stage.stream.snapshot()
    assert (snapshot.ports, snapshot.pid) == (PORTS, stage.stream.pid)
    assert snapshot.events[0] == worker_wire.Ready(PORTS, "str_1", snapshot.pid, "0")
    assert not snapshot.needs_secrets
    assert stage.secrets_given() == [number_of(SECRETS)]
    assert await stage.stop() == REQUESTED
    assert stage.overs == [REQUESTED]
    assert stage.nothing_is_left()
    assert await stage.stop() == REQUESTED


async def test_its_record_tells_which_process_its_worker_is_and_vanishes_with_it(
    stage: Stage,
) -> None:
    assert not stage.records.all()
    await stage.start()
    record = stage.record
    assert process.Identity.of(stage.stream.pid) == process.Identity(
        record.pid, record.started, record.boot
    )
    assert (record.stream_id, record.ports, record.had_media) == ("str_1", PORTS, False)
    await stage.stop()
    assert not stage.records.all()


async def test_its_record_is_there_before_its_worker_is(stage: Stage) -> None:
    stage.modes = ["silent"]
    seen: list[Record] = []
    spawn = stage.machine.limits.group.enter  # type: ignore[attr-defined]

    def enter(command: list[str]) -> list[str]:
        seen.append(stage.record)
        return list(spawn(command))

    stage.limits.group.enter = enter  # type: ignore[method-assign]
    start = asyncio.create_task(stage.start())
    await until(stage.here.processes, DEADLINE_S, "it is spawned")
    assert seen == [Record("str_1", PORTS, forward_ids=["fwd_1"], last_forward=1)]
    assert stage.record.pid == stage.stream.pid
    start.cancel()
    await asyncio.wait({start})
    assert stage.nothing_is_left()


async def test_a_start_that_fails_is_the_end_of_it(stage: Stage) -> None:
    stage.modes = ["exit:3:strata-receiver: error: UDP port 15002 is held"]
    with pytest.raises(PortTaken, match="UDP port 15002 is held"):
        await stage.start()
    assert stage.stream.state == "over"
    assert stage.nothing_is_left()
    assert not stage.overs  # start() has told
    assert await stage.stop() == REQUESTED


async def test_a_stop_while_it_starts_ends_both(stage: Stage) -> None:
    stage.modes = ["silent"]
    start = asyncio.create_task(stage.start())
    await until(stage.secrets_given, DEADLINE_S, "it runs")
    assert await stage.stop() == REQUESTED
    with pytest.raises(Conflict, match="str_1 was stopped while it was starting"):
        await start
    assert stage.nothing_is_left()
    assert not stage.overs


async def test_a_stop_while_it_waits_for_its_turn_spawns_nothing(stage: Stage) -> None:
    await stage.machine.starting.acquire()
    start = asyncio.create_task(stage.start())
    stop = asyncio.create_task(stage.stop())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not start.done()
    stage.machine.starting.release()
    with pytest.raises(Conflict, match="was stopped while it was starting"):
        await start
    assert await stop == REQUESTED
    assert not stage.ports_given
    assert stage.nothing_is_left()


async def test_a_stop_between_ready_and_running_ends_both(stage: Stage) -> None:
    stage.limits.group.may_slow_down.clear()
    start = asyncio.create_task(stage.start())
    await until(lambda: stage.told(wire.WorkerSaid), DEADLINE_S, "it is ready")
    stop = asyncio.create_task(stage.stop())
    await until(lambda: not stage.here.processes(), DEADLINE_S, "its worker has ended")
    stage.limits.group.may_slow_down.set()
    await asyncio.wait({start, stop}, timeout=0.5)
    try:
        assert stop.done()
        assert isinstance(start.exception(), Conflict)
        assert stage.nothing_is_left()
    finally:
        stop.cancel()
        await asyncio.gather(start, stop, return_exceptions=True)


async def test_a_worker_that_cannot_be_written_down_is_not_left_running(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Records.write

    def refuse(records: Records, record: Record) -> None:
        if record.pid:
            raise OSError(28, "No space left on device")
        write(records, record)

    monkeypatch.setattr(Records, "write", refuse)
    with pytest.raises(HostError, match="cannot be written down: No space left on device"):
        await stage.start()
    assert not stage.spawned.runs()
    assert stage.nothing_is_left()


async def test_a_disk_that_refuses_the_record_refuses_the_stream(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    (stage.here.data / "workers" / "str_1.new").mkdir()
    with pytest.raises(HostError, match=r"cannot be written down: Is a directory; .*\(df -h\)"):
        await stage.start()
    assert not stage.here.processes()
    assert stage.stream.state == "over"


@pytest.mark.parametrize(
    ("mode", "reason"), [("crash:0:", "eos"), ("crash:10:", "no_input"), ("crash:11:", "no_input")]
)
async def test_a_worker_that_ends_as_it_was_told_to_has_no_next_one(
    stage: Stage, mode: str, reason: str
) -> None:
    stage.modes = [mode]
    await stage.start()
    os.kill(stage.stream.pid, signal.SIGUSR1)
    await stage.becomes("over")
    assert [each.reason for each in stage.overs] == [reason]
    assert not stage.told(wire.Restarting)
    assert stage.nothing_is_left()


# Worker after worker.


async def test_a_worker_that_crashes_has_a_next_one_with_the_same_ports_and_secrets(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    await stage.start()
    first = stage.stream.pid
    await stage.crash()
    await stage.becomes("running")
    assert stage.stream.pid != first
    assert stage.ports_given == [PORTS, PORTS]
    assert stage.secrets_given() == [number_of(SECRETS)] * 2
    assert stage.record.pid == stage.stream.pid
    [told] = stage.told(wire.Restarting)
    assert told.stream_id == "str_1"
    assert told.detail.startswith("the worker ended by signal SIGKILL; ")
    assert stage.alarms() == [["restarting"], []]
    assert "str_1: the next worker comes in 0.01 s" in caplog.text
    assert not stage.overs
    assert await stage.stop() == REQUESTED
    assert stage.nothing_is_left()


async def test_while_there_is_no_worker_the_snapshot_says_so(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restarts, "FIRST_DELAY_S", 60.0)
    await stage.start()
    await stage.crash()
    await until(stage.alarms, DEADLINE_S, "it is told")
    snapshot = stage.stream.snapshot()
    assert (snapshot.pid, snapshot.events, snapshot.ports) == (0, [], PORTS)
    assert [each.kind for each in snapshot.alarms] == ["restarting"]
    stage.stream.look()  # there is nothing to look at


async def test_a_third_death_within_a_minute_is_the_end(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    await stage.start()
    for _ in range(2):
        await stage.crash()
        await stage.becomes("running")
    await stage.crash()
    await stage.becomes("over")
    assert len(stage.ports_given) == 3
    [outcome] = stage.overs
    assert outcome.reason == "worker_crash"
    assert outcome.detail.startswith("the worker ended by signal SIGKILL; ")
    assert "str_1: its worker died 3 times in 60 s" in caplog.text
    assert stage.nothing_is_left()


async def test_deaths_that_are_far_apart_go_on(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restarts, "WITHIN_S", 0.0)
    await stage.start()
    for _ in range(4):
        await stage.crash()
        await stage.becomes("running")
    assert not stage.overs


async def test_a_next_worker_that_does_not_start_is_a_death_too(stage: Stage) -> None:
    stage.modes = ["obedient", "exit:3:strata-receiver: error: the port is held", "obedient"]
    await stage.start()
    await stage.crash()
    await stage.becomes("running")
    assert [each.detail for each in stage.told(wire.Restarting)][1:] == [
        "no new worker could start: the port is held"
    ]
    await stage.crash()
    await stage.becomes("over")
    assert len(stage.ports_given) == 3


async def test_when_none_starts_the_end_says_why(stage: Stage) -> None:
    stage.modes = ["obedient", "exit:70:strata-receiver: error: no more memory"]
    await stage.start()
    await stage.crash()
    await stage.becomes("over")
    assert stage.overs == [
        Outcome("worker_crash", "no new worker could start: no more memory"),
    ]
    assert stage.nothing_is_left()


async def test_a_stop_while_no_worker_is_there_is_done_at_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restarts, "FIRST_DELAY_S", 60.0)
    await stage.start()
    await stage.crash()
    await stage.becomes("restarting")
    assert await stage.stop() == REQUESTED
    assert stage.overs == [REQUESTED]
    assert stage.nothing_is_left()


async def test_a_stop_while_the_next_worker_is_on_its_way_ends_that(stage: Stage) -> None:
    stage.modes = ["obedient", "silent"]
    await stage.start()
    await stage.crash()
    await until(lambda: len(stage.secrets_given()) == 2, DEADLINE_S, "the next one runs")
    first, second = await asyncio.gather(stage.stop(), stage.stop())
    assert first == second == REQUESTED
    assert stage.overs == [REQUESTED]
    assert stage.nothing_is_left()


async def test_a_stop_of_one_that_has_just_died_starts_no_other(stage: Stage) -> None:
    await stage.start()
    os.kill(stage.stream.pid, signal.SIGKILL)
    await stage.stop()
    assert len(stage.overs) == 1
    assert not stage.told(wire.Restarting)
    assert stage.nothing_is_left()


async def test_one_that_was_killed_for_want_of_memory_would_be_so_again(stage: Stage) -> None:
    await stage.start()
    stage.limits.group.killed = 1
    await stage.crash()
    await stage.becomes("over")
    [outcome] = stage.overs
    assert outcome.reason == "out_of_memory"
    assert not stage.told(wire.Restarting)


async def test_one_that_has_leaked_slowly_has_a_next_one(stage: Stage) -> None:
    await stage.start()
    stage.stream._started_at -= restarts.STEADY_S + 1.0
    stage.limits.group.killed = 1
    await stage.crash()
    await stage.becomes("running")
    assert len(stage.told(wire.Restarting)) == 1


async def test_what_is_known_here_is_newer_than_what_control_entrusts(stage: Stage) -> None:
    await stage.start()
    stage.stream.entrust("another-psk", ["rtmp://elsewhere/live/key", "file:///x.ts"])
    await stage.crash()
    await stage.becomes("running")
    assert stage.secrets_given() == [number_of(SECRETS)] * 2


# Host after host.


async def test_a_worker_that_is_left_goes_on_and_is_adopted(stage: Stage) -> None:
    await stage.start()
    pid = stage.stream.pid
    heir = await stage.heir()
    assert heir.state == "running"
    assert heir.pid == pid
    await until(lambda: len(heir.snapshot().events) == 3, DEADLINE_S, "it greets")
    snapshot = heir.snapshot()
    assert (snapshot.pid, snapshot.ports, snapshot.needs_secrets) == (pid, PORTS, True)
    assert stage.told(wire.WorkerSaid)
    assert stage.record.pid == pid
    assert await stage.stop() == REQUESTED
    assert stage.overs == [REQUESTED]
    stage.spawned.kill()
    assert stage.nothing_is_left()


async def test_one_that_crashes_after_its_adoption_waits_for_its_secrets(stage: Stage) -> None:
    await stage.start()
    heir = await stage.heir()
    await stage.crash()
    await until(stage.alarms, DEADLINE_S, "it is told")
    assert heir.snapshot().needs_secrets
    await asyncio.sleep(0.05)
    assert heir.state == "restarting"
    heir.entrust(PSK, URLS)
    await stage.becomes("running")
    assert stage.ports_given == [PORTS, PORTS]
    assert stage.secrets_given() == [number_of(SECRETS)] * 2
    assert not heir.snapshot().needs_secrets


async def test_one_that_died_while_nobody_looked_waits_for_its_secrets(stage: Stage) -> None:
    await stage.start()
    await stage.stream.leave()
    stage.spawned.kill()
    heir = await stage.heir()
    await until(stage.alarms, DEADLINE_S, "it is told")
    assert heir.state == "restarting"
    snapshot = heir.snapshot()
    assert (snapshot.pid, snapshot.needs_secrets) == (0, True)
    [told] = stage.told(wire.Restarting)
    assert told.detail.startswith("the worker ended while the host was away; it said nothing")
    heir.entrust(PSK, URLS)
    await stage.becomes("running")
    assert stage.ports_given == [PORTS, PORTS]
    assert stage.record.pid == heir.pid
    assert await stage.stop() == REQUESTED
    assert stage.nothing_is_left()


async def test_one_that_waits_for_its_secrets_can_be_stopped(stage: Stage) -> None:
    await stage.start()
    await stage.stream.leave()
    stage.spawned.kill()
    await stage.heir()
    await stage.becomes("restarting")
    assert await stage.stop() == REQUESTED
    assert stage.nothing_is_left()


@pytest.mark.parametrize(
    ("reason", "wanted"),
    [
        ("eos", Outcome("eos", "the worker was told to stop while the host was away")),
        ("no_input", Outcome("no_input", "no media came while the host was away")),
        ("orphaned", Outcome("no_input", "no media came while the host was away")),
    ],
)
async def test_one_that_ended_as_it_was_told_to_while_nobody_looked_is_over(
    stage: Stage, reason: str, wanted: Outcome
) -> None:
    await stage.start()
    await stage.stream.leave()
    stage.spawned.kill()
    stage.log.write_text(f"2026-01-31 INFO strata.worker: stopped: {reason}\n")
    await stage.heir()
    await stage.becomes("over")
    assert stage.overs == [wanted]
    assert stage.nothing_is_left()


async def test_one_that_the_kernel_killed_while_nobody_looked_is_over(stage: Stage) -> None:
    await stage.start()
    await stage.stream.leave()
    stage.spawned.kill()
    stage.limits.group.killed = 1
    await stage.heir()
    await stage.becomes("over")
    assert stage.overs[0].reason == "out_of_memory"


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"boot": "of yesterday"}, "the machine was started anew"),
        ({}, "the worker ended while the host was away; it said nothing"),
    ],
)
async def test_why_there_has_to_be_a_next_one_is_told(
    stage: Stage, changes: dict[str, str], detail: str
) -> None:
    await stage.start()
    await stage.stream.leave()
    stage.spawned.kill()
    stage.log.write_text("")
    await stage.heir(**changes)
    await until(stage.alarms, DEADLINE_S, "it is told")
    assert stage.told(wire.Restarting) == [wire.Restarting("str_1", detail)]


async def test_one_that_was_spawned_a_moment_before_the_host_was_killed_is_found(
    stage: Stage,
) -> None:
    await stage.start()
    pid = stage.stream.pid
    heir = await stage.heir(pid=0, started=0, boot="")
    assert (heir.state, heir.pid) == ("running", pid)
    assert stage.record.pid == pid


async def test_whoever_has_the_number_of_its_worker_now_is_left_alone(stage: Stage) -> None:
    await stage.start()
    pid = stage.stream.pid
    heir = await stage.heir(started=1)
    await stage.becomes("restarting")
    assert heir.pid == 0
    assert await stage.stop() == REQUESTED
    assert Path(f"/proc/{pid}/cmdline").read_bytes()


async def test_a_start_that_is_under_way_ends_when_the_host_leaves(stage: Stage) -> None:
    stage.modes = ["silent"]
    start = asyncio.create_task(stage.start())
    await until(stage.secrets_given, DEADLINE_S, "it runs")
    await stage.stream.leave()
    start.cancel()
    done, _ = await asyncio.wait({start}, timeout=0.5)
    start.cancel()
    await asyncio.gather(start, return_exceptions=True)
    assert done


# What a look at it finds.


async def test_a_worker_that_reports_nothing_is_killed_and_has_a_next_one(stage: Stage) -> None:
    await stage.start()
    first = stage.stream.pid
    stage.stream.look()
    assert not stage.alarms()
    await halt(first)
    stage.passes(heard_s=15.0)
    stage.stream.look()
    await until(lambda: stage.stream.pid != first, DEADLINE_S, "the next one is there")
    await stage.becomes("running")
    assert stage.alarms() == [["no_stats"], ["restarting"], []]
    [told] = stage.told(wire.Restarting)
    assert told.detail == "the worker has reported nothing for 15 s and was killed"
    stage.stream.look()  # the next one has just begun
    assert stage.stream.state == "running"


async def test_a_worker_that_reports_is_left_alone(stage: Stage) -> None:
    await stage.start()
    stage.passes(heard_s=15.0)
    stage.hear(SILENT)
    stage.stream.look()
    assert not stage.alarms()


async def test_a_stream_without_any_media_is_ended_and_says_what_to_check(stage: Stage) -> None:
    await stage.start()
    stage.passes(quiet_s=200.0)
    stage.stream.look()
    assert not stage.alarms()
    stage.passes(quiet_s=100.0)
    stage.stream.look()
    stage.stream.look()
    await stage.becomes("over")
    [outcome] = stage.overs
    assert outcome.reason == "no_input"
    assert outcome.detail.startswith("no media came at all in 300 s; check address, key")
    assert "stopped: no_input" in stage.log.read_text()  # its forwards closed as after a loss
    assert stage.nothing_is_left()


async def test_how_long_the_first_media_may_take_is_up_to_whoever_starts_it(stage: Stage) -> None:
    stage.stream = stage.new_stream(Record("str_1", PORTS, first_media_s=0.0))
    await stage.start()
    stage.passes(quiet_s=1e6)
    stage.stream.look()
    assert not stage.alarms()


async def test_a_stream_whose_media_ended_is_ended(stage: Stage) -> None:
    await stage.start()
    stage.hear(STATS)
    stage.passes(quiet_s=29.0)
    stage.stream.look()
    assert not stage.alarms()
    stage.passes(quiet_s=31.0)
    stage.hear(SILENT)
    stage.stream.look()
    await stage.becomes("over")
    [outcome] = stage.overs
    assert outcome.reason == "no_input"
    assert outcome.detail.startswith("no media came for 60 s, so the stream was ended")


async def test_a_stall_is_an_alarm_from_its_beginning(stage: Stage) -> None:
    await stage.start()
    stage.hear(worker_wire.Input("receiving", 0.0), worker_wire.Input("stalled", 5.0))
    stage.stream.look()
    [alarm] = stage.stream.snapshot().alarms
    assert alarm == wire.Alarm("stalled", "no media for 35 s; it ends after 60 s")


async def test_what_a_worker_says_of_its_waiting_counts_from_its_own_start(stage: Stage) -> None:
    await stage.start()
    stage.hear(worker_wire.Input("waiting", 301.0))
    stage.stream.look()
    await stage.becomes("over")
    assert stage.overs[0].detail.startswith("no media came at all in 301 s")


async def test_a_worker_that_comes_after_a_crash_does_not_begin_the_waiting_anew(
    stage: Stage,
) -> None:
    await stage.start()
    stage.hear(STATS)
    stage.passes(quiet_s=40.0)
    stage.hear(worker_wire.Input("waiting", 0.0))
    stage.stream.look()
    assert [each.kind for each in stage.stream.snapshot().alarms] == ["stalled"]


async def test_an_alarm_is_told_once_when_it_comes_and_once_when_it_goes(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    await stage.start()
    stage.hear(REFUSED)
    stage.stream.look()
    stage.stream.look()
    stage.hear(msgspec.structs.replace(REFUSED, message="still refused"))
    stage.stream.look()
    assert stage.told(wire.Alarms) == [
        wire.Alarms("str_1", [wire.Alarm("forward", "refused", "fwd_1")])
    ]
    assert stage.stream.snapshot().alarms[0].detail == "still refused"
    stage.hear(msgspec.structs.replace(REFUSED, forward="fwd_2"))
    stage.stream.look()
    assert stage.alarms() == [["forward"], ["forward", "forward"]]
    assert caplog.text.count("str_1: forward: ") == 2
    stage.hear(ON_AIR, msgspec.structs.replace(ON_AIR, forward="fwd_2"))
    stage.stream.look()
    stage.stream.look()
    assert stage.alarms() == [["forward"], ["forward", "forward"], []]


@pytest.mark.parametrize(("video", "wanted"), [("live", ["forward"]), ("none", [])])
async def test_a_forward_that_takes_nothing_is_an_alarm_if_it_is_given_anything(
    stage: Stage, video: Any, wanted: list[str]
) -> None:
    await stage.start()
    one = worker_wire.ForwardStats("fwd_1", "rtmp", "live", 0.0, 0, 0, 0, 60.0, 16.0)
    stage.hear(
        ON_AIR,
        worker_wire.Program(video, "live"),
        msgspec.structs.replace(STATS, forwards=[one]),
    )
    stage.stream.look()
    assert [each.kind for each in stage.stream.snapshot().alarms] == wanted


async def test_that_media_has_come_is_written_down_for_the_next_host(
    stage: Stage,
) -> None:
    await stage.start()
    stage.hear(SILENT)
    assert not stage.record.had_media
    stage.hear(STATS)
    assert stage.record.had_media
    assert stage.record.pid == stage.stream.pid
    heir = await stage.heir()
    assert heir._vitals.had_media


async def test_a_disk_that_refuses_while_it_is_on_the_air_is_told_and_nothing_more(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    await stage.start()
    (stage.here.data / "workers" / "str_1.new").mkdir()
    stage.hear(STATS)
    assert "str_1: what runs here cannot be written down" in caplog.text
    (stage.here.data / "workers" / "str_1.new").rmdir()
    assert await stage.stop() == REQUESTED


async def test_what_it_takes_is_measured_and_believed_once_it_is_on_the_air(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.start()
    share = stage.stream.share
    assert share.measured == NOTHING
    stage.hear(STATS)
    assert share.measured == Cost(0.2, 60.0, 4900.0)
    assert not share.is_settled
    assert share.cost == Cost(0.2, 64.0, 8000.0)
    vitals = stage.stream._vitals
    assert vitals.measured_from is not None
    vitals.measured_from -= stage.machine.settings.admission.settle_s
    stage.hear(STATS)
    assert share.is_settled
    assert share.cost == Cost(0.2, 60.0, 4900.0)


async def test_a_helper_that_was_killed_earlier_is_remembered_by_a_look(stage: Stage) -> None:
    await stage.start()
    stage.limits.group.killed = 1
    for _ in range(2):  # what was found last may be the worker's own end
        stage.stream.look()
    await stage.crash()
    await stage.becomes("running")
    assert not stage.overs
