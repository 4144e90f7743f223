"""The one place where rows change, with a real database."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from strata import ids
from strata.control import lifecycle, tables
from strata.control.roles import User
from strata.wire import worker as worker_wire
from unit.control.stage import (
    ADMIN,
    CONNECTING,
    ON_AIR,
    OTHER,
    OWNER,
    RECEIVING,
    STALLED,
    Stage,
)


async def test_an_end_is_final(stage: Stage) -> None:
    id = (await stage.begin()).row.id
    await stage.end(id, "eos", "first")
    await stage.hear(id, RECEIVING, ON_AIR)
    await stage.end(id, "worker_crash", "second")
    row = await stage.row(id)
    assert (row.state, row.reason, row.detail) == ("ended", "eos", "first")


async def test_steps_at_the_same_time_never_undo_an_end(stage: Stage) -> None:
    """Both read the old state; without an order the later write would win."""
    id = (await stage.begin()).row.id
    await stage.hear(id, CONNECTING)
    await asyncio.gather(
        stage.hear(id, RECEIVING, ON_AIR, STALLED, RECEIVING),
        *(
            stage.streams._ledger.advance(id, state)
            for state in ("live", "degraded")
            for _ in range(5)
        ),
        stage.streams.observer.end(id, "user_stop", "stopped on request"),
        *(
            stage.streams._ledger.advance(id, state)
            for state in ("degraded", "live")
            for _ in range(5)
        ),
    )
    row = await stage.row(id)
    assert (row.state, row.reason) == ("ended", "user_stop")
    told = await stage.states(id)
    assert told[-1] == "ended"
    steps = list(zip(["starting", *told], told, strict=False))
    assert all(lifecycle.may_advance(old, new) for old, new in steps)  # type: ignore[arg-type]


async def test_the_latest_events_are_shown_in_their_order(stage: Stage) -> None:
    id = (await stage.begin()).row.id
    errors = [worker_wire.Error(f"number {number}", "x") for number in range(120)]
    await stage.hear(id, *errors)
    view = await stage.streams.view(OWNER, id)
    assert [each.data["message"] for each in view.events] == [
        f"number {number}" for number in range(20, 120)
    ]


async def add(stage: Stage, owner: User = OWNER) -> str:
    row = tables.Stream(
        id=ids.new("str"),
        owner_id=owner.id,
        name="Derby",
        state="starting",
        ports=[],
        created_at=datetime.now(UTC),
        psk_sealed=b"",
        forwards_sealed=b"",
    )
    await stage.streams._ledger.add(row, owner)
    return row.id


async def test_a_row_and_why_it_is_there_are_written_in_one_step(stage: Stage) -> None:
    ledger, id = stage.streams._ledger, await add(stage)
    row = await ledger.get(id)
    assert row is not None
    assert (row.id, row.state) == (id, "starting")
    [event] = await ledger.latest(id, 10)
    assert (event.type, event.user_id, event.data) == (
        "start_requested",
        OWNER.id,
        {"name": "Derby"},
    )


async def test_a_step_says_whether_it_was_taken(stage: Stage) -> None:
    ledger, id = stage.streams._ledger, await add(stage)
    assert await ledger.advance(id, "waiting", ports=[15000], host="local")
    assert not await ledger.advance(id, "starting")
    assert not await ledger.advance("str_nowhere", "waiting")
    row = await stage.row(id)
    assert (row.state, row.ports, row.host) == ("waiting", [15000], "local")


@pytest.mark.parametrize(
    ("reason", "wanted"), [("user_stop", "ended"), ("out_of_memory", "failed")]
)
async def test_an_end_has_a_time_a_reason_and_a_word_in_the_log(
    stage: Stage, caplog: pytest.LogCaptureFixture, reason: str, wanted: str
) -> None:
    caplog.set_level("INFO")
    ledger, id = stage.streams._ledger, await add(stage)
    assert await ledger.end(id, reason, "in plain words")
    assert not await ledger.end(id, "eos", "too late")
    row = await stage.row(id)
    assert (row.state, row.reason, row.detail) == (wanted, reason, "in plain words")
    assert row.ended_at is not None
    assert f"{id}: starting -> {wanted}: {reason}: in plain words" in caplog.text


async def test_what_is_over_is_not_unfinished(stage: Stage) -> None:
    ledger, first, second = stage.streams._ledger, await add(stage), await add(stage)
    await ledger.end(first, "start_failed", "no")
    assert [row.id for row in await ledger.unfinished()] == [second]


async def test_whose_streams_are_listed(stage: Stage) -> None:
    first, second = await add(stage, OWNER), await add(stage, OTHER)
    ledger = stage.streams._ledger
    assert [row.id for row in await ledger.visible_to(ADMIN)] == [second, first]
    assert [row.id for row in await ledger.visible_to(OTHER)] == [second]


async def test_the_newest_are_listed_and_all_that_are_not_over(stage: Stage) -> None:
    ledger = stage.streams._ledger
    ids = [await add(stage) for _ in range(6)]
    for id in (ids[0], *ids[2:]):
        await ledger.end(id, "start_failed", "no")

    async def listed(before: str | None, limit: int) -> list[int]:
        return [ids.index(row.id) for row in await ledger.visible_to(OWNER, before, limit)]

    assert await listed(None, 2) == [5, 4, 1]
    assert await listed(None, 10) == [5, 4, 3, 2, 1, 0]
    assert await listed(ids[3], 2) == [2, 1]
    assert await listed(ids[1], 2) == [0]
    assert await listed(ids[0], 2) == []


async def test_what_is_over_is_listed_page_by_page(stage: Stage) -> None:
    ledger = stage.streams._ledger
    mine, other = [await add(stage) for _ in range(5)], await add(stage, OTHER)
    for id in (mine[0], *mine[2:], other):
        await ledger.end(id, "start_failed", "no")

    async def listed(user: User, before: str | None, limit: int) -> list[str]:
        return [row.id for row in await ledger.past(user, before, limit)]

    assert await listed(OWNER, None, 2) == [mine[4], mine[3]]
    assert await listed(OWNER, mine[3], 2) == [mine[2], mine[0]]
    assert await listed(OWNER, mine[0], 2) == []
    assert await listed(ADMIN, None, 2) == [other, mine[4]]


async def test_what_is_noted_is_told_with_who_did_it(stage: Stage) -> None:
    ledger, id = stage.streams._ledger, await add(stage)
    await ledger.note(id, "alarms", {"alarms": []})
    await ledger.note(id, "stop_requested", {}, ADMIN)
    events = await ledger.latest(id, 2)
    assert [(each.type, each.user_id) for each in events] == [
        ("alarms", None),
        ("stop_requested", ADMIN.id),
    ]
