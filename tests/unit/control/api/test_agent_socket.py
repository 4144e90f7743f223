"""The web server's side of a connection; with a server it is in tests/process."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.websockets import WebSocket

from strata.control.agent_link import Gone
from strata.control.api.agent_socket import AgentSocket


async def accepted(*messages: dict[str, Any], fail: Exception | None = None) -> AgentSocket:
    """A connection on which these come, one after the other."""
    coming = iter([{"type": "websocket.connect"}, *messages])

    async def receive() -> dict[str, Any]:
        return next(coming)

    async def send(message: Any) -> None:
        if fail is not None and message["type"] != "websocket.accept":
            raise fail

    socket = WebSocket({"type": "websocket"}, receive, send)
    await socket.accept()
    return AgentSocket(socket)


async def test_text_and_bytes_are_both_frames() -> None:
    socket = await accepted(
        {"type": "websocket.receive", "text": "{}"},
        {"type": "websocket.receive", "bytes": b"[]"},
        {"type": "websocket.receive", "text": None, "bytes": b""},
    )
    assert [await socket.receive() for _ in range(3)] == ["{}", b"[]", b""]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (1000, "it closed the connection"),
        (1012, "the control plane ended"),
        (1006, "the connection broke"),
        (None, "the connection broke"),
    ],
)
async def test_an_end_has_its_reason(code: int | None, words: str) -> None:
    message = {"type": "websocket.disconnect"} | ({"code": code} if code is not None else {})
    socket = await accepted(message)
    with pytest.raises(Gone, match=words):
        await socket.receive()


@pytest.mark.parametrize("error", [OSError("gone"), RuntimeError("closed meanwhile")])
async def test_a_connection_that_is_gone_takes_nothing(error: Exception) -> None:
    socket = await accepted(fail=error)
    with pytest.raises(Gone):
        await socket.send("{}")
    socket = await accepted(fail=error)
    with pytest.raises(Gone):
        await socket.close(4401, "not_allowed")
