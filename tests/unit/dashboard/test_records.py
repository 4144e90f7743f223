"""The pages that are tables: what stands in them, who may do what, and what is told once."""

from __future__ import annotations

import json
from typing import Any, TypeVar

import pytest
from nicegui.client import Client
from pydantic import SecretStr

from strata.control.roles import User
from strata.dashboard import log_pages, records
from strata.dashboard.destinations_page import DestinationsPanel
from strata.dashboard.hosts_page import HostsPanel
from strata.dashboard.log_pages import EventsPanel, PastPanel, SettingsPanel, flattened
from strata.dashboard.overview import Overview
from strata.dashboard.people_page import TokensPanel, UsersPanel
from strata.dashboard.records import Records
from strata.dashboard.seat import Seat
from strata.dashboard.senders_page import SendersPanel
from strata.settings import Database, Settings
from unit.control.stage import ADMIN, KEY, OTHER, OWNER, PASSWORD, URL, VIEWER, Stage
from unit.control.test_alerts import LOAD, on_air
from unit.dashboard.asking import ask, refused

P = TypeVar("P", bound=Records)
ORIGIN = "https://control.example"


class Desk:
    """Panels of people."""

    def __init__(self, stage: Stage, client: Client) -> None:
        self.stage = stage
        self.client = client

    async def panel(self, kind: type[P], user: User = OWNER) -> P:
        logins = self.stage.platform.logins
        token, who = await logins.log_in(user.email, PASSWORD, "192.0.2.1")
        with self.client:
            overview = Overview(self.stage.platform)
            return kind(Seat(self.stage.platform, overview, token, who, ORIGIN))


@pytest.fixture
def desk(stage: Stage, client: Client) -> Desk:
    return Desk(stage, client)


async def look(one: Records, before: str | None = None) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (await ask(one, "look", before=before))["rows"]
    return rows


async def test_a_destination_is_added_tested_changed_and_removed(desk: Desk) -> None:
    one = await desk.panel(DestinationsPanel)
    base = URL.removesuffix(f"/{KEY}")
    await ask(one, "add", name="Channel", url=base, key=KEY)
    [row] = await look(one)
    assert row["cells"]["name"]["text"] == "Channel"
    assert row["acts"] == ("test", "change", "remove")
    assert KEY not in json.dumps(row)
    assert KEY not in json.dumps(one.props["spec"])
    told = await ask(one, "test", id=row["id"])
    assert (told["good"], told["said"].startswith("It works")) == (True, True)
    # As it is shown, and without a key: the one there is goes on.
    await ask(one, "change", id=row["id"], **row["values"] | {"name": "Other"})
    [row] = await look(one)
    assert row["cells"]["name"]["text"] == "Other"
    forward = await desk.stage.platform.destinations.forward(OWNER, row["id"])
    assert forward.url == URL
    await ask(one, "remove", id=row["id"])
    assert await look(one) == []


async def test_what_is_wrong_with_a_destination_is_told_without_its_key(desk: Desk) -> None:
    one = await desk.panel(DestinationsPanel)
    assert "name" in await refused(one, "add", url=URL)
    problem = await refused(one, "add", name="x", url="gopher://x", key="canary")
    assert "canary" not in problem


async def test_a_sender_is_told_its_token_once(desk: Desk) -> None:
    one = await desk.panel(SendersPanel)
    told = (await ask(one, "add", name="The van"))["once"]
    token = dict(told["lines"])["Token"]
    assert token.startswith("snd_")
    assert dict(told["lines"])["For its settings"] == (
        f"STRATA_SENDER_CONTROL={ORIGIN}\nSTRATA_SENDER_ENROLLMENT_TOKEN={token}"
    )
    assert told["image"].startswith("data:image/svg+xml")
    [row] = await look(one)
    assert row["cells"]["state"]["text"] == "Waits for its box"
    assert token.partition(".")[2] not in json.dumps(row)
    again = (await ask(one, "enroll", id=row["id"]))["once"]
    assert dict(again["lines"])["Token"] != token
    await ask(one, "remove", id=row["id"])
    assert await look(one) == []


async def test_a_host_is_drained_by_an_administrator(desk: Desk) -> None:
    desk.stage.streams.observer.load = LOAD
    one = await desk.panel(HostsPanel, ADMIN)
    [row] = await look(one)
    assert (row["acts"], row["cells"]["state"]["text"]) == (("drain",), "Connected")
    await ask(one, "drain", id="local")
    [row] = await look(one)
    assert (row["acts"], row["cells"]["state"]["tone"]) == (("undrain",), "warn")
    operator = await desk.panel(HostsPanel, OWNER)
    assert (await look(operator))[0]["acts"] == ()
    assert "role of an admin" in await refused(operator, "undrain", id="local")
    await ask(one, "undrain", id="local")


async def test_a_host_that_does_not_answer(desk: Desk) -> None:
    desk.stage.host.connected = False
    [row] = await look(await desk.panel(HostsPanel))
    assert row["cells"]["state"]["tone"] == "bad"
    assert row["cells"]["cpu"] == {"kind": "share", "percent": None, "text": "–"}


async def test_users(desk: Desk) -> None:
    one = await desk.panel(UsersPanel, ADMIN)
    body = {"email": "new@example.org", "password": "canary-first", "role": "viewer"}
    assert "may log in" in (await ask(one, "add", **body))["said"]
    rows = {row["cells"]["email"]["text"]: row for row in await look(one)}
    assert "canary" not in json.dumps(rows)
    id = rows["new@example.org"]["id"]
    await ask(one, "role", id=id, role="operator")
    await ask(one, "password", id=id, password="canary-second")
    logins = desk.stage.platform.logins
    _, who = await logins.log_in("new@example.org", "canary-second", "192.0.2.1")
    assert who.role == "operator"
    await ask(one, "disable", id=id)
    rows = {row["id"]: row for row in await look(one)}
    assert rows[id]["acts"] == ("role", "password", "enable", "remove")
    await ask(one, "enable", id=id)
    await ask(one, "remove", id=id)
    assert (
        "nobody would be an administrator"
        in (await refused(one, "role", id=ADMIN.id, role="viewer")).lower()
    )
    assert "canary" not in await refused(one, "add", **body | {"password": "canary"})


async def test_only_administrators_have_to_do_with_users(desk: Desk) -> None:
    for user in (OWNER, VIEWER):
        one = await desk.panel(UsersPanel, user)
        for what in UsersPanel.actions:
            args = {"email": "a@b", "password": "long-enough", "role": "admin", "id": OWNER.id}
            assert "role of an admin" in await refused(one, what, **args)


async def test_tokens_are_told_once_and_are_ones_own(desk: Desk) -> None:
    one = await desk.panel(TokensPanel)
    told = (await ask(one, "add", name="board", days="30"))["once"]
    token = dict(told["lines"])["Token"]
    assert (await desk.stage.platform.logins.user_of(token)).id == OWNER.id
    [row] = await look(one)
    assert token.partition(".")[2] not in json.dumps(row)
    assert row["cells"]["ends"]["at"] is not None
    assert await look(await desk.panel(TokensPanel, OTHER)) == []
    await ask(one, "remove", id=row["id"])
    assert await look(one) == []


@pytest.mark.parametrize(
    ("kind", "what", "args"),
    [
        (DestinationsPanel, "add", {"name": "x", "url": URL}),
        (DestinationsPanel, "change", {"id": "dst_1", "name": "x", "url": URL}),
        (DestinationsPanel, "remove", {"id": "dst_1"}),
        (DestinationsPanel, "test", {"id": "dst_1"}),
        (SendersPanel, "add", {"name": "x"}),
        (SendersPanel, "enroll", {"id": "snd_1"}),
        (SendersPanel, "remove", {"id": "snd_1"}),
        (HostsPanel, "drain", {"id": "local"}),
    ],
)
async def test_a_viewer_changes_nothing(
    desk: Desk, kind: type[Records], what: str, args: dict[str, Any]
) -> None:
    one = await desk.panel(kind, VIEWER)
    assert "this takes the role" in (await refused(one, what, **args)).lower()
    spec = one.props["spec"]
    assert spec["add"] is None
    assert all(row["acts"] == () for row in await look(one))


@pytest.mark.parametrize(("kind", "what"), [(TokensPanel, "add"), (SendersPanel, "add")])
@pytest.mark.parametrize("name", ["", "  ", None])
async def test_what_is_made_has_a_name(
    desk: Desk, kind: type[Records], what: str, name: str | None
) -> None:
    one = await desk.panel(kind)
    assert "Give it a name" in await refused(one, what, name=name)
    assert await look(one) == []


async def test_the_first_of_a_page_is_where_its_content_begins(desk: Desk) -> None:
    first, second = await desk.panel(UsersPanel, ADMIN), await desk.panel(TokensPanel)
    assert (first.props["is-first"], second.props["is-first"]) == (True, False)


async def test_past_broadcasts_with_how_they_ended(desk: Desk) -> None:
    one = await desk.panel(PastPanel)
    id = await on_air(desk.stage)
    assert await look(one) == []
    await desk.stage.end(id, "worker_crash", "three times in a minute")
    [row] = await look(one)
    assert row["cells"]["name"]["link"] == f"/streams/{id}"
    assert row["cells"]["state"]["tone"] == "bad"
    assert await look(await desk.panel(PastPanel, OTHER)) == []


async def test_what_ended_earlier_is_found(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_pages, "PAST_SHOWN", 2)
    made = []
    for _ in range(3):
        made.append((await desk.stage.begin()).row.id)
        await desk.stage.end(made[-1], "user_stop", "stopped on request")
    runs = (await desk.stage.begin()).row.id
    one = await desk.panel(PastPanel)
    told = await ask(one, "look")
    assert [row["id"] for row in told["rows"]] == [made[2], made[1]]
    assert told["earlier"] == made[1]
    told = await ask(one, "look", before=told["earlier"])
    assert ([row["id"] for row in told["rows"]], told["earlier"]) == ([made[0]], None)
    assert runs not in json.dumps(told)


async def test_what_happened_earlier_is_found(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    await on_air(desk.stage)
    one = await desk.panel(EventsPanel)
    all_of_them = [row["id"] for row in await look(one)]
    monkeypatch.setattr(log_pages, "EVENTS_SHOWN", 2)
    found: list[str] = []
    before = None
    while not found or before is not None:
        told = await ask(one, "look", before=before)
        assert len(told["rows"]) <= 2
        found += [row["id"] for row in told["rows"]]
        before = told["earlier"]
    assert found == all_of_them


async def test_events_tell_who_did_what(desk: Desk) -> None:
    id = await on_air(desk.stage)
    rows = await look(await desk.panel(EventsPanel))
    found = [row for row in rows if row["cells"]["what"]["text"] == "Started"]
    assert [row["cells"]["by"]["text"] for row in found] == ["you"]
    assert found[0]["cells"]["about"]["link"] == f"/streams/{id}"
    for user, by in ((ADMIN, OWNER.email), (OTHER, None)):
        rows = await look(await desk.panel(EventsPanel, user))
        told = [row["cells"]["by"]["text"] for row in rows if row["cells"]["about"]["link"]]
        assert (by in told) == (by is not None)


async def test_settings_are_for_administrators_and_hold_no_secret(desk: Desk) -> None:
    rows = await look(await desk.panel(SettingsPanel, ADMIN))
    names = {row["id"]: row["cells"]["value"]["text"] for row in rows}
    assert names["server.session_hours"] == "72.0"
    assert "role of an admin" in await refused(await desk.panel(SettingsPanel), "look")


def test_what_is_secret_in_the_settings_is_not_shown() -> None:
    url = SecretStr("postgresql+psycopg://me:canary@db/strata")
    told = flattened(Settings(database=Database(url=url)))
    assert told["database.url"] == "set, and shown to nobody"
    assert "canary" not in json.dumps(told)
    assert told["admin.password"] == "not set"


@pytest.mark.parametrize(
    ("used", "whole", "percent"),
    [(1.0, 4.0, 25), (None, 4.0, None), (1.0, None, None), (1, 0, None)],
)
def test_shares(used: float | None, whole: float | None, percent: int | None) -> None:
    assert records.share(used, whole, "words")["percent"] == percent
