"""Who this machine is to its control plane: the device token, kept over restarts.

The enrollment token that it is got for works once. So the file is seen to be writable before
that token is shown, and holds the new one before the old one counts as used.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from strata.errors import BadArguments
from strata.secrets import Secret

log = logging.getLogger(__name__)

FILE: Final = "identity.json"
READ_MAX_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Enrolled:
    """
    Attributes:
        enrolled_with: a digest of the enrollment token, to tell a new one from the one that was
            used.
    """

    sender_id: str
    device_token: Secret
    enrolled_with: str


def digest(token: Secret) -> str:
    return hashlib.sha256(token.reveal().encode()).hexdigest()


class Identity:
    """
    Args:
        folder: for this user alone; made where it is not there.
        enrollment_token: that of the settings.
    """

    def __init__(self, folder: Path, enrollment_token: Secret | None = None) -> None:
        self._folder = folder
        self._path = folder / FILE
        self._enrollment_token = enrollment_token
        self._is_refused = False
        self._unsaved = False
        self._enrolled: Enrolled | None = None

    def open(self) -> None:
        """Reads what is known, and sees to it that more could be written.

        Raises:
            BadArguments: the folder cannot be used, or there is neither token.
        """
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._enrolled = self._read()
            self._write(b" " * 1024, self._path.with_suffix(".try"))
            self._path.with_suffix(".try").unlink()
        except OSError as error:
            raise BadArguments(
                f"{self._folder} cannot be used: {error.strerror}; there this machine keeps what "
                "it logs in with, so it is not shown its enrollment token, which works once; "
                "mend that, or choose another state_dir"
            ) from None
        if self._enrolled is None and self._enrollment_token is None:
            raise BadArguments(
                "this machine is not enrolled: have an operator add a sender (strata senders add "
                "NAME), and give its token as enrollment_token in the settings, or as "
                "STRATA_SENDER_ENROLLMENT_TOKEN"
            )

    @property
    def sender_id(self) -> str | None:
        return self._enrolled.sender_id if self._enrolled is not None else None

    @property
    def enrollment_token(self) -> Secret | None:
        """To be shown next; None: the device token is. One that was used, or refused while there
        is a device token, is not shown again."""
        token = self._enrollment_token
        if token is None or self._enrolled is None:
            return token
        if self._is_refused or self._enrolled.enrolled_with == digest(token):
            return None
        return token

    @property
    def device_token(self) -> Secret | None:
        return self._enrolled.device_token if self._enrolled is not None else None

    def enroll(self, sender_id: str, device_token: Secret) -> None:
        """What control gave for the enrollment token.

        It counts even where it cannot be written down: that is tried again with :meth:`keep`.
        """
        assert self._enrollment_token is not None
        used = digest(self._enrollment_token)
        self._enrolled = Enrolled(sender_id, device_token, used)
        self._unsaved = True
        self.keep()

    def keep(self) -> None:
        """Writes down what has not been."""
        if not self._unsaved or self._enrolled is None:
            return
        told = {
            "sender_id": self._enrolled.sender_id,
            "device_token": self._enrolled.device_token.reveal(),
            "enrolled_with": self._enrolled.enrolled_with,
        }
        try:
            new = self._path.with_suffix(".new")
            self._write(json.dumps(told).encode(), new)
            new.replace(self._path)
            _settle(self._folder)
        except OSError as error:
            log.error(
                "the device token cannot be written to %s: %s; mend that before this program "
                "ends, or the machine has to be enrolled anew",
                self._path,
                error.strerror,
            )
        else:
            self._unsaved = False

    def refuse_enrollment(self) -> None:
        """The enrollment token of the settings is not valid; the device token may be."""
        self._is_refused = True

    def _read(self) -> Enrolled | None:
        try:
            with self._path.open("rb") as file:
                found: Any = json.loads(file.read(READ_MAX_BYTES))
            return Enrolled(
                str(found["sender_id"]),
                Secret(str(found["device_token"])),
                str(found["enrolled_with"]),
            )
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            log.error("%s is damaged and is not used; the machine has to be enrolled anew", FILE)
            return None

    def _write(self, data: bytes, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)
            file.write(data)
            file.flush()
            os.fsync(descriptor)


def _settle(folder: Path) -> None:
    """A name is on the disk once its folder is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
