"""The operator's pages against whoever means ill: real sockets to a real `strata up`."""

from __future__ import annotations

import asyncio
import html
import itertools
import json
import re
import socket
from collections.abc import AsyncIterator
from typing import Any, Final, Self
from urllib.parse import urlencode

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from strata.dashboard.panel import ENDED
from support.control import EMAIL, PASSWORD, StrataUp, place

DEADLINE_S: Final = 20.0
VIEWER: Final = "viewer@example.org"
ROUNDS: Final = 20
"""Questions after which an answer to an earlier one would be there."""


@pytest.fixture
async def up() -> AsyncIterator[StrataUp]:
    with place() as here:
        async with StrataUp(here, ports=4) as one, await one.log_in() as api:
            body = {"email": VIEWER, "password": PASSWORD, "role": "viewer"}
            assert (await api.http.post("/api/users", json=body)).status_code == 201
            yield one


class Person:
    """Somebody who is logged in to the pages."""

    def __init__(self, url: str, email: str) -> None:
        self.email = email
        self.url = url
        self.http = httpx.AsyncClient(base_url=url, trust_env=False, timeout=DEADLINE_S)
        self._connections: list[ClientConnection] = []

    async def __aenter__(self) -> Self:
        form = {"email": self.email, "password": PASSWORD}
        assert (await self.http.post("/login", data=form)).status_code == 303
        return self

    async def __aexit__(self, *_: object) -> None:
        for connection in self._connections:
            await connection.close()
        await self.http.aclose()

    async def open(self, path: str = "/") -> Page:
        answer = await self.http.get(path)
        assert answer.status_code == 200, answer.text
        return Page(answer.text)

    def knock(self, page: Page, **query: object) -> connect:
        """A socket that says it is that page's."""
        told = {**page.query, "implicit_handshake": "true", "EIO": 4, **query}
        return connect(
            f"{self.url.replace('http', 'ws', 1)}/_nicegui_ws/socket.io/"
            f"?{urlencode({'transport': 'websocket', **told})}",
            additional_headers={"Cookie": f"strata_login={self.http.cookies['strata_login']}"},
            proxy=None,
        )

    async def socket(self, page: Page, **query: object) -> Socket:
        connection = await self.knock(page, **query)
        self._connections.append(connection)
        one = Socket(connection, page)
        await one.begin()
        return one


class Page:
    """As the browser is given it.

    Attributes:
        asks: by the number of the panel, the listener to its questions.
    """

    def __init__(self, text: str) -> None:
        found = re.search(r"['\"]client_id['\"]: ['\"]([0-9a-f-]{36})", text)
        assert found is not None
        self.query = {"client_id": found[1], "tab_id": "a-tab", "document_id": "a-document"}
        elements = re.search(r"String\.raw`(.*?)`", text, re.DOTALL)
        assert elements is not None
        self.asks = {
            int(id): event["listener_id"]
            for id, element in json.loads(html.unescape(elements[1])).items()
            for event in element.get("events", ())
            if event["type"] == "ask"
        }

    def event(self, **different: Any) -> dict[str, Any]:
        panel, listener = max(self.asks.items())
        client_id = self.query["client_id"]
        return {"id": panel, "client_id": client_id, "listener_id": listener, **different}

    def question(self, id: int, what: str = "look", args: object = None) -> str:
        asked = {"id": id, "what": what, "args": {} if args is None else args}
        return frame("event", self.event(args=[json.dumps(asked)]))


def frame(name: str, *data: object) -> str:
    return "42" + json.dumps([name, *data])


class Socket:
    """One connection of a page.

    Attributes:
        welcome: what the server said to it first.
        answers: to questions, by their numbers.
        heard: all else that was sent.
    """

    def __init__(self, connection: ClientConnection, page: Page) -> None:
        self.connection = connection
        self.page = page
        self.answers: dict[int, tuple[Any, Any]] = {}
        self.heard: list[str] = []
        self._ids = itertools.count(1000)

    async def begin(self) -> None:
        await self._next()
        await self.connection.send("40")
        self.welcome = await self._next()

    async def _next(self) -> str:
        told = await asyncio.wait_for(self.connection.recv(), DEADLINE_S)
        assert isinstance(told, str)
        return told

    async def hear(self, mark: str) -> str:
        """The next frame that has this in it."""
        while True:
            told = await self._next()
            answer = re.search(r'\(\d+, \\"answer\\", (.*)\)"', told)
            if told == "2":
                await self.connection.send("3")
            elif answer is not None:
                id, result, problem = json.loads("[" + json.loads(f'"{answer[1]}"') + "]")[0]
                self.answers[id] = (result, problem)
            self.heard.append(told)
            if mark in told:
                return told

    async def ask(self, what: str = "look", args: object = None) -> tuple[Any, Any]:
        id = next(self._ids)
        await self.connection.send(self.page.question(id, what, args))
        async with asyncio.timeout(DEADLINE_S):
            while id not in self.answers:
                await self.hear("answer")
        return self.answers[id]


async def test_a_socket_acts_for_its_own_page_alone(up: StrataUp) -> None:
    async with Person(up.url, EMAIL) as admin, Person(up.url, VIEWER) as viewer:
        theirs, mine = await admin.open("/people"), await viewer.open()
        victim, attacker = await admin.socket(theirs), await viewer.socket(mine)
        assert (await attacker.ask(args={"first": 0, "count": 5}))[1] is None
        await victim.connection.send(theirs.question(1))
        await attacker.connection.send(theirs.question(2))
        await attacker.connection.send(frame("ack", {**theirs.query, "next_message_id": 10**9}))
        for _ in range(ROUNDS):
            await attacker.ask()
            await victim.ask()
        assert 1 in victim.answers, "that is how it is asked"
        assert 2 not in victim.answers


async def test_a_socket_hears_its_own_page_alone(up: StrataUp) -> None:
    async with Person(up.url, EMAIL) as admin, Person(up.url, VIEWER) as viewer:
        theirs, mine = await admin.open("/people"), await viewer.open()
        victim, attacker = await admin.socket(theirs), await viewer.socket(mine)
        await attacker.connection.send(frame("handshake", {**theirs.query, "next_message_id": 0}))
        await victim.ask()
        for query in ({}, {"next_message_id": 0}):
            refused = await viewer.socket(theirs, **query)
            assert refused.welcome.startswith("44"), refused.welcome
            assert "Implicit handshake failed" in refused.welcome, "it would not load itself anew"
        unopened = await viewer.socket(await admin.open())
        assert unopened.welcome.startswith("44"), unopened.welcome
        again = await admin.socket(theirs, next_message_id=0)
        assert again.welcome.startswith("40"), "the same login, the same tab: it was in a tunnel"
        await again.hear("answer")
        for _ in range(ROUNDS):
            await victim.ask()
            await attacker.ask()
        strange = [told for told in attacker.heard if '"panel":' in told]
        panels = {int(id) for told in strange for id in re.findall(r'"panel":(\d+)', told)}
        assert panels <= mine.asks.keys()
        assert not [told for told in attacker.heard if EMAIL in told]


async def test_nothing_is_told_any_more_when_a_login_has_ended(up: StrataUp) -> None:
    async with Person(up.url, EMAIL) as admin:
        page = await admin.open()
        one = await admin.socket(page)
        await one.hear('"tick"')
        login = admin.http.cookies["strata_login"]
        assert (await admin.http.post("/logout")).status_code == 303
        admin.http.cookies = httpx.Cookies({"strata_login": login})
        async with asyncio.timeout(10):
            await one.hear('"/login?ended=yes')
        one.heard.clear()
        for _ in range(ROUNDS):
            assert await one.ask() == (None, ENDED)
        assert not [told for told in one.heard if "tick" in told]
        with pytest.raises(InvalidStatus):
            await admin.knock(page)


WRONG: Final[tuple[tuple[str, object], ...]] = (
    ("event", 5),
    ("event", {}),
    ("event", {"client_id": [1]}),
    ("ack", None),
    ("javascript_response", {}),
    ("handshake", None),
    ("handshake", {"client_id": []}),
    ("nonsense", 1),
)
WRONG_OF_A_PAGE: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("event", {"id": 999}),
    ("event", {"id": {"a": 1}}),
    ("event", {"id": True}),
    ("event", {"listener_id": "x"}),
    ("event", {"args": ["{"]}),
    ("event", {"args": ["NaN"]}),
    ("event", {"args": ["[" * 5000]}),
    ("event", {"args": ['"\\ud800"']}),
    ("event", {"args": 5}),
    ("event", {"args": None}),
    ("event", {"args": ["5"]}),
    ("ack", {"next_message_id": "z"}),
    ("javascript_response", {"request_id": []}),
    ("log", {"level": "error", "message": "FAKE\n2026-01-01T00:00:00.000Z ERROR   host FAKE"}),
    ("log", {"level": "x", "message": 1}),
    ("handshake", {"tab_id": {"a": 1}, "document_id": {}, "next_message_id": "q"}),
    ("handshake", {"tab_id": "a", "document_id": "b", "next_message_id": "q"}),
)
NO_FRAMES: Final[tuple[str | bytes, ...]] = (
    *('42["event"]', '42["ack"]', "42", "42{}", "42[]", "42[null]", "42" + "[" * 5000),
    *("9", "", "b", "\x00\xff", "5", "3probe", "2", "6", "4", "48", "44", "43", '431["x"]'),
    *('45-["x"]', '451-["event",{"_placeholder":true,"num":0}]', '4599999999-["x"]'),
    *("40/admin,", '42/admin,["event",{}]', "42" + "9" * 3000 + '["event",{}]'),
    *("40", '42["event","' + "x" * 60_000 + '"]', b"\x00", b"42"),
)


async def test_what_is_nonsense_is_left_out_and_not_logged(up: StrataUp) -> None:
    async with Person(up.url, VIEWER) as viewer:
        page = await viewer.open()
        one = await viewer.socket(page)
        before = up.said()
        frames: list[str | bytes] = [frame(name, data) for name, data in WRONG]
        for name, data in WRONG_OF_A_PAGE:
            of_page = page.event(args=["{}"]) if name == "event" else page.query
            frames.append(frame(name, {**of_page, **data}))
        for each in (*frames, *NO_FRAMES):
            await one.connection.send(each)
            result, problem = await one.ask(args={"first": 0, "count": 5})
            assert problem is None, each
            assert result["counts"]["all"] == 0
        deep: Any = {}
        for _ in range(100):
            deep = {"a": [deep]}
        for args in ({"first": None}, {"first": "x"}, {"count": [1]}, {"search": {}}, deep):
            assert (await one.ask(args=args))[1]
        await one.connection.send("41")
        for query in ({"tab_id": ""}, {"next_message_id": "x"}, {"document_id": "x" * 999}):
            try:
                async with viewer.knock(page, **query) as refused:
                    await refused.send("40")
            except InvalidStatus:
                continue
        assert up.said() == before


async def test_strangers_cost_nothing(up: StrataUp) -> None:
    before = up.said()
    async with httpx.AsyncClient(base_url=up.url, trust_env=False) as stranger:
        for path in ("x", "3.18.0/resources/x", "3.18.0/dynamic_resources/x/y", "auto/x"):
            answer = await stranger.get(f"/_nicegui/{path}")
            assert answer.status_code == 404
            assert "client_id" not in answer.text, "a page was made for that"
        query = {"EIO": 4, "transport": "polling"}
        for answer in (
            await stranger.get("/_nicegui_ws/socket.io/", params=query),
            await stranger.options("/_nicegui_ws/socket.io/", headers={"Origin": "http://x"}),
        ):
            assert answer.status_code == 404
            assert "access-control-allow-origin" not in answer.headers
        many = {str(n): "x" for n in range(5)}
        assert (await stranger.post("/login", data=many)).status_code == 400
        nul = {"email": "\0", "password": "x"}
        assert (await stranger.post("/login", data=nul)).status_code == 400

        async def endless() -> AsyncIterator[bytes]:
            for _ in range(100):
                yield b"x" * 1000

        assert (await stranger.post("/login", content=endless())).status_code in (411, 413)
    with socket.create_connection(("127.0.0.1", up.port), DEADLINE_S) as cut_short:
        cut_short.sendall(b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 4000\r\n\r\nemail")
    async with Person(up.url, VIEWER) as viewer:  # what was cut short has been seen by then
        await viewer.open()
        query = {"EIO": 4, "transport": "polling"}
        answer = await viewer.http.get("/_nicegui_ws/socket.io/", params=query)
        assert answer.status_code == 404
    assert up.said() == before
