"""The control plane: how fast it answers and what it costs with many streams, and logins beside.

A real ``strata control`` with a host in memory that reports for each stream what a worker on
the air reports. It is read as people and programs do: the list and single streams each second,
watchers on the WebSocket, a scrape of the metrics. Then the same while people log in, which
costs a core for a moment each: how long does anybody else wait?
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
from websockets.asyncio.client import ClientConnection, connect

from bench.memory_host import MemoryHost
from bench.processes import cpu_s
from bench.report import (
    circumstances,
    print_circumstances,
    print_table,
    share,
    verdict,
    write_json,
)
from strata import settings
from strata.host.service import socket_path

ANSWER_MAX_S: Final = 0.050
CORES_MAX: Final = 0.25
LOOP_MAX_S: Final = 0.050
READY_S: Final = 30.0
SETTLE_S: Final = 5.0
SCRAPE_S: Final = 5.0
EMAIL: Final = "admin@example.org"
PASSWORD: Final = "only-for-this-measurement"


@dataclass(frozen=True, slots=True)
class Found:
    """Seconds of each kind of read, and what went on meanwhile.

    Attributes:
        cores: of the control plane.
        told: messages to watchers, a second.
    """

    waits: dict[str, list[float]]
    cores: float
    told: float


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="script/bench control")
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--readers", type=int, default=10, help="each reads once a second")
    parser.add_argument("--watchers", type=int, default=3, help="on the WebSocket, of all streams")
    parser.add_argument("--logins", type=float, default=2.0, help="a second, in the second part")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    found = circumstances()
    print_circumstances(found)
    result = asyncio.run(_measure(args))
    write_json(args.json, {"circumstances": found, "parts": result})
    return 0


async def _measure(args: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="sb-", dir="/tmp") as name:
        async with running(Path(name)) as (url, pid), logged_in(url) as http:
            ids = await start(http, args.streams)
            await asyncio.sleep(SETTLE_S)  # until what the starts began has settled
            steady = await _read(http, pid, ids, args)
            _print(f"{args.streams} streams, {args.readers} readers", steady)
            busy = asyncio.create_task(_log_in_often(url, args.logins), name="logins")
            crowded = await _read(http, pid, ids, args)
            busy.cancel()
            await asyncio.wait([busy])
            _print(f"the same with {args.logins:g} logins a second", crowded)
            _judge(steady, crowded)
            return {"steady": steady, "logins": crowded}


@contextlib.asynccontextmanager
async def running(
    folder: Path, command: Sequence[str] = (sys.executable, "-I", "-m", "strata")
) -> AsyncIterator[tuple[str, int]]:
    """A control plane with a host in memory: its address and its process.

    Args:
        command: what stands for ``strata``.
    """
    loaded = settings.load(data_dir=folder / "data", host={"runtime_dir": folder / "run"})
    host = MemoryHost(socket_path(loaded))
    await host.start()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        listen = f"127.0.0.1:{probe.getsockname()[1]}"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("STRATA_")}
    process = subprocess.Popen(
        [
            *(*command, "control"),
            *("--listen", listen, "--data-dir", str(loaded.data_dir)),
        ],
        env=environment
        | {
            "STRATA_HOST__RUNTIME_DIR": str(folder / "run"),
            "STRATA_ADMIN_EMAIL": EMAIL,
            "STRATA_ADMIN_PASSWORD": PASSWORD,
            "STRATA_FORWARD__ALLOW_PRIVATE": "true",
        },
        stdin=subprocess.DEVNULL,
        stderr=(folder / "control.log").open("wb"),
    )
    try:
        await _until_ready(f"http://{listen}", process)
        yield f"http://{listen}", process.pid
    finally:
        process.terminate()
        process.wait(30)
        await host.close()


async def _until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    async with asyncio.timeout(READY_S), httpx.AsyncClient(trust_env=False) as http:
        while process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                if (await http.get(f"{url}/readyz")).status_code == 200:
                    return
            await asyncio.sleep(0.1)
    raise RuntimeError("strata control ended at its start")


@contextlib.asynccontextmanager
async def logged_in(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30.0) as http:
        answer = await http.post("/api/auth/login", json={"email": EMAIL, "password": PASSWORD})
        http.headers["Authorization"] = f"Bearer {answer.raise_for_status().json()['token']}"
        yield http


async def start(http: httpx.AsyncClient, count: int) -> list[str]:
    ids = []
    for number in range(count):
        urls = [f"rtmp://127.0.0.1/live/{number}-{each}" for each in range(2)]
        body = {"forward_to": urls, "name": f"Camera {number}"}
        answer = await http.post("/api/streams", json=body)
        ids.append(answer.raise_for_status().json()["id"])
    return ids


async def _read(
    http: httpx.AsyncClient, pid: int, ids: list[str], args: argparse.Namespace
) -> Found:
    waits: dict[str, list[float]] = {}
    stop_at = 0.0

    async def ask(kind: str, path: str) -> None:
        began = time.perf_counter()
        (await http.get(path)).raise_for_status()
        waits.setdefault(kind, []).append(time.perf_counter() - began)

    async def reader(number: int) -> None:
        await asyncio.sleep(number / args.readers)  # not all at once
        while time.monotonic() < stop_at:
            await ask("list of streams", "/api/streams")
            await ask("one stream", f"/api/streams/{ids[number % len(ids)]}")
            await ask("is it there", "/healthz")
            await asyncio.sleep(1.0)

    async def scraper() -> None:
        while time.monotonic() < stop_at:
            await ask("hosts", "/api/hosts")
            await ask("metrics", "/metrics")
            await asyncio.sleep(SCRAPE_S)

    async with contextlib.AsyncExitStack() as stack:
        watchers = [await stack.enter_async_context(_watching(http)) for _ in range(args.watchers)]
        await asyncio.sleep(SETTLE_S)  # until each has its snapshot
        heard, before, began = sum(each.heard for each in watchers), cpu_s(pid), time.monotonic()
        stop_at = began + args.seconds
        await asyncio.gather(scraper(), *(reader(number) for number in range(args.readers)))
        took_s = time.monotonic() - began
        cores = (cpu_s(pid) - before) / took_s
        told = (sum(each.heard for each in watchers) - heard) / took_s
    return Found(waits, cores, told)


class _Watcher:
    """Somebody with the list of streams on the screen.

    Attributes:
        heard: messages so far.
    """

    heard = 0

    async def read(self, socket: ClientConnection) -> None:
        async for _ in socket:
            self.heard += 1


@contextlib.asynccontextmanager
async def _watching(http: httpx.AsyncClient) -> AsyncIterator[_Watcher]:
    watcher = _Watcher()
    url = str(http.base_url).replace("http", "ws") + "/api/ws"
    headers = {"Authorization": http.headers["Authorization"]}
    async with connect(
        url.replace("//api", "/api"), additional_headers=headers, proxy=None, max_size=None
    ) as socket:
        await socket.send('{"subscribe": ["streams", "hosts", "alerts"]}')
        reading = asyncio.create_task(watcher.read(socket), name="watcher")
        try:
            yield watcher
        finally:
            reading.cancel()
            await asyncio.wait([reading])


async def _log_in_often(url: str, per_second: float) -> None:
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30.0) as http:
        while True:
            body = {"email": EMAIL, "password": PASSWORD}
            began = time.monotonic()
            (await http.post("/api/auth/login", json=body)).raise_for_status()
            await asyncio.sleep(max(0.0, 1 / per_second - (time.monotonic() - began)))


def _print(title: str, found: Found) -> None:
    rows = [(title, "answers", "p50 ms", "p99 ms", "worst ms")]
    for kind, waits in sorted(found.waits.items()):
        figures = (share(waits, 50), share(waits, 99), max(waits))
        rows.append((kind, str(len(waits)), *(f"{1000 * each:.1f}" for each in figures)))
    print_table(rows)
    print(f"  the control plane took {found.cores:.3f} of a core", end="")
    print(f", and told its watchers {found.told:.0f} things a second\n")


def _judge(steady: Found, crowded: Found) -> None:
    slowest = max(share(waits, 99) for waits in steady.waits.values())
    stood = share(crowded.waits["is it there"], 99)
    print(f"  API reads, p99        {1000 * slowest:6.1f} ms  {verdict(slowest, ANSWER_MAX_S)}")
    print(f"  CPU, cores            {steady.cores:6.3f}     {verdict(steady.cores, CORES_MAX)}")
    print(f"  beside logins, p99    {1000 * stood:6.1f} ms  {verdict(stood, LOOP_MAX_S)}")
