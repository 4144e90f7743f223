"""The API over HTTP, as `strata up` serves it: what it takes and what it refuses."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi.routing import APIWebSocketRoute
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from strata.control.api.app import ROUTERS
from support.control import EMAIL, PASSWORD, Api, StrataUp, place

KEY = "canary-stream-key"


@pytest.fixture(scope="module")
def running() -> Iterator[StrataUp]:
    """One installation for all tests of this file, as a newcomer has it: nothing private."""
    with place() as here:
        environment = {"STRATA_FORWARD__RESOLVE_TIMEOUT_S": "20"}
        one = StrataUp(here, ports=16, environment=environment)
        try:
            asyncio.run(one.ready())
            yield one
        finally:
            asyncio.run(one.__aexit__())


@pytest.fixture(scope="module")
def token(running: StrataUp) -> str:
    """One login for most of them: each takes a core for a moment, by design."""

    async def log_in() -> str:
        async with await running.log_in() as one:
            return one.token or ""

    return asyncio.run(log_in())


@pytest.fixture
async def api(running: StrataUp, token: str) -> AsyncIterator[Api]:
    async with Api(running.url, token) as one:
        yield one


@pytest.fixture
async def stranger(running: StrataUp) -> AsyncIterator[Api]:
    async with Api(running.url) as one:
        yield one


def is_problem(answer: httpx.Response, status: int, code: str) -> bool:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert "canary" not in answer.text
    body = answer.json()
    assert body["type"] == f"urn:strata:error:{body['code']}"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    return bool(body["code"] == code)


# Logins.


async def test_a_login_and_its_end(running: StrataUp) -> None:
    async with await running.log_in() as api:
        assert (await api.http.get("/api/streams")).status_code == 200
        assert (await api.http.post("/api/auth/logout")).status_code == 204
        assert is_problem(await api.http.get("/api/streams"), 401, "unauthorized")


async def test_a_login_names_the_user(stranger: Api) -> None:
    answer = await stranger.http.post(
        "/api/auth/login", json={"email": EMAIL.upper(), "password": PASSWORD}
    )
    assert answer.json()["user"] == {
        "id": answer.json()["user"]["id"],
        "email": EMAIL,
        "role": "admin",
    }
    assert answer.json()["user"]["id"].startswith("usr_")


@pytest.mark.parametrize(
    ("email", "password"), [(EMAIL, "canary-wrong"), ("nobody@example.org", PASSWORD)]
)
async def test_a_wrong_login(stranger: Api, email: str, password: str) -> None:
    body = {"email": email, "password": password}
    answer = await stranger.http.post("/api/auth/login", json=body)
    assert is_problem(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer garbage",
        "Bearer tok_01a2036fe35877eca0b4d366ff01ca2e.c2VjcmV0LW9mLXllc3RlcmRheQ",
        "Basic YWRtaW46YWRtaW4=",
        "Bearer " + "x" * 4000,
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/streams"),
        ("POST", "/api/streams"),
        ("GET", "/api/streams/str_1"),
        ("POST", "/api/streams/str_1/stop"),
    ],
)
async def test_without_a_login(stranger: Api, header: str | None, method: str, path: str) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = await stranger.http.request(method, path, headers=headers, json={})
    assert is_problem(answer, 401, "unauthorized")


# What a start is refused for, before anything is spawned.


async def refused(running: StrataUp, api: Api, body: object) -> httpx.Response:
    workers = running.place.workers()
    rows = len((await api.http.get("/api/streams")).json())
    answer = await api.http.post("/api/streams", json=body)
    assert answer.status_code == 422, answer.text
    assert running.place.workers() == workers
    assert len((await api.http.get("/api/streams")).json()) == rows
    return answer


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"forward_to": f"rtmp://h.example/live/{KEY}"}, "body.forward_to"),
        ({"forward_to": [{"url": f"rtmp://h.example/live/{KEY}"}]}, "body.forward_to.0"),
        ({"forward_to": [f"rtmp://h.example/live/{KEY}" * 100]}, "body.forward_to.0"),
        ({"forward_to": [], "links": 0}, "body.links"),
        ({"forward_to": [], "links": "canary"}, "body.links"),
        ({"record": "canary"}, "body.record"),
        ({"forwards": [f"rtmp://h.example/live/{KEY}"]}, "body.forwards"),
        ("canary", "body"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_body_of_another_shape(
    running: StrataUp, api: Api, body: object, field: str
) -> None:
    answer = await refused(running, api, body)
    assert is_problem(answer, 422, "bad_request")
    assert field in [fault["field"] for fault in answer.json()["errors"]]
    assert field in answer.json()["detail"]


async def test_a_login_of_another_shape_repeats_no_password(stranger: Api) -> None:
    answer = await stranger.http.post(
        "/api/auth/login", json={"email": "x", "password": {"is": "canary"}}
    )
    assert is_problem(answer, 422, "bad_request")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (KEY, "is no forward URL; write rtmp://host/app/key"),
        (f"ftp://h.example/{KEY}", "ftp:// is nothing that a stream can be forwarded to"),
        (f"rtmp:///live/{KEY}", "names no host"),
        (f"rtmp://h.example/{KEY}", "lacks the application or the stream key"),
        (f"rtmp://h.example:99999/live/{KEY}", "is no URL"),
        (f"rtmp://h.example/live/{KEY} x", "holds blanks"),
        (f"rtmp://h.example/live/{KEY}\nx", "holds blanks or characters that cannot be printed"),
        (f"rtmp://no.such.host.invalid/live/{KEY}", "does not resolve; check its spelling"),
        ("file:x.avi", "let its name end in .ts, .mkv, .mp4"),
        ("file:x.ts?segment-s=1", "segment-s must be a whole number from 2 to 86400"),
        ("hls:x?ladder=720p:2800", "this version does not transcode"),
    ],
)
async def test_a_bad_url_says_how_it_should_be(
    running: StrataUp, api: Api, url: str, words: str
) -> None:
    answer = await refused(running, api, {"forward_to": [url]})
    assert is_problem(answer, 422, "bad_url")
    assert words in answer.json()["detail"]


async def test_one_bad_url_among_good_ones_is_enough(running: StrataUp, api: Api) -> None:
    answer = await refused(running, api, {"record": True, "forward_to": ["file:x.ts", "x:y"]})
    assert is_problem(answer, 422, "bad_url")


async def test_a_stream_to_nowhere(running: StrataUp, api: Api) -> None:
    answer = await refused(running, api, {"forward_to": []})
    assert is_problem(answer, 422, "bad_arguments")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:22",
        "127.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",  # the cloud's metadata
        "100.64.0.1",
        "0.0.0.0",
        "2130706433",  # 127.0.0.1 in decimal
        "0x7f000001",
        "0177.0.0.1",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]",
        "[fd00::1]",
        "[fe80::1]",
        "localhost",
        "LocalHost",
    ],
)
async def test_an_address_inside(running: StrataUp, api: Api, host: str) -> None:
    url = f"rtmp://{host}/live/{KEY}"
    answer = await refused(running, api, {"forward_to": [url]})
    assert is_problem(answer, 422, "address_refused")
    assert "STRATA_FORWARD__ALLOW_PRIVATE=true" in answer.json()["detail"]


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/x.ts",
        "file:///x.ts",
        "file:../x.ts",
        "file:a/../../x.ts",
        "file:%2e%2e/x.ts",
        "file://{media}/../x.ts",
        "file://{media}x/x.ts",
        "file:link/x.ts",
        "file:linked.ts",
    ],
)
async def test_a_file_outside_the_media_folder(
    running: StrataUp, api: Api, url: str, tmp_path: Path
) -> None:
    media = running.place.data / "media"
    for name, target in (("link", tmp_path), ("linked.ts", tmp_path / "x.ts")):
        if not (media / name).is_symlink():
            (media / name).symlink_to(target)
    answer = await refused(running, api, {"forward_to": [url.format(media=media)]})
    assert is_problem(answer, 422, "address_refused")
    assert f"what streams write lies in {media}" in answer.json()["detail"]
    assert not list(tmp_path.iterdir())


# What it takes.


async def test_a_recording_from_start_to_stop(running: StrataUp, api: Api) -> None:
    started = await api.start("file:shows/derby.ts", name="Derby", record=True)
    assert (started["state"], started["name"], started["on_air"]) == ("waiting", "Derby", False)
    assert started["receive_urls"] == [f"rist://127.0.0.1:{port}" for port in started["ports"]]
    assert len(running.place.workers()) == 1
    found = await api.get(started["id"])
    assert found["ports"] == started["ports"]
    [listed] = [
        each for each in (await api.http.get("/api/streams")).json() if each["id"] == started["id"]
    ]
    assert listed["state"] == "waiting"
    assert {each["kind"] for each in found["forwards"]} <= {"file"}
    stopped = await api.stop(started["id"])
    assert (stopped["state"], stopped["reason"]) == ("ended", "user_stop")
    assert stopped["ended_at"] is not None
    assert running.place.workers() == []


async def test_links_are_as_many_as_were_asked_for(running: StrataUp, api: Api) -> None:
    started = await api.start(record=True, links=3)
    first = started["ports"][0]
    assert started["ports"] == [first, first + 2, first + 4]
    assert started["sender_command"].count("rist://") == 3
    await api.stop(started["id"])


async def test_more_than_there_are_ports_for(running: StrataUp, api: Api) -> None:
    begun = []
    try:
        while True:
            answer = await api.http.post("/api/streams", json={"record": True, "links": 8})
            if answer.status_code != 201:
                break
            begun.append(answer.json()["id"])
            assert len(begun) < 3
        assert is_problem(answer, 503, "no_capacity")
        assert answer.json()["can_retry"] is True
        newest = (await api.http.get("/api/streams")).json()[0]
        assert (newest["state"], newest["reason"]) == ("failed", "no_capacity")
        assert newest["detail"] == answer.json()["detail"]
    finally:
        for id in begun:
            await api.stop(id)


@pytest.mark.parametrize("id", ["str_nowhere", "x" * 300, "%00", "str_%2e%2e"])
async def test_a_stream_that_is_not_there(api: Api, id: str) -> None:
    assert is_problem(await api.http.get(f"/api/streams/{id}"), 404, "not_found")
    assert is_problem(await api.http.post(f"/api/streams/{id}/stop"), 404, "not_found")


async def test_what_is_no_route(api: Api) -> None:
    assert is_problem(await api.http.get("/api/nowhere"), 404, "not_found")
    assert is_problem(await api.http.delete("/api/streams"), 405, "method_not_allowed")


async def test_a_body_that_is_too_big(api: Api) -> None:
    body = json.dumps({"name": "x" * 300_000}).encode()
    headers = {"Content-Type": "application/json"}
    answer = await api.http.post("/api/streams", content=body, headers=headers)
    assert is_problem(answer, 413, "too_large")


async def test_a_body_without_its_length(api: Api) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"{}"

    assert is_problem(await api.http.post("/api/streams", content=pieces()), 411, "length_required")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GARBAGE\r\n\r\n",
        b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
        b"Content-Length: 3\r\n\r\n{}",
        b"GET /api/streams HTTP/1.1\r\nHost: x\r\n" + b"X-Long: " + b"x" * 100_000 + b"\r\n\r\n",
    ],
    ids=["no request", "no length", "two lengths", "long header"],
)
async def test_what_is_no_http_breaks_nothing(running: StrataUp, request_bytes: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(request_bytes)
    async with asyncio.timeout(20.0):
        status = (await reader.readline()).split(b" ")
        assert status[1].startswith(b"4")
    writer.close()
    assert await running.readiness() == 200


async def test_health_readiness_and_description(running: StrataUp, stranger: Api) -> None:
    assert (await stranger.http.get("/healthz")).json() == {"status": "ok"}
    assert (await stranger.http.get("/readyz")).json() == {"status": "ready"}
    described = (await stranger.http.get("/api/openapi.json")).json()
    assert {
        "/api/auth/login",
        "/api/auth/logout",
        "/api/streams",
        "/api/streams/{stream_id}",
        "/api/streams/{stream_id}/stop",
    } <= set(described["paths"])
    assert (await stranger.http.get("/api/docs")).status_code == 200


def test_it_listens_where_it_was_told_to_and_nowhere_else(running: StrataUp) -> None:
    with socket.create_connection(("127.0.0.1", running.port), timeout=10.0):
        pass
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.2", running.port), timeout=10.0)


async def test_none_of_this_was_a_defect(running: StrataUp, api: Api) -> None:
    """Whatever was asked in this file: the log has no traceback, and no key."""
    said = running.said()
    assert "Traceback" not in said
    assert "canary" not in said


# Sockets.


def sockets() -> list[str]:
    routes = [route for router in ROUTERS for route in router.routes]
    found = [route.path for route in routes if isinstance(route, APIWebSocketRoute)]
    assert len(found) >= 2
    return found


@pytest.mark.parametrize("path", sockets())
@pytest.mark.parametrize("header", [None, "Bearer x", "Bearer tok_1.x", "Basic b25lOng="])
async def test_a_stranger_hears_nothing_at_any_socket(
    running: StrataUp, path: str, header: str | None
) -> None:
    url = running.url.replace("http", "ws") + path
    headers = {"Authorization": header} if header is not None else {}
    heard: list[str] = []
    with contextlib.suppress(ConnectionClosed, InvalidStatus):
        async with (
            asyncio.timeout(20.0),
            connect(url, additional_headers=headers, proxy=None) as one,
        ):
            for text in (
                '{"subscribe": ["streams", "hosts", "alerts"]}',
                '{"token": "tok_1.x"}',
                '{"id": "1", "type": "device.status", "ts": "2026-01-31T12:00:00Z", "payload": {}}',
            ):
                await one.send(text)
            async for said in one:  # until it is closed, within the deadline
                heard.append(str(said))
    assert all('"error"' in each or '"success":false' in each for each in heard), heard
