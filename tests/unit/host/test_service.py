from __future__ import annotations

import asyncio
import os
import signal
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from strata import alone, settings
from strata.cluster.unix import HostClient
from strata.errors import Conflict
from strata.host import service
from strata.host.host import Host
from strata.host.service import socket_path
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
        limits={"enforce": False},
    )


def test_each_data_folder_has_a_socket_of_its_own(here: Place) -> None:
    one, same = socket_path(load(here)), socket_path(load(here))
    other = socket_path(load(here, here.folder / "other"))
    assert one == same != other
    assert one.parent == other.parent == here.run
    assert len(os.fsencode(one)) <= 107


@pytest.fixture
async def running(here: Place) -> AsyncIterator[tuple[Settings, asyncio.Task[None]]]:
    loaded = load(here)
    task = asyncio.create_task(service.run(loaded))
    await until(lambda: task.done() or socket_path(loaded).exists(), DEADLINE_S, "it serves")
    yield loaded, task
    if not task.done():
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(task, DEADLINE_S)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
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
    reply = await client.request(wire.List())
    assert isinstance(reply, wire.Streams)
    assert reply.streams == []
    await client.close()
    os.kill(os.getpid(), number)
    await asyncio.wait_for(task, DEADLINE_S)
    assert not path.exists()


async def test_a_second_host_on_the_same_data_is_refused(
    running: tuple[Settings, asyncio.Task[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, task = running
    monkeypatch.setattr(alone, "DEADLINE_S", 0.1)
    with pytest.raises(Conflict, match="another strata runs"):
        await asyncio.wait_for(service.run(loaded), DEADLINE_S)
    assert socket_path(loaded).exists()  # that of the first
    assert not task.done()


async def test_it_ends_with_its_parent(here: Place) -> None:
    parent = await asyncio.create_subprocess_exec("sleep", "60")
    loaded = load(here)
    task = asyncio.create_task(service.run(loaded, parent.pid))
    await until(lambda: task.done() or socket_path(loaded).exists(), DEADLINE_S, "it serves")
    assert not task.done()
    parent.kill()
    await asyncio.wait_for(task, DEADLINE_S)
    assert not socket_path(loaded).exists()
    await parent.wait()


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How a host ended."""
    told: list[str] = []
    for name in ("close", "leave"):
        really = getattr(Host, name)

        async def end(
            host: Host, name: str = name, really: Callable[[Host], Awaitable[None]] = really
        ) -> None:
            told.append(name)
            await really(host)

        monkeypatch.setattr(Host, name, end)
    return told


@pytest.mark.parametrize(
    ("number", "wanted"),
    [(signal.SIGTERM, "close"), (signal.SIGINT, "close"), (signal.SIGHUP, "leave")],
)
async def test_a_signal_ends_the_streams_or_leaves_them(
    running: tuple[Settings, asyncio.Task[None]],
    ends: list[str],
    number: signal.Signals,
    wanted: str,
) -> None:
    os.kill(os.getpid(), number)
    await asyncio.wait_for(running[1], DEADLINE_S)
    assert ends == [wanted]
