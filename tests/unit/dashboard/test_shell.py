from __future__ import annotations

from typing import Any

import pytest
from nicegui.client import Client
from sqlalchemy.exc import OperationalError

from strata.control import tables
from strata.control.bus import News
from strata.control.roles import User
from strata.dashboard import alarms
from strata.dashboard.overview import Overview
from strata.dashboard.seat import Seat
from strata.dashboard.shell import AlertsPanel, Shell
from strata.errors import StoreUnavailable
from unit.control.stage import OTHER, OWNER, PASSWORD, VIEWER, Stage
from unit.control.test_alerts import FAILED, on_air
from unit.dashboard.views import BEGUN


async def shell(stage: Stage, client: Client, user: User = OWNER) -> Shell:
    token, who = await stage.platform.logins.log_in(user.email, PASSWORD, "192.0.2.1")
    with client:
        return Shell(Seat(stage.platform, Overview(stage.platform), token, who), "wall")


async def in_trouble(stage: Stage) -> str:
    id = await on_air(stage)
    await stage.hear(id, FAILED)
    await stage.platform.alerts.look()
    return id


async def test_what_stands_is_told_with_the_name_of_its_stream(
    stage: Stage, client: Client
) -> None:
    id = await in_trouble(stage)
    [alert], problem = await (await shell(stage, client))._answer("standing", {})
    assert problem is None
    assert (alert["subject"], alert["name"], alert["grave"]) == (id, "Derby", True)
    assert (alert["title"], alert["detail"]) == ("A destination has given up", "refused")
    assert (alert["cleared"], alert["acked"]) == (None, None)
    for user in (OTHER, VIEWER):
        assert await (await shell(stage, client, user))._answer("standing", {}) == ([], None)


async def test_it_is_acknowledged_once_and_by_who_may(stage: Stage, client: Client) -> None:
    await in_trouble(stage)
    one = await shell(stage, client)
    [alert], _ = await one._answer("standing", {})
    for user, word in ((VIEWER, "role of an operator"), (OTHER, "There is no alert")):
        result, problem = await (await shell(stage, client, user))._answer(
            "ack", {"id": alert["id"]}
        )
        assert result is None
        assert problem is not None
        assert word in problem
    told, _ = await one._answer("ack", {"id": alert["id"]})
    assert told["acked"] is not None


async def test_news_reach_those_whom_they_concern(
    stage: Stage, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: dict[str, list[Any]] = {}
    panels = [await shell(stage, client, user) for user in (OWNER, OTHER)]
    for panel in panels:
        mine = sent.setdefault(panel.seat.user.id, [])
        monkeypatch.setattr(panel, "send", lambda what, data, to=mine: to.append((what, data)))
    with stage.platform.bus.listen(lambda news: news.topic == "alerts") as listener:
        await in_trouble(stage)
        news = await listener.next()
    for panel in panels:
        panel.hear(news)
    [(what, told)] = sent[OWNER.id]
    assert (what, told["title"]) == ("alert", "A destination has given up")
    assert sent[OTHER.id] == []


async def test_what_is_over_is_in_the_history(stage: Stage, client: Client) -> None:
    id = await in_trouble(stage)
    await stage.end(id, "eos", "it was told to")
    await stage.platform.alerts.look()
    one = await shell(stage, client)
    assert await one._answer("standing", {}) == ([], None)
    with client:
        page = AlertsPanel(one.seat)
    [alert], _ = await page._answer("look", {})
    assert alert["cleared"] is not None
    assert alert["name"] == "Derby", "also of a stream that is no longer on the wall"


async def test_who_is_logged_in_no_more_is_told_nothing(
    stage: Stage, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await shell(stage, client)
    sent: list[Any] = []
    monkeypatch.setattr(one, "send", lambda what, data: sent.append(what))
    monkeypatch.setattr(type(one.client), "has_socket_connection", True)
    one.take_second()
    assert sent == ["tick"]
    one.seat.has_ended = True
    one.take_second()
    one.anew()
    one.hear_news(News("alerts", "alert_raised", None, OWNER.id))
    assert sent == ["tick"]


async def test_that_the_database_is_away_is_told(stage: Stage, client: Client) -> None:
    one = await shell(stage, client)
    assert one.tick() == {"away": False}
    with pytest.raises(StoreUnavailable):
        async with stage.platform.store.begin():
            raise OperationalError("SELECT 1", None, Exception("it is locked"))
    assert one.tick() == {"away": True}
    await stage.platform.store.check()
    assert one.tick() == {"away": False}


def test_an_alert_of_the_host() -> None:
    row = tables.Alert(
        id="alr_1", subject="local", kind="host_warning", detail="no limits", raised_at=BEGUN
    )
    told = alarms.told(row, "")
    assert (told["name"], told["subject"], told["grave"]) == (alarms.HOST, None, False)
