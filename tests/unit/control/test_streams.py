"""What people ask for, with a real database and a host that does as it is told."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from strata.control import tables
from strata.control.live import Live
from strata.control.roles import Role, User
from strata.control.streams import StartRequest, View
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
)
from strata.settings import Forward, Settings
from strata.wire import host as wire
from support.children import until
from unit.control.stage import (
    ADMIN,
    DEADLINE_S,
    KEY,
    ON_AIR,
    OTHER,
    OWNER,
    RECEIVING,
    URL,
    VIEWER,
    Stage,
    staged,
)

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
    order = wire.Start(view.row.id, view.psk.reveal(), [URL], 2, "Derby", "on", 300.0)
    assert stage.host.asked == [order]
    assert (await stage.streams.view(OWNER, view.row.id)).psk is None


async def test_key_and_urls_are_stored_sealed_in_their_places(stage: Stage, tmp_path: Path) -> None:
    view = await stage.begin()
    row = await stage.row(view.row.id)
    assert view.psk is not None
    assert stage.platform.seal.open(row.psk_sealed, f"{row.id}.psk") == view.psk
    assert json.loads(
        stage.platform.seal.open(row.forwards_sealed, f"{row.id}.forwards").reveal()
    ) == {"forwards": [{"url": URL, "id": "fwd_1", "destination": None, "name": ""}]}
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


async def test_a_url_inside_begins_nothing(loaded: Settings) -> None:
    async with staged(loaded.model_copy(update={"forward": Forward()})) as stage:
        with pytest.raises(AddressRefused):
            await stage.begin()
        assert not stage.host.asked


async def test_a_viewer_starts_nothing(stage: Stage) -> None:
    with pytest.raises(NotAllowed, match="role of an operator"):
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
    await stage.close()
    assert "ended with an error" not in caplog.text


async def test_an_end_that_overtakes_the_answer_of_the_start(stage: Stage) -> None:
    async def end_first(request: wire.Request) -> None:
        if isinstance(request, wire.Start):
            await stage.end(request.stream_id, "eos", "told to stop at once")

    stage.host.before_answer = end_first
    with pytest.raises(Conflict, match="was stopped while it was starting"):
        await stage.begin()
    row = await stage.only_row()
    assert (row.state, row.reason, row.detail) == ("ended", "eos", "told to stop at once")


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


@pytest.mark.parametrize("answer", ["started", "failed"])
async def test_a_stream_that_is_starting_can_be_stopped(stage: Stage, answer: str) -> None:
    """Whether the host was ready a moment before it heard of the stop, or not any more."""
    stops: list[View] = []

    async def stop_it(request: wire.Request) -> None:
        if isinstance(request, wire.Start):
            stops.append(await stage.streams.stop(OWNER, request.stream_id))
            if answer == "failed":
                raise Conflict(f"{request.stream_id} was stopped while it was starting")

    stage.host.before_answer = stop_it
    with pytest.raises(Conflict, match="was stopped while it was starting"):
        await stage.begin()
    [view] = stops
    assert (view.row.state, view.row.reason) == ("ended", "user_stop")
    row = await stage.only_row()
    assert (row.state, row.reason, row.detail) == ("ended", "user_stop", "stopped on request")
    assert await stage.states(row.id) == ["stopping", "ended"]
    assert not stage.host.running
    assert not stage.streams.observer.live


async def test_a_start_that_is_done_while_it_is_stopped_is_stopped_again(stage: Stage) -> None:
    """The stop reached the host before the start did."""
    stopped = asyncio.Event()

    async def stop_it(request: wire.Request) -> None:
        if isinstance(request, wire.Start):
            await stage.streams._ledger.advance(request.stream_id, "stopping")
            stopped.set()

    stage.host.before_answer = stop_it
    with pytest.raises(Conflict, match="was stopped while it was starting"):
        await stage.begin()
    assert stopped.is_set()
    await until(lambda: not stage.host.running, DEADLINE_S, "what had started is stopped")


# Who may see and stop what.


async def test_a_stream_of_somebody_else_does_not_exist(stage: Stage) -> None:
    id = (await stage.begin(OWNER)).row.id
    for user in (OTHER, VIEWER):
        with pytest.raises(NotFound) as hidden:
            await stage.streams.view(user, id)
        with pytest.raises(NotFound if user.role == "operator" else NotAllowed):
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
    with pytest.raises(NotAllowed, match="role of an operator"):
        await stage.streams.stop(demoted, id)
    assert id in stage.host.running


@pytest.mark.parametrize("connected", [True, False])
async def test_whether_anybody_looks_after_it_is_told(stage: Stage, connected: bool) -> None:
    id = (await stage.begin()).row.id
    stage.host.connected = connected
    assert (await stage.streams.view(OWNER, id)).is_observed is connected
    [view] = await stage.streams.visible_to(OWNER)
    assert view.is_observed is connected


def test_a_view_has_no_key_unless_it_is_given() -> None:
    fields: dict[str, Any] = {"row": tables.Stream(), "live": Live(), "events": []}
    assert View(**fields).psk is None
