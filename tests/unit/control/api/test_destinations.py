from __future__ import annotations

import asyncio
from typing import Any

import httpx

from strata.control import tables
from strata.errors import NoCapacity
from strata.settings import Forward
from strata.wire import host as wire
from unit.control.api.stage import ApiStage, is_problem
from unit.control.stage import ADMIN, KEY, OTHER, OWNER, VIEWER

PATH = "/api/destinations"
BODY = {"name": "YouTube", "url": "rtmp://127.0.0.1/live", "key": KEY}
Login = dict[str, str]


async def add(api: ApiStage, login: Login, **more: Any) -> dict[str, Any]:
    answer = await api.http.post(PATH, json=BODY | more, headers=login)
    assert answer.status_code == 201, answer.text
    assert "canary" not in answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_from_the_first_to_the_last(api: ApiStage) -> None:
    login = await api.log_in(OWNER)
    made = await add(api, login)
    assert made["id"].startswith("dst_")
    assert (made["name"], made["kind"], made["url"], made["has_key"]) == (
        *("YouTube", "rtmp", "rtmp://127.0.0.1/live/****", True),
    )
    path = f"{PATH}/{made['id']}"
    assert (await api.http.get(path, headers=login)).json() == made
    assert (await api.http.get(PATH, headers=login)).json() == [made]
    changed = await api.http.put(
        path, json={"name": "Other", "url": "rtmp://127.0.0.2/live"}, headers=login
    )
    assert changed.json() == made | {"name": "Other", "url": "rtmp://127.0.0.2/live/****"}
    started = await api.start(login, forward_to=[], destinations=[made["id"]])
    assert started.status_code == 201, started.text
    [start] = api.host.asked
    assert isinstance(start, wire.Start)
    assert start.forwards == [f"rtmp://127.0.0.2/live/{KEY}"]
    await api.http.post(f"/api/streams/{started.json()['id']}/stop", headers=login)
    assert (await api.http.delete(path, headers=login)).status_code == 204
    assert is_problem(await api.http.get(path, headers=login), 404, "not_found")
    events = (await api.http.get("/api/events", headers=login)).json()
    assert [each["type"] for each in events if each["subject"] == made["id"]] == [
        *("destination_added", "destination_changed", "destination_removed"),
    ]
    assert "canary" not in str(events)


async def test_the_key_is_nowhere_in_the_clear(api: ApiStage) -> None:
    made = await add(api, await api.log_in(OWNER))
    async with api.stage.store.begin() as session:
        row = await session.get(tables.Destination, made["id"])
    assert row is not None
    assert KEY.encode() not in row.url_sealed
    assert KEY in api.stage.platform.seal.open(row.url_sealed, f"{row.id}.url").reveal()


async def test_whose_it_is(api: ApiStage) -> None:
    one, two, admin, viewer = [await api.log_in(user) for user in (OWNER, OTHER, ADMIN, VIEWER)]
    path = f"{PATH}/{(await add(api, one))['id']}"
    for method, suffix in (("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "/test")):
        body = BODY if method == "PUT" else None
        answer = await api.http.request(method, path + suffix, json=body, headers=two)
        assert is_problem(answer, 404, "not_found")
        status = 404 if method == "GET" else 403
        answer = await api.http.request(method, path + suffix, json=body, headers=viewer)
        assert answer.status_code == status
    assert is_problem(await api.http.post(PATH, json=BODY, headers=viewer), 403, "not_allowed")
    assert (await api.http.get(PATH, headers=two)).json() == []
    assert len((await api.http.get(PATH, headers=admin)).json()) == 1
    id = path.rpartition("/")[2]
    answer = await api.start(two, forward_to=[], destinations=[id])
    assert is_problem(answer, 404, "not_found")
    assert not api.host.asked


async def test_what_no_destination_can_be(api: ApiStage) -> None:
    login = await api.log_in(OWNER)
    for more, code in (
        ({"url": "srt://127.0.0.1:9000"}, "bad_url"),
        ({"url": "rtmp://127.0.0.1/live/****"}, "bad_url"),
        ({"url": "file:///etc/x.ts", "key": None}, "address_refused"),
        ({"name": ""}, "bad_request"),
        ({"key": ""}, "bad_request"),
        ({"more": 1}, "bad_request"),
    ):
        answer = await api.http.post(PATH, json=BODY | more, headers=login)
        assert is_problem(answer, 422, code)
    assert (await api.http.get(PATH, headers=login)).json() == []


async def test_addresses_are_looked_at_when_it_is_stored_and_when_it_is_used(
    api: ApiStage,
) -> None:
    login = await api.log_in(OWNER)
    made = await add(api, login)
    destinations = api.stage.platform.destinations
    closed = api.stage.settings.model_copy(update={"forward": Forward()})
    destinations._settings = closed
    path = f"{PATH}/{made['id']}"
    for answer in (
        await api.http.post(PATH, json=BODY, headers=login),
        await api.http.put(path, json=BODY, headers=login),
        await api.http.post(f"{path}/test", headers=login),
        await api.start(login, forward_to=[], destinations=[made["id"]]),
    ):
        assert is_problem(answer, 422, "address_refused")
    assert not api.host.asked


async def test_one_that_is_on_the_air_is_neither_removed_nor_tested(api: ApiStage) -> None:
    login = await api.log_in(OWNER)
    made = await add(api, login)
    path = f"{PATH}/{made['id']}"
    id = (await api.start(login, forward_to=[], destinations=[made["id"]])).json()["id"]
    assert is_problem(await api.http.delete(path, headers=login), 409, "conflict")
    assert is_problem(await api.http.post(f"{path}/test", headers=login), 409, "conflict")
    # The same key by another way is on the air, too, whoever it belongs to.
    other = await api.log_in(OTHER)
    same = await add(api, other)
    answer = await api.http.post(f"{PATH}/{same['id']}/test", headers=other)
    assert is_problem(answer, 409, "conflict")
    await api.http.post(f"/api/streams/{id}/stop", headers=login)
    assert (await api.http.post(f"{path}/test", headers=login)).status_code == 200


async def test_one_that_is_on_the_air_is_not_given_to_a_second_stream(api: ApiStage) -> None:
    login = await api.log_in(OWNER)
    made = await add(api, login)
    body = {"forward_to": [], "destinations": [made["id"]]}
    id = (await api.start(login, **body)).json()["id"]
    answer = await api.start(login, **body)
    assert is_problem(answer, 409, "conflict")
    assert id in answer.json()["detail"]
    await api.http.post(f"/api/streams/{id}/stop", headers=login)
    assert (await api.start(login, **body)).status_code == 201


async def test_a_test_tells_what_the_other_end_said(api: ApiStage) -> None:
    login = await api.log_in(OWNER)
    path = f"{PATH}/{(await add(api, login))['id']}/test"
    api.host.tested = wire.Tested(False, "it said no", "refused", 0.0, 0)
    assert (await api.http.post(path, headers=login)).json() == {
        "ok": False,
        "code": "refused",
        "message": "it said no",
        "live_s": 0.0,
        "bytes": 0,
    }
    assert api.host.asked == [wire.TestPush(f"rtmp://127.0.0.1/live/{KEY}", 10.0)]
    [event] = (await api.http.get("/api/events?limit=1", headers=login)).json()
    assert (event["type"], event["data"]["code"]) == ("destination_tested", "refused")
    api.host.fail = NoCapacity("2 test pushes are under way")
    assert is_problem(await api.http.post(path, headers=login), 503, "no_capacity")


async def test_one_test_at_a_time(api: ApiStage) -> None:
    login = await api.log_in(OWNER)
    path = f"{PATH}/{(await add(api, login))['id']}/test"
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def wait(request: wire.Request) -> None:
        asked.set()
        await go_on.wait()

    api.host.before_answer = wait
    first: asyncio.Task[httpx.Response] = asyncio.create_task(api.http.post(path, headers=login))
    await asked.wait()
    assert is_problem(await api.http.post(path, headers=login), 409, "conflict")
    go_on.set()
    assert (await first).status_code == 200
    assert (await api.http.post(path, headers=login)).status_code == 200
