"""What a browser's socket may say, and of which page: stands between the door and NiceGUI.

NiceGUI believes what it is told. It takes from each message which page that is about, so that a
socket could act as anybody's page whose id it has seen, and hear what is told there; and what has
another shape than its own script gives it ends in a traceback. Here a socket belongs to the page
that it names when it connects, and only where that page was made for the same login. Of its
frames those go on that a page of ours sends and that are about that page; all others are left out.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeAlias
from urllib.parse import parse_qsl, urlencode

from nicegui import json
from nicegui.client import Client
from pydantic import AfterValidator, BaseModel, Field, ValidationError
from starlette.types import Message, Receive, Scope

from strata.dashboard import seat as seats
from strata.dashboard.panel import Panel
from strata.dashboard.seat import KEY, Seat
from strata.errors import NotAllowed

log = logging.getLogger(__name__)

FIELDS_MAX: Final = 20

NOBODYS: Final = "nobodys"
"""The id of no page. A browser that is told that its page is gone loads it anew, and is then
shown what its login may see: it logged in again in another tab, for example."""

CONNECT: Final = re.compile(r"40(\{\})?")
PONG_OR_CLOSE: Final = re.compile(r"3|1|41")
MESSAGE: Final = re.compile(r"42[0-9]{0,9}(\[.*)", re.DOTALL)
"""Frames of Engine.IO 4 and Socket.IO 5, as far as a browser sends them here."""


def _readable(text: str) -> str:
    json.loads(text)  # as it is read later on; that raises a ValueError
    return text


Name: TypeAlias = Annotated[str, Field(max_length=64)]


class Opening(BaseModel):
    """Which page the browser has, when it connects."""

    client_id: Name
    tab_id: Name
    document_id: Name
    old_tab_id: Name | None = None
    next_message_id: Annotated[int, Field(ge=0)] | None = None
    implicit_handshake: bool = False


class Event(BaseModel):
    """Something was clicked, or asked."""

    client_id: Name
    id: int
    listener_id: Name
    args: list[Annotated[str, AfterValidator(_readable)] | None]


class Ack(BaseModel):
    """What has arrived."""

    client_id: Name
    next_message_id: int


MESSAGES: Final[Mapping[str, type[Opening | Event | Ack]]] = {
    "handshake": Opening,
    "event": Event,
    "ack": Ack,
}
"""What pages of ours say. ``log`` would write any text into our log; ``javascript_response``
answers what is not asked here."""


class Line:
    """One socket.

    Attributes:
        scope: with nothing in its query but what was understood.

    Raises:
        NotAllowed: it does not say which page it belongs to.
    """

    def __init__(self, scope: Scope, receive: Receive, seat: Seat) -> None:
        opening = _opening(scope)
        if not _is_of_login(opening.client_id, seat):
            log.debug("a socket named a page that is not its login's")
            opening.client_id = NOBODYS
        self._page_id = opening.client_id
        self._receive = receive
        self._has_connected = False
        self.scope = {**scope, "query_string": _query(opening), KEY: seat}

    async def receive(self) -> Message:
        """The next message that is fit to be taken."""
        while True:
            message = await self._receive()
            if message["type"] != "websocket.receive" or self._is_fit(message.get("text")):
                return message
            log.debug("a frame of a browser was left out")

    def _is_fit(self, frame: str | None) -> bool:
        if frame is None:
            return False
        if CONNECT.fullmatch(frame):
            is_first, self._has_connected = not self._has_connected, True
            return is_first
        if PONG_OR_CLOSE.fullmatch(frame):
            return True
        told = read(frame)
        if told is None or told.client_id != self._page_id:
            return False
        return not isinstance(told, Event) or _has_listener(told)


def read(frame: str) -> Opening | Event | Ack | None:
    """What a message says; None where it is nothing that pages say. Pure."""
    match = MESSAGE.fullmatch(frame)
    if match is None:
        return None
    try:
        told: Any = json.loads(match[1])
        match told:
            case [str(name), dict(data)] if name in MESSAGES:
                return MESSAGES[name].model_validate(data, strict=True)
    except (ValueError, RecursionError):
        log.debug("a message of a browser cannot be read")
    return None


def _opening(scope: Scope) -> Opening:
    try:
        told = parse_qsl(scope["query_string"].decode(), max_num_fields=FIELDS_MAX)
        return Opening.model_validate(dict(told))
    except (ValidationError, ValueError):
        raise NotAllowed("a socket has to say which page it belongs to") from None


def _query(opening: Opening) -> bytes:
    told = opening.model_dump(exclude_none=True)
    told["implicit_handshake"] = "true" if opening.implicit_handshake else "false"
    return urlencode({**told, "EIO": 4, "transport": "websocket"}).encode()


def _is_of_login(page_id: str, seat: Seat) -> bool:
    """Whether the page was made for that login. One that is not there is nobody's, too, which
    NiceGUI tells the browser."""
    page = Client.instances.get(page_id)
    made_for = seats.of_page(page) if page is not None else None
    return made_for is not None and made_for.token.reveal() == seat.token.reveal()


def _has_listener(event: Event) -> bool:
    page = Client.instances.get(event.client_id)
    element = page.elements.get(event.id) if page is not None else None
    return isinstance(element, Panel) and element.listens(event.listener_id)
