"""The routes, over a real database and a host in memory."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import strata
from strata.control.api.app import BODY_BYTES_MAX
from unit.control.api.stage import ApiStage, is_problem
from unit.control.stage import ADMIN, OTHER, OWNER, PASSWORD, URL, VIEWER


async def test_from_login_to_logout(api: ApiStage) -> None:
    login = await api.log_in(OWNER)
    assert (await api.http.get("/api/streams", headers=login)).json() == []
    assert (await api.http.post("/api/auth/logout", headers=login)).status_code == 204
    assert is_problem(await api.http.get("/api/streams", headers=login), 401, "unauthorized")


async def test_a_login_tells_who_one_is(api: ApiStage) -> None:
    body = {"email": OWNER.email, "password": PASSWORD}
    answer = (await api.http.post("/api/auth/login", json=body)).json()
    assert answer["user"]["email"] == OWNER.email
    assert answer["user"]["role"] == "operator"
    assert answer["token"].startswith("tok_")


async def test_a_wrong_login(api: ApiStage) -> None:
    body = {"email": OWNER.email, "password": "canary-wrong"}
    answer = await api.http.post("/api/auth/login", json=body)
    assert is_problem(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_stream_from_start_to_stop(api: ApiStage) -> None:
    login = await api.log_in(OWNER)
    answer = await api.start(login, name="Derby", record=True, links=2)
    assert answer.status_code == 201
    started = answer.json()
    assert (started["state"], started["name"]) == ("waiting", "Derby")
    assert started["ports"] == [15000, 15002]
    assert started["psk"] in started["sender_command"]
    found = (await api.http.get(f"/api/streams/{started['id']}", headers=login)).json()
    assert found == {
        key: value for key, value in started.items() if key not in ("psk", "sender_command")
    }
    [listed] = (await api.http.get("/api/streams", headers=login)).json()
    assert listed == found | {"events": []}
    stopped = await api.http.post(f"/api/streams/{started['id']}/stop", headers=login)
    assert stopped.status_code == 200
    assert (stopped.json()["state"], stopped.json()["reason"]) == ("ended", "user_stop")
    again = await api.http.post(f"/api/streams/{started['id']}/stop", headers=login)
    assert again.json() == stopped.json()


async def test_the_key_and_the_stream_key_are_in_no_answer_but_the_first(api: ApiStage) -> None:
    login = await api.log_in(OWNER)
    answer = await api.start(login)
    psk = answer.json()["psk"]
    assert "canary" not in answer.text
    id = answer.json()["id"]
    for method, path in (
        ("GET", "/api/streams"),
        ("GET", f"/api/streams/{id}"),
        ("POST", f"/api/streams/{id}/stop"),
    ):
        other = await api.http.request(method, path, headers=login)
        assert other.status_code == 200
        assert psk not in other.text
        assert "canary" not in other.text


async def test_a_stream_of_somebody_else_does_not_exist(api: ApiStage) -> None:
    one, two, admin = [await api.log_in(user) for user in (OWNER, OTHER, ADMIN)]
    id = (await api.start(one)).json()["id"]
    path = f"/api/streams/{id}"
    assert is_problem(await api.http.get(path, headers=two), 404, "not_found")
    assert is_problem(await api.http.post(f"{path}/stop", headers=two), 404, "not_found")
    assert (await api.http.get("/api/streams", headers=two)).json() == []
    assert (await api.http.get(path, headers=admin)).json()["id"] == id
    assert id in api.host.running


async def test_who_may_only_look_starts_nothing(api: ApiStage) -> None:
    answer = await api.start(await api.log_in(VIEWER))
    assert is_problem(answer, 403, "not_allowed")


@pytest.mark.parametrize("id", ["str_nowhere", "..", "%2e%2e", "x" * 500, "%00", "ä", "' OR 1=1"])
async def test_a_stream_that_is_not_there(api: ApiStage, id: str) -> None:
    login = await api.log_in(OWNER)
    for method, path in (("GET", f"/api/streams/{id}"), ("POST", f"/api/streams/{id}/stop")):
        answer = await api.http.request(method, path, headers=login)
        # 422: PostgreSQL cannot even look for a NUL.
        assert answer.status_code in (404, 405) or (id == "%00" and answer.status_code == 422)
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"forward_to": []}, 422, "bad_arguments"),
        ({"forward_to": ["gopher://x/canary"]}, 422, "bad_url"),
        ({"forward_to": ["rtmp://x.example/canary"]}, 422, "bad_url"),
        ({"forward_to": ["file:///etc/x.ts"]}, 422, "address_refused"),
        ({"forward_to": URL}, 422, "bad_request"),
        ({"forward_to": ["canary" * 500]}, 422, "bad_request"),
        ({"forward_to": [URL], "links": 99}, 422, "bad_request"),
        ({"forward_to": [URL], "more": "canary"}, 422, "bad_request"),
        ([], 422, "bad_request"),
        ("canary", 422, "bad_request"),
    ],
    ids=lambda value: str(value)[:50],
)
async def test_a_start_that_cannot_be(api: ApiStage, body: object, status: int, code: str) -> None:
    login = await api.log_in(OWNER)
    answer = await api.http.post("/api/streams", json=body, headers=login)
    assert is_problem(answer, status, code)
    assert not api.host.asked
    assert (await api.http.get("/api/streams", headers=login)).json() == []


async def test_without_a_host_a_start_can_be_tried_again_later(api: ApiStage) -> None:
    login = await api.log_in(OWNER)
    api.host.connected = False
    answer = await api.start(login)
    assert is_problem(answer, 503, "host_unreachable")
    assert answer.json()["can_retry"] is True


async def test_health_and_readiness(api: ApiStage) -> None:
    assert (await api.http.get("/healthz")).json() == {"status": "ok"}
    assert (await api.http.get("/readyz")).json() == {"status": "ready"}
    api.host.connected = False
    assert (await api.http.get("/healthz")).status_code == 200
    assert is_problem(await api.http.get("/readyz"), 503, "host_unreachable")


async def test_the_interface_describes_itself(api: ApiStage) -> None:
    found = (await api.http.get("/api/openapi.json")).json()
    assert found["info"] == {"title": "Strata", "version": strata.__version__}
    assert (await api.http.get("/api/docs")).status_code == 200
    assert "psk" in found["components"]["schemas"]["StartedOut"]["properties"]
    assert "psk" not in found["components"]["schemas"]["StreamOut"]["properties"]


async def test_a_body_has_its_limit(api: ApiStage) -> None:
    login = await api.log_in(OWNER)
    largest = json.dumps({"name": ""}).encode()
    largest += b" " * (BODY_BYTES_MAX - len(largest))
    headers = login | {"Content-Type": "application/json"}
    answer = await api.http.post("/api/streams", content=largest, headers=headers)
    assert is_problem(answer, 422, "bad_arguments")
    answer = await api.http.post("/api/streams", content=largest + b" ", headers=headers)
    assert is_problem(answer, 413, "too_large")


@pytest.mark.parametrize("length", ["-1", "many", "\xb2", "1_0", "9" * 40])
async def test_a_length_that_is_none_is_refused(api: ApiStage, length: str) -> None:
    headers = {"Content-Length": length.encode("latin-1")}
    answer = await api.http.post("/api/auth/login", content=b"{}", headers=headers)  # type: ignore[arg-type]
    assert is_problem(answer, 413, "too_large")


async def test_a_body_of_unknown_length_is_refused(api: ApiStage) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"{"
        raise AssertionError("it was read")

    answer = await api.http.post("/api/auth/login", content=chunks())
    assert is_problem(answer, 411, "length_required")


@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    path=st.sampled_from(["/api/auth/login", "/api/streams"]),
    body=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda each: (
            st.lists(each, max_size=3)
            | st.dictionaries(
                st.sampled_from(["email", "password", "forward_to", "links", "record", "name"])
                | st.text(max_size=5),
                each,
                max_size=5,
            )
        ),
        max_leaves=10,
    ),
)
async def test_no_body_breaks_anything(api: ApiStage, path: str, body: object) -> None:
    if "authorization" not in api.http.headers:  # the client is of all examples
        api.http.headers.update(await api.log_in(OWNER))
    headers = {"Content-Type": "application/json"}
    answer = await api.http.post(path, content=json.dumps(body).encode(), headers=headers)
    assert answer.status_code in (201, 401, 422, 429), answer.text


@pytest.mark.parametrize(
    "content",
    [
        b'{"email": "\\ud800", "password": "x"}',
        b'{"email": "x", "password": "\\ud800"}',
        b'{"email": "\\u0000", "password": "\\u0000"}',
        b'{"email": "x", "password": NaN}',
        b'{"email": "\xff", "password": "x"}',
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
    ],
    ids=lambda content: str(content[:40]),
)
async def test_no_bytes_break_anything(api: ApiStage, content: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await api.http.post("/api/auth/login", content=content, headers=headers)
    assert answer.status_code in (400, 401, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("url", ["rtmp://h\\ud800/a/b", "file:\\ud800.ts", "file:a/\\u0000.ts"])
async def test_no_url_breaks_anything(api: ApiStage, url: str) -> None:
    headers = await api.log_in(OWNER) | {"Content-Type": "application/json"}
    content = f'{{"forward_to": ["{url}"]}}'.encode()
    answer = await api.http.post("/api/streams", content=content, headers=headers)
    assert answer.status_code == 422, answer.text
