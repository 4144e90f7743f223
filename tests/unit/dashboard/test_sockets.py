from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from nicegui.client import Client
from nicegui.page import page
from starlette.requests import Request
from starlette.types import Message

from strata.dashboard.overview import Overview
from strata.dashboard.panel import Panel
from strata.dashboard.seat import KEY, Seat
from strata.dashboard.sockets import Ack, Event, Line, Opening, read
from strata.errors import NotAllowed
from strata.secrets import Secret
from unit.control.stage import OWNER, VIEWER, Stage


class Desk(Panel):
    pass


@pytest.fixture
def theirs(stage: Stage) -> Seat:
    return Seat(stage.platform, Overview(stage.platform), Secret("tok_theirs"), OWNER)


@pytest.fixture
def strange(stage: Stage) -> Seat:
    return Seat(stage.platform, Overview(stage.platform), Secret("tok_strange"), VIEWER)


@pytest.fixture
def opened(theirs: Seat) -> Iterator[Client]:
    """A page that was made for somebody."""
    scope = {"type": "http", "path": "/", "headers": [], "query_string": b"", KEY: theirs}
    with Client(page(""), request=Request(scope)) as one:
        yield one
    one.delete()


@pytest.fixture
def desk(theirs: Seat, opened: Client) -> Desk:
    return Desk(theirs)


def question(desk: Desk, **different: Any) -> str:
    [listener] = desk._event_listeners
    of_page = {"id": desk.id, "client_id": desk.client.id, "listener_id": listener}
    return "42" + json.dumps(["event", {**of_page, "args": ["{}"], **different}])


async def heard(seat: Seat, page_id: str, *frames: str | bytes) -> list[Any]:
    """Which of the frames go on."""
    told = iter(frames)

    async def receive() -> Message:
        frame = next(told, None)
        if frame is None:
            return {"type": "websocket.disconnect"}
        key = "text" if isinstance(frame, str) else "bytes"
        return {"type": "websocket.receive", key: frame}

    query = f"client_id={page_id}&tab_id=t&document_id=d".encode()
    line = Line({"type": "websocket", "query_string": query}, receive, seat)

    async def fit() -> AsyncIterator[Any]:
        while (message := await line.receive())["type"] == "websocket.receive":
            yield message["text"]

    return [each async for each in fit()]


async def test_what_a_page_says_of_itself_goes_on(theirs: Seat, desk: Desk) -> None:
    ack = "42" + json.dumps(["ack", {"client_id": desk.client.id, "next_message_id": 3}])
    said = ["40", "3", question(desk), ack, "41", "1"]
    assert await heard(theirs, desk.client.id, *said) == said


async def test_of_another_login_nothing_about_the_page_does(strange: Seat, desk: Desk) -> None:
    assert await heard(strange, desk.client.id, "40", question(desk)) == ["40"]
    line = Line(
        {"query_string": f"client_id={desk.client.id}&tab_id=t&document_id=d".encode()},
        pytest.fail,
        strange,
    )
    assert desk.client.id.encode() not in line.scope["query_string"], "it could listen"


async def test_a_socket_of_one_page_says_nothing_about_another(theirs: Seat, desk: Desk) -> None:
    assert await heard(theirs, "another", question(desk)) == []
    assert await heard(theirs, desk.client.id, question(desk, client_id="another")) == []


@pytest.mark.parametrize(
    "different",
    [
        {"id": 999},
        {"id": 0},  # an element of the library
        {"id": True},
        {"id": {}},
        {"listener_id": "x"},
        {"args": None},
        {"args": ["{"]},
        {"args": ["NaN"]},
        {"args": ["[" * 5000]},
    ],
)
async def test_what_no_panel_listens_to_is_left_out(
    theirs: Seat, desk: Desk, different: dict[str, Any]
) -> None:
    assert await heard(theirs, desk.client.id, question(desk, **different)) == []


async def test_what_is_no_text_and_a_second_beginning_are_left_out(
    theirs: Seat, desk: Desk
) -> None:
    assert await heard(theirs, desk.client.id, b"40", "40", "40", "40{}") == ["40"]


def test_what_is_read() -> None:
    page_id = {"client_id": "c"}
    opening = {**page_id, "tab_id": "t", "document_id": "d", "next_message_id": 1}
    assert isinstance(read("420" + json.dumps(["handshake", opening])), Opening)
    assert isinstance(read('42["ack",{"client_id":"c","next_message_id":1}]'), Ack)
    event = {**page_id, "id": 1, "listener_id": "l", "args": ["{}", None]}
    assert isinstance(read("42" + json.dumps(["event", event])), Event)
    for wrong in (
        *("", "9", "42", "42{}", "42[]", "42[null]", '42["event"]', '42["ack",5]', "42[["),
        *('42["nope",{}]', '42["log",{"client_id":"c"}]', '451-["event",{}]', '42/x,["ack",{}]'),
        *("42" + "[" * 5000, "42" + "9" * 3000 + "[]", '42["ack",{"client_id":"c"}]'),
        "42" + json.dumps(["handshake", {**opening, "next_message_id": "1"}]),
        "42" + json.dumps(["handshake", {**opening, "tab_id": {}}]),
    ):
        assert read(wrong) is None, wrong


async def test_a_socket_that_names_no_page_is_refused(theirs: Seat) -> None:
    for query in (b"", b"client_id=c", b"tab_id=t&document_id=d", b"\xff"):
        with pytest.raises(NotAllowed):
            Line({"query_string": query}, pytest.fail, theirs)
