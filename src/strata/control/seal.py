"""Secrets at rest: sealed with a key that lies beside the database, not in it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strata.errors import HostError
from strata.secrets import Secret

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12


class Seal:
    """AES-256-GCM with one key.

    Each value is bound to its place (the row's id and the column), so that a sealed value
    copied into another row does not open there.
    """

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    @classmethod
    def load(cls, path: Path) -> Seal:
        """The key in ``path``; made (mode 0600) where the file does not exist.

        Raises:
            HostError: the file holds no key. Nothing is overwritten: the sealed values of
                the database would be lost.
        """
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            key = path.read_bytes()
            if len(key) != KEY_BYTES:
                raise HostError(
                    f"{path} does not hold a key of {KEY_BYTES} bytes; restore it from the "
                    "backup that belongs to the database"
                ) from None
            return cls(key)
        with os.fdopen(descriptor, "wb") as file:
            key = secrets.token_bytes(KEY_BYTES)
            file.write(key)
            file.flush()
            os.fsync(descriptor)
        return cls(key)

    def close(self, value: Secret, place: str) -> bytes:
        """The sealed value: nonce, then ciphertext."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, value.reveal().encode(), place.encode())

    def open(self, sealed: bytes, place: str) -> Secret:
        """The value.

        Raises:
            HostError: it was sealed with another key, or for another place.
        """
        try:
            plain = self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], place.encode())
        except (InvalidTag, ValueError):  # ValueError: shorter than a nonce
            raise HostError(
                f"the sealed value of {place} does not open; the key file and the database do "
                "not belong together, restore both from one backup"
            ) from None
        return Secret(plain.decode())
