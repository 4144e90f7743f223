"""Who somebody is: users, passwords and logins."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, TypeAlias

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from sqlalchemy import delete, func, select

from strata import ids
from strata.control import tables
from strata.control.store import Store
from strata.errors import NotAllowed, NotFound
from strata.secrets import Secret
from strata.settings import Admin

Role: TypeAlias = Literal["admin", "operator", "viewer"]

PASSWORD_BYTES: Final = 18
PARALLEL_VERIFIES: Final = 2
"""Each check of a password takes 64 MiB and a core for a moment, by design: a flood of
logins must queue instead of taking the machine from the streams."""


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who is logged in."""

    id: str
    email: str
    role: Role

    @property
    def may_operate(self) -> bool:
        return self.role in ("admin", "operator")

    def may_see(self, owner_id: str) -> bool:
        return self.role == "admin" or self.id == owner_id


class Accounts:
    """Users and their logins.

    A token is ``tok_<id>.<secret>``: the id finds the row, one hash checks the secret.
    """

    def __init__(self, store: Store, session_hours: float) -> None:
        self._store = store
        self._session_life = timedelta(hours=session_hours)
        self._hasher = PasswordHasher()
        self._turns = asyncio.Semaphore(PARALLEL_VERIFIES)
        # Verified where the address is unknown, so that the time does not tell which exist.
        self._nobody = self._hasher.hash(secrets.token_urlsafe())

    async def ensure_admin(self, admin: Admin) -> Secret | None:
        """Makes the first administrator where there is no user at all.

        Returns:
            The password that was made up for it, to be printed once, or None.
        """
        async with self._store.begin() as session:
            if await session.scalar(select(func.count()).select_from(tables.User)):
                return None
            made = None if admin.password else Secret(secrets.token_urlsafe(PASSWORD_BYTES))
            password = made.reveal() if made else ""
            if admin.password is not None:
                password = admin.password.get_secret_value()
            session.add(
                tables.User(
                    id=ids.new("usr"),
                    email=admin.email.strip().lower(),
                    password_hash=await asyncio.to_thread(self._hasher.hash, password),
                    role="admin",
                    created_at=datetime.now(UTC),
                )
            )
            return made

    async def first_admin(self) -> User:
        """The administrator that has been there longest."""
        async with self._store.begin() as session:
            row = await session.scalar(
                select(tables.User)
                .where(tables.User.role == "admin")
                .order_by(tables.User.id)
                .limit(1)
            )
        if row is None:
            raise NotFound("there is no administrator")
        return _user(row)

    async def log_in(self, email: str, password: str) -> tuple[Secret, User]:
        """A token and whose it is.

        Raises:
            NotAllowed: unknown address or wrong password; which of the two is not said.
        """
        async with self._store.begin() as session:
            row = await session.scalar(
                select(tables.User).where(tables.User.email == email.strip().lower())
            )
        async with self._turns:
            right = await asyncio.to_thread(
                self._verify, row.password_hash if row else self._nobody, password
            )
        if row is None or not right:
            raise NotAllowed("the e-mail address or the password is wrong")
        secret = secrets.token_urlsafe(32)
        now = datetime.now(UTC)
        login = tables.Session(
            id=ids.new("tok"),
            user_id=row.id,
            secret_hash=_digest(secret),
            created_at=now,
            expires_at=now + self._session_life,
        )
        async with self._store.begin() as session:
            await session.execute(delete(tables.Session).where(tables.Session.expires_at < now))
            session.add(login)
        return Secret(f"{login.id}.{secret}"), _user(row)

    async def user_of(self, token: str) -> User:
        """Whose token it is.

        Raises:
            NotAllowed: nobody's, or it has expired.
        """
        id, _, secret = token.partition(".")
        async with self._store.begin() as session:
            found = (
                await session.execute(
                    select(tables.Session, tables.User)
                    .join(tables.User, tables.User.id == tables.Session.user_id)
                    .where(tables.Session.id == id)
                )
            ).first()
        if (
            found is None
            or not hmac.compare_digest(found[0].secret_hash, _digest(secret))
            or found[0].expires_at <= datetime.now(UTC)
        ):
            raise NotAllowed("the token is not valid (any more); log in again")
        return _user(found[1])

    async def log_out(self, token: str) -> None:
        async with self._store.begin() as session:
            await session.execute(
                delete(tables.Session).where(tables.Session.id == token.partition(".")[0])
            )

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerifyMismatchError, UnicodeEncodeError):  # half a surrogate pair is no password
            return False


def _digest(secret: str) -> bytes:
    """The secret has 256 bits of its own, so a fast hash is enough."""
    return hashlib.sha256(secret.encode()).digest()


def _user(row: tables.User) -> User:
    role: Role = "viewer"
    if row.role in ("admin", "operator"):
        role = row.role  # type: ignore[assignment]
    return User(row.id, row.email, role)
