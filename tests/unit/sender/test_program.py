from __future__ import annotations

import asyncio
import logging
import os
import signal
from pathlib import Path

import pytest

from strata.errors import Conflict, NotAllowed
from strata.sender import program
from strata.sender.agent import Agent
from strata.sender.interfaces import Watch

DEADLINE_S = 10.0
SETTINGS = 'control = "http://127.0.0.1:9"\nenrollment_token = "snd_1.canary"\nstate_dir = "{}"\n'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "sender.toml"
    file.write_text(SETTINGS.format(tmp_path / "state"))
    file.chmod(0o600)
    return file


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set once the agent runs; it does nothing."""
    runs = asyncio.Event()

    async def run(self: Agent) -> None:
        runs.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Agent, "run", run)
    return runs


async def ran(config: Path) -> int:
    return await asyncio.wait_for(program.run(*program.load(config)), DEADLINE_S)


def test_what_it_needs(config: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    settings, identity = program.load(config)
    assert settings.url == "ws://127.0.0.1:9/agent/ws"
    assert identity.enrollment_token is not None
    assert "control is at ws://127.0.0.1:9/agent/ws" in caplog.text
    assert "chmod" not in caplog.text
    config.chmod(0o644)
    program.load(config)
    assert f"chmod 600 {config}" in caplog.text
    assert "canary" not in caplog.text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_signal_ends_it(
    config: Path, agent: asyncio.Event, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    why: list[str] = []

    async def close(self: Agent, reason: str) -> None:
        why.append(reason)

    monkeypatch.setattr(Agent, "close", close)
    running = asyncio.create_task(ran(config))
    await asyncio.wait_for(agent.wait(), DEADLINE_S)
    monkeypatch.setattr("strata.alone.DEADLINE_S", 0.0)
    with pytest.raises(Conflict, match="another strata-sender runs on"):
        await ran(config)
    # The second has taken the signals over from the first.
    asyncio.get_running_loop().remove_signal_handler(number)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    again = asyncio.create_task(ran(config))
    agent.clear()
    await asyncio.wait_for(agent.wait(), DEADLINE_S)
    os.kill(os.getpid(), number)
    assert await again == 0
    assert why == [program.WHY]


async def test_what_cannot_be_helped_ends_it(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(self: Agent) -> None:
        raise NotAllowed("not let in")

    monkeypatch.setattr(Agent, "run", refused)
    with pytest.raises(NotAllowed, match="not let in"):
        await ran(config)


@pytest.mark.parametrize("part", [Agent, Watch])
async def test_a_defect_ends_it_so_that_it_is_started_anew(
    config: Path, monkeypatch: pytest.MonkeyPatch, agent: asyncio.Event, part: type
) -> None:
    async def fail(self: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(part, "run", fail)
    assert await ran(config) == 70
