"""The database is killed under load: nothing on the air is touched."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from support.broadcasts import SETTLED_S, Broadcasts, is_live, is_whole
from support.control import Api, Place, StrataUp, eventually, place
from support.media import GOP_S
from support.nginx import Nginx
from support.postgres import Postgres, postgres

AWAY_S: Final = 4.0
RECOVERED_S: Final = 10.0
CALLERS: Final = 8


@pytest.fixture
def here() -> Iterator[Place]:
    with place() as one:
        yield one


@pytest.fixture
def server() -> Iterator[Postgres]:
    with postgres() as one:
        yield one


@asynccontextmanager
async def load(api: Api) -> AsyncIterator[Counter[int]]:
    """Callers that ask without a pause; how often they were answered, and how."""
    answers: Counter[int] = Counter()

    async def call() -> None:
        while True:
            answers[(await api.http.get("/api/streams")).status_code] += 1

    callers = [asyncio.create_task(call()) for _ in range(CALLERS)]
    try:
        yield answers
    finally:
        for each in callers:
            each.cancel()
        ended = await asyncio.gather(*callers, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError) for each in ended), ended


async def test_nothing_on_the_air_is_touched(
    here: Place, server: Postgres, tmp_path: Path, small_file: Path
) -> None:
    environment = {
        "STRATA_FORWARD__ALLOW_PRIVATE": "true",
        "STRATA_DATABASE__URL": server.new_database(),
        "STRATA_DATABASE__TIMEOUT_S": "2",
    }
    async with (
        Nginx(tmp_path / "nginx") as nginx,
        Broadcasts(tmp_path, nginx) as field,
        StrataUp(here, environment=environment) as up,
        await up.log_in() as api,
    ):
        for _ in range(2):
            await field.begin(api, small_file, 3600)
        await field.all_live(api)
        waits = (await api.start(nginx.url("canary-other"), slate="off"))["id"]
        workers = set(here.workers()) - {here.worker_of(waits)}
        started_at = asyncio.get_running_loop().time()

        async with load(api) as answers:
            await eventually(answers_well(answers), RECOVERED_S, "there is load")
            server.kill()
            killed_at = datetime.now(UTC)
            os.kill(here.worker_of(waits), signal.SIGKILL)  # something happens meanwhile
            await asyncio.sleep(AWAY_S)
            assert await up.readiness() == 503
            answer = await api.http.post(
                "/api/streams", json={"forward_to": [nginx.url("canary-third")]}
            )
            assert answer.status_code == 503, answer.text
            assert answer.json()["code"] == "database_unavailable"
            assert answer.json()["can_retry"]
            server.start()
            back_at = datetime.now(UTC)

            async def is_ready() -> bool:
                return await up.readiness() == 200

            await eventually(is_ready, RECOVERED_S, "it is ready again")
        assert set(answers) == {200, 503}, answers

        await field.all_live(api)
        assert set(here.workers()) - {here.worker_of(waits)} == workers
        await api.until(waits, told_of_the_restart, "what happened meanwhile is written down")
        events = (await api.get(waits))["events"]
        [restart] = [each for each in events if each["type"] == "worker_restart"]
        assert killed_at < datetime.fromisoformat(restart["at"]) < back_at
        third = await api.start(nginx.url("canary-third"), slate="off")
        await api.stop(third["id"])

        await asyncio.sleep(SETTLED_S)
        lasted_s = asyncio.get_running_loop().time() - started_at
        for id in field.ids:
            assert is_live(await api.get(id))
            await api.stop(id)
        for flv in await nginx.finished(2):
            await is_whole(flv, lasted_s - GOP_S - 1.0)


def answers_well(answers: Counter[int]) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return answers[200] > 10 * CALLERS

    return holds


def told_of_the_restart(stream: dict[str, list[dict[str, str]]]) -> bool:
    return any(each["type"] == "worker_restart" for each in stream["events"])
