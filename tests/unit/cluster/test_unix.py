"""What is particular to a real socket; the rest is in ``test_conformance.py``."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from strata.cluster import exchange, unix
from strata.cluster.unix import HostServer
from strata.wire import host as wire
from support.children import until
from support.ends import DEADLINE_S, Control, Unix, answer

ENDED = wire.Ended("str_1", "eos", "told to")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "host.sock"


@pytest.fixture
async def server(path: Path) -> AsyncIterator[HostServer]:
    one = HostServer(path)
    await one.start(answer)
    yield one
    await one.close()


@pytest.fixture
async def control(server: HostServer, path: Path) -> AsyncIterator[Control]:
    one = Control(Unix(path))
    one.end.start()
    await one.connected()
    yield one
    await one.end.close()


async def test_the_socket_is_this_users_alone_and_goes_with_the_server(
    server: HostServer, path: Path
) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await server.close()
    assert not path.exists()


async def test_a_socket_of_a_dead_host_is_replaced(path: Path) -> None:
    path.touch()
    server = HostServer(path)
    await server.start(answer)
    control = Control(Unix(path))
    control.end.start()
    await control.connected()
    await control.end.close()
    await server.close()


@pytest.mark.parametrize(
    "line",
    [b"no json\n", b'{"request":{"request":"reboot"}}\n', b"x" * (wire.MAX_FRAME_BYTES + 1)],
    ids=["no json", "unknown", "too long"],
)
async def test_who_speaks_another_language_is_cut_off_and_the_others_are_not(
    control: Control, path: Path, caplog: pytest.LogCaptureFixture, line: bytes
) -> None:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(line)
    assert await asyncio.wait_for(reader.read(), DEADLINE_S) == b""
    writer.close()
    assert "the connection from control is closed" in caplog.text
    assert await control.ask(wire.List()) == wire.Streams([])


async def test_a_frame_without_a_request_is_nothing(control: Control, path: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(wire.encode(wire.Frame(id=1)))
    writer.write(wire.encode(wire.Frame(id=2, request=wire.List())))
    line = await asyncio.wait_for(reader.readline(), DEADLINE_S)
    assert wire.decode(line) == wire.Frame(id=2, reply=wire.Streams([]))
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    "line", [b"no json\n", b'{"notice":{"notice":"ended","stream_id":"\xff"}}\n']
)
async def test_a_host_that_speaks_another_language_is_left_and_tried_again(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, line: bytes
) -> None:
    monkeypatch.setattr(exchange, "RECONNECT_S", 0.01)
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.write(line if connections == 1 else wire.encode(wire.Frame(notice=ENDED)))
        await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(serve, path)
    control = Control(Unix(path))
    control.end.start()
    await until(lambda: control.notices == [ENDED], DEADLINE_S, "it connected anew")
    assert "the connection to the host broke" in caplog.text
    await control.end.close()
    server.close()


async def test_an_answer_that_nobody_awaits_is_nothing(path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(wire.encode(wire.Frame(id=99, reply=wire.Streams([]))))
        writer.write(wire.encode(wire.Frame()))
        writer.write(wire.encode(wire.Frame(notice=ENDED)))
        await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(serve, path)
    control = Control(Unix(path))
    control.end.start()
    await until(lambda: control.notices == [ENDED], DEADLINE_S, "the connection goes on")
    await control.end.close()
    server.close()


async def test_who_does_not_read_is_cut_off_before_memory_runs_out(
    server: HostServer,
    control: Control,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(exchange, "UNREAD_BYTES_MAX", 200_000)
    _, writer = await asyncio.open_unix_connection(path)
    await until(lambda: len(server._connections) == 2, DEADLINE_S, "both are served")
    writer.transport.pause_reading()
    big = wire.Ended("str_1", "eos", "x" * 20_000)
    sent = 0
    while len(server._connections) == 2:
        server.notify(big)
        sent += 1
        assert sent < 1000, "never cut off"
        await until(lambda n=sent: len(control.notices) == n, DEADLINE_S, "the other reads on")
    assert "control does not read" in caplog.text
    writer.close()


async def test_who_does_not_read_cannot_keep_the_host_from_ending(
    server: HostServer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix, "CLOSE_DEADLINE_S", 0.1)
    _, writer = await asyncio.open_unix_connection(path)
    await until(lambda: server._connections, DEADLINE_S, "it is served")
    [connection] = server._connections
    writer.transport.pause_reading()
    server.notify(wire.Ended("str_1", "eos", "x" * 1_000_000))
    assert connection.unread_bytes() > 0
    await asyncio.wait_for(server.close(), DEADLINE_S)
    assert connection.unread_bytes() == 0
    assert not server._connections
    writer.close()


async def test_a_connection_from_before_a_cut_is_not_told_to_again(
    server: HostServer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """asyncio would log each line that is written to a connection that is lost."""
    monkeypatch.setattr(exchange, "UNREAD_BYTES_MAX", 1000)
    _, writer = await asyncio.open_unix_connection(path)
    await until(lambda: server._connections, DEADLINE_S, "it is served")
    [connection] = server._connections
    writer.transport.pause_reading()
    server.notify(wire.Ended("str_1", "eos", "x" * 1_000_000))
    server.notify(ENDED)
    server.notify(ENDED)
    assert connection.unread_bytes() == 0
    await until(lambda: not server._connections, DEADLINE_S, "it is forgotten")
    writer.close()
