"""A new release takes the place of the old one, and what is on the air stays there."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

import strata
from strata import settings
from strata.cluster.unix import HostClient
from strata.host.service import socket_path
from strata.wire import host as wire
from strata.wire import worker
from support import release
from support.broadcasts import KEY, SETTLED_S, Broadcasts, is_live, is_whole
from support.children import until
from support.control import Place, StrataUp, place
from support.media import GOP_S
from support.nginx import Nginx

EARLIER = "0.0.0"
DEADLINE_S = 30.0
BETWEEN_S = 1.0
BACK_S = 20.0


@pytest.fixture
def here() -> Iterator[Place]:
    with place() as one:
        yield one


async def snapshots(here: Place) -> dict[str, wire.Snapshot]:
    """What the host that serves now says of its streams."""

    async def greet() -> None:
        return None

    own = settings.load(data_dir=here.data, host={"runtime_dir": here.run})
    client = HostClient(socket_path(own), greet, lambda notice: None, DEADLINE_S)
    client.start()
    try:
        await until(lambda: client.connected, DEADLINE_S, "connected to the host")
        reply = await client.request(wire.List())
    finally:
        await client.close()
    assert isinstance(reply, wire.Streams)
    return {each.stream_id: each for each in reply.streams}


async def workers(here: Place) -> dict[str, tuple[int, str]]:
    """Of each stream the process, and the version that this calls itself."""
    found = {}
    for id, snapshot in (await snapshots(here)).items():
        [ready] = [event for event in snapshot.events if isinstance(event, worker.Ready)]
        assert ready.pid == snapshot.pid
        found[id] = (ready.pid, ready.version)
    return found


def python_of(pid: int) -> str:
    """The interpreter as it was called: by its name it finds its packages."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("streams", [2, pytest.param(10, marks=pytest.mark.long)])
async def test_an_upgrade_costs_no_frame(
    here: Place, tmp_path: Path, streams: int, small_file: Path
) -> None:
    earlier = await release.install(tmp_path / "earlier", EARLIER)
    environment = {"STRATA_FORWARD__ALLOW_PRIVATE": "true"}
    loop = asyncio.get_running_loop()
    async with (
        Nginx(tmp_path / "nginx") as nginx,
        Broadcasts(tmp_path, nginx) as field,
        AsyncExitStack() as logins,
    ):
        up = StrataUp(here, environment=environment, ports=2 * streams + 8, python=earlier)
        try:
            await up.ready()
            api = await logins.enter_async_context(await up.log_in())
            for _ in range(streams):
                await field.begin(api, small_file, 3600)
            await field.all_live(api)
            began = loop.time()
            before = await workers(here)
            assert sorted(before) == sorted(field.ids)
            for id in field.ids:
                assert before[id] == (here.worker_of(id), EARLIER)
                assert python_of(here.worker_of(id)) == str(earlier)
            await asyncio.sleep(SETTLED_S)

            assert await up.stop(signal.SIGHUP) == 0
            remaining = {pid for pid, _ in before.values()}
            assert set(here.workers()) == remaining
            assert not [line for line in here.processes().values() if " -m strata " in line]
            await asyncio.sleep(BETWEEN_S)

            up = StrataUp(here, environment=environment, port=up.port)
            await up.ready()
            for half in ("host", "control"):
                pid = up.pid_of(half)
                assert pid is not None
                assert python_of(pid) == sys.executable
            await field.all_live(api)  # the login holds, too
            assert set(here.workers()) == remaining
            assert await workers(here) == before
            await asyncio.sleep(SETTLED_S)
            lasted_s = loop.time() - began

            *others, unlucky = field.ids
            os.kill(here.worker_of(unlucky), signal.SIGKILL)
            await api.until(unlucky, lambda stream: not stream["on_air"], "the death is seen")
            await api.until(unlucky, is_live, "it is on the air again", BACK_S)
            after = await workers(here)
            assert after[unlucky] == (here.worker_of(unlucky), strata.__version__)
            assert after[unlucky] != before[unlucky]
            assert python_of(here.worker_of(unlucky)) == sys.executable
            for id in others:
                assert after[id] == before[id]
            await asyncio.sleep(SETTLED_S)

            for id in field.ids:
                stopped = await api.stop(id)
                assert (stopped["state"], stopped["reason"]) == ("ended", "user_stop")
                assert stopped["detail"] == "stopped on request"
            assert here.workers() == []
        finally:
            await up.__aexit__()
        await nginx.finished(streams + 1)
        for number, id in enumerate(field.ids):
            parts = [flv for flv in nginx.recordings() if f"/{KEY}-{number}-" in str(flv)]
            # The platform sees one publisher from the first frame to the last, but where its
            # worker was killed.
            assert len(parts) == (2 if id == unlucky else 1)
            await is_whole(min(parts, key=born), lasted_s - GOP_S)


def born(flv: Path) -> int:
    """The end of its name is when nginx began it."""
    return int(flv.stem.rpartition("-")[2])
