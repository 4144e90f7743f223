from __future__ import annotations

from typing import Any

from strata.settings import Forward
from strata.wire import host as wire
from strata.wire import worker as worker_wire
from unit.control.api.stage import ApiStage, is_problem
from unit.control.stage import ADMIN, OTHER, OWNER, RECEIVING, URL, VIEWER

LOAD = wire.Load(4.0, 8000.0, 50_000.0, 0, 100, 0.0, 0.0, 0.0, None, "none")
H265 = worker_wire.Media(worker_wire.VideoMedia("h265", 1920, 1080, 50.0, 5.0))
Login = dict[str, str]


async def ask(api: ApiStage, login: Login, **body: Any) -> list[dict[str, Any]]:
    api.stage.streams.observer.load = LOAD
    answer = await api.http.post("/api/preflight", json=body, headers=login)
    assert answer.status_code == 200, answer.text
    assert "canary" not in answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


def codes(found: list[dict[str, Any]]) -> list[tuple[str, str | None]]:
    return [(each["code"], each["field"]) for each in found]


async def test_nothing_stands_in_the_way_and_nothing_is_done(api: ApiStage) -> None:
    login = await api.log_in(OWNER)
    assert await ask(api, login, forward_to=[URL], record=True, preview=True) == []
    assert not api.host.asked
    assert (await api.http.get("/api/streams", headers=login)).json() == []


async def test_all_that_is_wrong_is_told_at_once(api: ApiStage) -> None:
    login = await api.log_in(OWNER)
    await api.start(await api.log_in(OTHER))
    found = await ask(
        api,
        login,
        forward_to=["gopher://x/canary", "file:///etc/x.ts", URL, "srt://h.invalid:9000"],
        destinations=["dst_nowhere"],
        links=8,
        slate="../../etc/canary.png",
        encoder={"codec": "h265", "keyint_max": 300, "fps": 50, "bitrate_kbps": 30_000},
        source={"mode": "v4l2", "device": "/dev/video0", "audio": False},
        preview=True,
    )
    assert codes(found) == [
        ("bad_url", "forward_to.0"),
        ("address_refused", "forward_to.1"),
        ("bad_url", "forward_to.3"),
        ("not_found", "destinations.0"),
        ("address_refused", "slate"),
        ("in_use", "forward_to.2"),
        ("over_cap", None),
        ("unsupported_media", "forward_to.2"),
        ("keyframes_far_apart", "preview"),
        ("no_audio", "source"),
    ]
    assert [each["severity"] for each in found] == ["error"] * 8 + ["warning"] * 2


async def test_an_address_inside_is_told(api: ApiStage) -> None:
    closed = api.stage.settings.model_copy(update={"forward": Forward()})
    api.stage.platform.destinations._settings = closed
    found = await ask(api, await api.log_in(OWNER), forward_to=[URL])
    assert codes(found) == [("address_refused", "forward_to.0")]


async def test_the_same_place_twice(api: ApiStage) -> None:
    login = await api.log_in(OWNER)
    assert codes(await ask(api, login, forward_to=[URL, URL])) == [("in_use", "forward_to.1")]
    assert is_problem(await api.start(login, forward_to=[URL, URL]), 409, "conflict")


async def test_nowhere_to_go(api: ApiStage) -> None:
    found = await ask(api, await api.log_in(OWNER))
    assert codes(found) == [("bad_arguments", "forward_to")]


async def test_no_host_and_one_that_is_draining(api: ApiStage) -> None:
    login, admin = await api.log_in(OWNER), await api.log_in(ADMIN)
    answer = await api.http.post("/api/hosts/local/drain", headers=admin)
    assert (answer.status_code, answer.json()["draining"]) == (200, True)
    [found] = await ask(api, login, forward_to=[URL])
    assert found["code"] == "no_capacity"
    assert "draining" in found["message"]
    api.host.connected = False
    assert codes(await ask(api, login, forward_to=[URL])) == [("host_unreachable", None)]


async def test_a_stream_that_runs_is_judged_by_what_is_measured(api: ApiStage) -> None:
    login = await api.log_in(OWNER)
    id = (await api.start(login, preview=True)).json()["id"]
    assert await ask(api, login, stream_id=id) == []
    stats = worker_wire.Stats(
        9000.0, 9000.0, 1000.0, 1.0, 1.0, 1.0, H265, worker_wire.Flow(), [], []
    )
    await api.stage.hear(id, RECEIVING, worker_wire.Program("live", "silence"), stats)
    found = await ask(api, login, stream_id=id)
    assert codes(found) == [
        ("unsupported_media", "fwd_1"),
        ("keyframes_far_apart", "fwd_2"),
        ("no_audio", "source"),
    ]
    more = await ask(api, login, stream_id=id, forward_to=["rtmp://127.0.0.1/live/canary-2"])
    assert codes(more) == [("unsupported_media", "forward_to.0"), ("no_audio", "source")]
    body = {"stream_id": id}
    other = await api.log_in(OTHER)
    answer = await api.http.post("/api/preflight", json=body, headers=other)
    assert is_problem(answer, 404, "not_found")
    await api.stage.streams.stop(OWNER, id)
    answer = await api.http.post("/api/preflight", json=body, headers=login)
    assert is_problem(answer, 409, "conflict")


async def test_who_may_only_look_asks_nothing(api: ApiStage) -> None:
    login = await api.log_in(VIEWER)
    answer = await api.http.post("/api/preflight", json={}, headers=login)
    assert is_problem(answer, 403, "not_allowed")
