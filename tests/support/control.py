"""The platform as a whole: ``strata up`` in processes of its own, and a client of its API."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeAlias

import httpx

from strata.host.host import name_of
from support.children import Child, until
from support.media import RistSender
from support.ports import free_tcp_port, udp_port_is_bound
from support.udp import give_room

Json: TypeAlias = dict[str, Any]

EMAIL: Final = "admin@example.org"
PASSWORD: Final = "canary-password-of-the-administrator"

READY_DEADLINE_S: Final = 60.0
STOP_DEADLINE_S: Final = 60.0
STATE_DEADLINE_S: Final = 60.0
LOOK_AGAIN_S: Final = 0.05

SENDER_PORT: Final = 5000
"""Where the line for a sender that the API gives expects the media."""

_FIRST: Final = 16_100
_LAST: Final = 19_900
"""Above the range that the platform hands out by default, below that of ``support.ports``."""

_chance: Final = random.SystemRandom()


class Place:
    """A folder for one installation; every process that belongs to it names the folder.

    It lies right under /tmp, because the paths of sockets are short.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.run = folder / "run"

    def processes(self) -> dict[int, str]:
        """The command line of each process that has the folder in it, or in its environment."""
        mark = os.fsencode(self.folder)
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                command = (entry / "cmdline").read_bytes()
                if mark in command or mark in (entry / "environ").read_bytes():
                    found[int(entry.name)] = command.replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue  # it ended meanwhile, or it is nobody's we could have started
        return found

    def workers(self) -> list[int]:
        return [pid for pid, command in self.processes().items() if " strata.worker " in command]

    def worker_of(self, stream_id: str) -> int:
        """The process that has this stream on the air."""
        mark = f" strata.worker --stream-id {stream_id} "
        [pid] = [pid for pid, command in self.processes().items() if mark in command]
        return pid

    def sockets(self) -> list[str]:
        return sorted(path.name for path in self.run.iterdir()) if self.run.exists() else []

    async def nothing_runs(self, deadline_s: float = 10.0) -> None:
        await until(lambda: not self.processes(), deadline_s, f"all ended: {self.processes()}")

    def texts(self) -> dict[str, bytes]:
        """Every file of the installation but its recordings: database, logs, sockets' names."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file() and path.suffix not in (".ts", ".flv")
        }

    def clean_kernel(self) -> None:
        """Removes the control groups and the rules of a host on this data folder."""
        name = f"strata-{name_of(self.data)}"
        groups = Path("/sys/fs/cgroup")
        for base in (*groups.glob(name), *groups.glob(f"*/{name}")):
            for group in (*(each for each in base.iterdir() if each.is_dir()), base):
                with contextlib.suppress(OSError):  # what was in it is about to end
                    group.rmdir()
        if os.geteuid() == 0 and shutil.which("nft"):
            table = f"inet {name.replace('-', '_')}"
            script = f"add table {table}\ndelete table {table}\n"
            subprocess.run(["nft", "-f", "-"], input=script.encode(), check=False, timeout=10)

    def kill_all(self) -> None:
        """Each of the place's processes, by its id."""
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


@contextmanager
def place() -> Iterator[Place]:
    """A new place. What still runs there at the end is killed, and the folder is removed, with
    what a host that was killed has left in the kernel."""
    here = Place(Path(tempfile.mkdtemp(prefix="st-", dir="/tmp")))
    try:
        yield here
    finally:
        here.kill_all()
        here.clean_kernel()
        shutil.rmtree(here.folder, ignore_errors=True)


def free_port_range(size: int) -> str:
    """``size`` free UDP ports in a row, as ``--port-range`` takes them."""
    for _ in range(1000):
        first = _chance.randrange(_FIRST, _LAST - size)
        if all(_is_free(port) for port in range(first, first + size)):
            return f"{first}-{first + size - 1}"
    raise AssertionError(f"no {size} free ports between {_FIRST} and {_LAST}")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True


async def eventually(holds: Callable[[], Awaitable[object]], deadline_s: float, what: str) -> None:
    """Asks again and again.

    Raises:
        TimeoutError: ``what`` did not come true within ``deadline_s``.
    """
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + deadline_s
    while not await holds():
        if loop.time() > give_up_at:
            raise TimeoutError(f"not within {deadline_s} s: {what}")
        await asyncio.sleep(LOOK_AGAIN_S)


class Api:
    """A client of the API, logged in or not."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.token = token
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        self.http = httpx.AsyncClient(base_url=url, headers=headers, timeout=60.0, trust_env=False)

    async def start(self, *forward_to: str, **more: Any) -> Json:
        """A stream that was begun, with its key and its ports."""
        answer = await self.http.post("/api/streams", json={"forward_to": list(forward_to), **more})
        assert answer.status_code == 201, answer.text
        started: Json = answer.json()
        return started

    async def get(self, stream_id: str) -> Json:
        answer = await self.http.get(f"/api/streams/{stream_id}")
        assert answer.status_code == 200, answer.text
        stream: Json = answer.json()
        return stream

    async def stop(self, stream_id: str) -> Json:
        answer = await self.http.post(f"/api/streams/{stream_id}/stop")
        assert answer.status_code == 200, answer.text
        stream: Json = answer.json()
        return stream

    async def until(
        self,
        stream_id: str,
        holds: Callable[[Json], object],
        what: str,
        deadline_s: float = STATE_DEADLINE_S,
    ) -> Json:
        """The stream, as soon as ``holds``."""
        stream: Json = {}

        async def look() -> bool:
            nonlocal stream
            stream = await self.get(stream_id)
            return bool(holds(stream))

        try:
            await eventually(look, deadline_s, what)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; the stream: {stream}") from None
        return stream

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()


async def readiness(url: str) -> int | None:
    """What /readyz answers there; None where nobody does."""
    async with Api(url) as api:
        try:
            return (await api.http.get("/readyz")).status_code
        except httpx.TransportError:
            return None


async def log_in(url: str, email: str = EMAIL, password: str = PASSWORD) -> Api:
    """A client with a login."""
    async with Api(url) as api:
        answer = await api.http.post("/api/auth/login", json={"email": email, "password": password})
    assert answer.status_code == 200, answer.text
    return Api(url, answer.json()["token"])


class StrataUp:
    """``strata up``, with ports and folders that nobody else has.

    Args:
        here: where its data, its sockets and its log lie.
        arguments: more of the command line.
        environment: added to this process's.
        ports: how many UDP ports it may hand out.
        port: where it serves the API; None: any that is free.
        python: of another installation.
        cwd: where it is started; with ``own_data_dir`` False its data go below.
    """

    def __init__(
        self,
        here: Place,
        *,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        ports: int = 12,
        cwd: Path | None = None,
        own_data_dir: bool = True,
        port: int | None = None,
        python: Path | str = sys.executable,
    ) -> None:
        self.place = here
        self.port = port or free_tcp_port()
        self.url = f"http://127.0.0.1:{self.port}"
        data_dir = ("--data-dir", str(here.data)) if own_data_dir else ()
        self.child = Child(
            [
                *(str(python), "-I", "-m", "strata", "up"),
                *("--listen", f"127.0.0.1:{self.port}"),
                *("--port-range", free_port_range(ports)),
                *data_dir,
                *arguments,
            ],
            here.folder / "up.log",
            env=environment_of(here) | dict(environment or {}),
            cwd=cwd or here.folder,
        )

    def said(self) -> str:
        return self.child.said()

    async def ready(self) -> None:
        """Returns when it says that streams can be started."""

        async def is_ready() -> bool:
            assert self.child.status is None, f"strata up ended: {self.said()}"
            return await self.readiness() == 200

        await eventually(is_ready, READY_DEADLINE_S, f"{self.url}/readyz; it said: {self.said()}")

    async def readiness(self) -> int | None:
        """What /readyz answers; None where nobody does."""
        return await readiness(self.url)

    async def log_in(self, email: str = EMAIL, password: str = PASSWORD) -> Api:
        """A client with a login."""
        return await log_in(self.url, email, password)

    def pid_of(self, half: Literal["host", "control"]) -> int | None:
        """The process that is this half now."""
        children = Path(f"/proc/{self.child.pid}/task/{self.child.pid}/children").read_text()
        for pid, command in self.place.processes().items():
            if str(pid) in children.split() and f"-m strata {half} " in command:
                return pid
        return None

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Its exit status after the signal."""
        self.child.signal(number)
        return await self.child.wait(STOP_DEADLINE_S)

    async def __aenter__(self) -> Self:
        try:
            await self.ready()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self.child.end(STOP_DEADLINE_S)
        finally:
            self.place.kill_all()


class GivenSender(RistSender):
    """ristsender started with the line that the API gave, as it is, and fed by ffmpeg.

    Args:
        port: where the line has it listen.
    """

    def __init__(self, folder: Path, command: str, port: int = SENDER_PORT) -> None:
        super().__init__(folder, (), None)
        self._command = shlex.split(command)
        self._port = port

    async def __aenter__(self) -> Self:
        port = self._port
        await until(lambda: not udp_port_is_bound(port), 60.0, f"port {port} is nobody's")
        self._folder.mkdir(parents=True, exist_ok=True)
        self._child = child = Child(self._command, self._folder / "ristsender.log")

        def listens() -> bool:
            assert child.status is None, f"the line does not run: {child.said()}"
            return udp_port_is_bound(port)

        try:
            await until(listens, 10.0, "ristsender listens for ffmpeg")
            give_room(child.pid, port)
        except BaseException:
            await self.__aexit__()
            raise
        self._started_at = asyncio.get_running_loop().time()
        return self


def environment_of(here: Place) -> dict[str, str]:
    """Without what the developer's shell may say of another installation."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("STRATA_")}
    return own | {
        "STRATA_HOST__RUNTIME_DIR": str(here.run),
        "STRATA_ADMIN_EMAIL": EMAIL,
        "STRATA_ADMIN_PASSWORD": PASSWORD,
    }


def age_s(pid: int) -> float:
    """How long a process has been running (proc(5), stat field 22)."""
    started_ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    uptime_s = float(Path("/proc/uptime").read_text().split()[0])
    return uptime_s - started_ticks / os.sysconf("SC_CLK_TCK")


async def halt(pid: int) -> None:
    """Stops a process as a debugger would; returns when none of its threads runs any more."""
    os.kill(pid, signal.SIGSTOP)

    def is_halted() -> bool:
        stats = [(task / "stat").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
        return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)

    await until(is_halted, 10.0, f"process {pid} has stopped")
