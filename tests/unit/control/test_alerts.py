from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import msgspec
import pytest
from sqlalchemy import update

from strata.control import alerts, tables
from strata.control.bus import News
from strata.errors import NotAllowed, NotFound
from strata.wire import host as wire
from strata.wire import worker as worker_wire
from unit.control.stage import (
    ADMIN,
    DEADLINE_S,
    ON_AIR,
    OTHER,
    OWNER,
    RECEIVING,
    STALLED,
    VIEWER,
    Stage,
)

PICTURE = worker_wire.Program("live", "live")
SLATE = worker_wire.Program("slate", "silence")
FAILED = worker_wire.Forward("fwd_1", "rtmp", "failed", "rtmp://host/app/****", "refused")
LOAD = wire.Load(2.0, 4000.0, 9000.0, 0, 100, 0.0, 0.0, 0.0, None, "none")


class Watch:
    """Alerts as they are told."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.listening = stage.platform.bus.listen(lambda news: news.topic == "alerts")
        self.listener = self.listening.__enter__()

    async def next(self) -> News:
        return await asyncio.wait_for(self.listener.next(), DEADLINE_S)

    async def kinds(self, count: int) -> list[tuple[str, str]]:
        return sorted(
            [(each.type, each.data.kind) for each in [await self.next() for _ in range(count)]]
        )


@pytest.fixture
async def watch(stage: Stage) -> AsyncIterator[Watch]:
    one = Watch(stage)
    yield one
    one.listening.__exit__(None, None, None)


async def on_air(stage: Stage) -> str:
    id = (await stage.begin()).row.id
    await stage.hear(id, RECEIVING, PICTURE, ON_AIR)
    return id


async def listed(stage: Stage, is_open: bool | None = None) -> list[tables.Alert]:
    return await stage.platform.alerts.visible_to(ADMIN, is_open, None, 100)


async def told(stage: Stage, id: str) -> list[str]:
    events = await stage.platform.journal.latest(id, 100)
    return [each.type for each in events if each.type.startswith("alert_")]


async def test_raised_when_it_begins_and_cleared_when_it_is_over(
    stage: Stage, watch: Watch
) -> None:
    id = await on_air(stage)
    await stage.hear(id, FAILED)
    raised = await watch.next()
    assert (raised.type, raised.owner_id) == ("alert_raised", OWNER.id)
    [alert] = await listed(stage, is_open=True)
    assert (alert.subject, alert.kind, alert.forward) == (id, "forward_failed", "fwd_1")
    assert (alert.detail, alert.cleared_at, alert.id[:4]) == ("refused", None, "alr_")
    await stage.hear(id, ON_AIR)
    assert (await watch.next()).type == "alert_cleared"
    [alert] = await listed(stage, is_open=False)
    assert alert.cleared_at is not None
    assert await listed(stage, is_open=True) == []
    assert await told(stage, id) == ["alert_raised", "alert_cleared"]


async def test_the_end_of_a_stream_clears_what_stood(stage: Stage, watch: Watch) -> None:
    id = await on_air(stage)
    await stage.hear(id, SLATE, STALLED)
    assert await watch.kinds(2) == [("alert_raised", "slate"), ("alert_raised", "stalled")]
    await stage.end(id, "no_input", "no media came for 60 s")
    assert await watch.kinds(2) == [("alert_cleared", "slate"), ("alert_cleared", "stalled")]


async def test_what_comes_back_soon_is_the_same_alert(stage: Stage, watch: Watch) -> None:
    id = await on_air(stage)
    for event in (FAILED, ON_AIR, FAILED):
        await stage.hear(id, event)
        await watch.next()
    [alert] = await listed(stage)
    assert alert.cleared_at is None
    await stage.hear(id, ON_AIR)
    await stage.platform.alerts.look()
    assert len(await listed(stage, is_open=True)) == 1, "it has to stay away for a while"


async def test_a_worker_that_dies(stage: Stage, watch: Watch) -> None:
    id = await on_air(stage)
    await stage.tell(wire.Restarting(id, "the worker died"))
    assert await watch.kinds(1) == [("alert_raised", "worker_restarting")]
    await stage.hear(id, worker_wire.Ready([15000, 15002], id, 4711, "0"))
    assert sorted(await watch.kinds(2)) == [
        ("alert_cleared", "worker_restarting"),
        ("alert_raised", "off_air"),
    ]
    assert (await stage.row(id)).state == "degraded", "it does not wait as one that was never on"
    await stage.hear(id, RECEIVING)
    await stage.hear(id, PICTURE)
    assert await watch.kinds(1) == [("alert_cleared", "off_air")]


async def test_an_alert_stands_across_a_restart(stage: Stage) -> None:
    id = await on_air(stage)
    await stage.hear(id, FAILED)
    await stage.platform.alerts.look()
    [before] = await listed(stage, is_open=True)
    stage.host.running[id] = [RECEIVING, PICTURE, FAILED]
    await stage.restart()
    await stage.platform.alerts.look()
    [unseen] = await listed(stage)
    assert (unseen.id, unseen.cleared_at) == (before.id, None), "nobody has said that it is over"
    await stage.streams.observer.compare_notes()
    await stage.platform.alerts.look()
    assert [each.id for each in await listed(stage, is_open=True)] == [before.id]
    assert await told(stage, id) == ["alert_raised"]


async def test_what_ended_while_nobody_looked_is_cleared(stage: Stage) -> None:
    id = await on_air(stage)
    await stage.hear(id, FAILED)
    await stage.platform.alerts.look()
    await stage.close()
    await stage.open()
    async with stage.store.begin() as session:
        await session.execute(update(tables.Stream).values(state="ended"))
    stage.streams.observer.live.clear()
    async with asyncio.timeout(DEADLINE_S):
        while await listed(stage, is_open=True):
            await stage.platform.alerts.look()
            await asyncio.sleep(0.01)


async def test_a_host_that_is_away(
    stage: Stage, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = await on_air(stage)
    monkeypatch.setattr(alerts, "HOST_GRACE_S", 0.0)
    stage.host.connected = False
    gone = [await watch.next() for _ in range(2)]
    assert {(each.data.subject, each.data.kind) for each in gone} == {
        (id, "host_unreachable"),
        ("local", "host_unreachable"),
    }
    stage.host.connected = True
    assert await watch.kinds(2) == [("alert_cleared", "host_unreachable")] * 2


async def test_a_host_that_is_away_for_a_moment_is_no_alarm(stage: Stage) -> None:
    await on_air(stage)
    stage.host.connected = False
    await stage.platform.alerts.look()
    assert await listed(stage) == []


async def test_what_a_host_warns_of_concerns_administrators(stage: Stage, watch: Watch) -> None:
    stage.streams.observer.on_notice(msgspec.structs.replace(LOAD, warnings=["no limits"]))
    assert (await watch.next()).data.detail == "no limits"
    [alert] = await listed(stage)
    assert (alert.subject, alert.kind, alert.owner_id) == ("local", "host_warning", None)
    assert await stage.platform.alerts.visible_to(OWNER, None, None, 100) == []


async def test_acknowledged(stage: Stage, watch: Watch) -> None:
    id = await on_air(stage)
    await stage.hear(id, FAILED)
    alert = (await watch.next()).data
    with pytest.raises(NotFound):
        await stage.platform.alerts.ack(OTHER, alert.id)
    with pytest.raises(NotAllowed):
        await stage.platform.alerts.ack(VIEWER, alert.id)
    with pytest.raises(NotFound):
        await stage.platform.alerts.ack(ADMIN, "alr_none")
    seen = await stage.platform.alerts.ack(OWNER, alert.id)
    assert (await watch.next()).type == "alert_acked"
    assert (seen.acked_by, seen.cleared_at) == (OWNER.id, None)
    again = await stage.platform.alerts.ack(ADMIN, alert.id)
    assert (again.acked_by, again.acked_at) == (OWNER.id, seen.acked_at)
    assert await told(stage, id) == ["alert_raised", "alert_acked"]


async def test_what_is_old_goes_and_what_stands_stays(stage: Stage, watch: Watch) -> None:
    id = await on_air(stage)
    for event in (FAILED, ON_AIR):
        await stage.hear(id, event)
        await watch.next()
    await stage.hear(id, SLATE)
    await watch.next()
    await stage.platform.alerts.forget(timedelta(days=1))
    assert len(await listed(stage)) == 2
    await stage.platform.alerts.forget(timedelta(0))
    assert [each.kind for each in await listed(stage)] == ["slate"]


async def test_of_one_subject_alone(stage: Stage, watch: Watch) -> None:
    ids = [await on_air(stage) for _ in range(2)]
    for id in ids:
        await stage.hear(id, FAILED)
        await watch.next()
    found = await stage.platform.alerts.visible_to(OWNER, None, ids[0], 100)
    assert [each.subject for each in found] == ids[:1]
    assert len(await stage.platform.alerts.visible_to(OWNER, None, None, 1)) == 1
