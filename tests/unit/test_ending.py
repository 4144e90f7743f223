"""In a process of its own: signals of the tests' process are pytest's."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from strata.ending import Ending
from support.children import Child, until

DEADLINE_S = 20.0

SCRIPT = """
import asyncio, sys
from strata.ending import Ending

async def main():
    ending = Ending(int(sys.argv[1]) if sys.argv[1:] else None)
    print("waits", flush=True)
    print(await ending.wait(), flush=True)
    print(await ending.wait(), flush=True)
    ending.close()
    ending.close()

asyncio.run(main())
"""


@asynccontextmanager
async def waiting(folder: Path, *arguments: str) -> AsyncIterator[Child]:
    command = [sys.executable, "-c", SCRIPT, *arguments]
    async with Child(command, folder / "log", env={}) as child:
        await until(lambda: "waits" in child.said(), DEADLINE_S, "it waits")
        yield child


@pytest.mark.parametrize(
    ("number", "wanted"),
    [(signal.SIGTERM, "stop"), (signal.SIGINT, "stop"), (signal.SIGHUP, "keep")],
)
async def test_what_each_signal_means(tmp_path: Path, number: signal.Signals, wanted: str) -> None:
    async with waiting(tmp_path) as child:
        child.signal(number)
        assert await child.wait(DEADLINE_S) == 0
        assert child.said().split() == ["waits", wanted, wanted]


async def test_the_end_of_the_parent_keeps_what_is_on_the_air(tmp_path: Path) -> None:
    async with (
        Child(["sleep", "60"], tmp_path / "parent") as parent,
        waiting(tmp_path, str(parent.pid)) as child,
    ):
        assert child.status is None
        parent.signal(signal.SIGKILL)
        assert await child.wait(DEADLINE_S) == 0
        assert child.said().split() == ["waits", "keep", "keep"]


async def test_a_parent_that_was_gone_before_anybody_looked(tmp_path: Path) -> None:
    async with Child(["true"], tmp_path / "parent") as parent:
        await parent.wait(DEADLINE_S)
        async with waiting(tmp_path, str(parent.pid)) as child:
            assert await child.wait(DEADLINE_S) == 0
            assert child.said().split() == ["waits", "keep", "keep"]


async def test_a_signal_comes_before_the_end_of_a_parent_that_lives(tmp_path: Path) -> None:
    async with waiting(tmp_path, str(os.getpid())) as child:
        child.signal(signal.SIGTERM)
        assert await child.wait(DEADLINE_S) == 0
        assert child.said().split() == ["waits", "stop", "stop"]


async def test_the_first_word_decides(tmp_path: Path) -> None:
    async with Child(["sleep", "60"], tmp_path / "parent") as parent:
        ending = Ending(parent.pid)
        try:
            parent.signal(signal.SIGKILL)
            assert await asyncio.wait_for(ending.wait(), DEADLINE_S) == "keep"
            ending._end("stop")
            assert await ending.wait() == "keep"
        finally:
            ending.close()
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                asyncio.get_running_loop().remove_signal_handler(number)
