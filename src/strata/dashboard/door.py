"""The door to the pages: who is logged in comes in, everybody else is shown the login.

A login lies in a cookie that no script can read and no other site can send. The API does not
know that cookie: it wants its token in a header, so that no page elsewhere can make a browser
ask it for anything.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs

import nicegui
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from strata.control.platform import Platform
from strata.dashboard import login_page
from strata.dashboard.overview import Overview
from strata.dashboard.seat import KEY, Seat
from strata.dashboard.sockets import Line
from strata.errors import NotAllowed, StoreUnavailable, TooManyTries
from strata.secrets import Secret

log = logging.getLogger(__name__)

COOKIE: Final = "strata_login"

OURS: Final = frozenset(
    (
        *("", "start", "streams", "past", "alerts", "senders", "destinations", "hosts", "people"),
        *("events", "settings", "pictures", "watch"),
    )
)
"""What addresses begin with that are the pages'; any other is nobody's."""

LIBRARY: Final = re.compile(
    rf"/_nicegui/{re.escape(nicegui.__version__)}/(?:(?:static|libraries|components)/.+"
    r"|(?:resources|esm)/[^/]+/.+|dynamic_resources/[^/]+)"
)
"""What is in every copy of the library, and there for everybody. For any other address below it
NiceGUI would make a page that says so, keep it for a minute, and write a line into the log."""

SOCKET: Final = "/_nicegui_ws/socket.io"
"""For WebSockets alone: where those come from is looked at, and long polling would go around it."""

LOGIN_BYTES_MAX: Final = 8192
EMAIL_MAX: Final = 254
PASSWORD_MAX: Final = 1024
LOGIN_FIELDS_MAX: Final = 4
LOGIN_READ_S: Final = 10.0
"""How long a login may take to arrive."""

HEADERS: Final = {
    # What draws the pages compiles its templates in the browser. Nothing comes from elsewhere,
    # and nothing goes there.
    "content-security-policy": "default-src 'self'; script-src 'self' 'unsafe-inline' "
    "'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' "
    "blob:; font-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
}


class Door:
    """
    Args:
        pages: what is behind it; finds the :class:`Seat` in the scope.
    """

    def __init__(self, platform: Platform, overview: Overview, pages: ASGIApp) -> None:
        self._platform = platform
        self._overview = overview
        self._pages = pages
        self._look = StaticFiles(directory=Path(__file__).parent / "look")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._let_socket_in(scope, receive, send)
            return
        room, _, rest = scope["path"].lstrip("/").partition("/")
        send = _with_headers(send)
        if scope["path"] == "/favicon.ico":
            room, rest = "look", "icon.svg"
        if room == "look":
            await self._look({**scope, "path": f"/{rest}", "root_path": ""}, receive, send)
        elif LIBRARY.fullmatch(scope["path"]) and scope["method"] in ("GET", "HEAD"):
            await self._pages(scope, receive, send)
        elif (room, rest) == ("login", ""):
            await (await self._log_in(Request(scope, receive)))(scope, receive, send)
        elif (room, rest) == ("logout", ""):
            await (await self._log_out(Request(scope, receive)))(scope, receive, send)
        elif room not in OURS:
            raise HTTPException(404, "there is nothing here")
        else:
            await self._let_in(scope, receive, send)

    async def _let_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            scope[KEY] = await self._seat(request)
        except NotAllowed:
            has_ended = COOKIE in request.cookies
            to = login_page.address(request.url.path, has_ended=has_ended)
            await RedirectResponse(to, 303)(scope, receive, send)
        except StoreUnavailable:
            page = login_page.html(login_page.NO_STORE, may_log_in=False)
            await _page(page, 503)(scope, receive, send)
        else:
            await self._pages(scope, receive, send)

    async def _let_socket_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = HTTPConnection(scope)
        try:
            if scope["path"].rstrip("/") != SOCKET or not _is_from_here(connection):
                raise NotAllowed("not a page of ours")
            line = Line(scope, receive, await self._seat(connection))
        except (NotAllowed, StoreUnavailable):
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._pages(line.scope, line.receive, send)

    async def _seat(self, connection: HTTPConnection) -> Seat:
        token = connection.cookies.get(COOKIE, "")
        if not token.isprintable():
            raise NotAllowed("no token looks like that")
        user = await self._platform.logins.user_of(token)
        origin = str(connection.base_url).rstrip("/")
        return Seat(self._platform, self._overview, Secret(token), user, origin)

    async def _log_in(self, request: Request) -> Response:
        if request.method != "POST":
            has_ended = login_page.HAS_ENDED in request.query_params
            return _page(login_page.html(login_page.ENDED if has_ended else ""))
        if not _is_from_here(request):
            return _page(login_page.html("This form was sent by another site."), 403)
        try:
            email, password = await _form(request)
        except Unreadable as error:
            return _page(login_page.html(error.told), error.status)
        address = request.client.host if request.client is not None else ""
        try:
            token, _ = await self._platform.logins.log_in(email, password, address)
        except NotAllowed:
            return _page(login_page.html(login_page.WRONG, email), 401)
        except TooManyTries as error:
            wait = {"Retry-After": str(math.ceil(error.wait_s))}
            return _page(login_page.html(login_page.too_many(error.wait_s), email), 429, wait)
        except StoreUnavailable:
            return _page(login_page.html(login_page.NO_STORE, email), 503)
        answer = RedirectResponse(target(request.query_params.get("to", "/")), 303)
        answer.set_cookie(
            COOKIE,
            token.reveal(),
            max_age=round(self._platform.settings.server.session_hours * 3600),
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    async def _log_out(self, request: Request) -> Response:
        if request.method != "POST" or not _is_from_here(request):
            return RedirectResponse("/", 303)
        try:
            await self._platform.logins.log_out((await self._seat(request)).token.reveal())
        except NotAllowed:
            log.debug("a login that had ended already was ended")
        except StoreUnavailable:
            return _page(login_page.html(login_page.NO_STORE, may_log_in=False), 503)
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer


class Unreadable(Exception):
    """What was sent is no login."""

    def __init__(self, status: int, told: str) -> None:
        self.status = status
        self.told = told


async def _form(request: Request) -> tuple[str, str]:
    """The address and the password that were typed.

    Raises:
        Unreadable: too much, too slow, cut short, or no such form.
    """
    sent = bytearray()
    try:
        async with asyncio.timeout(LOGIN_READ_S):
            async for part in request.stream():
                sent += part
                if len(sent) > LOGIN_BYTES_MAX:
                    raise Unreadable(413, login_page.TOO_LONG)
        told = parse_qs(sent.decode(errors="replace"), max_num_fields=LOGIN_FIELDS_MAX)
    except TimeoutError:
        raise Unreadable(408, login_page.TOO_SLOW) from None
    except (ClientDisconnect, ValueError):
        raise Unreadable(400, login_page.NO_FORM) from None
    email = told.get("email", [""])[0][:EMAIL_MAX]
    if not email.isprintable():
        raise Unreadable(400, login_page.NO_FORM)
    return email, told.get("password", [""])[0][:PASSWORD_MAX]


def target(text: str) -> str:
    """Where a login leads: to a page of ours, whatever the address says."""
    is_ours = text.startswith("/") and not text.startswith("//") and text.isprintable()
    return text if is_ours and "\\" not in text else "/"


def _is_from_here(connection: HTTPConnection) -> bool:
    """Whether a page of ours sends that, or what is no browser and does not say.

    Browsers tell the site outright where they trust the connection, and else the origin; of that
    some proxies' policies leave only ``null``, which says nothing and is refused.
    """
    site = connection.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = connection.headers.get("origin")
    return origin is None or origin.partition("://")[2] == connection.headers.get("host")


def _page(html: str, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    kept = {"Cache-Control": "no-store", **(headers or {})}
    return Response(html, status, kept, media_type="text/html")


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            if "cache-control" not in headers:
                headers["cache-control"] = "no-cache"  # ask whether it is still the same
        await send(message)

    return sending
