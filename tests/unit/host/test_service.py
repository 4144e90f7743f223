from __future__ import annotations

import asyncio
import os
import signal
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from strata import settings
from strata.cluster.unix import HostClient
from strata.errors import Conflict
from strata.host import service
from strata.host.service import Alone, socket_path
from strata.settings import Settings
from strata.wire import host as wire
from support.children import until
from support.control import Place, free_port_range, place

DEADLINE_S = 20.0


@pytest.fixture
def here() -> Iterator[Place]:
    with place() as one:
        yield one


def load(here: Place, data_dir: Path | None = None) -> Settings:
    return settings.load(
        data_dir=data_dir or here.data,
        host={"runtime_dir": here.run, "port_range": free_port_range(4)},
    )


def test_each_data_folder_has_a_socket_of_its_own(here: Place) -> None:
    one, same = socket_path(load(here)), socket_path(load(here))
    other = socket_path(load(here, here.folder / "other"))
    assert one == same != other
    assert one.parent == other.parent == here.run
    assert len(os.fsencode(one)) <= 107


def test_one_at_a_time(here: Place) -> None:
    lock = here.folder / "host.lock"
    with Alone(lock):
        words = f"runs on {here.folder}; .*another --data-dir"
        with pytest.raises(Conflict, match=words), Alone(lock):
            raise AssertionError("two hold it")
    with Alone(lock):
        pass


@pytest.fixture
async def running(here: Place) -> AsyncIterator[tuple[Settings, asyncio.Task[None]]]:
    loaded = load(here)
    task = asyncio.create_task(service.run(loaded))
    await until(lambda: task.done() or socket_path(loaded).exists(), DEADLINE_S, "it serves")
    yield loaded, task
    if not task.done():
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(task, DEADLINE_S)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_serves_until_a_signal(
    running: tuple[Settings, asyncio.Task[None]], number: signal.Signals
) -> None:
    loaded, task = running
    path = socket_path(loaded)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    connected = asyncio.Event()

    async def on_connect() -> None:
        connected.set()

    client = HostClient(path, on_connect, lambda notice: None, DEADLINE_S)
    client.start()
    await asyncio.wait_for(connected.wait(), DEADLINE_S)
    assert await client.request(wire.List()) == wire.Streams([])
    await client.close()
    os.kill(os.getpid(), number)
    await asyncio.wait_for(task, DEADLINE_S)
    assert not path.exists()


async def test_a_second_host_on_the_same_data_is_refused(
    running: tuple[Settings, asyncio.Task[None]],
) -> None:
    loaded, task = running
    with pytest.raises(Conflict, match="another strata runs"):
        await asyncio.wait_for(service.run(loaded), DEADLINE_S)
    assert socket_path(loaded).exists()  # that of the first
    assert not task.done()
