"""Processes that are measured: spawning, ending, and what they cost."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

STOP_DEADLINE_S: Final = 15.0


_PR_CAPBSET_DROP: Final = 24
_CAP_SYS_NICE: Final = 23

LISTEN_DEADLINE_S: Final = 5.0
_ROOM: Final = 2 * 1024 * 1024
"""Of which the kernel makes the double."""
_SO_RCVBUFFORCE: Final = 33
_PIDFD_GETFD: Final = 438
"""pidfd_getfd(2), the same number on every architecture; Python has no name for it."""


class MeasurementFailed(Exception):
    """No figure could be had; the message says why."""


class Child:
    """A process of ours, in a session of its own, its output in ``log``."""

    def __init__(
        self,
        command: Sequence[str | os.PathLike[str]],
        log: Path,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.log = log
        self._command = command
        self._environment = environment
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        if stdin:
            pipe: IO[bytes] | None = self.process.stdin
            assert pipe is not None
            pipe.write(stdin)
            pipe.close()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def name(self) -> str:
        return Path(self._command[0]).name

    def again(self) -> Child:
        """Another process with the same command, without the standard input of the first."""
        return Child(self._command, self.log, environment=self._environment)

    def check(self) -> None:
        """Raises MeasurementFailed if it has ended, with the last lines of its log."""
        if self.process.poll() is not None:
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-5:])
            raise MeasurementFailed(
                f"{self.process.args!r} ended with status {self.process.returncode}:\n{tail}"
            )

    def stop(self, signum: int = signal.SIGTERM, deadline_s: float = STOP_DEADLINE_S) -> None:
        """Asks it to end and waits; kills what does not."""
        if self.process.poll() is None:
            self.process.send_signal(signum)
        try:
            self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def forbid_real_time() -> None:
    """From now on no child may ask for real-time scheduling, as under an ordinary user.

    As root librist takes SCHED_RR 99 for one thread, which our worker gives back: that would
    compare schedulers, and preempt whatever else is being measured.
    """
    resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
    if os.geteuid() == 0:
        ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, _CAP_SYS_NICE, 0, 0, 0)


def cpu_s(pid: int) -> float:
    """CPU seconds of a process, all threads, those that ended included.

    The process's CPU clock (clock_getcpuclockid(3)) is utime + stime of /proc/PID/stat in
    nanoseconds; there it comes in steps of 10 ms, which is 1 % of what a window yields.
    """
    return time.clock_gettime((~pid << 3) | 2)


def busy_s() -> float:
    """CPU seconds that this machine has spent on anything since its boot (proc(5), stat)."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle, waiting = ticks[3:5]
    return (sum(ticks) - idle - waiting) / os.sysconf("SC_CLK_TCK")


def give_room(pid: int, port: int) -> None:
    """Lets the UDP socket that a child has on ``port`` hold 4 MB, if the kernel lets us.

    Debian's ristsender keeps the kernel's default for what it is fed with, 0.2 s of a stream:
    a busy machine would lose media before what is measured has seen it.

    Raises:
        MeasurementFailed: the child does not listen there.
    """
    deadline = time.monotonic() + LISTEN_DEADLINE_S
    libc = ctypes.CDLL(None, use_errno=True)
    process = os.pidfd_open(pid)
    try:
        while time.monotonic() < deadline:
            for entry in os.listdir(f"/proc/{pid}/fd"):
                number = libc.syscall(_PIDFD_GETFD, process, int(entry), 0)
                if number >= 0 and _make_room(number, port):
                    return
            time.sleep(0.02)
    finally:
        os.close(process)
    raise MeasurementFailed(f"process {pid} does not listen on UDP port {port}")


def _make_room(descriptor: int, port: int) -> bool:
    """Whether it is the socket on that port. The descriptor is closed."""
    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return False
    with socket.socket(fileno=descriptor) as found:
        if found.type != socket.SOCK_DGRAM or found.family not in (
            socket.AF_INET,
            socket.AF_INET6,
        ):
            return False
        if found.getsockname()[1] != port:
            return False
        try:
            found.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _ROOM)
        except PermissionError:  # an ordinary user gets what net.core.rmem_max allows
            found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _ROOM)
        return True


def udp_drops(ports: Collection[int]) -> int:
    """Datagrams that the sockets on these ports had no room for, as udp(7) counts them."""
    lines = Path("/proc/net/udp").read_text().splitlines()[1:]
    rows = [line.split() for line in lines]
    return sum(int(row[-1]) for row in rows if int(row[1].partition(":")[2], 16) in ports)


@dataclass(frozen=True, slots=True)
class Thread:
    name: str
    main: bool
    cpu_s: float


def threads(pid: int) -> dict[int, Thread]:
    """CPU seconds of each living thread (first field of schedstat: nanoseconds on a CPU)."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            spent_ns = int((task / "schedstat").read_text().split()[0])
            name = (task / "comm").read_text().strip()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
        found[int(task.name)] = Thread(name, int(task.name) == pid, spent_ns / 1e9)
    return found


@dataclass(frozen=True, slots=True)
class Memory:
    """Megabytes (10**6). ``pss`` counts a page that n processes share as 1/n, ``rss`` whole.

    ``sharers``: other processes on this machine that run the same programs. They lower the
    PSS, and are why RSS stands beside it.
    """

    pss: float
    rss: float
    sharers: int


def memory(pids: Sequence[int]) -> Memory:
    """The sum over ``pids``."""
    totals = {"Pss:": 0, "Rss:": 0}
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            fields = line.split()
            if fields[0] in totals:
                totals[fields[0]] += int(fields[1]) * 1024
    return Memory(totals["Pss:"] / 1e6, totals["Rss:"] / 1e6, _sharers(pids))


def _sharers(pids: Sequence[int]) -> int:
    programs = {_program(pid) for pid in pids}
    others = (int(entry) for entry in os.listdir("/proc") if entry.isdigit())
    return sum(_program(pid) in programs for pid in others if pid not in pids)


def _program(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/exe").readlink())
    except OSError:
        return ""  # it has just ended, or belongs to the kernel


def kill(pid: int) -> None:
    """Ends a process that a child of ours has started, if it still runs."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
