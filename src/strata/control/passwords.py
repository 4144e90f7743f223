"""Passwords: argon2id, off the event loop, and a few at a time."""

from __future__ import annotations

import asyncio
import secrets
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from strata.errors import TooManyTries

PARALLEL: Final = 2
"""Each check takes 64 MiB and a core for a moment, by design: a flood of logins must queue
instead of taking the machine from the streams."""

WAITING_MAX: Final = 50
"""More than these are sent away: they would wait for seconds, and be a heap of memory."""
AGAIN_S: Final = 5.0


class Passwords:
    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(PARALLEL)
        self._waiting = 0
        self._hasher = PasswordHasher()
        # Verified where the address is unknown, so that the time does not tell which exist.
        self._nobody = self._hasher.hash(secrets.token_urlsafe())

    async def hash(self, password: str) -> str:
        async with self._turns:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def is_right(self, hash: str | None, password: str) -> bool:
        """Whether the password is the one; for nobody's (None) False after the same time.

        Raises:
            TooManyTries: too many wait for an answer already.
        """
        if self._waiting >= WAITING_MAX:
            raise TooManyTries("too many are logging in at once; try again in a moment", AGAIN_S)
        self._waiting += 1
        try:
            async with self._turns:
                right = await asyncio.to_thread(self._verify, hash or self._nobody, password)
        finally:
            self._waiting -= 1
        return right and hash is not None

    def _verify(self, hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(hash, password)
        # Half a surrogate pair is no password, and a user may have been made without one.
        except (VerificationError, InvalidHashError, UnicodeEncodeError):
            return False
