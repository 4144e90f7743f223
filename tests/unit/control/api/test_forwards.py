from __future__ import annotations

from typing import Any

import pytest

from strata.control import forwards
from strata.control.forwards import Forward, Forwards
from strata.errors import DestinationRefused, HostUnreachable
from strata.wire import host as wire
from strata.wire import worker as worker_wire
from support.children import until
from unit.control.api.stage import ApiStage, is_problem
from unit.control.stage import ADMIN, DEADLINE_S, KEY, ON_AIR, OTHER, OWNER, RECEIVING, URL, VIEWER

NEW = "rtmp://127.0.0.1/live/canary-new"
FAILED = worker_wire.Forward("fwd_2", "rtmp", "failed", "rtmp://127.0.0.1/live/****", "it said no")


class Running:
    """A stream on the air, and who started it."""

    def __init__(self, api: ApiStage, login: dict[str, str], id: str) -> None:
        self.api, self.login, self.id = api, login, id
        self.path = f"/api/streams/{id}"

    async def call(self, method: str, path: str = "", **body: Any) -> Any:
        return await self.api.http.request(
            method, self.path + path, json=body or None, headers=self.login
        )

    async def held(self) -> Forwards:
        row = await self.api.stage.row(self.id)
        return forwards.opened(self.api.stage.platform.seal, row)

    async def shown(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.call("GET")).json()
        assert "canary" not in str(found)
        return found

    async def told(self) -> list[str]:
        events = (await self.shown())["events"]
        return [
            each["type"]
            for each in events
            if each["type"].startswith(("forward_", "forwards_", "slate"))
        ]


@pytest.fixture
async def running(api: ApiStage) -> Running:
    login = await api.log_in(OWNER)
    id = (await api.start(login)).json()["id"]
    await api.stage.hear(id, RECEIVING, ON_AIR)
    return Running(api, login, id)


async def test_one_is_added_replaced_and_removed(running: Running) -> None:
    api = running.api
    made = await api.http.post(
        "/api/destinations",
        json={"name": "Second", "url": "rtmp://127.0.0.2/live", "key": KEY},
        headers=running.login,
    )
    destination = made.json()["id"]
    answer = await running.call("POST", "/forwards", destination=destination)
    assert answer.status_code == 201
    assert answer.json() == {
        "forward": "fwd_2",
        "kind": "rtmp",
        "url": "rtmp://127.0.0.2/live/****",
        "destination": destination,
        "name": "Second",
        "overlap": None,
    }
    assert api.host.asked[-1] == wire.AddForward(running.id, f"rtmp://127.0.0.2/live/{KEY}")
    await api.stage.hear(
        running.id, worker_wire.Forward("fwd_2", "rtmp", "live", "rtmp://127.0.0.2/live/****")
    )
    shown = {each["forward"]: each for each in (await running.shown())["forwards"]}
    assert (shown["fwd_2"]["destination"], shown["fwd_2"]["name"]) == (destination, "Second")
    assert (shown["fwd_1"]["destination"], shown["fwd_1"]["name"]) == (None, "")

    answer = await running.call("PUT", "/forwards/fwd_1", url=NEW)
    assert answer.status_code == 200
    assert (answer.json()["forward"], answer.json()["overlap"]) == ("fwd_1", True)
    assert (await running.held()).now == (
        Forward(NEW, "fwd_1"),
        Forward(f"rtmp://127.0.0.2/live/{KEY}", "fwd_2", destination, "Second"),
    )
    assert (await running.call("DELETE", "/forwards/fwd_2")).status_code == 204
    assert await running.held() == Forwards((Forward(NEW, "fwd_1"),))
    assert [each["forward"] for each in (await running.shown())["forwards"]] == ["fwd_1"]
    assert await running.told() == ["forward_requested", "forward_changed"] * 3


async def test_what_is_wanted_is_written_down_first(running: Running) -> None:
    seen: list[Forwards] = []

    async def look(request: wire.Request) -> None:
        seen.append(await running.held())

    running.api.host.before_answer = look
    await running.call("POST", "/forwards", url=NEW)
    old = Forward(URL, "fwd_1")
    assert seen == [Forwards((old, Forward(NEW)), before=(old,))]
    assert await running.held() == Forwards((old, Forward(NEW, "fwd_2")))


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/forwards", {"url": NEW}),
        ("PUT", "/forwards/fwd_1", {"url": NEW}),
        ("DELETE", "/forwards/fwd_1", {}),
    ],
)
async def test_what_the_host_refuses_is_taken_back(
    running: Running, method: str, path: str, body: dict[str, str]
) -> None:
    before = await running.held()
    running.api.host.fail = DestinationRefused("the platform refused the stream key")
    answer = await running.call(method, path, **body)
    assert is_problem(answer, 502, "refused")
    assert await running.held() == before
    assert await running.told() == ["forward_requested", "forward_refused"]


@pytest.mark.parametrize("is_done", [True, False])
async def test_what_became_of_an_order_whose_answer_was_lost(
    running: Running, is_done: bool
) -> None:
    host = running.api.host

    async def lose(request: wire.Request) -> None:
        if isinstance(request, wire.AddForward):
            if not is_done:
                del host.forwards[running.id]["fwd_2"]
            raise HostUnreachable("the host went away before it answered")

    host.before_answer = lose
    answer = await running.call("POST", "/forwards", url=NEW)
    assert is_problem(answer, 503, "host_unreachable")
    assert (await running.held()).before is not None
    await running.api.stage.streams.observer.compare_notes()
    old = Forward(URL, "fwd_1")
    assert await running.held() == Forwards((old, Forward(NEW, "fwd_2")) if is_done else (old,))
    assert await running.told() == ["forward_requested", "forwards_settled"]


async def test_what_was_wrong_with_one_that_is_removed_counts_no_more(running: Running) -> None:
    await running.call("POST", "/forwards", url=NEW)
    await running.api.stage.hear(running.id, FAILED)
    assert (await running.shown())["state"] == "degraded"
    assert (await running.call("DELETE", "/forwards/fwd_2")).status_code == 204
    assert (await running.shown())["state"] == "live"
    # What the worker said of it before comes late.
    await running.api.stage.hear(running.id, FAILED)
    shown = await running.shown()
    assert (shown["state"], len(shown["forwards"])) == ("live", 1)


async def test_what_cannot_be(running: Running) -> None:
    call = running.call
    for method, path, body, status, code in (
        ("POST", "/forwards", {"url": NEW, "destination": "dst_1"}, 422, "bad_arguments"),
        ("POST", "/forwards", {"url": None}, 422, "bad_arguments"),
        ("POST", "/forwards", {"url": "gopher://x/canary"}, 422, "bad_url"),
        ("POST", "/forwards", {"destination": "dst_1"}, 404, "not_found"),
        ("PUT", "/forwards/fwd_9", {"url": NEW}, 404, "not_found"),
        ("PUT", "/forwards/fwd_x", {"url": NEW}, 404, "not_found"),
        ("DELETE", "/forwards/fwd_9", {}, 404, "not_found"),
    ):
        assert is_problem(await call(method, path, **body), status, code)
    assert len(running.api.host.asked) == 1
    assert (await running.held()).before is None


async def test_whose_it_is_and_that_it_runs(running: Running) -> None:
    http = running.api.http
    for user, status in ((OTHER, 404), (VIEWER, 403)):
        login = await running.api.log_in(user)
        for method, path, body in (
            ("POST", "/forwards", {"url": NEW}),
            ("PUT", "/forwards/fwd_1", {"url": NEW}),
            ("DELETE", "/forwards/fwd_1", None),
            ("POST", "/slate", {"now": True}),
        ):
            answer = await http.request(method, running.path + path, json=body, headers=login)
            assert answer.status_code == status
    await running.call("POST", "/stop")
    admin = await running.api.log_in(ADMIN)
    for method, path, body in (
        ("POST", "/forwards", {"url": NEW}),
        ("PUT", "/forwards/fwd_1", {"url": NEW}),
        ("DELETE", "/forwards/fwd_1", None),
        ("POST", "/slate", {"now": True}),
    ):
        answer = await http.request(method, running.path + path, json=body, headers=admin)
        assert is_problem(answer, 409, "conflict")


async def test_the_slate_on_demand(running: Running) -> None:
    assert (await running.shown())["slate_held"] is False
    assert (await running.call("POST", "/slate", now=True)).json() == {"now": True}
    assert running.api.host.asked[-1] == wire.Configure(running.id, slate_now=True)
    assert (await running.shown())["slate_held"] is True
    await running.api.stage.tell(wire.Restarting(running.id, "it crashed"))
    assert (await running.shown())["slate_held"] is True
    await running.call("POST", "/slate", now=False)
    assert (await running.shown())["slate_held"] is False
    assert await running.told() == ["slate_requested"] * 2


async def test_a_picture(running: Running) -> None:
    path = "/thumbnail.jpg"
    assert is_problem(await running.call("GET", path), 409, "no_picture")
    running.api.host.picture = wire.Picture(b"\xff\xd8jpeg", 1.25, "slate")
    answer = await running.call("GET", path)
    assert (answer.status_code, answer.content) == (200, b"\xff\xd8jpeg")
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["strata-shows"] == "slate"
    other = await running.api.log_in(OTHER)
    hidden = await running.api.http.get(running.path + path, headers=other)
    assert is_problem(hidden, 404, "not_found")
    await running.call("POST", "/stop")
    assert is_problem(await running.call("GET", path), 409, "no_picture")


async def test_where_all_of_them_lead_is_entrusted_to_a_new_host(running: Running) -> None:
    await running.call("POST", "/forwards", url=NEW)
    await running.call("DELETE", "/forwards/fwd_1")
    running.api.host.forgot.add(running.id)
    await running.api.stage.streams.observer.compare_notes()
    asked = running.api.host.asked
    await until(lambda: isinstance(asked[-1], wire.Entrust), DEADLINE_S, "it is entrusted")
    entrusted = asked[-1]
    assert isinstance(entrusted, wire.Entrust)
    assert (entrusted.forwards, entrusted.forward_ids) == ([NEW], ["fwd_2"])
