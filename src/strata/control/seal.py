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
    """AES-256-GCM: the first key closes, each of them opens.

    Each value is bound to its place (the row's id and the column), so that a sealed value
    copied into another row does not open there.

    There is one key, but while it is rotated: then the new one comes first, until all that the
    old one had closed has been closed anew (:mod:`strata.control.rotation`).

    Args:
        path: of the file that holds them, one after the other; None: nowhere.
    """

    def __init__(self, *keys: bytes, path: Path | None = None) -> None:
        self._keys = keys
        self._path = path
        self._ciphers = [AESGCM(key) for key in keys]

    @classmethod
    def load(cls, path: Path) -> Seal:
        """The keys in ``path``; one is made (mode 0600) where the file does not exist.

        Raises:
            HostError: the file holds no key. Nothing is overwritten: the sealed values of
                the database would be lost.
        """
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            held = path.read_bytes()
            if not held or len(held) % KEY_BYTES:
                raise HostError(
                    f"{path} does not hold a key of {KEY_BYTES} bytes; restore it from the "
                    "backup that belongs to the database"
                ) from None
            keys = [held[at : at + KEY_BYTES] for at in range(0, len(held), KEY_BYTES)]
            return cls(*keys, path=path)
        with os.fdopen(descriptor, "wb") as file:
            key = secrets.token_bytes(KEY_BYTES)
            file.write(key)
            file.flush()
            os.fsync(descriptor)
        return cls(key, path=path)

    @property
    def is_rotating(self) -> bool:
        """Whether there are values that an older key has closed."""
        return len(self._keys) > 1

    def add_key(self) -> None:
        """Closes with a new key from now on."""
        self._keep(secrets.token_bytes(KEY_BYTES), *self._keys)

    def drop_old_keys(self) -> None:
        """Forgets all keys but the newest; what they closed opens no more."""
        self._keep(self._keys[0])

    def close(self, value: Secret, place: str) -> bytes:
        """The sealed value: nonce, then ciphertext."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._ciphers[0].encrypt(nonce, value.reveal().encode(), place.encode())

    def open(self, sealed: bytes, place: str) -> Secret:
        """The value.

        Raises:
            HostError: it was sealed with another key, or for another place.
        """
        nonce, closed = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        for cipher in self._ciphers:
            try:
                return Secret(cipher.decrypt(nonce, closed, place.encode()).decode())
            except (InvalidTag, ValueError):  # ValueError: shorter than a nonce
                continue
        raise HostError(
            f"the sealed value of {place} does not open; the key file and the database do "
            "not belong together, restore both from one backup"
        )

    def _keep(self, *keys: bytes) -> None:
        """These from now on: in the file first, so that nothing is closed with a key that a
        crash would lose."""
        if self._path is not None:
            new = self._path.with_suffix(".new")
            descriptor = os.open(new, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(b"".join(keys))
                file.flush()
                os.fsync(descriptor)
            new.replace(self._path)
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        self._keys = keys
        self._ciphers = [AESGCM(key) for key in keys]
