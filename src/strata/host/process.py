"""A worker as a process: how it is spawned, and how its end is noticed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from strata.errors import WorkerFailed
from strata.settings import Worker as WorkerSettings
from strata.wire.worker import Secrets

_ENVIRONMENT: Final = ("PATH", "HOME", "LANG", "TZ", "TMPDIR", "XDG_CACHE_HOME")
"""What a worker inherits, beside GStreamer's own variables. Whatever else the host's
environment holds (an administrator's password, a database's) is none of its business."""

STDIN_DEADLINE_S: Final = 5.0
LOG_TAIL_BYTES: Final = 16 * 1024
ERROR_PREFIX: Final = "strata-receiver: error: "
_EVERYDAY: Final = re.compile(r"\S+Z (INFO|DEBUG) ")
"""A line that :mod:`strata.logs` writes when nothing is wrong."""


def argv(
    stream_id: str,
    ports: Sequence[int],
    socket: Path,
    bind: str,
    settings: WorkerSettings,
    *,
    name: str = "",
    slate: str = "on",
    slate_now: bool = False,
    max_egress_kbps: int | None = None,
    keep_damaged: bool = False,
) -> list[str]:
    """The command line of a worker. No secret is in it: those go to standard input.

    ``-I`` keeps the environment and the working directory from changing what is imported.
    """
    return [
        sys.executable,
        "-I",
        "-m",
        "strata.worker",
        "--stream-id",
        stream_id,
        "--ports",
        ",".join(map(str, ports)),
        "--control-socket",
        str(socket),
        "--bind",
        bind,
        "--buffer-ms",
        str(settings.buffer_ms),
        "--stats-interval-ms",
        str(settings.stats_interval_ms),
        "--max-egress-kbps",
        str(settings.max_egress_kbps if max_egress_kbps is None else max_egress_kbps),
        "--stall-timeout-s",
        str(settings.stall_timeout_s),
        "--orphan-timeout-s",
        str(settings.orphan_timeout_s),
        # In one word: what people write may begin with a dash.
        f"--name={name}",
        f"--slate={slate}",
        *(["--slate-now"] if slate_now else []),
        *(["--keep-damaged"] if keep_damaged else []),
        "--secrets-stdin",
    ]


def environment(own: Mapping[str, str]) -> dict[str, str]:
    """What of the host's environment a worker is given."""
    kept = {
        name: value for name, value in own.items() if name in _ENVIRONMENT or name[:4] == "GST_"
    }
    # glibc otherwise gives each thread a heap of its own: some 3 MB of a worker's memory.
    return {"MALLOC_ARENA_MAX": "1", **kept}


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended.

    Attributes:
        status: its exit status, or minus the signal's number; None where only its parent
            could tell, and that has gone.
    """

    status: int | None

    def __str__(self) -> str:
        if self.status is None:
            return "an unknown exit status"
        if self.status >= 0:
            return f"exit status {self.status}"
        return f"signal {signal.Signals(-self.status).name}"


@dataclass(frozen=True, slots=True)
class Identity:
    """Which process is meant: numbers alone are given to others again.

    Attributes:
        started: clock ticks from the boot to its start (proc(5), stat field 22).
        boot: of which run of the machine (``/proc/sys/kernel/random/boot_id``).
    """

    pid: int
    started: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """None where there is no such process, or it has ended and only waits to be told."""
        try:
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            return None
        return None if fields[0] in (b"Z", b"X") else cls(pid, int(fields[19]), boot_id())


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


_left: Final[list[subprocess.Popen[bytes]]] = []
"""Those that go on without us. Popen warns of a child that nobody waits for."""


class Process:
    """A worker, in a session of its own, so that it outlives its parent.

    Args:
        popen: where it is a child of this process.
        log_start: where in its log what it says begins.
    """

    def __init__(
        self,
        identity: Identity,
        pidfd: int,
        log: Path,
        log_start: int,
        popen: subprocess.Popen[bytes] | None = None,
    ) -> None:
        self.identity = identity
        self.pid = identity.pid
        self.exit: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._popen = popen
        self._log = log
        self._log_start = log_start
        # A pidfd tells the end of exactly this process, whatever happens to its number.
        self._pidfd = pidfd
        asyncio.get_running_loop().add_reader(pidfd, self._on_end)

    @classmethod
    def spawn(cls, command: list[str], secrets: Secrets, log: Path) -> Process:
        """Starts the command and gives it its secrets on standard input.

        Its output goes to ``log`` (mode 0600), never into a pipe that ends with the parent.

        Raises:
            WorkerFailed: the machine refuses another process, or its log.
        """
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        except OSError as error:
            raise WorkerFailed(
                f"the log of a worker, {log}, cannot be written: {error.strerror}; check the "
                "disk (df -h) and the rights on its folder"
            ) from error
        log_start = os.fstat(descriptor).st_size
        try:
            popen = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=descriptor,
                stderr=descriptor,
                env=environment(os.environ),
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise WorkerFailed(
                f"a worker could not be spawned: {error.strerror}; see the limits on processes "
                "and memory of this machine"
            ) from error
        finally:
            os.close(descriptor)
        # Not waited for yet: its number is still its own, even if it has ended.
        identity = Identity.of(popen.pid) or Identity(popen.pid, 0, boot_id())
        process = cls(identity, os.pidfd_open(popen.pid), log, log_start, popen)
        assert popen.stdin is not None
        with contextlib.suppress(BrokenPipeError), popen.stdin as stdin:
            # One line of a few hundred bytes fits the pipe: this cannot block.
            stdin.write(msgspec.json.encode(secrets) + b"\n")
        return process

    @classmethod
    def adopt(cls, identity: Identity, log: Path) -> Process | None:
        """A process that somebody else has spawned; None where it is gone.

        Whoever has the same number now is left alone.
        """
        try:
            pidfd = os.pidfd_open(identity.pid)
        except OSError:
            return None
        # From here on the descriptor means one process: is it the right one?
        if Identity.of(identity.pid) != identity:
            os.close(pidfd)
            return None
        size = log.stat().st_size if log.exists() else 0
        return cls(identity, pidfd, log, max(0, size - LOG_TAIL_BYTES))

    def signal(self, number: signal.Signals) -> None:
        if not self.exit.done():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def leave(self) -> None:
        """Stops waiting for its end."""
        if not self.exit.done():
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self.exit.cancel()
            if self._popen is not None:
                _left.append(self._popen)

    def last_words(self) -> str:
        """The error that the worker printed before it ended, or its last line, or nothing."""
        return last_words(self._log, self._log_start)

    def _on_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.exit.set_result(Exit(self._popen.wait() if self._popen is not None else None))


def last_words(log: Path, start: int = 0) -> str:
    """The last error in what a log holds from ``start`` on, or else its last line, unless that
    is of everyday work."""
    lines = _tail(log, start)
    errors = [line for line in lines if line.startswith(ERROR_PREFIX)]
    if errors:
        return errors[-1].removeprefix(ERROR_PREFIX)
    return lines[-1] if lines and not _EVERYDAY.match(lines[-1]) else ""


def last_line(log: Path) -> str:
    """The last line of a log; empty where it has none."""
    return next(iter(_tail(log)[-1:]), "")


def _tail(log: Path, start: int = 0) -> list[str]:
    """The last lines from ``start`` on that have something in them."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start, size - LOG_TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()]


def find(socket: Path) -> Identity | None:
    """The worker that serves a socket, by its command line: for one that was spawned a
    moment before its host was killed, so that nobody wrote down its number."""
    mark = b"\0--control-socket\0" + os.fsencode(socket) + b"\0"
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if mark in command and b"strata.worker" in command:
                return Identity.of(int(entry.name))
    return None
