"""What is decided about streams, with a real database and a host that does as it is told."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import select

from strata import settings
from strata.cluster.unix import HostClient
from strata.control import lifecycle, tables
from strata.control.accounts import Role, User
from strata.control.live import Live
from strata.control.seal import Seal
from strata.control.store import Store
from strata.control.streams import StartRequest, Streams, View
from strata.errors import (
    AddressRefused,
    BadArguments,
    BadUrl,
    Conflict,
    HostError,
    HostUnreachable,
    NoCapacity,
    NotAllowed,
    NotFound,
    PartMissing,
    PortTaken,
    StrataError,
)
from strata.wire import host as wire
from strata.wire import worker as worker_wire
from support.children import until
from support.database import make_database
from support.fake_host import FakeHost

DEADLINE_S = 20.0
KEY = "canary-stream-key"
URL = f"rtmp://127.0.0.1/live/{KEY}"
SEAL = Seal(bytes(32))

ADMIN = User("usr_admin", "admin@example.org", "admin")
OWNER = User("usr_owner", "owner@example.org", "operator")
OTHER = User("usr_other", "other@example.org", "operator")
VIEWER = User("usr_viewer", "viewer@example.org", "viewer")

RECEIVING = worker_wire.Input("receiving", 0.0)
STALLED = worker_wire.Input("stalled", 30.0)
CONNECTING = worker_wire.Forward("fwd_1", "rtmp", "connecting", "rtmp://127.0.0.1/live/****")
ON_AIR = worker_wire.Forward("fwd_1", "rtmp", "live", "rtmp://127.0.0.1/live/****")
CLOSED = worker_wire.Forward("fwd_1", "rtmp", "stopped", "rtmp://127.0.0.1/live/****")


class Stage:
    def __init__(self, folder: Path) -> None:
        self.settings = settings.load(data_dir=folder, forward={"allow_private": True})
        self.store = Store(self.settings)
        self.host = FakeHost()
        self.streams = self.new_streams()

    def new_streams(self) -> Streams:
        """As a control plane that was started anew has them."""
        streams = Streams(self.settings, self.store, SEAL)
        streams.start(cast("HostClient", self.host))
        return streams

    async def open(self) -> None:
        await make_database(self.settings.data_dir)
        async with self.store.begin() as session:
            for user in (ADMIN, OWNER, OTHER, VIEWER):
                session.add(
                    tables.User(
                        id=user.id,
                        email=user.email,
                        password_hash="x",
                        role=user.role,
                        created_at=datetime.now(UTC),
                    )
                )

    async def begin(self, user: User = OWNER, *urls: str, record: bool = False) -> View:
        request = StartRequest(urls or (URL,), 2, "Derby", record)
        return await self.streams.begin(user, request)

    async def hear(self, stream_id: str, *events: worker_wire.Event) -> None:
        """Has the host say all that, and waits until it has been taken in."""
        for event in events:
            self.streams.on_notice(wire.WorkerSaid(stream_id, event))
        await asyncio.wait_for(self.streams._changes.join(), DEADLINE_S)

    async def end(self, stream_id: str, reason: wire.EndReason, detail: str) -> None:
        self.host.running.pop(stream_id, None)
        self.streams.on_notice(wire.Ended(stream_id, reason, detail))
        await asyncio.wait_for(self.streams._changes.join(), DEADLINE_S)

    async def row(self, stream_id: str) -> tables.Stream:
        async with self.store.begin() as session:
            row = await session.get(tables.Stream, stream_id)
        assert row is not None
        return row

    async def only_row(self) -> tables.Stream:
        async with self.store.begin() as session:
            [row] = await session.scalars(select(tables.Stream))
        return row

    async def becomes(self, stream_id: str, state: lifecycle.State) -> tables.Stream:
        async with asyncio.timeout(DEADLINE_S):
            while (row := await self.row(stream_id)).state != state:
                await asyncio.sleep(0.01)
        return row

    async def states(self, stream_id: str) -> list[str]:
        """The steps that the log of events tells."""
        view = await self.streams.view(ADMIN, stream_id)
        return [each.data["to"] for each in view.events if each.type == "state"]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    one = Stage(tmp_path)
    await one.open()
    yield one
    await one.streams.close()
    await one.store.close()


# Starting.


async def test_a_start_is_written_down_then_carried_out(stage: Stage) -> None:
    seen: list[str] = []

    async def look(request: wire.Request) -> None:
        seen.append((await stage.only_row()).state)

    stage.host.before_answer = look
    view = await stage.begin()
    assert seen == ["starting"]
    assert view.row.state == "waiting"
    assert (view.row.name, view.row.owner_id) == ("Derby", OWNER.id)
    assert (view.row.ports, view.row.host) == ([15000, 15002], "local")
    assert re.fullmatch(r"str_[0-9a-f]{32}", view.row.id)
    assert [event.type for event in view.events] == ["start_requested", "state"]
    assert view.events[0].user_id == OWNER.id


async def test_the_host_is_told_key_and_urls_and_the_answer_the_key(stage: Stage) -> None:
    view = await stage.begin()
    assert view.psk is not None
    assert re.fullmatch(r"[A-Za-z0-9]{32}", view.psk.reveal())
    assert stage.host.asked == [wire.Start(view.row.id, view.psk.reveal(), [URL], 2, "Derby", "on")]
    assert (await stage.streams.view(OWNER, view.row.id)).psk is None


async def test_key_and_urls_are_stored_sealed_in_their_places(stage: Stage, tmp_path: Path) -> None:
    view = await stage.begin()
    row = await stage.row(view.row.id)
    assert view.psk is not None
    assert SEAL.open(row.psk_sealed, f"{row.id}.psk") == view.psk
    assert json.loads(SEAL.open(row.forwards_sealed, f"{row.id}.forwards").reveal()) == [URL]
    for file in tmp_path.iterdir():
        if file.is_file():
            content = file.read_bytes()
            assert KEY.encode() not in content
            assert view.psk.reveal().encode() not in content


async def test_each_stream_has_a_key_of_its_own(stage: Stage) -> None:
    keys = [(await stage.begin()).psk for _ in range(3)]
    assert None not in keys
    assert len(set(keys)) == 3


async def test_a_recording_goes_to_the_media_folder_under_the_streams_name(stage: Stage) -> None:
    view = await stage.begin(record=True)
    [start] = stage.host.asked
    assert isinstance(start, wire.Start)
    media = stage.settings.media_dir
    assert start.forwards == [URL, f"file://{media}/{view.row.id}-%Y%m%dT%H%M%S.ts"]


async def test_a_recording_alone_is_a_broadcast_too(stage: Stage) -> None:
    view = await stage.streams.begin(OWNER, StartRequest((), 1, "", record=True))
    assert view.row.state == "waiting"


async def test_a_stream_to_nowhere_is_refused(stage: Stage) -> None:
    with pytest.raises(BadArguments, match="would go nowhere"):
        await stage.streams.begin(OWNER, StartRequest((), 2, "", record=False))
    assert not stage.host.asked
    assert not await stage.streams.visible_to(ADMIN)


@pytest.mark.parametrize("url", ["gopher://x/y", "rtmp://host", "file:///x.avi"])
async def test_a_bad_url_begins_nothing(stage: Stage, url: str) -> None:
    with pytest.raises(BadUrl):
        await stage.begin(OWNER, URL, url)
    assert not stage.host.asked
    assert not await stage.streams.visible_to(ADMIN)


async def test_a_url_inside_begins_nothing(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.settings = settings.load(data_dir=tmp_path)
    stage.streams = stage.new_streams()
    await stage.open()
    with pytest.raises(AddressRefused):
        await stage.begin()
    assert not stage.host.asked
    await stage.streams.close()
    await stage.store.close()


async def test_a_viewer_starts_nothing(stage: Stage) -> None:
    with pytest.raises(NotAllowed, match="viewer cannot start"):
        await stage.begin(VIEWER)
    assert not stage.host.asked


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (NoCapacity("no ports are free"), "no_capacity"),
        (PortTaken(15000), "start_failed"),
        (PartMissing("rtmp2sink is missing; run script/bootstrap"), "start_failed"),
    ],
)
async def test_a_start_that_the_host_cannot_do_is_told_and_stays_told(
    stage: Stage, error: HostError, reason: str
) -> None:
    stage.host.fail = error
    with pytest.raises(type(error)) as raised:
        await stage.begin()
    assert raised.value.message == error.message
    row = await stage.only_row()
    assert (row.state, row.reason, row.detail) == ("failed", reason, error.message)
    assert row.ended_at is not None
    view = await stage.streams.view(OWNER, row.id)
    assert view.live is None
    assert view.events[-1].data == {
        "from": "starting",
        "to": "failed",
        "reason": reason,
        "detail": error.message,
    }


async def test_a_start_whose_answer_is_lost_is_undone(stage: Stage) -> None:
    async def lose(request: wire.Request) -> None:
        if isinstance(request, wire.Start):
            raise HostUnreachable("the host went away before it answered; ask again")

    stage.host.before_answer = lose
    with pytest.raises(HostUnreachable):
        await stage.begin()
    row = await stage.only_row()
    assert (row.state, row.reason) == ("failed", "start_failed")
    await until(lambda: not stage.host.running, DEADLINE_S, "what had started is stopped")


async def test_without_a_host_nothing_starts_and_no_task_fails(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    assert stage.streams.can_start
    stage.host.connected = False
    assert not stage.streams.can_start
    with pytest.raises(HostUnreachable):
        await stage.begin()
    await until(lambda: stage.host.stops(), DEADLINE_S, "it was tried to undo")
    await stage.streams.close()
    assert "ended with an error" not in caplog.text


# Observing.


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


async def test_an_end_is_final(stage: Stage) -> None:
    id = (await stage.begin()).row.id
    await stage.end(id, "eos", "first")
    await stage.hear(id, RECEIVING, ON_AIR)
    await stage.end(id, "worker_crash", "second")
    row = await stage.row(id)
    assert (row.state, row.reason, row.detail) == ("ended", "eos", "first")


async def test_an_end_that_overtakes_the_answer_of_the_start(stage: Stage) -> None:
    async def end_first(request: wire.Request) -> None:
        if isinstance(request, wire.Start):
            await stage.end(request.stream_id, "eos", "told to stop at once")

    stage.host.before_answer = end_first
    view = await stage.begin()
    assert (view.row.state, view.row.reason) == ("ended", "eos")


async def test_steps_at_the_same_time_never_undo_an_end(stage: Stage) -> None:
    """Both read the old state; without an order the later write would win."""
    id = (await stage.begin()).row.id
    await stage.hear(id, CONNECTING)
    await asyncio.gather(
        stage.hear(id, RECEIVING, ON_AIR, STALLED, RECEIVING),
        *(stage.streams._advance(id, state) for state in ("live", "degraded") for _ in range(5)),
        stage.streams._end(id, "user_stop", "stopped on request"),
        *(stage.streams._advance(id, state) for state in ("degraded", "live") for _ in range(5)),
    )
    row = await stage.row(id)
    assert (row.state, row.reason) == ("ended", "user_stop")
    told = await stage.states(id)
    assert told[-1] == "ended"
    steps = list(zip(["starting", *told], told, strict=False))
    assert all(lifecycle.may_advance(old, new) for old, new in steps)  # type: ignore[arg-type]


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


async def test_the_latest_events_are_shown_in_their_order(stage: Stage) -> None:
    id = (await stage.begin()).row.id
    errors = [worker_wire.Error(f"number {number}", "x") for number in range(120)]
    await stage.hear(id, *errors)
    view = await stage.streams.view(OWNER, id)
    assert [each.data["message"] for each in view.events] == [
        f"number {number}" for number in range(20, 120)
    ]


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
    assert f"a notice about {id} was lost" in caplog.text
    await stage.hear(id, RECEIVING, ON_AIR)
    assert (await stage.row(id)).state == "live"


async def test_what_the_host_said_last_is_written_down_before_closing(stage: Stage) -> None:
    ids = [(await stage.begin()).row.id for _ in range(5)]
    for id in ids:
        stage.streams.on_notice(wire.Ended(id, "user_stop", "stopped on request"))
    await stage.streams.close()
    assert {(await stage.row(id)).state for id in ids} == {"ended"}


# Stopping.


async def test_a_stop_is_awaited(stage: Stage) -> None:
    id = (await stage.begin()).row.id
    await stage.hear(id, RECEIVING, ON_AIR)
    view = await stage.streams.stop(OWNER, id)
    assert (view.row.state, view.row.reason) == ("ended", "user_stop")
    assert view.row.detail == "stopped on request"
    assert view.live is None
    assert not stage.host.running
    assert [each.type for each in view.events if each.user_id == OWNER.id] == [
        "start_requested",
        "stop_requested",
    ]
    assert await stage.states(id) == ["waiting", "live", "stopping", "ended"]


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


async def test_stopping_what_has_ended_changes_nothing(stage: Stage) -> None:
    id = (await stage.begin()).row.id
    await stage.end(id, "worker_crash", "it crashed")
    asked = len(stage.host.asked)
    view = await stage.streams.stop(OWNER, id)
    assert (view.row.state, view.row.reason) == ("failed", "worker_crash")
    assert len(stage.host.asked) == asked


async def test_two_stops_at_once(stage: Stage) -> None:
    id = (await stage.begin()).row.id
    first, second = await asyncio.gather(
        stage.streams.stop(OWNER, id), stage.streams.stop(ADMIN, id)
    )
    assert {first.row.state, second.row.state} <= {"stopping", "ended"}
    assert (await stage.row(id)).state == "ended"
    assert (await stage.states(id)).count("ended") == 1


async def test_what_the_host_does_not_know_any_more_is_ended(stage: Stage) -> None:
    id = (await stage.begin()).row.id
    stage.host.running.clear()
    view = await stage.streams.stop(OWNER, id)
    assert (view.row.state, view.row.reason) == ("ended", "user_stop")
    assert view.row.detail == "the host did not run it any more"


async def test_a_stream_that_is_starting_is_stopped_in_a_moment(stage: Stage) -> None:
    stops: list[StrataError] = []

    async def stop_it(request: wire.Request) -> None:
        if isinstance(request, wire.Start):
            with pytest.raises(Conflict, match="still starting") as raised:
                await stage.streams.stop(OWNER, request.stream_id)
            stops.append(raised.value)

    stage.host.before_answer = stop_it
    assert (await stage.begin()).row.state == "waiting"
    assert stops


async def test_a_stop_that_does_not_reach_the_host_is_repeated_when_it_is_back(
    stage: Stage,
) -> None:
    id = (await stage.begin()).row.id
    stage.host.connected = False
    with pytest.raises(HostUnreachable):
        await stage.streams.stop(OWNER, id)
    assert (await stage.row(id)).state == "stopping"
    stage.host.connected = True
    await stage.streams.compare_notes()
    row = await stage.becomes(id, "ended")
    assert (row.reason, row.detail) == ("user_stop", "stopped on request")
    assert not stage.host.running


# Who may see and stop what.


async def test_a_stream_of_somebody_else_does_not_exist(stage: Stage) -> None:
    id = (await stage.begin(OWNER)).row.id
    for user in (OTHER, VIEWER):
        with pytest.raises(NotFound) as hidden:
            await stage.streams.view(user, id)
        with pytest.raises(NotFound):
            await stage.streams.stop(user, id)
        with pytest.raises(NotFound) as missing:
            await stage.streams.view(user, "str_nowhere")
        assert hidden.value.message.replace(id, "?") == missing.value.message.replace(
            "str_nowhere", "?"
        )
        assert not await stage.streams.visible_to(user)
    assert stage.host.running


async def test_an_administrator_sees_all_the_newest_first(stage: Stage) -> None:
    first = (await stage.begin(OWNER)).row.id
    second = (await stage.begin(OTHER)).row.id
    assert [view.row.id for view in await stage.streams.visible_to(ADMIN)] == [second, first]
    assert [view.row.id for view in await stage.streams.visible_to(OWNER)] == [first]
    assert (await stage.streams.view(ADMIN, first)).row.id == first
    assert (await stage.streams.stop(ADMIN, first)).row.state == "ended"


@pytest.mark.parametrize("role", ["viewer"])
async def test_who_may_only_look_stops_nothing(stage: Stage, role: Role) -> None:
    id = (await stage.begin(OWNER)).row.id
    demoted = User(OWNER.id, OWNER.email, role)
    assert (await stage.streams.view(demoted, id)).row.id == id
    with pytest.raises(NotAllowed, match="viewer cannot stop"):
        await stage.streams.stop(demoted, id)
    assert id in stage.host.running


# After a connection.


async def test_a_control_plane_that_was_started_anew_knows_what_runs(stage: Stage) -> None:
    id = (await stage.begin()).row.id
    await stage.hear(id, RECEIVING, CONNECTING)
    stage.host.running[id] = [RECEIVING, ON_AIR, worker_wire.Program("live", "live")]
    await stage.streams.close()
    stage.streams = stage.new_streams()
    assert (await stage.streams.view(OWNER, id)).live is None
    await stage.streams.compare_notes()
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
    await stage.streams.close()
    stage.streams = stage.new_streams()
    row = await stage.only_row()
    assert row.state == "starting"
    await stage.streams.compare_notes()
    row = await stage.only_row()
    assert (row.state, row.ports, row.host) == ("waiting", [15000, 15002], "local")


async def test_what_the_host_lost_is_ended_and_what_is_left_of_it_stopped(stage: Stage) -> None:
    id = (await stage.begin()).row.id
    stage.host.running.clear()
    await stage.streams.compare_notes()
    row = await stage.becomes(id, "failed")
    assert row.reason == "host_lost"
    assert row.detail is not None
    assert "the host was started anew" in row.detail
    assert stage.host.stops() == [id]


async def test_an_end_that_nobody_heard_keeps_its_reason(stage: Stage) -> None:
    id = (await stage.begin()).row.id
    stage.host.running.clear()
    stage.host.ended = [wire.Ended(id, "no_input", "no media came in time")]
    await stage.streams.compare_notes()
    row = await stage.row(id)
    assert (row.state, row.reason, row.detail) == ("ended", "no_input", "no media came in time")
    assert not stage.host.stops()


async def test_what_nobody_wants_is_stopped(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    ended = (await stage.begin()).row.id
    await stage.end(ended, "eos", "gone")
    stage.host.running = {"str_stranger": [], ended: []}
    await stage.streams.compare_notes()
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
    await stage.streams.compare_notes()
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
                await stage.streams.compare_notes()
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
    await stage.streams.compare_notes()
    assert (await stage.row(begun[0])).state == "waiting"
    assert not stage.host.stops()


async def test_what_is_said_while_notes_are_compared_is_newer(stage: Stage) -> None:
    id = (await stage.begin()).row.id
    await stage.hear(id, RECEIVING, CONNECTING)
    stage.host.running[id] = [RECEIVING, CONNECTING]
    await stage.streams.close()
    stage.streams = stage.new_streams()

    async def say_more(request: wire.Request) -> None:
        stage.streams.on_notice(wire.WorkerSaid(id, ON_AIR))
        for _ in range(50):
            await asyncio.sleep(0)

    stage.host.before_answer = say_more
    await stage.streams.compare_notes()
    await asyncio.wait_for(stage.streams._changes.join(), DEADLINE_S)
    view = await stage.streams.view(OWNER, id)
    assert view.row.state == "live"
    assert view.live is not None
    assert view.live.forward_states() == ["live"]


async def test_a_stream_that_ends_while_notes_are_compared_has_one_end(stage: Stage) -> None:
    id = (await stage.begin()).row.id

    async def end(request: wire.Request) -> None:
        stage.host.before_answer = None
        await stage.streams._end(id, "no_input", "no media came in time")
        await stage.streams._observe(id)

    stage.host.running.clear()
    stage.host.before_answer = end
    await stage.streams.compare_notes()
    assert (await stage.row(id)).reason == "no_input"
    assert (await stage.states(id)).count("ended") == 1
    assert not stage.host.stops()


async def test_a_host_that_does_not_tell_what_it_runs_ends_nothing(stage: Stage) -> None:
    id = (await stage.begin()).row.id
    stage.host.connected = False
    with pytest.raises(HostUnreachable):
        await stage.streams.compare_notes()
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


def test_a_view_has_no_key_unless_it_is_given() -> None:
    fields: dict[str, Any] = {"row": tables.Stream(), "live": Live(), "events": []}
    assert View(**fields).psk is None
