"""Who looks at a page: a login, and what it may do right now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from nicegui.client import Client
from starlette.requests import Request

from strata.control.platform import Platform
from strata.control.roles import User
from strata.dashboard.overview import Overview
from strata.errors import NotAllowed
from strata.secrets import Secret

KEY: Final = "strata.seat"
"""Of the scope of a request that has been let in."""


@dataclass(slots=True)
class Seat:
    """
    Attributes:
        user: as it was when last looked at; what is done asks anew.
        origin: of the pages, as the browser reaches them.
        has_ended: whether the login has; nothing is told any more.
    """

    platform: Platform
    overview: Overview
    token: Secret
    user: User
    origin: str = ""
    has_ended: bool = False

    async def ask(self) -> User:
        """Who that is now.

        Raises:
            NotAllowed: the login has ended.
        """
        try:
            self.user = await self.platform.logins.user_of(self.token.reveal())
        except NotAllowed:
            self.has_ended = True
            raise
        return self.user

    @property
    def may_operate(self) -> bool:
        return self.user.role != "viewer"


def of(request: Request) -> Seat:
    seat: Seat = request.scope[KEY]
    return seat


def of_page(page: Client) -> Seat | None:
    """Whom an open page was made for."""
    seat = page.request.scope.get(KEY)
    return seat if isinstance(seat, Seat) else None
