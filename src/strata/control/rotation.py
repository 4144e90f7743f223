"""A new key for what is sealed: all of it is closed anew, in one transaction.

The key file holds the new and the old key until that is done, so that a crash in between
loses nothing: the next start goes on with it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import InstrumentedAttribute

from strata.control import tables
from strata.control.journal import Journal
from strata.control.roles import User
from strata.control.seal import Seal
from strata.control.store import Store

log = logging.getLogger(__name__)

IN_FLIGHT_S: Final = 10.0
"""A value that was closed with the old key just before may take that long to be stored."""

SEALED: Final[tuple[tuple[InstrumentedAttribute[Any], str], ...]] = (
    (tables.Stream.psk_sealed, "psk"),
    (tables.Stream.forwards_sealed, "forwards"),
    (tables.Stream.source_sealed, "source"),
    (tables.Destination.url_sealed, "url"),
    (tables.Webhook.url_sealed, "url"),
    (tables.Webhook.secret_sealed, "secret"),
)
"""Every sealed column, and what its place is called after the id of the row."""


async def rotate(journal: Journal, store: Store, seal: Seal, by: User) -> int:
    """Closes everything with a key that is new; returns how many values.

    Raises:
        NotAllowed: that is for administrators.
        HostError: the key file cannot be written.
    """
    by.require("admin")
    if not seal.is_rotating:
        seal.add_key()
    count = await _close_anew(store, seal)
    await asyncio.sleep(IN_FLIGHT_S)
    await finish(store, seal)
    async with journal.begin() as change:
        change.note("key_rotated", by=by, values=count)
    return count


async def finish(store: Store, seal: Seal) -> None:
    """Closes anew what an older key has closed, and forgets that one."""
    if seal.is_rotating:
        await _close_anew(store, seal)
        seal.drop_old_keys()
        log.info("what is sealed has a new key; the old one is forgotten")


async def _close_anew(store: Store, seal: Seal) -> int:
    count = 0
    async with store.begin() as session:
        for column, name in SEALED:
            kind: Any = column.class_
            rows = select(kind).where(column.is_not(None)).with_for_update()
            for row in await session.scalars(rows):
                place = f"{row.id}.{name}"
                value = seal.open(getattr(row, column.key), place)
                setattr(row, column.key, seal.close(value, place))
                count += 1
    return count
