from __future__ import annotations

from collections.abc import Iterator

import pytest
from nicegui.client import Client
from nicegui.page import page
from starlette.requests import Request

from strata.control.roles import User
from strata.control.users import Changes
from strata.dashboard import open_pages
from strata.dashboard.overview import Overview
from strata.dashboard.seat import KEY, Seat
from strata.errors import NotAllowed
from unit.control.stage import ADMIN, OTHER, OWNER, PASSWORD, Stage


class Open:
    """Pages that are open, and where they are sent."""

    def __init__(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        self._stage = stage
        self.pages: list[Client] = []
        self.sent: list[tuple[Client, str]] = []

        def go(page: Client, to: str) -> None:
            self.sent.append((page, to))

        monkeypatch.setattr(Client, "open", go)

    async def log_in(self, user: User, pages: int = 1) -> list[Seat]:
        token, who = await self._stage.platform.logins.log_in(user.email, PASSWORD)
        overview = Overview(self._stage.platform)
        seats = [Seat(self._stage.platform, overview, token, who) for _ in range(pages)]
        for seat in seats:
            scope = {"type": "http", "path": "/", "headers": [], "query_string": b"", KEY: seat}
            one = Client(page(""), request=Request(scope))
            one.tab_id = "a-tab"  # as when a browser has it open
            self.pages.append(one)
        return seats


@pytest.fixture
def opened(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    one = Open(stage, monkeypatch)
    yield one
    for each in one.pages:
        each.delete()


async def test_a_login_that_has_ended_ends_its_pages(stage: Stage, opened: Open) -> None:
    mine, theirs = await opened.log_in(OWNER, pages=2), await opened.log_in(OTHER)
    await open_pages.look()
    assert not any(seat.has_ended for seat in (*mine, *theirs))
    await stage.platform.users.change(ADMIN, OWNER.id, Changes(is_disabled=True))
    await open_pages.look()
    assert [seat.has_ended for seat in (*mine, *theirs)] == [True, True, False]
    to = "/login?ended=yes&to=/"
    assert opened.sent == [(page, to) for page in opened.pages[:2]]


async def test_pages_follow_what_their_user_may_do(stage: Stage, opened: Open) -> None:
    seats = await opened.log_in(OWNER, pages=2)
    assert all(seat.may_operate for seat in seats)
    await stage.platform.users.change(ADMIN, OWNER.id, Changes(role="viewer"))
    await open_pages.look()
    assert not any(seat.may_operate for seat in seats)


async def test_a_login_is_asked_after_once(
    stage: Stage, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    seats = await opened.log_in(OWNER, pages=5)
    asked: list[str] = []

    async def nobodys(token: str) -> User:
        asked.append(token)
        raise NotAllowed("it has ended")

    monkeypatch.setattr(stage.platform.logins, "user_of", nobodys)
    await open_pages.look()
    assert len(asked) == 1
    assert all(seat.has_ended for seat in seats)
