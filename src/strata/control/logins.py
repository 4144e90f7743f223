"""Who somebody is: logins and API tokens.

A token is ``tok_<id>.<secret>``: the id finds the row, one hash checks the secret.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import delete, select, update

from strata import ids
from strata.control import tables
from strata.control.journal import Journal
from strata.control.passwords import Passwords
from strata.control.roles import User
from strata.control.store import Store
from strata.control.throttle import Throttle
from strata.control.users import user_of
from strata.errors import NotAllowed, NotFound, TooManyTries
from strata.secrets import Secret

USED_EVERY: Final = timedelta(minutes=1)
"""How exactly it is written down when a token was used last: not at each request."""

USED_KNOWN_MAX: Final = 10_000


class Logins:
    """
    Args:
        session_hours: life of a login.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        store: Store,
        journal: Journal,
        passwords: Passwords,
        session_hours: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._journal = journal
        self._passwords = passwords
        self._session_life = timedelta(hours=session_hours)
        self._throttle = Throttle()
        self._clock = clock
        # When each token's use was written down: of requests that come together one does it, and
        # the others need not wait for the database's one writer.
        self._used: dict[str, datetime] = {}

    async def log_in(self, email: str, password: str, address: str = "") -> tuple[Secret, User]:
        """A token and whose it is.

        Args:
            address: where it comes from.

        Raises:
            NotAllowed: unknown address or wrong password; which of the two is not said.
            TooManyTries: that was tried too often.
        """
        email = email.strip().lower()
        wait_s = self._throttle.wait_s(address, email, self._clock())
        if wait_s > 0:
            raise TooManyTries(
                f"too many wrong passwords; try again in {wait_s:.0f} s", wait_s=wait_s
            )
        # Counted before it is looked at: those that come meanwhile must not be free.
        self._throttle.failed(address, email, self._clock())
        async with self._store.begin() as session:
            row = await session.scalar(select(tables.User).where(tables.User.email == email))
        known = row if row is not None and not row.is_disabled else None
        right = await self._passwords.is_right(known.password_hash if known else None, password)
        if known is None or not right:
            async with self._journal.begin() as change:
                subject = row.id if row is not None else None
                change.note("login_failed", subject, email=email, address=address)
            raise NotAllowed("the e-mail address or the password is wrong")
        self._throttle.succeeded(address, email)
        now = datetime.now(UTC)
        token, login = _new(known.id, "login", "", now + self._session_life)
        async with self._journal.begin() as change:
            await change.session.execute(delete(tables.Token).where(tables.Token.expires_at < now))
            change.session.add(login)
            user = user_of(known)
            change.note("login", user.id, owner_id=user.id, by=user, address=address)
        return token, user

    async def user_of(self, token: str) -> User:
        """Whose token it is.

        Raises:
            NotAllowed: nobody's, or it has expired.
        """
        id, _, secret = token.partition(".")
        now = datetime.now(UTC)
        async with self._store.begin() as session:
            found = (
                await session.execute(
                    select(tables.Token, tables.User)
                    .join(tables.User, tables.User.id == tables.Token.user_id)
                    .where(tables.Token.id == id)
                )
            ).first()
            if (
                found is None
                or not hmac.compare_digest(found[0].secret_hash, digest(secret))
                or (found[0].expires_at is not None and found[0].expires_at <= now)
                or found[1].is_disabled
            ):
                raise NotAllowed("the token is not valid (any more); log in again")
            used_at = self._used.get(id, found[0].used_at)
            if used_at is None or now - used_at > USED_EVERY:
                if len(self._used) >= USED_KNOWN_MAX:
                    self._used.clear()
                self._used[id] = now
                await session.execute(
                    update(tables.Token).where(tables.Token.id == id).values(used_at=now)
                )
        return user_of(found[1])

    async def log_out(self, token: str) -> None:
        """Ends the login; an API token is left alone."""
        async with self._store.begin() as session:
            await session.execute(
                delete(tables.Token).where(
                    tables.Token.id == token.partition(".")[0], tables.Token.kind == "login"
                )
            )

    # API tokens.

    async def tokens(self, user: User) -> list[tables.Token]:
        """The user's API tokens, without their secrets."""
        async with self._store.begin() as session:
            return list(
                await session.scalars(
                    select(tables.Token)
                    .where(tables.Token.user_id == user.id, tables.Token.kind == "api")
                    .order_by(tables.Token.id)
                )
            )

    async def add_token(
        self, user: User, name: str, life: timedelta | None
    ) -> tuple[Secret, tables.Token]:
        """A token for programs that may do what the user may; it is told this once.

        Args:
            life: None: until it is deleted.
        """
        expires_at = datetime.now(UTC) + life if life is not None else None
        token, row = _new(user.id, "api", name, expires_at)
        async with self._journal.begin() as change:
            change.session.add(row)
            change.note("token_added", row.id, owner_id=user.id, by=user, name=name)
        return token, row

    async def delete_token(self, user: User, token_id: str) -> None:
        """Ends a token of the user's.

        Raises:
            NotFound: there is none.
        """
        async with self._journal.begin() as change:
            row = await change.session.get(tables.Token, token_id)
            if row is None or row.kind != "api" or not (user.sees_all or row.user_id == user.id):
                raise NotFound(f"you have no API token {token_id}")
            await change.session.delete(row)
            change.note("token_deleted", token_id, owner_id=row.user_id, by=user, name=row.name)


def digest(secret: str) -> bytes:
    """Of a secret that has 256 bits of its own, for which a fast hash is enough."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).digest()


def _new(
    user_id: str, kind: str, name: str, expires_at: datetime | None
) -> tuple[Secret, tables.Token]:
    secret = secrets.token_urlsafe(32)
    row = tables.Token(
        id=ids.new("tok"),
        user_id=user_id,
        kind=kind,
        name=name,
        secret_hash=digest(secret),
        created_at=datetime.now(UTC),
        expires_at=expires_at,
    )
    return Secret(f"{row.id}.{secret}"), row
