"""Senders: the boxes in the field that are known here, and what they show to be let in.

A sender has two tokens, each ``snd_<id>.<secret>``: one that it shows once, given by a person,
and the one that it got for it and shows ever since. Both have so many bits that one fast hash
checks them: after a restart of the control plane all senders come at once.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from strata import ids
from strata.control import lifecycle, tables
from strata.control.journal import Change, Journal
from strata.control.logins import digest
from strata.control.roles import User
from strata.control.store import Store
from strata.errors import Conflict, NotAllowed, NotFound
from strata.secrets import Secret
from strata.wire import agent as wire

SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Came:
    """A sender came or went.

    Attributes:
        type: ``sender_online`` or ``sender_offline``.
        detail: from where, or why.
    """

    type: str
    sender_id: str
    owner_id: str
    at: datetime
    detail: str


class Senders:
    """
    Args:
        enrollment_days: life of an enrollment token.
    """

    def __init__(self, store: Store, journal: Journal, enrollment_days: float) -> None:
        self._store = store
        self._journal = journal
        self._enrollment_life = timedelta(days=enrollment_days)

    # For people.

    async def visible_to(self, user: User) -> list[tables.Sender]:
        """The senders that the user may see, in the order in which they came."""
        query = select(tables.Sender).order_by(tables.Sender.id)
        if not user.sees_all:
            query = query.where(tables.Sender.owner_id.in_(user.sees))
        async with self._store.begin() as session:
            return list(await session.scalars(query))

    async def get(self, user: User, sender_id: str) -> tables.Sender:
        """One sender.

        Raises:
            NotFound: there is none, or it is another user's.
        """
        async with self._store.begin() as session:
            return await _own(session, user, sender_id)

    async def add(self, user: User, name: str) -> tuple[Secret, tables.Sender]:
        """A new sender, and the token that its box is to show; it is told this once."""
        user.require("operator")
        row = tables.Sender(
            id=ids.new("snd"), owner_id=user.id, name=name, created_at=datetime.now(UTC)
        )
        token = self._new_enrollment(row)
        async with self._journal.begin() as change:
            change.session.add(row)
            change.note("sender_added", row.id, row.owner_id, user, name=name)
        return token, row

    async def enroll(self, user: User, sender_id: str) -> tuple[Secret, tables.Sender]:
        """A token for another box that takes the place of this one; it is told this once.

        The box that is in may go on until the other has come: a mistake must not lock it out.

        Raises:
            NotFound: there is no such sender, or it is another user's.
        """
        user.require("operator")
        async with self._journal.begin() as change:
            row = await _own(change.session, user, sender_id, lock=True)
            token = self._new_enrollment(row)
            change.note("sender_enrollment", row.id, row.owner_id, user, name=row.name)
        return token, row

    async def remove(self, user: User, sender_id: str) -> tables.Sender:
        """Forgets a sender; its box is let in no more.

        Raises:
            NotFound: there is none, or it is another user's.
            Conflict: a stream of it runs.
        """
        user.require("operator")
        async with self._journal.begin() as change:
            row = await _own(change.session, user, sender_id, lock=True)
            stream_id = await change.session.scalar(
                select(tables.Stream.id).where(
                    tables.Stream.sender_id == sender_id,
                    tables.Stream.state.not_in(lifecycle.OVER),
                )
            )
            if stream_id is not None:
                raise Conflict(f"{row.name or row.id} sends {stream_id}; stop that stream first")
            await change.session.delete(row)
            change.note("sender_removed", row.id, row.owner_id, user, name=row.name)
        return row

    def _new_enrollment(self, row: tables.Sender) -> Secret:
        token, row.enrollment_hash = _new_token(row.id)
        row.enrollment_expires_at = datetime.now(UTC) + self._enrollment_life
        return token

    # For boxes.

    async def let_in(self, login: wire.Login, address: str) -> tuple[tables.Sender, Secret | None]:
        """Whose token it is, and, for an enrollment token, the one to be shown from now on.

        Raises:
            NotAllowed: nobody's, or it has been used or has expired.
        """
        if login.enrollment_token is not None:
            return await self._take_on(login, login.enrollment_token, address)
        id, _, secret = (login.device_token or "").partition(".")
        async with self._store.begin() as session:
            row = await session.get(tables.Sender, id)
            if row is None or not _is_right(row.device_hash, secret):
                raise NotAllowed(
                    "the device token is not valid (any more); the box needs a new enrollment "
                    "token, which an operator makes on the page of the sender"
                )
            _describe(row, login)
        return row, None

    async def _take_on(
        self, login: wire.Login, token: str, address: str
    ) -> tuple[tables.Sender, Secret]:
        id, _, secret = token.partition(".")
        now = datetime.now(UTC)
        async with self._journal.begin() as change:
            row = await change.session.get(tables.Sender, id)
            is_fresh = (
                row is not None
                and _is_right(row.enrollment_hash, secret)
                and row.enrollment_expires_at is not None
                and now < row.enrollment_expires_at
                and await _is_used_up(change.session, row, now)
            )
            if row is None or not is_fresh:
                raise NotAllowed(
                    "the enrollment token is not valid: it works once, for some days; an operator "
                    "makes a new one on the page of the sender"
                )
            await change.session.refresh(row)
            device_token, row.device_hash = _new_token(row.id)
            _describe(row, login)
            _note_enrolled(change, row, address)
        return row, device_token

    async def write_down(self, seen: Mapping[str, datetime], came: Iterable[Came]) -> None:
        """When senders were there last, and that they came and went: of all, at once."""
        async with self._journal.begin() as change:
            for sender_id in sorted(seen):  # in one order: two writers must not wait in a ring
                await change.session.execute(
                    update(tables.Sender)
                    .where(tables.Sender.id == sender_id)
                    .values(seen_at=seen[sender_id])
                )
            for each in came:
                change.note(
                    each.type, each.sender_id, each.owner_id, at=each.at, detail=each.detail
                )


def _new_token(sender_id: str) -> tuple[Secret, bytes]:
    secret = secrets.token_urlsafe(SECRET_BYTES)
    return Secret(f"{sender_id}.{secret}"), digest(secret)


def _is_right(hash: bytes | None, secret: str) -> bool:
    return hash is not None and hmac.compare_digest(hash, digest(secret))


async def _is_used_up(session: AsyncSession, row: tables.Sender, now: datetime) -> bool:
    """Uses the enrollment token up; False where another connection was faster."""
    result = await session.execute(
        update(tables.Sender)
        .where(
            tables.Sender.id == row.id,
            tables.Sender.enrollment_hash == row.enrollment_hash,
        )
        .values(enrollment_hash=None, enrollment_expires_at=None, enrolled_at=now)
        .returning(tables.Sender.id)
        .execution_options(synchronize_session=False)
    )
    return result.scalar_one_or_none() is not None


def _describe(row: tables.Sender, login: wire.Login) -> None:
    """Takes in what the box says of itself; what is as it was costs no write."""
    for name in ("hostname", "arch", "agent_version"):
        value = getattr(login, name) or None
        if getattr(row, name) != value:
            setattr(row, name, value)


def _note_enrolled(change: Change, row: tables.Sender, address: str) -> None:
    change.note(
        "sender_enrolled", row.id, row.owner_id, hostname=row.hostname or "", address=address
    )


async def _own(
    session: AsyncSession, user: User, sender_id: str, *, lock: bool = False
) -> tables.Sender:
    row = await session.get(tables.Sender, sender_id, with_for_update=lock or None)
    if row is None or not user.may_see(row.owner_id):
        raise NotFound(f"there is no sender {sender_id[:64]!r}")
    return row
