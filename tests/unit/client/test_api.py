from __future__ import annotations

import socket

import httpx
import pytest

from strata.client.api import Api
from strata.client.login import Login
from strata.errors import NotLoggedIn, PlatformRefused, PlatformUnreachable
from strata.secrets import Secret
from unit.client.platform import TOKEN, FakePlatform

pytestmark = pytest.mark.usefixtures("platform")


@pytest.fixture
def api(platform: FakePlatform) -> Api:
    return Api(Login(platform.url, Secret(TOKEN)), 5.0)


def test_a_question(api: Api, platform: FakePlatform) -> None:
    platform.tells("GET", "/api/streams", b'[ {"id":  "str_1"} ]')
    with api:
        answer = api.get("/api/streams", limit=5, since="2026-01-31T00:00:00+00:00")
    assert answer.text == '[ {"id":  "str_1"} ]'  # as it came
    assert answer.data == [{"id": "str_1"}]
    asked = platform.last("GET")
    assert asked.token == TOKEN
    assert asked.query == "limit=5&since=2026-01-31T00%3A00%3A00%2B00%3A00"


def test_an_answer_without_words(api: Api, platform: FakePlatform) -> None:
    platform.tells("DELETE", "/api/tokens/tok_1", None, 204)
    with api:
        assert api.do("DELETE", "/api/tokens/tok_1").text == ""


@pytest.mark.parametrize("status", [403, 404, 409, 422, 429, 500, 503])
def test_a_refusal_is_its_detail(api: Api, platform: FakePlatform, status: int) -> None:
    platform.refuses("POST", "/api/streams", status, "no port is free;\nwait\x1b[2J")
    with api, pytest.raises(PlatformRefused) as raised:
        api.do("POST", "/api/streams", {})
    assert raised.value.message == "no port is free; wait [2J"
    assert raised.value.exit_status == 1


def test_a_token_that_has_expired(api: Api, platform: FakePlatform) -> None:
    platform.refuses("GET", "/api/streams", 401, "log in again")
    with api, pytest.raises(NotLoggedIn, match=r"log in again \(strata login\)") as raised:
        api.get("/api/streams")
    assert raised.value.exit_status == 3


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"<html>", 200),
        (b"<html>Bad Gateway", 502),
        (b'{"detail": ["x"]}', 400),
        (b"[]", 404),
        (b"\xff", 200),
    ],
)
def test_what_answers_there_is_no_platform(
    api: Api, platform: FakePlatform, body: bytes, status: int
) -> None:
    platform.tells("GET", "/api/streams", body, status)
    with api, pytest.raises(PlatformUnreachable, match=f"says {status}, as no Strata does"):
        api.get("/api/streams")


def test_a_token_follows_nobody_elsewhere(api: Api, platform: FakePlatform) -> None:
    platform.tells("GET", "/api/streams", b"", 301, Location="https://elsewhere.example.org/x")
    with api, pytest.raises(PlatformUnreachable, match="301 and points to https://elsewhere"):
        api.get("/api/streams")
    assert len(platform.asked) == 1


def test_nobody_is_there() -> None:
    with socket.socket() as bound:  # taken, and nobody listens
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        with Api(Login(url), 5.0) as api, pytest.raises(PlatformUnreachable) as raised:
            api.get("/api/streams")
    assert "cannot be reached" in raised.value.message
    assert "refused" in raised.value.message
    assert raised.value.exit_status == 3


@pytest.mark.parametrize(("method", "doubt"), [("GET", False), ("POST", True)])
def test_who_says_nothing_is_given_up(method: str, doubt: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Api(Login(url), 0.2) as api, pytest.raises(PlatformUnreachable) as raised:
            api.get("/x") if method == "GET" else api.do(method, "/x")
    assert "does not answer (timed out)" in raised.value.message
    assert ("whether it was done" in raised.value.message) is doubt


def test_a_proxy_does_not_stand_before_this_machine(
    api: Api, platform: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    platform.tells("GET", "/api/streams", [])
    with Api(Login(platform.url, Secret(TOKEN)), 5.0) as one:
        assert one.get("/api/streams").data == []
    with Api(Login("http://strata.invalid"), 5.0) as far:
        mounts = far._http._mounts.values()
        assert any(isinstance(each, httpx.HTTPTransport) for each in mounts)
    api.close()
