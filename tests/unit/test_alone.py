from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from strata import alone
from strata.alone import Alone
from strata.errors import Conflict

DEADLINE_S = 20.0


async def test_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alone, "DEADLINE_S", 0.1)
    lock = tmp_path / "host.lock"
    async with Alone(lock):
        words = f"runs on {tmp_path}; .*another --data-dir"
        with pytest.raises(Conflict, match=words):
            async with Alone(lock):
                raise AssertionError("two hold it")
    async with Alone(lock):
        pass


async def test_one_that_is_about_to_end_is_waited_for(tmp_path: Path) -> None:
    lock = tmp_path / "host.lock"
    first, second = Alone(lock), Alone(lock)
    await first.__aenter__()
    waiting = asyncio.create_task(second.__aenter__())
    done, _ = await asyncio.wait({waiting}, timeout=3 * alone.AGAIN_S)
    assert not done
    await first.__aexit__()
    await asyncio.wait_for(waiting, DEADLINE_S)
    await second.__aexit__()


async def test_how_long_another_is_waited_for_can_be_said(tmp_path: Path) -> None:
    lock = tmp_path / "control.lock"
    async with Alone(lock), asyncio.timeout(alone.DEADLINE_S / 2):
        with pytest.raises(Conflict):
            await Alone(lock, deadline_s=0.0).__aenter__()
