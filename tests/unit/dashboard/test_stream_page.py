from __future__ import annotations

import json
from typing import Any

import pytest
from nicegui.client import Client

from strata.control.bus import News
from strata.control.roles import User
from strata.dashboard.overview import Overview
from strata.dashboard.seat import Seat
from strata.dashboard.stream_page import StreamPanel, aim
from strata.errors import BadArguments
from strata.wire import host
from strata.wire import worker as wire
from unit.control.stage import KEY, OTHER, OWNER, PASSWORD, URL, VIEWER, Stage
from unit.control.test_alerts import FAILED, on_air
from unit.dashboard.asking import ask, refused
from unit.dashboard.views import link, stats

NUMBERS = wire.ForwardStats("fwd_1", "rtmp", "live", 5000.4, 1, 7, 3, 1.0, 0.1)


async def panel(stage: Stage, client: Client, id: str, user: User = OWNER) -> StreamPanel:
    token, who = await stage.platform.logins.log_in(user.email, PASSWORD, "192.0.2.1")
    with client:
        return StreamPanel(Seat(stage.platform, Overview(stage.platform), token, who), id)


async def test_all_that_there_is_to_show(stage: Stage, client: Client) -> None:
    id = await on_air(stage)
    arrived = wire.Flow(received=9)
    await stage.hear(id, stats(link(15000), link(15002), forwards=[NUMBERS], flow=arrived))
    await stage.platform.history.sample()
    one = await panel(stage, client, id)
    told = await ask(one, "look")
    assert (told["head"]["name"], told["head"]["tone"], told["runs"]) == ("Derby", "good", True)
    assert (told["buffer"], told["quality"], len(told["numbers"]["links"])) == (1000, 100.0, 2)
    [forward] = told["head"]["forwards"]
    assert (forward["kbps"], forward["reconnects"], forward["dropped"]) == (5000, 3, 7)
    assert [point["in"] for point in told["points"]] == [5000.4]
    assert told["events"][0]["text"] == "Started"
    row = await stage.row(id)
    psk = stage.platform.seal.open(row.psk_sealed, f"{id}.psk").reveal()
    assert psk not in json.dumps(told)
    assert KEY not in json.dumps(told)


async def test_what_is_another_users_is_not_there(stage: Stage, client: Client) -> None:
    id = await on_air(stage)
    one = await panel(stage, client, id, OTHER)
    one.seat.overview.take_stream(await stage.row(id), "changed")
    assert "There is no stream" in await refused(one, "look")
    assert one.tick() is None
    for what, args in (("stop", {}), ("add", {"url": URL}), ("remove", {"forward": "fwd_1"})):
        assert "There is no stream" in await refused(one, what, **args)


async def test_each_second(stage: Stage, client: Client) -> None:
    id = await on_air(stage)
    one = await panel(stage, client, id)
    assert one.tick() is None, "nothing is known yet"
    row = await stage.row(id)
    overview = one.seat.overview
    await stage.hear(id, stats(link(15000), flow=wire.Flow(received=100)))
    overview.take_stream(row, "stats")
    told = one.tick()
    assert told is not None
    assert told["point"]["in"] == 5000.4
    told = one.tick()
    assert told is not None
    assert "point" not in told, "the same numbers are no new point"
    await stage.hear(id, stats(link(15000), flow=wire.Flow(received=190, lost=10)))
    overview.take_stream(row, "stats")
    told = one.tick()
    assert told is not None
    assert told["point"]["lost"] == 10.0
    await stage.end(id, "eos", "it was told to")
    overview.take_stream(await stage.row(id), "changed")
    assert one.tick() == {"gone": True}
    assert one.tick() is None


async def test_forwards_are_added_replaced_and_removed(stage: Stage, client: Client) -> None:
    id = await on_air(stage)
    one = await panel(stage, client, id)
    kept = await stage.platform.destinations.add(OWNER, "Channel", f"{URL}-2", None)
    assert [each["name"] for each in await ask(one, "choices")] == ["Channel"]
    added = await ask(one, "add", destination=kept.row.id)
    assert added["name"] == "127.0.0.1 (RTMP)"
    replaced = await ask(one, "replace", forward="fwd_1", url=f"{URL}-3")
    assert replaced["overlap"] is True
    await ask(one, "remove", forward="fwd_2")
    assert stage.host.forwards[id] == {"fwd_1": f"{URL}-3"}
    assert (await ask(one, "test", destination=kept.row.id))["ok"] is True
    await ask(one, "slate", now=True)
    assert host.Configure(id, slate_now=True) in stage.host.asked
    await ask(one, "stop")
    assert (await stage.row(id)).state == "ended"


@pytest.mark.parametrize(
    ("what", "args"),
    [
        ("stop", {}),
        ("add", {"url": URL}),
        ("replace", {"forward": "fwd_1", "url": URL}),
        ("remove", {"forward": "fwd_1"}),
        ("slate", {"now": True}),
        ("test", {"destination": "dst_1"}),
    ],
)
async def test_a_viewer_changes_nothing(
    stage: Stage, client: Client, what: str, args: dict[str, Any]
) -> None:
    id = await on_air(stage)
    viewer = await panel(stage, client, id, VIEWER)
    asked = [*stage.host.asked]
    assert "role of an operator" in await refused(viewer, what, **args)
    assert stage.host.asked == asked


async def test_events_are_told_as_they_come(
    stage: Stage, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [await on_air(stage) for _ in range(2)]
    one = await panel(stage, client, ids[0])
    sent: list[tuple[str, Any]] = []
    monkeypatch.setattr(one, "send", lambda what, data: sent.append((what, data)))
    with stage.platform.bus.listen() as listener:
        for id in ids:
            await stage.hear(id, FAILED)
        while listener.has_more:
            one.hear(await listener.next())
    assert {what for what, _ in sent} == {"event"}
    events = await stage.platform.journal.latest(ids[0], 100)
    assert {data["id"] for _, data in sent} <= {each.id for each in events}
    sent.clear()
    [first, *_] = events
    one.hear(News("events", first.type, first, OTHER.id))
    assert sent == [], "not what is another's"


@pytest.mark.parametrize(
    "args",
    [{}, {"url": "x", "destination": "y"}, {"url": 5}, {"url": ""}, {"url": "x" * 5000}],
)
def test_where_a_forward_is_to_lead(args: dict[str, Any]) -> None:
    with pytest.raises(BadArguments):
        aim(args)
