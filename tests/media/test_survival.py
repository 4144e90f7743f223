"""Whatever happens to the platform, what is on the air stays there."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from support.broadcasts import KEY, SETTLED_S, Broadcasts, is_live, is_whole
from support.control import Place, StrataUp, place
from support.media import GOP_S
from support.nginx import Nginx


@pytest.fixture
def here() -> Iterator[Place]:
    with place() as one:
        yield one


async def kill(up: StrataUp, chance: random.Random, environment: dict[str, str]) -> StrataUp:
    """Kills one half, the other, or all of it; what is not started anew by itself is here."""
    victims = chance.choice((["host"], ["control"], ["up", "host", "control"]))
    pids = {"up": up.child.pid, "host": up.pid_of("host"), "control": up.pid_of("control")}
    for name in victims:
        if (pid := pids[name]) is not None:
            os.kill(pid, signal.SIGKILL)
    if "up" not in victims:
        return up
    await up.child.wait(10.0)
    return StrataUp(up.place, environment=environment, port=up.port)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("streams", "kills"), [(2, 4), pytest.param(10, 20, marks=pytest.mark.long)]
)
async def test_killing_the_control_plane_costs_no_frame(
    here: Place, tmp_path: Path, streams: int, kills: int, small_file: Path
) -> None:
    """Killed is one half, the other, or all of it, at random moments."""
    chance = random.Random(streams)
    environment = {"STRATA_FORWARD__ALLOW_PRIVATE": "true"}
    async with (
        Nginx(tmp_path / "nginx") as nginx,
        Broadcasts(tmp_path, nginx) as field,
        AsyncExitStack() as logins,
    ):
        up = StrataUp(here, environment=environment, ports=2 * streams + 8)
        try:
            await up.ready()
            api = await logins.enter_async_context(await up.log_in())
            for _ in range(streams):
                await field.begin(api, small_file, 3600)
            await field.all_live(api)
            workers = sorted(here.workers())
            began = asyncio.get_running_loop().time()
            for _ in range(kills):
                await asyncio.sleep(chance.uniform(0.0, 2.0))
                for _ in range(chance.choice((1, 1, 2))):  # again before it has recovered
                    up = await kill(up, chance, environment)
                    await asyncio.sleep(chance.uniform(0.0, 0.5))
                await up.ready()
                await field.all_live(api)  # the login holds, too
                assert sorted(here.workers()) == workers
            lasted_s = asyncio.get_running_loop().time() - began
            await asyncio.sleep(SETTLED_S)
            for id in field.ids:
                stream = await api.get(id)
                assert is_live(stream), stream
                assert stream["reason"] is None
                stopped = await api.stop(id)
                assert (stopped["state"], stopped["reason"]) == ("ended", "user_stop")
                assert stopped["detail"] == "stopped on request"
            assert here.workers() == []
        finally:
            await up.__aexit__()
        for flv in await nginx.finished(streams):
            await is_whole(flv, lasted_s - GOP_S)


@pytest.mark.timeout(200)
async def test_a_worker_that_dies_is_back_on_the_air(
    here: Place, tmp_path: Path, small_file: Path
) -> None:
    environment = {"STRATA_FORWARD__ALLOW_PRIVATE": "true"}
    async with (
        Nginx(tmp_path / "nginx") as nginx,
        Broadcasts(tmp_path, nginx) as field,
        StrataUp(here, environment=environment) as up,
        await up.log_in() as api,
    ):
        for _ in range(2):
            await field.begin(api, small_file, 3600)
        await field.all_live(api)
        unlucky, other = field.ids
        os.kill(here.worker_of(unlucky), signal.SIGKILL)
        killed_at = asyncio.get_running_loop().time()
        degraded = await api.until(
            unlucky, lambda stream: stream["state"] == "degraded", "the death is seen"
        )
        assert not degraded["on_air"]
        await api.until(unlucky, is_live, "it is on the air again")
        back_s = asyncio.get_running_loop().time() - killed_at
        assert back_s < 15.0  # measured in bench; the bound there is 5 s
        states = [
            event["data"]["to"]
            for event in (await api.get(unlucky))["events"]
            if event["type"] == "state"
        ]
        assert "degraded" in states
        assert states[-1] == "live"
        for id in (unlucky, other):
            await api.stop(id)
        recordings = await nginx.finished(3)
        untouched = [flv for flv in recordings if f"{KEY}-1" in flv.name]
        assert len(untouched) == 1
        await is_whole(untouched[0], back_s)
