"""Where the agents in the field dial in."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect

from strata.control.agent_link import Gone
from strata.control.platform import Platform

router = APIRouter()

CODES: Final = {
    1000: "it closed the connection",
    1001: "it closed the connection",
    1012: "the control plane ended",
}


class AgentSocket:
    """A connection of the web server's, as :class:`strata.control.agent_link.Socket`."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket

    async def receive(self) -> str | bytes:
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise Gone(CODES.get(message.get("code", 1006), "the connection broke"))
        text: str | None = message.get("text")
        data: bytes = message.get("bytes") or b""
        return text if text is not None else data

    async def send(self, text: str) -> None:
        try:
            await self._socket.send_text(text)
        # RuntimeError: the web server has closed it meanwhile, for want of an answer to a ping.
        except (WebSocketDisconnect, RuntimeError):
            raise Gone("the connection broke") from None

    async def close(self, code: int, word: str) -> None:
        try:
            await self._socket.close(code, word)
        except (WebSocketDisconnect, RuntimeError):
            raise Gone("the connection broke") from None


@router.websocket("/agent/ws")
async def agent(socket: WebSocket) -> None:
    """One agent, for as long as it stays."""
    platform: Platform = socket.app.state.platform
    await socket.accept()
    address = socket.client.host if socket.client is not None else ""
    await platform.agents.serve(AgentSocket(socket), address)
