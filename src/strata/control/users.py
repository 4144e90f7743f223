"""The people of this installation."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from strata import ids
from strata.control import tables
from strata.control.journal import Change, Journal
from strata.control.passwords import Passwords
from strata.control.roles import Role, User
from strata.control.store import Store
from strata.errors import BadArguments, Conflict, NotFound
from strata.secrets import Secret
from strata.settings import Admin

PASSWORD_BYTES: Final = 18
OWNED: Final = (tables.Stream, tables.Sender, tables.Destination, tables.Webhook)


@dataclass(frozen=True, slots=True)
class Changes:
    """What an administrator changes of a user; None stays as it is."""

    role: Role | None = None
    password: Secret | None = None
    is_disabled: bool | None = None
    sees: tuple[str, ...] | None = None


class Users:
    def __init__(self, store: Store, journal: Journal, passwords: Passwords) -> None:
        self._store = store
        self._journal = journal
        self._passwords = passwords

    async def ensure_admin(self, admin: Admin) -> Secret | None:
        """Makes the first administrator where there is no user at all.

        Returns:
            The password that was made up for it, to be printed once, or None.
        """
        async with self._journal.begin() as change:
            if await change.session.scalar(select(func.count()).select_from(tables.User)):
                return None
            made = None if admin.password else Secret(secrets.token_urlsafe(PASSWORD_BYTES))
            password = made.reveal() if made else ""
            if admin.password is not None:
                password = admin.password.get_secret_value()
            await self._insert(change, admin.email, Secret(password), "admin", (), None)
            return made

    async def first_admin(self) -> User:
        """The administrator that has been there longest."""
        async with self._store.begin() as session:
            row = await session.scalar(
                select(tables.User)
                .where(tables.User.role == "admin", tables.User.is_disabled.is_(False))
                .order_by(tables.User.id)
                .limit(1)
            )
        if row is None:
            raise NotFound("there is no administrator")
        return user_of(row)

    async def all(self, by: User) -> list[tables.User]:
        """Everybody, in the order in which they came."""
        by.require("admin")
        async with self._store.begin() as session:
            return list(await session.scalars(select(tables.User).order_by(tables.User.id)))

    async def add(
        self, by: User, email: str, password: Secret, role: Role, sees: tuple[str, ...] = ()
    ) -> tables.User:
        """Somebody new.

        Raises:
            Conflict: the address is taken.
            BadArguments: one of those that it is to see does not exist.
        """
        by.require("admin")
        async with self._journal.begin() as change:
            return await self._insert(change, email, password, role, sees, by)

    async def change(self, by: User, user_id: str, changes: Changes) -> tables.User:
        """Another role, another password, or no access any more. What it was logged in with
        ends where that is about safety.

        Raises:
            NotFound: there is no such user.
            Conflict: it is the last administrator.
        """
        by.require("admin")
        hash = await self._passwords.hash(changes.password.reveal()) if changes.password else None
        async with self._journal.begin() as change:
            row = await _get(change.session, user_id)
            told: dict[str, Any] = {"password": "changed"} if hash else {}
            for name in ("role", "is_disabled"):
                value = getattr(changes, name)
                if value is not None and value != getattr(row, name):
                    setattr(row, name, value)
                    told[name] = value
            if changes.sees is not None:
                await _exist(change.session, changes.sees)
                row.sees = list(changes.sees)
                told["sees"] = row.sees
            await _keep_an_admin(change.session)
            if hash:
                row.password_hash = hash
            if hash or row.is_disabled:
                await change.session.execute(
                    delete(tables.Token).where(tables.Token.user_id == user_id)
                )
            change.note("user_changed", user_id, by=by, email=row.email, **told)
            return row

    async def remove(self, by: User, user_id: str) -> None:
        """Removes somebody who owns nothing.

        Raises:
            NotFound: there is no such user.
            Conflict: streams or other things are theirs, or it is the last administrator.
        """
        by.require("admin")
        async with self._journal.begin() as change:
            row = await _get(change.session, user_id)
            for kind in OWNED:
                if await change.session.scalar(select(kind.id).where(kind.owner_id == user_id)):
                    raise Conflict(
                        f"{row.email} owns {kind.__tablename__}, which would be nobody's; disable "
                        "the user instead (is_disabled)"
                    )
            await change.session.delete(row)
            await _keep_an_admin(change.session)
            change.note("user_removed", user_id, by=by, email=row.email)

    async def _insert(
        self,
        change: Change,
        email: str,
        password: Secret,
        role: Role,
        sees: tuple[str, ...],
        by: User | None,
    ) -> tables.User:
        email = email.strip().lower()
        if await change.session.scalar(select(tables.User.id).where(tables.User.email == email)):
            raise Conflict(f"there is a user with the address {email} already")
        await _exist(change.session, sees)
        row = tables.User(
            id=ids.new("usr"),
            email=email,
            password_hash=await self._passwords.hash(password.reveal()),
            role=role,
            is_disabled=False,
            sees=list(sees),
            created_at=datetime.now(UTC),
        )
        change.session.add(row)
        change.note("user_added", row.id, by=by, email=email, role=role)
        return row


def user_of(row: tables.User) -> User:
    """The row as somebody who acts. A role that this version does not know may the least."""
    role: Role = "viewer"
    if row.role in ("admin", "operator"):
        role = row.role  # type: ignore[assignment]
    return User(row.id, row.email, role, tuple(row.sees))


async def _get(session: AsyncSession, user_id: str) -> tables.User:
    row = await session.get(tables.User, user_id, with_for_update=True)
    if row is None:
        raise NotFound(f"there is no user {user_id}")
    return row


async def _exist(session: AsyncSession, user_ids: tuple[str, ...]) -> None:
    query = select(tables.User.id).where(tables.User.id.in_(user_ids))
    missing = set(user_ids) - set(await session.scalars(query))
    if missing:
        raise BadArguments(f"there is no user {', '.join(sorted(missing))}")


async def _keep_an_admin(session: AsyncSession) -> None:
    await session.flush()
    admin = select(tables.User.id).where(
        tables.User.role == "admin", tables.User.is_disabled.is_(False)
    )
    if await session.scalar(admin.limit(1)) is None:
        raise Conflict("nobody would be an administrator any more; make somebody else one first")
