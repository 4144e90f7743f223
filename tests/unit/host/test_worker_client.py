"""With real sockets; the worker at the other end is a few lines of the test."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from strata.host.worker_client import MAX_EVENT_BYTES, WorkerClient
from strata.wire import worker as wire

DEADLINE_S = 10.0
INPUT = wire.Input("waiting", 0.5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "str_1.sock"


@asynccontextmanager
async def worker(
    path: Path, serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
) -> AsyncIterator[None]:
    closed = asyncio.Event()

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()
            closed.set()

    server = await asyncio.start_unix_server(once, path)
    try:
        yield
        await asyncio.wait_for(closed.wait(), DEADLINE_S)
    finally:
        server.close()


def says(*lines: bytes) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.writelines(lines)

    return serve


def abandon(path: Path) -> None:
    """A socket whose worker was killed: it is there, and refuses connections."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


async def test_events_are_handed_on_until_the_worker_is_gone(path: Path) -> None:
    heard: list[wire.Event] = []
    client = WorkerClient(path, heard.append)
    async with worker(path, says(wire.encode(INPUT), wire.encode(wire.Stopped("eos")))):
        await asyncio.wait_for(client.run(), DEADLINE_S)
    assert heard == [INPUT, wire.Stopped("eos")]


async def test_it_connects_as_soon_as_there_is_a_socket(path: Path) -> None:
    heard: list[wire.Event] = []
    running = asyncio.create_task(WorkerClient(path, heard.append).run())
    for _ in range(3):
        await asyncio.sleep(0)
    assert not running.done()
    async with worker(path, says(wire.encode(INPUT))):
        await asyncio.wait_for(running, DEADLINE_S)
    assert heard == [INPUT]


async def test_a_socket_that_nobody_serves_yet_is_tried_again(path: Path) -> None:
    abandon(path)
    heard: list[wire.Event] = []
    running = asyncio.create_task(WorkerClient(path, heard.append).run())
    await asyncio.sleep(0)
    path.unlink()
    async with worker(path, says(wire.encode(INPUT))):
        await asyncio.wait_for(running, DEADLINE_S)
    assert heard == [INPUT]


@pytest.mark.parametrize(
    "line",
    [b"no json\n", b'{"event":"input","state":"asleep","since_s":0}\n', b'{"event":"\xff"}\n'],
)
async def test_what_cannot_be_read_is_logged_and_left_out(
    path: Path, line: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[wire.Event] = []
    async with worker(path, says(line, b'{"event":"of_a_newer_version"}\n', wire.encode(INPUT))):
        await asyncio.wait_for(WorkerClient(path, heard.append).run(), DEADLINE_S)
    assert heard == [INPUT]
    assert "str_1: an event cannot be read" in caplog.text


async def test_an_event_without_end_closes_the_connection(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with worker(path, says(b"x" * (MAX_EVENT_BYTES + 1))):
        await asyncio.wait_for(WorkerClient(path, print).run(), DEADLINE_S)
    assert "str_1: what the worker says cannot be read" in caplog.text


async def test_commands_go_to_the_worker_while_it_is_there(path: Path) -> None:
    got: list[object] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(wire.encode(INPUT))
        got.append(json.loads(await reader.readline()))

    def hear(event: wire.Event) -> None:
        client.send(wire.Stop())

    client = WorkerClient(path, hear)
    client.send(wire.Stop())  # nobody is there: dropped
    async with worker(path, serve):
        await asyncio.wait_for(client.run(), DEADLINE_S)
    client.send(wire.Stop())
    assert got == [{"cmd": "stop"}]


async def test_an_order_is_given_and_the_end_awaited(path: Path) -> None:
    got: list[object] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(wire.encode(INPUT))
        got.append(json.loads(await reader.readline()))

    async with worker(path, serve):
        order = WorkerClient(path, lambda event: None).order(wire.Stop())
        await asyncio.wait_for(order, DEADLINE_S)
    assert got == [{"cmd": "stop"}]


async def test_an_order_to_a_socket_that_nobody_serves_removes_it(path: Path) -> None:
    abandon(path)
    await asyncio.wait_for(WorkerClient(path, print).order(wire.Stop()), DEADLINE_S)
    assert not path.exists()
