"""A destination that fails over and over: what a night of that leaves in the worker."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.children import until
from support.media import RistSender
from support.worker import PSK, WorkerProcess

HURRIED = """
import runpy, sys
import strata.backoff as backoff
backoff.FIRST_S = backoff.LONGEST_S = 0.002
sys.argv = ["strata.worker", *sys.argv[5:]]
runpy.run_module("strata.worker", run_name="__main__")
"""
"""The worker as it is, but that it tries again at once: 10,000 times would take days."""


@dataclass(frozen=True, slots=True)
class Size:
    """Of a process: resident memory in MiB, descriptors and threads."""

    rss_mb: float
    descriptors: int
    threads: int

    @classmethod
    def of(cls, pid: int) -> Size:
        folder = Path(f"/proc/{pid}")
        status = dict(
            line.split(":", 1)
            for line in (folder / "status").read_text().splitlines()
            if ":" in line
        )
        return cls(
            int(status["VmRSS"].split()[0]) / 1024,
            len(list((folder / "fd").iterdir())),
            int(status["Threads"]),
        )


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("times", [400, pytest.param(10_000, marks=pytest.mark.long)])
async def test_reconnects_leave_nothing_behind(
    tmp_path: Path, small_file: Path, times: int
) -> None:
    """Half of them are refused in the handshake, half right at the socket."""
    met = 0

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal met
        met += 1
        if met % 2:
            await reader.read(1)
        writer.transport.abort()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    wrapper = [sys.executable, "-I", "-c", HURRIED]
    url = f"rtmp://127.0.0.1:{port}/live/key"
    async with (
        WorkerProcess(tmp_path, [url], wrapper=wrapper) as worker,
        RistSender(tmp_path / "sender", worker.ports, PSK) as sender,
    ):
        await sender.begin(small_file, 3600)
        await until(lambda: met >= times * 0.3, 600.0, "it has tried for a while")
        before = Size.of(worker.pid)
        await until(lambda: met >= times * 1.3, 1000.0, f"it has tried {times} times more")
        after = Size.of(worker.pid)
        print(f"{before} -> {after}")
        assert await worker.stop() == 0
    server.close()
    # An attempt and its pipeline know each other, so Python finds them some dozens at a time.
    assert after.descriptors < 200
    assert after.threads <= before.threads + 6
    # Each stays below 300 bytes: less than a mebibyte an hour at one attempt a second. Caches
    # fill in the beginning; a pipeline that is never freed would be 10 KB and more each time.
    assert after.rss_mb - before.rss_mb < 3.0 + times * 300 / 2**20
