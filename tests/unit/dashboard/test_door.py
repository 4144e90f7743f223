from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import nicegui
import pytest
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from strata.control.roles import User
from strata.dashboard import door as module
from strata.dashboard import login_page
from strata.dashboard.door import COOKIE, Door, target
from strata.dashboard.overview import Overview
from strata.dashboard.seat import KEY, Seat
from unit.control.stage import OWNER, PASSWORD, VIEWER, Stage

QUERY = b"client_id=c&tab_id=t&document_id=d&next_message_id=7&sid=x&transport=polling"


class Guarded:
    """What is behind the door, and who came in."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.seats: list[Seat | None] = []
        self.queries: list[bytes] = []
        self.door = Door(stage.platform, Overview(stage.platform), self._page)
        transport = httpx.ASGITransport(self.door)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://test")

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.seats.append(scope.get(KEY))
        self.queries.append(scope["query_string"])
        if scope["type"] == "http":
            await PlainTextResponse("behind")(scope, receive, send)
        else:
            await send({"type": "websocket.accept"})

    async def log_in(self, user: User, password: str = PASSWORD, to: str = "") -> httpx.Response:
        form = {"email": user.email, "password": password}
        return await self.http.post("/login", params={"to": to} if to else {}, data=form)

    async def knock(
        self, path: str = "/_nicegui_ws/socket.io", query: bytes = QUERY, **headers: str
    ) -> list[Message]:
        """What a WebSocket is answered."""
        cookie = "; ".join(f"{key}={value}" for key, value in self.http.cookies.items())
        all_of_them = {"host": "test", "cookie": cookie, **headers}
        raw = [(key.encode(), value.encode()) for key, value in all_of_them.items()]
        said: list[Message] = []

        async def receive() -> Message:
            return {"type": "websocket.connect"}

        async def send(message: Message) -> None:
            said.append(message)

        scope = {"type": "websocket", "path": path, "headers": raw, "query_string": query}
        await self.door(scope, receive, send)
        return said


@pytest.fixture
async def guarded(stage: Stage) -> AsyncIterator[Guarded]:
    one = Guarded(stage)
    yield one
    await one.http.aclose()


@pytest.mark.parametrize("path", ["/", "/streams/str_1", "/pictures/str_1.jpg"])
async def test_who_is_not_logged_in_is_sent_to_the_login(guarded: Guarded, path: str) -> None:
    for cookies, ended in (({}, ""), ({COOKIE: "tok_x.y"}, "ended=yes&")):
        guarded.http.cookies = httpx.Cookies(cookies)
        answer = await guarded.http.get(path)
        assert (answer.status_code, answer.headers["location"]) == (303, f"/login?{ended}to={path}")
    assert guarded.seats == []
    assert (await guarded.knock())[0]["type"] == "websocket.close"


async def test_a_login_lies_in_a_cookie_that_scripts_cannot_read(guarded: Guarded) -> None:
    answer = await guarded.log_in(OWNER, to="/streams/str_1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/streams/str_1")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie, "over plain HTTP it would never come back"
    assert (await guarded.http.get("/")).text == "behind"
    [seat] = guarded.seats
    assert seat is not None
    assert seat.user.id == OWNER.id
    assert seat.may_operate


async def test_over_https_the_cookie_stays_there(guarded: Guarded) -> None:
    guarded.http.base_url = httpx.URL("https://test")
    assert "Secure" in (await guarded.log_in(OWNER)).headers["set-cookie"]


async def test_a_wrong_password_is_told_and_not_repeated(guarded: Guarded) -> None:
    answer = await guarded.log_in(OWNER, 'canary"<wrong>')
    assert answer.status_code == 401
    assert login_page.WRONG in answer.text
    assert OWNER.email in answer.text
    assert "canary" not in answer.text
    assert "set-cookie" not in answer.headers


async def test_who_guesses_has_to_wait(guarded: Guarded) -> None:
    answers = [await guarded.log_in(OWNER, f"wrong-{n}") for n in range(7)]
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert "your account is not locked" in answers[-1].text


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://test.evil.example"])
async def test_another_site_logs_nobody_in_or_out(guarded: Guarded, origin: str) -> None:
    form = {"email": OWNER.email, "password": PASSWORD}
    answer = await guarded.http.post("/login", data=form, headers={"Origin": origin})
    assert answer.status_code == 403
    await guarded.log_in(OWNER)
    answer = await guarded.http.post("/logout", headers={"Origin": origin})
    assert "set-cookie" not in answer.headers
    assert (await guarded.http.get("/")).text == "behind"


async def test_a_logout_ends_the_login_itself(guarded: Guarded) -> None:
    await guarded.log_in(OWNER)
    kept = guarded.http.cookies[COOKIE]
    assert (await guarded.http.get("/logout")).status_code == 303
    assert (await guarded.http.get("/")).text == "behind", "a link logs nobody out"
    answer = await guarded.http.post("/logout", headers={"Origin": "http://test"})
    assert answer.headers["location"] == "/login"
    guarded.http.cookies = httpx.Cookies({COOKIE: kept})
    assert (await guarded.http.get("/")).status_code == 303


async def test_a_socket_comes_in_with_the_login_and_from_here(guarded: Guarded) -> None:
    await guarded.log_in(VIEWER)
    assert (await guarded.knock(origin="http://test"))[0]["type"] == "websocket.accept"
    assert guarded.seats[-1] is not None
    assert not guarded.seats[-1].may_operate
    for headers in ({"origin": "http://evil.example"}, {"origin": "null"}):
        assert (await guarded.knock(**headers))[0]["type"] == "websocket.close"
    for path in ("/elsewhere", "/people", "/_nicegui_ws/x", "/_nicegui/x"):
        assert (await guarded.knock(path))[0]["type"] == "websocket.close"


async def test_of_what_a_socket_says_first_only_what_is_understood_goes_on(
    guarded: Guarded,
) -> None:
    await guarded.log_in(VIEWER)
    for query in (b"", b"client_id=c", QUERY.replace(b"=7", b"=x"), b"&" * 99, b"client_id=\xff"):
        assert (await guarded.knock(query=query))[0]["type"] == "websocket.close"
    guarded.queries.clear()
    assert (await guarded.knock())[0]["type"] == "websocket.accept"
    [query] = guarded.queries
    assert b"client_id=nobodys" in query, "there is no such page"
    assert b"next_message_id=7" in query
    assert b"transport=websocket" in query
    assert b"sid" not in query


async def test_what_is_nobodys_is_not_there(guarded: Guarded) -> None:
    await guarded.log_in(OWNER)
    for path in ("/api/nope", "/nope", "/login/x", "/hls/x"):
        with pytest.raises(HTTPException) as caught:
            await guarded.http.get(path)
        assert caught.value.status_code == 404
    assert guarded.seats == []


async def test_the_look_is_there_for_everybody_and_nothing_beside_it(guarded: Guarded) -> None:
    answer = await guarded.http.get("/look/strata.css")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-cache"
    assert (await guarded.http.get("/favicon.ico")).headers["content-type"] == "image/svg+xml"
    for path in ("/look/../door.py", "/look/%2e%2e/door.py"):
        with pytest.raises(HTTPException):
            await guarded.http.get(path)


async def test_nothing_comes_from_elsewhere(guarded: Guarded) -> None:
    answer = await guarded.http.get("/login")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy
    assert "//" not in answer.text.replace("<!doctype", "")
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["cache-control"] == "no-store"


async def test_too_much_is_not_read(guarded: Guarded) -> None:
    big = {"email": "x" * module.LOGIN_BYTES_MAX, "password": "x"}
    assert (await guarded.http.post("/login", data=big)).status_code == 413


@pytest.mark.parametrize(
    ("path", "is_there"),
    [
        (f"/_nicegui/{nicegui.__version__}/static/vue.js", True),
        (f"/_nicegui/{nicegui.__version__}/esm/a/b/c.js", True),
        (f"/_nicegui/{nicegui.__version__}/esm/a", False),
        (f"/_nicegui/{nicegui.__version__}/dynamic_resources/a/b", False),
        (f"/_nicegui/{nicegui.__version__}/nope/x", False),
        ("/_nicegui/x", False),
        ("/_nicegui/client/x/upload", False),
        ("/_nicegui_ws/socket.io/", False),
    ],
)
@pytest.mark.parametrize("is_stranger", [True, False])
async def test_of_the_library_only_its_files_are_there(
    guarded: Guarded, path: str, is_there: bool, is_stranger: bool
) -> None:
    if not is_stranger:
        await guarded.log_in(OWNER)
    if is_there:
        assert (await guarded.http.get(path)).text == "behind"
    else:
        with pytest.raises(HTTPException) as caught:
            await guarded.http.get(path)
        assert caught.value.status_code == 404
        assert guarded.seats == []


async def _much() -> AsyncIterator[bytes]:
    for _ in range(100):
        yield b"x" * 1000


async def test_a_body_that_does_not_say_its_length_is_bounded(guarded: Guarded) -> None:
    assert (await guarded.http.post("/login", content=_much())).status_code == 413


@pytest.mark.parametrize("body", [b"a=1&b=2&c=3&d=4&e=5", b"email=%00&password=x"])
async def test_what_is_no_login_is_refused_in_words(guarded: Guarded, body: bytes) -> None:
    answer = await guarded.http.post("/login", content=body)
    assert (answer.status_code, login_page.NO_FORM in answer.text) == (400, True)


async def _answered(guarded: Guarded, receive: Receive) -> int:
    said: list[Message] = []

    async def send(message: Message) -> None:
        said.append(message)

    headers = [(b"host", b"test"), (b"content-length", b"abc")]
    scope = {"type": "http", "method": "POST", "path": "/login", "headers": headers}
    await guarded.door({**scope, "query_string": b""}, receive, send)
    status: int = said[0]["status"]
    return status


async def test_a_login_that_is_cut_short_or_never_comes_is_no_failure_of_ours(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts: list[Message] = [
        {"type": "http.request", "body": b"email=", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def cut_short() -> Message:
        return parts.pop(0)

    async def never() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    assert await _answered(guarded, cut_short) == 400
    monkeypatch.setattr(module, "LOGIN_READ_S", 0.01)
    assert await _answered(guarded, never) == 408


@pytest.mark.parametrize(
    ("text", "leads_to"),
    [
        ("/streams/str_1", "/streams/str_1"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("/a\nb", "/"),
        ("", "/"),
    ],
)
def test_a_login_leads_to_a_page_of_ours(text: str, leads_to: str) -> None:
    assert target(text) == leads_to


@pytest.mark.parametrize(
    ("headers", "is_ours"),
    [
        ({"sec-fetch-site": "same-origin", "origin": "null"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "same-site", "origin": "http://test"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"origin": "http://test"}, True),
        ({"origin": "http://test:81"}, False),
        ({"origin": "null"}, False),
        ({"origin": "http://["}, False),
    ],
)
def test_what_a_browser_says_of_where_it_is(headers: dict[str, str], is_ours: bool) -> None:
    raw = [(key.encode(), value.encode()) for key, value in {"host": "test", **headers}.items()]
    scope = {"type": "http", "headers": raw, "path": "/", "query_string": b""}
    assert module._is_from_here(HTTPConnection(scope)) is is_ours


def test_a_program_that_is_no_browser_says_nothing_of_where_it_is() -> None:
    scope = {"type": "http", "headers": [(b"host", b"test")], "path": "/", "query_string": b""}
    assert module._is_from_here(HTTPConnection(scope))
