"""The example of the documents, as it stands there."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

from strata.wire import agent as wire
from support.agent import Agent
from support.control import EMAIL, PASSWORD, Place, StrataUp, place
from support.media import RistSender
from support.nginx import Nginx

EXAMPLE: Final = Path(__file__).parents[2] / "docs" / "examples" / "broadcast.py"
LINES_MAX: Final = 20
DEADLINE_S: Final = 60.0


@pytest.fixture
def here() -> Iterator[Place]:
    with place() as one:
        yield one


def test_it_is_short() -> None:
    lines = [line for line in EXAMPLE.read_text().splitlines() if line.strip()]
    assert len(lines) - 1 <= LINES_MAX  # but for the line that says what it is


async def test_it_brings_a_picture_on_the_air(
    here: Place, tmp_path: Path, small_file: Path
) -> None:
    async with (
        Nginx(tmp_path / "nginx") as nginx,
        StrataUp(here, environment={"STRATA_FORWARD__ALLOW_PRIVATE": "true"}) as up,
        AsyncExitStack() as field,
    ):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, EXAMPLE, up.url, EMAIL, nginx.url("canary-key")),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={"PASSWORD": PASSWORD, "PYTHONUNBUFFERED": "1"},
        )
        try:
            async with asyncio.timeout(DEADLINE_S):
                assert process.stdout is not None
                assert process.stdin is not None
                asked = (await process.stdout.readuntil(b"press Enter ")).decode()
                [token] = re.findall(r"snd_\S+?(?=,)", asked)
                agent = await field.enter_async_context(Agent(up.port, enrollment_token=token))
                process.stdin.write(b"\n")
                await agent.until(lambda: agent.ordered, "it is told to send")
                order = agent.ordered[0]
                assert isinstance(order, wire.StreamStart)
                assert order.source.mode == "test"
                ports = [urlsplit(each).port or 0 for each in order.destinations]
                sender = RistSender(tmp_path / "sender", ports, order.psk)
                await field.enter_async_context(sender)
                await sender.begin(small_file, 600)
                said = (await process.stdout.read()).decode()
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert "live True" in said
        assert "stopped on request" in said
        await agent.until(lambda: len(agent.ordered) == 2, "it is told to stop")
        assert isinstance(agent.ordered[1], wire.StreamStop)
        [flv] = await nginx.finished()
        assert flv.stat().st_size > 10_000
