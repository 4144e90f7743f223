"""The routes, over a real database and a host in memory."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import strata
from strata import ids, settings
from strata.control import accounts as accounts_module
from strata.control import tables
from strata.control.accounts import Accounts
from strata.control.api.app import BODY_BYTES_MAX, make_app
from strata.control.seal import Seal
from strata.control.store import Store
from strata.control.streams import Streams
from support.database import make_database
from support.fake_host import FakeHost

PASSWORD = "canary-password"
URL = "rtmp://127.0.0.1/live/canary-stream-key"


class Stage:
    def __init__(self, folder: Path) -> None:
        self.settings = settings.load(data_dir=folder, forward={"allow_private": True})
        self.store = Store(self.settings)
        self.host = FakeHost()
        self.streams = Streams(self.settings, self.store, Seal(bytes(32)))
        self.streams.start(self.host)
        self.accounts = Accounts(self.store, session_hours=1.0)
        self.app: FastAPI = make_app(self.settings, self.accounts, self.streams)
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://test")

    async def open(self) -> None:
        await make_database(self.settings.data_dir)
        hashed = self.accounts._hasher.hash(PASSWORD)
        for name, role in (
            ("admin", "admin"),
            ("one", "operator"),
            ("two", "operator"),
            ("looker", "viewer"),
        ):
            async with self.store.begin() as session:
                session.add(
                    tables.User(
                        id=ids.new("usr"),
                        email=f"{name}@example.org",
                        password_hash=hashed,
                        role=role,
                        created_at=datetime.now(UTC),
                    )
                )

    async def log_in(self, name: str) -> dict[str, str]:
        answer = await self.http.post(
            "/api/auth/login", json={"email": f"{name}@example.org", "password": PASSWORD}
        )
        assert answer.status_code == 200, answer.text
        return {"Authorization": f"Bearer {answer.json()['token']}"}

    async def start(self, login: dict[str, str], **body: Any) -> httpx.Response:
        return await self.http.post(
            "/api/streams", json={"forward_to": [URL], **body}, headers=login
        )


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(accounts_module, "PasswordHasher", lambda: cheap)
    one = Stage(tmp_path)
    await one.open()
    yield one
    await one.http.aclose()
    await one.streams.close()
    await one.store.close()


def is_problem(answer: httpx.Response, status: int, code: str) -> bool:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert {"type", "title", "status", "detail", "code"} <= set(body)
    assert "canary" not in answer.text
    return body["code"] == code and body["status"] == status


async def test_from_login_to_logout(stage: Stage) -> None:
    login = await stage.log_in("one")
    assert (await stage.http.get("/api/streams", headers=login)).json() == []
    assert (await stage.http.post("/api/auth/logout", headers=login)).status_code == 204
    assert is_problem(await stage.http.get("/api/streams", headers=login), 401, "unauthorized")


async def test_a_login_tells_who_one_is(stage: Stage) -> None:
    body = {"email": "one@example.org", "password": PASSWORD}
    answer = (await stage.http.post("/api/auth/login", json=body)).json()
    assert answer["user"]["email"] == "one@example.org"
    assert answer["user"]["role"] == "operator"
    assert answer["token"].startswith("tok_")


async def test_a_wrong_login(stage: Stage) -> None:
    body = {"email": "one@example.org", "password": "canary-wrong"}
    answer = await stage.http.post("/api/auth/login", json=body)
    assert is_problem(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"


ROUTES = [
    ("GET", "/api/hosts"),
    ("GET", "/api/streams"),
    ("POST", "/api/streams"),
    ("GET", "/api/streams/str_1"),
    ("POST", "/api/streams/str_1/stop"),
    ("POST", "/api/auth/logout"),
]


def test_every_route_but_the_login_is_known_to_ask_for_one(tmp_path: Path) -> None:
    """A new route has to be added to the list above, or to the exception here."""
    found = {
        (method.upper(), path)
        for path, methods in make_schema(tmp_path)["paths"].items()
        for method in methods
    }
    named = {(method, path.replace("str_1", "{stream_id}")) for method, path in ROUTES}
    assert found == named | {("POST", "/api/auth/login")}


def make_schema(folder: Path) -> dict[str, Any]:
    loaded = settings.load(data_dir=folder)
    store = Store(loaded)
    streams = cast("Streams", None)
    return make_app(loaded, Accounts(store, 1.0), streams).openapi()


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "header", [None, "Bearer", "Bearer x", "Basic b25lOng=", "Bearer tok_1.x", "Bearer \xff\xfe"]
)
async def test_without_a_login_there_is_nothing(
    stage: Stage, method: str, path: str, header: str | None
) -> None:
    headers = {} if header is None else {"Authorization": header.encode("latin-1")}
    answer = await stage.http.request(method, path, headers=headers)  # type: ignore[arg-type]
    assert is_problem(answer, 401, "unauthorized")
    assert not stage.host.asked


async def test_a_stream_from_start_to_stop(stage: Stage) -> None:
    login = await stage.log_in("one")
    answer = await stage.start(login, name="Derby", record=True, links=2)
    assert answer.status_code == 201
    started = answer.json()
    assert (started["state"], started["name"]) == ("waiting", "Derby")
    assert started["ports"] == [15000, 15002]
    assert started["psk"] in started["sender_command"]
    found = (await stage.http.get(f"/api/streams/{started['id']}", headers=login)).json()
    assert found == {
        key: value for key, value in started.items() if key not in ("psk", "sender_command")
    }
    [listed] = (await stage.http.get("/api/streams", headers=login)).json()
    assert listed == found | {"events": []}
    stopped = await stage.http.post(f"/api/streams/{started['id']}/stop", headers=login)
    assert stopped.status_code == 200
    assert (stopped.json()["state"], stopped.json()["reason"]) == ("ended", "user_stop")
    again = await stage.http.post(f"/api/streams/{started['id']}/stop", headers=login)
    assert again.json() == stopped.json()


async def test_the_key_and_the_stream_key_are_in_no_answer_but_the_first(stage: Stage) -> None:
    login = await stage.log_in("one")
    answer = await stage.start(login)
    psk = answer.json()["psk"]
    assert "canary" not in answer.text
    id = answer.json()["id"]
    for method, path in (
        ("GET", "/api/streams"),
        ("GET", f"/api/streams/{id}"),
        ("POST", f"/api/streams/{id}/stop"),
    ):
        other = await stage.http.request(method, path, headers=login)
        assert other.status_code == 200
        assert psk not in other.text
        assert "canary" not in other.text


async def test_a_stream_of_somebody_else_does_not_exist(stage: Stage) -> None:
    one, two, admin = [await stage.log_in(name) for name in ("one", "two", "admin")]
    id = (await stage.start(one)).json()["id"]
    path = f"/api/streams/{id}"
    assert is_problem(await stage.http.get(path, headers=two), 404, "not_found")
    assert is_problem(await stage.http.post(f"{path}/stop", headers=two), 404, "not_found")
    assert (await stage.http.get("/api/streams", headers=two)).json() == []
    assert (await stage.http.get(path, headers=admin)).json()["id"] == id
    assert id in stage.host.running


async def test_who_may_only_look_starts_nothing(stage: Stage) -> None:
    answer = await stage.start(await stage.log_in("looker"))
    assert is_problem(answer, 403, "not_allowed")


@pytest.mark.parametrize("id", ["str_nowhere", "..", "%2e%2e", "x" * 500, "%00", "ä", "' OR 1=1"])
async def test_a_stream_that_is_not_there(stage: Stage, id: str) -> None:
    login = await stage.log_in("one")
    for method, path in (("GET", f"/api/streams/{id}"), ("POST", f"/api/streams/{id}/stop")):
        answer = await stage.http.request(method, path, headers=login)
        assert answer.status_code in (404, 405)
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
async def test_a_start_that_cannot_be(stage: Stage, body: object, status: int, code: str) -> None:
    login = await stage.log_in("one")
    answer = await stage.http.post("/api/streams", json=body, headers=login)
    assert is_problem(answer, status, code)
    assert not stage.host.asked
    assert (await stage.http.get("/api/streams", headers=login)).json() == []


async def test_without_a_host_a_start_can_be_tried_again_later(stage: Stage) -> None:
    login = await stage.log_in("one")
    stage.host.connected = False
    answer = await stage.start(login)
    assert is_problem(answer, 503, "host_unreachable")
    assert answer.json()["can_retry"] is True


async def test_health_and_readiness(stage: Stage) -> None:
    assert (await stage.http.get("/healthz")).json() == {"status": "ok"}
    assert (await stage.http.get("/readyz")).json() == {"status": "ready"}
    stage.host.connected = False
    assert (await stage.http.get("/healthz")).status_code == 200
    assert is_problem(await stage.http.get("/readyz"), 503, "host_unreachable")


async def test_the_interface_describes_itself(stage: Stage) -> None:
    found = (await stage.http.get("/api/openapi.json")).json()
    assert found["info"] == {"title": "Strata", "version": strata.__version__}
    assert (await stage.http.get("/api/docs")).status_code == 200
    assert "psk" in found["components"]["schemas"]["StartedOut"]["properties"]
    assert "psk" not in found["components"]["schemas"]["StreamOut"]["properties"]


async def test_a_body_has_its_limit(stage: Stage) -> None:
    login = await stage.log_in("one")
    largest = json.dumps({"name": ""}).encode()
    largest += b" " * (BODY_BYTES_MAX - len(largest))
    headers = login | {"Content-Type": "application/json"}
    answer = await stage.http.post("/api/streams", content=largest, headers=headers)
    assert is_problem(answer, 422, "bad_arguments")
    answer = await stage.http.post("/api/streams", content=largest + b" ", headers=headers)
    assert is_problem(answer, 413, "too_large")


@pytest.mark.parametrize("length", ["-1", "many", "\xb2", "1_0", "9" * 40])
async def test_a_length_that_is_none_is_refused(stage: Stage, length: str) -> None:
    headers = {"Content-Length": length.encode("latin-1")}
    answer = await stage.http.post("/api/auth/login", content=b"{}", headers=headers)  # type: ignore[arg-type]
    assert is_problem(answer, 413, "too_large")


async def test_a_body_of_unknown_length_is_refused(stage: Stage) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"{"
        raise AssertionError("it was read")

    answer = await stage.http.post("/api/auth/login", content=chunks())
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
async def test_no_body_breaks_anything(stage: Stage, path: str, body: object) -> None:
    if "authorization" not in stage.http.headers:
        stage.http.headers.update(await stage.log_in("one"))
    headers = {"Content-Type": "application/json"}
    answer = await stage.http.post(path, content=json.dumps(body).encode(), headers=headers)
    assert answer.status_code in (201, 401, 422), answer.text


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
async def test_no_bytes_break_anything(stage: Stage, content: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await stage.http.post("/api/auth/login", content=content, headers=headers)
    assert answer.status_code in (400, 401, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("url", ["rtmp://h\\ud800/a/b", "file:\\ud800.ts", "file:a/\\u0000.ts"])
async def test_no_url_breaks_anything(stage: Stage, url: str) -> None:
    headers = await stage.log_in("one") | {"Content-Type": "application/json"}
    content = f'{{"forward_to": ["{url}"]}}'.encode()
    answer = await stage.http.post("/api/streams", content=content, headers=headers)
    assert answer.status_code == 422, answer.text
