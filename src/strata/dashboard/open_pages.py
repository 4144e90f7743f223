"""Pages that are open follow their logins: what a user may see is known anew each ``LOOK_S``, and
a login that has ended ends its pages.

Each login is asked after once, however many pages somebody has open.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from typing import Final

from nicegui.client import Client

from strata.dashboard import login_page
from strata.dashboard import seat as seats
from strata.dashboard.seat import Seat
from strata.errors import NotAllowed, StoreUnavailable

log = logging.getLogger(__name__)

LOOK_S: Final = 5.0


async def follow_logins() -> None:
    while True:
        await asyncio.sleep(LOOK_S)
        try:
            await look()
        except StoreUnavailable:
            continue  # nothing is told without it that was not allowed a moment ago
        except Exception:  # a border: a login that has ended would be told everything for ever
            log.exception("the logins of open pages could not be looked at; they are in a moment")


async def look() -> None:
    """Once.

    Raises:
        StoreUnavailable: who has a login is not known now.
    """
    by_login: defaultdict[str, list[tuple[Client, Seat]]] = defaultdict(list)
    for page in [*Client.instances.values()]:
        seat = seats.of_page(page)
        if seat is not None and page.has_socket_connection:
            by_login[seat.token.reveal()].append((page, seat))
    for pages in by_login.values():
        try:
            user = await pages[0][1].ask()
        except NotAllowed:
            for page, seat in pages:
                seat.has_ended = True
                page.open(login_page.address(page.request.url.path, has_ended=True))
        else:
            for _, seat in pages:
                seat.user = user
