"""What a host has to remember of its workers, should it be killed: one file for each.

No secret is in it. It is written before the worker is spawned and again when its process is
known, so that at no moment a worker runs that no record tells of.
"""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

import msgspec

log = logging.getLogger(__name__)


class Record(msgspec.Struct, frozen=True):
    """One stream on this host.

    Attributes:
        pid: 0 where its worker was about to be spawned.
        started, boot: see :class:`strata.host.process.Identity`.
        forwards: how many lead to the network.
        forward_ids: of all of them, the oldest first; None where an earlier release wrote this.
        last_forward: the highest number that one ever had.
        slate, slate_now, max_egress_kbps, keep_damaged: as the next worker is to have them; None
            is what the settings say.
        had_media: whether any has arrived, as far as was known.
    """

    stream_id: str
    ports: list[int]
    name: str = ""
    slate: str = "on"
    first_media_s: float = 300.0
    forwards: int = 1
    forward_ids: list[str] | None = None
    last_forward: int = 0
    slate_now: bool = False
    max_egress_kbps: int | None = None
    keep_damaged: bool = False
    had_media: bool = False
    pid: int = 0
    started: int = 0
    boot: str = ""


class Records:
    """The files in one folder.

    Raises (on making it):
        OSError: the folder cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def write(self, record: Record) -> None:
        """Replaces what was known of the stream, in one step.

        Raises:
            OSError: the disk refuses.
        """
        path = self._path(record.stream_id)
        new = path.with_suffix(".new")
        descriptor = os.open(new, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(record))
        new.replace(path)

    def forget(self, stream_id: str) -> None:
        with contextlib.suppress(OSError):
            self._path(stream_id).unlink()

    def all(self) -> list[Record]:
        """Every record that can be read; the others are told in the log and left."""
        found = []
        for path in sorted(self._folder.glob("*.json")):
            try:
                found.append(msgspec.json.decode(path.read_bytes(), type=Record))
            except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
                log.error("the record %s cannot be read: %s", path, error)
        return found

    def _path(self, stream_id: str) -> Path:
        return self._folder / f"{stream_id}.json"
