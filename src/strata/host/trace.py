"""By what a stream is known to the next host: its record, its worker's process and log."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any, Final

import msgspec

from strata.errors import HostError
from strata.host import process
from strata.host.process import Identity, Process
from strata.host.records import Record, Records
from strata.host.supervised import Outcome

log = logging.getLogger(__name__)

_GOODBYE: Final = re.compile(r"stopped: (eos|no_input|orphaned)$")
"""The last line of a worker's log that ended as it was told to."""


class Trace:
    """What there is of one stream outside of its host.

    Args:
        runtime_dir, log_dir: where its workers, one after the other, serve and write.

    Attributes:
        record: as it was written last, or should have been.
    """

    def __init__(self, record: Record, records: Records, runtime_dir: Path, log_dir: Path) -> None:
        self.record = record
        self.socket = runtime_dir / f"{record.stream_id}.sock"
        self.log = log_dir / f"{record.stream_id}.log"
        self._records = records

    def note(self, **changes: Any) -> None:
        """Writes down what has changed.

        Raises:
            HostError: the disk refuses.
        """
        self.record = msgspec.structs.replace(self.record, **changes)
        try:
            self._records.write(self.record)
        except OSError as error:
            raise HostError(
                f"what runs here cannot be written down: {error.strerror}; a host that is "
                "started anew would not find the stream as it is. Check the disk (df -h) and "
                "the rights on the data folder"
            ) from error

    def note_if_possible(self, **changes: Any) -> None:
        """The same of what is on the air anyway, and remembered by this host: a disk that
        refuses is told in the log, and no reason to call it a failure."""
        try:
            self.note(**changes)
        except HostError as error:
            log.warning("%s: %s", self.record.stream_id, error.message)

    def note_process(self, identity: Identity | None, **changes: Any) -> None:
        """Writes down which process its worker is; None: one is about to be spawned.

        Raises:
            HostError: the disk refuses.
        """
        pid, started, boot = (
            (identity.pid, identity.started, identity.boot) if identity else (0, 0, "")
        )
        self.note(pid=pid, started=started, boot=boot, **changes)

    def forget(self) -> None:
        self._records.forget(self.record.stream_id)

    @property
    def identity(self) -> Identity:
        return Identity(self.record.pid, self.record.started, self.record.boot)

    def find(self) -> Process | None:
        """Its worker, where that runs."""
        identity = self.identity if self.record.pid else process.find(self.socket)
        return Process.adopt(identity, self.log) if identity is not None else None

    def end_of_worker(self, *, kernel_killed: bool) -> Outcome:
        """How a worker ended that nobody was there to see."""
        words = process.last_words(self.log)
        if kernel_killed:
            return Outcome("out_of_memory", "the kernel killed the worker for want of memory")
        if (told := _GOODBYE.search(process.last_line(self.log))) is not None:
            if told[1] == "eos":
                return Outcome("eos", "the worker was told to stop while the host was away")
            return Outcome("no_input", "no media came while the host was away")
        if self.record.boot != process.boot_id():
            return Outcome("worker_crash", "the machine was started anew")
        said = words or "it said nothing"
        return Outcome("worker_crash", f"the worker ended while the host was away; {said}")
