from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from strata import helpers
from support.children import until

MOST = 1 << 20


def python(script: str) -> Sequence[str]:
    return (sys.executable, "-I", "-c", script)


async def ask(script: str, line: bytes = b"", deadline_s: float = 20.0) -> helpers.Answer:
    return await helpers.ask(python(script), line, deadline_s, MOST)


async def test_a_line_goes_in_and_an_answer_comes_out() -> None:
    script = (
        "import sys\n"
        "line = sys.stdin.buffer.readline()\n"
        "assert sys.stdin.buffer.read() == b''\n"
        "sys.stdout.buffer.write(line[::-1])\n"
        "print('first\\nlast\\n', file=sys.stderr)\n"
    )
    line = bytes(500_000) + b"abc\n"
    assert await ask(script, line) == helpers.Answer(0, line[::-1], "last")


@pytest.mark.parametrize(
    ("script", "answer"),
    [
        ("import sys; sys.exit(3)", helpers.Answer(3, b"", "")),
        ("import os; os.kill(os.getpid(), 9)", helpers.Answer(-9, b"", "")),
        ("import sys; sys.stdin.close(); print('x', end='')", helpers.Answer(0, b"x", "")),
    ],
)
async def test_how_it_ends_is_told(script: str, answer: helpers.Answer) -> None:
    assert await ask(script, b"x" * 200_000 + b"\n") == answer


async def test_one_that_hangs_is_killed_at_the_deadline(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    script = (
        f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid()))\n"
        "print(flush=True); time.sleep(60)"
    )
    with pytest.raises(TimeoutError):
        await ask(script, deadline_s=1.0)
    assert not Path(f"/proc/{pid.read_text()}").exists()


async def test_one_that_nobody_waits_for_any_more_is_killed(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    script = (
        f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid()) + '.')\ntime.sleep(60)"
    )
    asking = asyncio.create_task(ask(script))
    await until(lambda: pid.exists() and pid.read_text().endswith("."), 10.0, "it runs")
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert not Path(f"/proc/{pid.read_text()[:-1]}").exists()


async def test_one_that_writes_for_ever_is_ended() -> None:
    with pytest.raises(helpers.TooLong):
        await ask("import os\nwhile True: os.write(1, bytes(65536))")


async def test_one_that_is_not_there_is_told() -> None:
    with pytest.raises(FileNotFoundError):
        await helpers.ask(("/nonexistent/helper",), b"", 5.0, MOST)


async def test_its_beginning_is_told_once() -> None:
    told = []

    async def begun() -> None:
        told.append(True)

    script = "import time\nfor _ in range(3):\n print('x', flush=True)\n time.sleep(0.05)"
    answer = await helpers.ask(python(script), b"", 20.0, MOST, on_begun=begun)
    assert answer.output == b"x\nx\nx\n"
    assert told == [True]


def test_it_is_given_nothing_that_it_could_give_away() -> None:
    own = {"PATH": "/bin", "STRATA_ADMIN_PASSWORD": "x", "GST_REGISTRY": "r", "GST_DEBUG": "9"}
    assert helpers.environment(own) == {
        "LANG": "C.UTF-8",
        "MALLOC_ARENA_MAX": "1",
        "PATH": "/bin",
        "GST_REGISTRY": "r",
    }
