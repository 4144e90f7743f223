"""``strata events``."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from strata.client.commands.common import connected
from strata.errors import BadArguments, ClientError, NotLoggedIn

if TYPE_CHECKING:
    from strata.client.api import Api

PAGE: Final = 1000
"""The most that the platform gives at once."""
FOLLOW_EVERY_S: Final = 1.0
UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def events(
    since: Annotated[
        str | None, typer.Option(help="as 10m, 2h, 3d or 2026-01-31T20:00:00Z; else the latest 100")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="and what happens from now on, until Ctrl-C")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="one document; with --follow one for each event")
    ] = False,
) -> None:
    """What happened, and who did it; the oldest first."""
    moment = began(since, datetime.now(UTC)) if since is not None else None
    with connected() as api:
        rows = read(api, moment)
        if follow and as_json:
            _follow(api, rows, _put_lines)
        elif follow:
            _follow(api, rows, _put_table)
        elif as_json:
            print(json.dumps(rows, ensure_ascii=False, separators=(",", ":")))
        else:
            _put_table(rows, True)


def began(text: str, now: datetime) -> datetime:
    """The moment that is meant.

    Raises:
        BadArguments: none.
    """
    ago = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    try:
        if ago:
            return now - timedelta(**{UNITS[ago[2]]: int(ago[1])})
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise BadArguments(
            f"{text!r} is no moment; write it like 10m, 2h, 3d or 2026-01-31T20:00:00Z"
        ) from None
    return found if found.tzinfo else found.astimezone()


def read(api: Api, since: datetime | None = None, after: str | None = None) -> list[Any]:
    """All of them, page by page; without ``since`` and ``after`` the latest."""
    if since is None and after is None:
        return _rows(api, {"limit": 100})
    found: list[Any] = []
    while True:
        query: dict[str, str | int] = {"limit": PAGE}
        if after is not None:
            query["after"] = after
        elif since is not None:
            query["since"] = since.isoformat()
        page = _rows(api, query)
        found += page
        if len(page) < PAGE:
            return found
        after = str(page[-1]["id"])


def _rows(api: Api, query: dict[str, str | int]) -> list[Any]:
    rows = api.get("/api/events", **query).data
    if not isinstance(rows, list) or not all(isinstance(each, dict) for each in rows):
        raise ClientError("the platform's list of events cannot be read; it is another version's")
    return rows


def _follow(api: Api, rows: list[Any], put: Any) -> None:
    """Prints them and what comes; a platform that is away is asked again and again."""
    from strata.client.commands.logins import warn

    put(rows, True)
    last = str(rows[-1]["id"]) if rows else ""
    is_away = False
    try:
        while True:
            time.sleep(FOLLOW_EVERY_S)
            try:
                rows = read(api, after=last)
            except NotLoggedIn:
                raise
            except ClientError as error:
                if not is_away:
                    warn(f"{error.message}; it is asked again and again")
                is_away = True
                continue
            is_away = False
            if rows:
                put(rows, False)
                last = str(rows[-1]["id"])
    except KeyboardInterrupt:
        return


def _put_lines(rows: list[Any], is_first: bool) -> None:
    for row in rows:
        print(json.dumps(row, ensure_ascii=False, separators=(",", ":")), flush=True)


def _put_table(rows: list[Any], is_first: bool) -> None:
    from strata.client import screen, show

    now = datetime.now(UTC)
    if is_first:
        screen.put(show.table(show.EVENTS, rows, now, "nothing has happened"))
    else:
        for row in rows:
            screen.put(show.event_line(row, now))
