"""With real sockets; the worker at the other end is a few lines of the test."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from strata.host import worker_client
from strata.host.worker_client import MAX_EVENT_BYTES, WorkerClient
from strata.wire import worker as wire
from support.children import until

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


@asynccontextmanager
async def following(client: WorkerClient, pid: int | None = None) -> AsyncIterator[None]:
    """The worker is this very process, unless another is meant."""
    running = asyncio.create_task(client.run(pid or os.getpid()))
    try:
        yield
        assert not running.done()  # it goes on until it is told that the process has ended
    finally:
        running.cancel()
        await asyncio.wait({running})


async def test_events_are_handed_on_in_their_order(path: Path) -> None:
    heard: list[wire.Event] = []
    events = [INPUT, wire.Stopped("eos")]
    async with (
        worker(path, says(*map(wire.encode, events))),
        following(WorkerClient(path, heard.append)),
    ):
        await until(lambda: len(heard) == 2, DEADLINE_S, "both came")
    assert heard == events


async def test_it_connects_as_soon_as_there_is_a_socket(path: Path) -> None:
    heard: list[wire.Event] = []
    async with following(WorkerClient(path, heard.append)):
        for _ in range(3):
            await asyncio.sleep(0)
        async with worker(path, says(wire.encode(INPUT))):
            await until(lambda: heard, DEADLINE_S, "it is heard")
    assert heard == [INPUT]


async def test_a_socket_that_nobody_serves_yet_is_tried_again(path: Path) -> None:
    abandon(path)
    heard: list[wire.Event] = []
    async with following(WorkerClient(path, heard.append)):
        await asyncio.sleep(0)
        path.unlink()
        async with worker(path, says(wire.encode(INPUT))):
            await until(lambda: heard, DEADLINE_S, "it is heard")
    assert heard == [INPUT]


async def test_a_connection_that_the_worker_closes_is_made_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_client, "RECONNECT_S", 0.01)
    heard: list[wire.Event] = []
    async with (
        worker(path, says(wire.encode(INPUT))),
        following(WorkerClient(path, heard.append)),
    ):
        await until(lambda: len(heard) >= 3, DEADLINE_S, "it has greeted three times")
    assert set(map(type, heard)) == {wire.Input}


async def test_a_stranger_at_the_socket_is_neither_heard_nor_told_anything(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[wire.Event] = []
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(wire.encode(INPUT))
        try:
            got.append(await reader.read())
        except ConnectionError:  # it did not even wait for the greeting
            got.append(b"")

    client = WorkerClient(path, heard.append)
    async with worker(path, serve), following(client, pid=1):
        await until(lambda: caplog.text, DEADLINE_S, "it is told")
        client.send(wire.Stop())
        await until(lambda: got, DEADLINE_S, "the connection is closed")
    assert f"str_1: process {os.getpid()} serves its socket, not 1" in caplog.text
    assert (heard, got[0]) == ([], b"")


@pytest.mark.parametrize(
    "line",
    [b"no json\n", b'{"event":"input","state":"asleep","since_s":0}\n', b'{"event":"\xff"}\n'],
)
async def test_what_cannot_be_read_is_logged_and_left_out(
    path: Path, line: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[wire.Event] = []
    lines = (line, b'{"event":"of_a_newer_version"}\n', wire.encode(INPUT))
    async with worker(path, says(*lines)), following(WorkerClient(path, heard.append)):
        await until(lambda: heard, DEADLINE_S, "what can be read is heard")
    assert heard == [INPUT]
    assert "str_1: an event cannot be read" in caplog.text


async def test_an_event_without_end_closes_the_connection(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        worker(path, says(b"x" * (MAX_EVENT_BYTES + 1))),
        following(WorkerClient(path, print)),
    ):
        told = "str_1: what the worker says cannot be read"
        await until(lambda: told in caplog.text, DEADLINE_S, "it is told")


async def test_commands_go_to_the_worker_while_it_is_there(path: Path) -> None:
    got: list[object] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(wire.encode(INPUT))
        got.append(json.loads(await reader.readline()))

    def hear(event: wire.Event) -> None:
        client.send(wire.Stop("no_input"))

    client = WorkerClient(path, hear)
    client.send(wire.Stop())  # nobody is there: dropped
    async with worker(path, serve), following(client):
        await until(lambda: got and client._writer is None, DEADLINE_S, "it has gone")
        client.send(wire.Stop())
    assert got == [{"cmd": "stop", "reason": "no_input"}]


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
