"""A real ``strata host`` with folders of its own, and a client on its socket."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.media import PSK
from bench.processes import Child, MeasurementFailed, kill
from strata import ids
from strata import settings as settings_of
from strata.cluster.unix import HostClient
from strata.host.host import name_of
from strata.host.service import socket_path
from strata.wire import host as wire

READY_DEADLINE_S: Final = 30.0
REQUEST_DEADLINE_S: Final = 180.0
STOP_DEADLINE_S: Final = 90.0
"""For the host to end all its streams."""
SETTLE_S: Final = 0.5
POLL_S: Final = 0.01

LOW_RESERVATION: Final = {
    "STRATA_ADMISSION__RESERVE_CPU_CORES": "0.001",
    "STRATA_ADMISSION__RESERVE_MEMORY_MB": "1",
    "STRATA_ADMISSION__RESERVE_EGRESS_KBPS": "0",
    "STRATA_ADMISSION__FILL_PERCENT": "100",
}
"""The machine decides how much it carries, not the bookkeeping."""

_FIRST: Final = 20_000
_LAST: Final = 32_000
"""Below the kernel's own range, from which any socket that sends is given a port."""
_CGROUPS: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a host and its workers hold of the machine.

    Attributes:
        ports: of its range, that are bound.
        processes: the host and all that it has started, helpers of workers included.
        descriptors: of the host.
        sockets: files in its runtime folder.
        groups: control groups of streams, in all hierarchies.
        records: what it would adopt after a restart.
    """

    ports: int
    processes: int
    descriptors: int
    sockets: int
    groups: int
    records: int


class RunningHost:
    """One host. It listens on loopback only.

    Args:
        folder: is made, and removed at the end.
        environment: settings, as ``STRATA_SECTION__KEY``.
    """

    def __init__(
        self, folder: Path, ports: range, environment: Mapping[str, str] | None = None
    ) -> None:
        self.ports = ports
        self._folder = folder
        folder.mkdir()
        data, run = folder / "data", folder / "run"
        self._data, self._run = data, run
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("STRATA_")}
        self._environment = {
            **inherited,
            "STRATA_HOST__RUNTIME_DIR": str(run),
            "STRATA_HOST__BIND": "127.0.0.1",
            **(environment or {}),
        }
        found = settings_of.load(data_dir=data, host={"runtime_dir": run})
        self._name = f"strata-{name_of(found.data_dir)}"
        self._sessions: set[int] = set()
        self._client = HostClient(
            socket_path(found), _nothing, lambda notice: None, REQUEST_DEADLINE_S
        )
        self._child = self._spawn()

    async def open(self) -> None:
        """Returns when it answers."""
        # That a host which is killed is gone needs no saying.
        logging.getLogger("strata.cluster").setLevel(logging.ERROR)
        self._client.start()
        await self._until(lambda: self._client.connected, "the host serves its socket")

    async def close(self) -> None:
        """Ends the host and its streams, and whatever they leave behind."""
        await asyncio.to_thread(self._child.stop, signal.SIGTERM, STOP_DEADLINE_S)
        await self._client.close()
        self._clear()

    @property
    def nowhere(self) -> str:
        """A forward to a port that nobody listens on."""
        return f"rtmp://127.0.0.1:{self.ports[-1]}/live/bench"

    @property
    def pid(self) -> int:
        return self._child.pid

    async def start(
        self, forwards: Sequence[str], *, slate: str = "off"
    ) -> tuple[str, wire.Started]:
        """A stream with two links, once it is ready.

        Raises:
            StrataError: the host refused it.
        """
        stream_id = ids.new("str")
        request = wire.Start(stream_id, PSK, list(forwards), 2, slate=slate)
        reply = await self._client.request(request)
        assert isinstance(reply, wire.Started)
        self._sessions.add(reply.pid)
        return stream_id, reply

    async def stop(self, stream_id: str) -> None:
        await self._client.request(wire.Stop(stream_id))

    async def streams(self) -> dict[str, wire.Snapshot]:
        """What it runs, by id.

        Raises:
            HostUnreachable: it is not there.
        """
        reply = await self._client.request(wire.List())
        assert isinstance(reply, wire.Streams)
        self._sessions.update(each.pid for each in reply.streams if each.pid)
        return {each.stream_id: each for each in reply.streams}

    def replace(self) -> None:
        """Kills the host and starts it anew at once, on the same folders."""
        self._child.stop(signal.SIGKILL)
        self._child = self._spawn()

    def check(self) -> None:
        self._child.check()

    def holdings(self) -> Holdings:
        bound = _bound_udp_ports()
        records = self._data / "workers"
        return Holdings(
            ports=sum(port in bound for port in self.ports),
            processes=len(self._processes()),
            descriptors=len(os.listdir(f"/proc/{self.pid}/fd")),
            sockets=len(os.listdir(self._run)),
            groups=sum("str_" in path.name for path in self._groups()),
            records=len(os.listdir(records)) if records.exists() else 0,
        )

    def _spawn(self) -> Child:
        ports = f"{self.ports.start}-{self.ports.stop - 1}"
        command = [sys.executable, "-I", "-m", "strata", "host", "--data-dir", str(self._data)]
        command += ["--port-range", ports]
        child = Child(command, self._folder / "host.log", environment=self._environment)
        self._sessions.add(child.pid)
        return child

    async def _until(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + READY_DEADLINE_S
        while not holds():
            self.check()
            if time.monotonic() > deadline:
                raise MeasurementFailed(f"not within {READY_DEADLINE_S:.0f} s: {what}")
            await asyncio.sleep(POLL_S)

    def _processes(self) -> list[int]:
        """All that name the folder, or belong to a session that began with the host or one
        of its workers."""
        mark = os.fsencode(self._folder) + b"/"
        found = []
        for pid in (int(entry) for entry in os.listdir("/proc") if entry.isdigit()):
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has just ended
            if mark in command or int(fields[3]) in self._sessions:
                found.append(pid)
        return found

    def _groups(self) -> list[Path]:
        """Folders of this host in /sys/fs/cgroup, the deepest first."""
        # Where systemd makes them, a dash would say "below" (systemd.slice(5)).
        names_of_all = (self._name, f"{self._name.replace('-', '_')}.slice")
        found = []
        for folder, names, _ in os.walk(_CGROUPS, topdown=False):
            path = Path(folder)
            if path.name in names_of_all:
                found += [path / name for name in names]
                found.append(path)
        return found

    def _clear(self) -> None:
        for pid in self._processes():
            kill(pid)
        for group in self._groups():
            # A host that has ended well has removed them; what was killed takes a moment.
            for _ in range(50):
                try:
                    group.rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.02)
                else:
                    break
        shutil.rmtree(self._folder, ignore_errors=True)


@asynccontextmanager
async def running_host(
    folder: Path, ports: range, environment: Mapping[str, str] | None = None
) -> AsyncIterator[RunningHost]:
    """A host that answers; at the end nothing of it is left."""
    host = RunningHost(folder, ports, environment)
    try:
        await host.open()
        yield host
    finally:
        await host.close()


def free_ports(count: int) -> range:
    """So many ports in a row that neither UDP nor TCP uses."""
    for _ in range(1000):
        first = random.randrange(_FIRST, _LAST - count)
        if all(_is_free(port) for port in range(first, first + count)):
            return range(first, first + count)
    raise MeasurementFailed(f"no {count} free ports in a row between {_FIRST} and {_LAST}")


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                return False
    return True


def _bound_udp_ports() -> set[int]:
    found: set[int] = set()
    for table in ("udp", "udp6"):
        with contextlib.suppress(FileNotFoundError):
            lines = Path("/proc/net", table).read_text().splitlines()[1:]
            found.update(int(line.split()[1].rpartition(":")[2], 16) for line in lines)
    return found


async def _nothing() -> None:
    return None
