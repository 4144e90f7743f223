"""What the host says and is compared with, against a real database."""

from __future__ import annotations

import asyncio

import pytest

from strata.errors import (
    HostError,
    HostUnreachable,
)
from strata.wire import host as wire
from strata.wire import worker as worker_wire
from support.children import until
from unit.control.stage import (
    ADMIN,
    CLOSED,
    CONNECTING,
    DEADLINE_S,
    ON_AIR,
    OWNER,
    RECEIVING,
    STALLED,
    URL,
    Stage,
)

# As it comes.


async def test_on_the_air_and_off_again(stage: Stage) -> None:
    id = (await stage.begin()).row.id
    await stage.hear(id, CONNECTING)
    assert (await stage.row(id)).state == "waiting"
    await stage.hear(id, RECEIVING, ON_AIR)
    assert (await stage.row(id)).state == "live"
    await stage.hear(id, STALLED)
    assert (await stage.row(id)).state == "degraded"
    await stage.hear(id, RECEIVING)
    assert (await stage.row(id)).state == "live"
    await stage.end(id, "worker_crash", "the worker ended by signal SIGSEGV; it said nothing")
    row = await stage.row(id)
    assert (row.state, row.reason) == ("failed", "worker_crash")
    assert row.detail == "the worker ended by signal SIGSEGV; it said nothing"
    assert row.ended_at is not None
    assert await stage.states(id) == ["waiting", "live", "degraded", "live", "failed"]
    assert (await stage.streams.view(OWNER, id)).live is None


@pytest.mark.parametrize(
    ("reason", "wanted"),
    [("user_stop", "ended"), ("eos", "ended"), ("no_input", "ended"), ("worker_crash", "failed")],
)
async def test_the_reason_travels_unchanged(
    stage: Stage, reason: wire.EndReason, wanted: str
) -> None:
    id = (await stage.begin()).row.id
    await stage.end(id, reason, "in plain words")
    row = await stage.row(id)
    assert (row.state, row.reason, row.detail) == (wanted, reason, "in plain words")


async def test_what_is_told_of_forwards_input_and_errors(stage: Stage) -> None:
    id = (await stage.begin()).row.id
    refused = worker_wire.Error("RTMP connection refused", "unreachable", forward="fwd_1")
    stats = worker_wire.Stats(
        1.0, 1.0, None, 1.0, 1.0, 60.0, worker_wire.Media(), worker_wire.Flow(), [], []
    )
    await stage.hear(id, CONNECTING, refused, RECEIVING, stats, worker_wire.Program("live", "live"))
    view = await stage.streams.view(OWNER, id)
    told = [(each.type, each.data) for each in view.events][2:]
    assert told == [
        (
            "forward",
            {
                "forward": "fwd_1",
                "state": "connecting",
                "url": "rtmp://127.0.0.1/live/****",
                "message": "",
            },
        ),
        (
            "error",
            {"forward": "fwd_1", "code": "unreachable", "message": "RTMP connection refused"},
        ),
        ("input", {"state": "receiving"}),
        ("program", {"video": "live", "audio": "live"}),
    ]
    assert view.live is not None
    assert view.live.stats is stats
    assert view.live.program == worker_wire.Program("live", "live")


async def test_what_is_said_of_a_stranger_is_nothing(stage: Stage) -> None:
    await stage.hear("str_stranger", RECEIVING, ON_AIR)
    await stage.end("str_stranger", "eos", "whoever that was")
    assert not await stage.streams.visible_to(ADMIN)


async def test_a_notice_that_cannot_be_stored_does_not_end_the_observation(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    id = (await stage.begin()).row.id
    begin = stage.store.begin
    monkeypatch.setattr(stage.store, "begin", lambda: 1 / 0)
    await stage.hear(id, RECEIVING)
    monkeypatch.setattr(stage.store, "begin", begin)
    assert "a notice of the host was lost: WorkerSaid" in caplog.text
    await stage.hear(id, RECEIVING, ON_AIR)
    assert (await stage.row(id)).state == "live"


async def test_what_the_host_said_last_is_written_down_before_closing(stage: Stage) -> None:
    ids = [(await stage.begin()).row.id for _ in range(5)]
    for id in ids:
        stage.streams.observer.on_notice(wire.Ended(id, "user_stop", "stopped on request"))
    await stage.restart()
    assert {(await stage.row(id)).state for id in ids} == {"ended"}


async def test_forwards_that_close_during_a_stop_are_no_alarm(stage: Stage) -> None:
    id = (await stage.begin()).row.id
    await stage.hear(id, RECEIVING, ON_AIR)
    seen: list[str] = []

    async def close_forwards(request: wire.Request) -> None:
        if isinstance(request, wire.Stop):
            await stage.hear(id, CLOSED)
            seen.append((await stage.row(id)).state)

    stage.host.before_answer = close_forwards
    await stage.streams.stop(OWNER, id)
    assert seen == ["stopping"]
    assert "degraded" not in await stage.states(id)


async def test_a_worker_that_is_replaced_is_an_alarm_until_the_next_one_is_on_the_air(
    stage: Stage,
) -> None:
    id = (await stage.begin()).row.id
    await stage.hear(id, RECEIVING, ON_AIR)
    await stage.tell(wire.Restarting(id, "the worker ended by signal SIGKILL"))
    view = await stage.streams.view(OWNER, id)
    assert view.row.state == "degraded"
    assert view.live is not None
    assert view.live.is_restarting
    assert view.live.forwards == {}  # what the dead one said holds no more
    told = [each.data for each in view.events if each.type == "worker_restart"]
    assert told == [{"detail": "the worker ended by signal SIGKILL"}]
    await stage.hear(id, worker_wire.Ready([15000, 15002], id, 1, "0"), RECEIVING, ON_AIR)
    assert (await stage.row(id)).state == "live"


ALARM = wire.Alarm("forward", "the destination has taken nothing for 16 s", "fwd_1")


async def test_an_alarm_is_told_and_degrades_until_it_is_over(stage: Stage) -> None:
    id = (await stage.begin()).row.id
    await stage.hear(id, RECEIVING, ON_AIR)
    await stage.tell(wire.Alarms(id, [ALARM]))
    view = await stage.streams.view(OWNER, id)
    assert view.row.state == "degraded"
    assert view.live is not None
    assert view.live.alarms == [ALARM]
    await stage.tell(wire.Alarms(id, []))
    view = await stage.streams.view(OWNER, id)
    assert view.row.state == "live"
    assert [each.data["alarms"] for each in view.events if each.type == "alarms"] == [
        [{"kind": "forward", "detail": ALARM.detail, "forward": "fwd_1"}],
        [],
    ]


async def test_alarms_and_restarts_of_a_stranger_are_nothing(stage: Stage) -> None:
    await stage.tell(wire.Alarms("str_x", [ALARM]), wire.Restarting("str_x", "whoever that was"))
    assert not stage.streams.observer.live


async def test_the_latest_load_of_the_host_is_known(stage: Stage) -> None:
    assert stage.streams.observer.load is None
    first = wire.Load(2.0, 3900.0, 10_000.0, 0, 8, 0.0, 0.0, 0.0, None, "nothing")
    second = wire.Load(2.0, 3900.0, 10_000.0, 1, 6, 0.1, 64.0, 0.0, None, "nothing", ["why"])
    await stage.tell(first, second)
    assert stage.streams.observer.load == second


async def test_a_picture_that_a_worker_greets_with_is_no_news(stage: Stage) -> None:
    id = (await stage.begin()).row.id
    program = worker_wire.Program("live", "live")
    await stage.hear(id, program, program, worker_wire.Program("slate", "silence"))
    view = await stage.streams.view(OWNER, id)
    told = [each.data["video"] for each in view.events if each.type == "program"]
    assert told == ["live", "slate"]


# After a connection.


async def test_a_stop_that_does_not_reach_the_host_is_repeated_when_it_is_back(
    stage: Stage,
) -> None:
    id = (await stage.begin()).row.id
    stage.host.connected = False
    with pytest.raises(HostUnreachable):
        await stage.streams.stop(OWNER, id)
    assert (await stage.row(id)).state == "stopping"
    stage.host.connected = True
    await stage.streams.observer.compare_notes()
    row = await stage.becomes(id, "ended")
    assert (row.reason, row.detail) == ("user_stop", "stopped on request")
    assert not stage.host.running


async def test_a_control_plane_that_was_started_anew_knows_what_runs(stage: Stage) -> None:
    id = (await stage.begin()).row.id
    await stage.hear(id, RECEIVING, CONNECTING)
    stage.host.running[id] = [RECEIVING, ON_AIR, worker_wire.Program("live", "live")]
    await stage.restart()
    assert (await stage.streams.view(OWNER, id)).live is None
    await stage.streams.observer.compare_notes()
    view = await stage.streams.view(OWNER, id)
    assert view.row.state == "live"
    assert view.live is not None
    assert view.live.program == worker_wire.Program("live", "live")
    await stage.hear(id, STALLED)
    assert (await stage.row(id)).state == "degraded"
    assert (await stage.streams.stop(OWNER, id)).row.reason == "user_stop"


async def test_a_start_that_control_did_not_live_to_see_is_taken_over(stage: Stage) -> None:
    async def die(request: wire.Request) -> None:
        if isinstance(request, wire.Start):
            raise asyncio.CancelledError

    stage.host.before_answer = die
    with pytest.raises(asyncio.CancelledError):
        await stage.begin()
    stage.host.before_answer = None
    await stage.restart()
    row = await stage.only_row()
    assert row.state == "starting"
    await stage.streams.observer.compare_notes()
    row = await stage.only_row()
    assert (row.state, row.ports, row.host) == ("waiting", [15000, 15002], "local")


async def test_what_the_host_lost_is_ended_and_what_is_left_of_it_stopped(stage: Stage) -> None:
    id = (await stage.begin()).row.id
    stage.host.running.clear()
    await stage.streams.observer.compare_notes()
    row = await stage.becomes(id, "failed")
    assert row.reason == "host_lost"
    assert row.detail is not None
    assert "the host was started anew" in row.detail
    assert stage.host.stops() == [id]


async def test_an_end_that_nobody_heard_keeps_its_reason(stage: Stage) -> None:
    id = (await stage.begin()).row.id
    stage.host.running.clear()
    stage.host.ended = [wire.Ended(id, "no_input", "no media came in time")]
    await stage.streams.observer.compare_notes()
    row = await stage.row(id)
    assert (row.state, row.reason, row.detail) == ("ended", "no_input", "no media came in time")
    assert not stage.host.stops()


async def test_what_nobody_wants_is_stopped(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    ended = (await stage.begin()).row.id
    await stage.end(ended, "eos", "gone")
    stage.host.running = {"str_stranger": [], ended: []}
    await stage.streams.observer.compare_notes()
    await until(lambda: not stage.host.running, DEADLINE_S, "both are stopped")
    assert "the host runs str_stranger, which nobody wants" in caplog.text
    assert (await stage.row(ended)).reason == "eos"


async def test_one_that_cannot_be_stopped_does_not_hide_the_others(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    kept = (await stage.begin()).row.id
    stage.host.running = {"str_stranger": [], kept: [RECEIVING, ON_AIR]}

    async def refuse(request: wire.Request) -> None:
        if isinstance(request, wire.Stop):
            raise HostError("it does not end; end it by hand")

    stage.host.before_answer = refuse
    await stage.streams.observer.compare_notes()
    assert (await stage.row(kept)).state == "live"
    await until(lambda: "by hand" in caplog.text, DEADLINE_S, "it is told")
    assert "str_stranger may still run on the host" in caplog.text


async def test_a_start_that_is_under_way_is_left_alone(stage: Stage) -> None:
    """The host was asked what it runs before the start reached it, or while it spawned."""
    for running in (False, True):

        async def compare(request: wire.Request, running: bool = running) -> None:
            if isinstance(request, wire.Start):
                if not running:
                    del stage.host.running[request.stream_id]
                await stage.streams.observer.compare_notes()
                assert (await stage.row(request.stream_id)).state == "starting"
                stage.host.running[request.stream_id] = []

        stage.host.before_answer = compare
        view = await stage.begin()
        assert view.row.state == "waiting"
        assert not stage.host.stops()


async def test_a_stream_that_is_begun_while_notes_are_compared_is_not_lost(stage: Stage) -> None:
    begun: list[str] = []

    async def begin(request: wire.Request) -> None:
        if isinstance(request, wire.List) and not begun:
            stage.host.before_answer = None
            begun.append((await stage.begin()).row.id)

    stage.host.before_answer = begin  # the table of the host is read before it starts
    await stage.streams.observer.compare_notes()
    assert (await stage.row(begun[0])).state == "waiting"
    assert not stage.host.stops()


async def test_what_is_said_while_notes_are_compared_is_newer(stage: Stage) -> None:
    id = (await stage.begin()).row.id
    await stage.hear(id, RECEIVING, CONNECTING)
    stage.host.running[id] = [RECEIVING, CONNECTING]
    await stage.restart()

    async def say_more(request: wire.Request) -> None:
        stage.streams.observer.on_notice(wire.WorkerSaid(id, ON_AIR))
        for _ in range(50):
            await asyncio.sleep(0)

    stage.host.before_answer = say_more
    await stage.streams.observer.compare_notes()
    await stage.taken_in()
    view = await stage.streams.view(OWNER, id)
    assert view.row.state == "live"
    assert view.live is not None
    assert view.live.forward_states() == ["live"]


async def test_a_stream_that_ends_while_notes_are_compared_has_one_end(stage: Stage) -> None:
    id = (await stage.begin()).row.id

    async def end(request: wire.Request) -> None:
        stage.host.before_answer = None
        await stage.streams.observer.end(id, "no_input", "no media came in time")
        await stage.streams.observer._observe(id)

    stage.host.running.clear()
    stage.host.before_answer = end
    await stage.streams.observer.compare_notes()
    assert (await stage.row(id)).reason == "no_input"
    assert (await stage.states(id)).count("ended") == 1
    assert not stage.host.stops()


async def test_a_host_that_does_not_tell_what_it_runs_ends_nothing(stage: Stage) -> None:
    id = (await stage.begin()).row.id
    stage.host.connected = False
    with pytest.raises(HostUnreachable):
        await stage.streams.observer.compare_notes()
    assert (await stage.row(id)).state == "waiting"
    await stage.hear(id, RECEIVING, ON_AIR)  # and what it says later is heard
    assert (await stage.row(id)).state == "live"


async def test_silence_is_no_end(stage: Stage) -> None:
    id = (await stage.begin()).row.id
    await stage.hear(id, RECEIVING, ON_AIR)
    stage.host.connected = False
    view = await stage.streams.view(OWNER, id)
    assert view.row.state == "live"
    assert view.live is not None


async def test_a_host_that_was_started_anew_is_told_the_secrets_of_what_it_adopted(
    stage: Stage,
) -> None:
    begun = await stage.begin()
    id = begun.row.id
    assert begun.psk is not None
    stage.host.forgot = {id}
    stage.host.alarms = {id: [wire.Alarm("restarting", "it ended while the host was away")]}
    await stage.streams.observer.compare_notes()
    await until(lambda: not stage.host.forgot, DEADLINE_S, "it is told")
    assert stage.host.asked[-1] == wire.Entrust(id, begun.psk.reveal(), [URL], ["fwd_1"])
    view = await stage.streams.view(OWNER, id)
    assert view.live is not None
    assert view.live.alarms == stage.host.alarms[id]
    assert view.row.state == "degraded"


async def test_a_host_that_knows_its_secrets_is_told_none(stage: Stage) -> None:
    await stage.begin()
    await stage.streams.observer.compare_notes()
    assert not [each for each in stage.host.asked if isinstance(each, wire.Entrust)]


async def test_what_a_row_that_is_to_stop_needs_no_secrets_for_is_stopped(stage: Stage) -> None:
    id = (await stage.begin()).row.id
    await stage.streams._ledger.advance(id, "stopping")
    stage.host.forgot = {id}
    await stage.streams.observer.compare_notes()
    await stage.becomes(id, "ended")
    assert not stage.host.running
