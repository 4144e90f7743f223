"""With real sockets: what many, slow and rude clients do to the worker."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from strata.errors import BadArguments, Conflict
from strata.wire import worker as wire
from strata.worker import control_socket
from strata.worker.control_socket import (
    CLIENTS_MAX,
    PATH_BYTES_MAX,
    UNREAD_BYTES_MAX,
    Client,
    ControlSocket,
)
from support.worker import ControlClient

READY = wire.Ready([20_000], "str_1", 4711, "0.1.0")
DEADLINE_S = 10.0


def answer(command: wire.Command, client: Client) -> None:
    client.send(wire.Ok(type(command).__name__, command.id))


@asynccontextmanager
async def serving(
    path: Path,
    on_command: Callable[[wire.Command, Client], None] = answer,
) -> AsyncIterator[ControlSocket]:
    server = ControlSocket(path, lambda: [READY, wire.Input("waiting", 0.5)], on_command)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def is_true(holds: Callable[[], object]) -> None:
    """Lets the loop run until ``holds``: what one side sent reaches the other in a few turns."""
    async with asyncio.timeout(DEADLINE_S):
        while not holds():
            await asyncio.sleep(0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "worker.sock"


async def test_only_its_user_may_connect(path: Path) -> None:
    before = os.umask(0)
    os.umask(before)
    async with serving(path):
        mode = path.stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600
        assert os.umask(before) == before
    assert not path.exists()


async def test_a_client_is_greeted_first_and_told_what_happens(path: Path) -> None:
    async with serving(path) as server, await ControlClient.connect(path) as client:
        await client.event("input", state="waiting")
        server.broadcast(wire.Stopped("eos"))
        await client.event("stopped")
        assert [event["event"] for event in client.events] == ["ready", "input", "stopped"]
        assert client.events[0]["ports"] == [20_000]


async def test_an_answer_goes_to_who_asked_alone(path: Path) -> None:
    async with (
        serving(path) as server,
        await ControlClient.connect(path) as one,
        await ControlClient.connect(path) as two,
    ):
        one.send({"cmd": "stats", "id": "mine"})
        assert await one.event("ok", id="mine") == {"event": "ok", "cmd": "GetStats", "id": "mine"}
        server.broadcast(wire.Stopped("eos"))
        await two.event("stopped")
        assert [event["event"] for event in two.events] == ["ready", "input", "stopped"]


async def test_commands_are_carried_out_in_their_order_in_whatever_pieces(path: Path) -> None:
    async with serving(path), await ControlClient.connect(path) as client:
        lines = b"".join(b'{"cmd":"stats","id":%d}\n' % number for number in range(50))
        for start in range(0, len(lines), 7):
            client.send_bytes(lines[start : start + 7])
            await asyncio.sleep(0)
        await client.event("ok", id=49)
        assert [event["id"] for event in client.events if event["event"] == "ok"] == list(range(50))


@pytest.mark.parametrize(
    ("line", "id"),
    [
        (b"hello", None),
        (b"{", None),
        (b"[1, 2]", None),
        (b'{"cmd":"fly","id":7}', 7),
        (b'{"cmd":"stop","id":{}}', None),
        (b'{"cmd":"stats","id":"\xff\xfe"}', None),
        (b"\xff\xfe\x00", None),
        (b"[" * 60_000, None),
    ],
)
async def test_a_bad_line_is_answered_and_nothing_else_happens(
    path: Path, line: bytes, id: int | None
) -> None:
    commands: list[wire.Command] = []

    def keep(command: wire.Command, client: Client) -> None:
        commands.append(command)
        answer(command, client)

    async with serving(path, keep), await ControlClient.connect(path) as client:
        client.send_bytes(line + b"\n")
        error = await client.event("error", code="bad_command")
        assert error.get("id") == id
        assert not commands
        client.send({"cmd": "stats", "id": "after"})
        await client.event("ok", id="after")


async def test_an_id_of_any_size_is_repeated(path: Path) -> None:
    async with serving(path), await ControlClient.connect(path) as client:
        client.send_bytes(b'{"cmd":"stats","id":%d}\n' % 10**40)
        await client.event("ok", id=10**40)


async def test_blank_lines_are_nothing(path: Path) -> None:
    async with serving(path), await ControlClient.connect(path) as client:
        client.send_bytes(b"\n\r\n  \n")
        client.send({"cmd": "stats", "id": 1})
        await client.event("ok", id=1)
        assert [event["event"] for event in client.events] == ["ready", "input", "ok"]


async def test_a_line_of_64_kib_is_read(path: Path) -> None:
    async with serving(path), await ControlClient.connect(path) as client:
        line = b'{"cmd":"stats","id":1}'
        client.send_bytes(line.ljust(64 * 1024) + b"\n")
        await client.event("ok", id=1)


async def test_the_answer_to_a_long_bad_line_fits_a_line(path: Path) -> None:
    async with serving(path), await ControlClient.connect(path) as client:
        client.send_bytes(b'{"cmd":"%s"}\n' % (b"x" * 65_000))
        error = await client.event("error", code="bad_command")
        assert len(error["message"]) < 300


async def test_a_longer_line_ends_the_connection_and_no_other(path: Path) -> None:
    async with (
        serving(path) as server,
        await ControlClient.connect(path) as rude,
        await ControlClient.connect(path) as other,
    ):
        rude.send_bytes(b"x" * (64 * 1024 + 1))
        error = await rude.event("error", code="line_too_long")
        assert "65536 bytes" in error["message"]
        await rude.closed(DEADLINE_S)
        await is_true(lambda: server.clients == 1)
        other.send({"cmd": "stats", "id": 1})
        await other.event("ok", id=1)


async def test_64_clients_are_served_and_one_more_is_told_so(path: Path) -> None:
    async with serving(path) as server:
        clients = [await ControlClient.connect(path) for _ in range(CLIENTS_MAX)]
        for client in clients:
            await client.event("ready")
        assert server.clients == CLIENTS_MAX == 64
        async with await ControlClient.connect(path) as late:
            await late.event("error", code="too_many_clients")
            await late.closed(DEADLINE_S)
            assert [event["event"] for event in late.events] == ["error"]
        server.broadcast(wire.Stopped("eos"))
        for client in clients:
            await client.event("stopped")
        await clients.pop().close()
        await is_true(lambda: server.clients == CLIENTS_MAX - 1)
        async with await ControlClient.connect(path) as next_one:
            await next_one.event("ready")
        for client in clients:
            await client.close()


async def test_a_client_that_hangs_up_is_forgotten(path: Path) -> None:
    async with serving(path) as server:
        async with await ControlClient.connect(path) as client:
            await client.event("ready")
            assert server.clients == 1
        await is_true(lambda: server.clients == 0)
        server.broadcast(wire.Stopped("eos"))


async def test_a_client_that_hangs_up_in_the_middle_of_a_line_is_forgotten(path: Path) -> None:
    async with serving(path) as server:
        async with await ControlClient.connect(path) as client:
            await client.event("ready")
            client.send_bytes(b'{"cmd":"sto')
        await is_true(lambda: server.clients == 0)


class Deaf:
    """A client that never reads."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(os.fspath(path))

    def close(self) -> None:
        self.socket.close()


BIG = wire.Error("x" * 60_000, "test")


async def test_a_client_that_does_not_read_is_cut_off_and_the_others_are_not(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    deaf = None
    async with serving(path) as server, await ControlClient.connect(path) as other:
        try:
            deaf = Deaf(path)
            await is_true(lambda: server.clients == 2)
            sent = 0
            while server.clients == 2:
                server.broadcast(BIG)
                sent += 1
                assert sent < 200, "it was never cut off"
                async with asyncio.timeout(DEADLINE_S):
                    while len(other.events) < sent + 2:
                        await asyncio.sleep(0)
            assert sent * 60_000 > UNREAD_BYTES_MAX
            assert "does not read; it is cut off" in caplog.text
        finally:
            if deaf is not None:
                deaf.close()


async def test_clients_that_do_not_read_hold_up_the_end_for_one_deadline_together(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_socket, "CLOSE_DEADLINE_S", 0.5)
    async with serving(path) as server:
        deaf = [Deaf(path) for _ in range(10)]
        await is_true(lambda: server.clients == 10)
        for _ in range(8):
            server.broadcast(BIG)
        began = asyncio.get_running_loop().time()
        await server.stop()
        took_s = asyncio.get_running_loop().time() - began
        assert 0.4 < took_s < 2.5
        await is_true(lambda: server.clients == 0)
        for each in deaf:
            each.close()


async def test_what_was_sent_before_the_end_is_delivered(path: Path) -> None:
    async with serving(path) as server, await ControlClient.connect(path) as client:
        await client.event("ready")
        for _ in range(5):
            server.broadcast(BIG)
        server.broadcast(wire.Stopped("eos"))
        await asyncio.wait_for(server.stop(), DEADLINE_S)
        await client.event("stopped")
        await client.closed(DEADLINE_S)


async def test_a_socket_that_a_dead_worker_left_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(path))
    assert path.is_socket()
    async with serving(path), await ControlClient.connect(path) as client:
        await client.event("ready")


async def test_a_socket_that_a_living_worker_serves_is_left_alone(path: Path) -> None:
    async with serving(path), await ControlClient.connect(path) as client:
        second = ControlSocket(path, list, answer)
        with pytest.raises(Conflict, match=r"a running worker serves .*worker\.sock"):
            await second.start()
        await second.stop()
        client.send({"cmd": "stats", "id": 1})
        await client.event("ok", id=1)
        assert path.is_socket()


async def test_a_file_of_that_name_is_left_alone(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(BadArguments, match="exists and is no socket"):
        await ControlSocket(path, list, answer).start()
    assert path.read_text() == "precious"


async def test_a_folder_of_that_name_is_left_alone(path: Path) -> None:
    path.mkdir()
    with pytest.raises(BadArguments, match="exists and is no socket"):
        await ControlSocket(path, list, answer).start()
    assert path.is_dir()


async def test_a_path_of_107_bytes_is_served(tmp_path: Path) -> None:
    path = tmp_path / ("x" * (PATH_BYTES_MAX - len(os.fspath(tmp_path)) - 1))
    assert len(os.fsencode(path)) == PATH_BYTES_MAX == 107
    async with serving(path), await ControlClient.connect(path) as client:
        await client.event("ready")


async def test_a_longer_path_is_refused_by_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / ("ü" * ((PATH_BYTES_MAX - len(os.fspath(tmp_path))) // 2 + 1))
    assert len(os.fspath(path)) <= PATH_BYTES_MAX < len(os.fsencode(path))
    with pytest.raises(BadArguments, match="more than 107 bytes"):
        await ControlSocket(path, list, answer).start()


async def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "worker.sock"
    with pytest.raises(BadArguments, match=r"nowhere/worker\.sock.*No such file"):
        await ControlSocket(path, list, answer).start()


async def test_a_socket_that_was_never_started_can_be_stopped(path: Path) -> None:
    await ControlSocket(path, list, answer).stop()


async def test_each_event_is_one_line(path: Path) -> None:
    async with serving(path) as server:
        reader, writer = await asyncio.open_unix_connection(path)
        await reader.readline()
        await reader.readline()
        server.broadcast(wire.Error("two\nlines", "test"))
        line = await asyncio.wait_for(reader.readline(), DEADLINE_S)
        assert json.loads(line)["message"] == "two\nlines"
        writer.close()
        await writer.wait_closed()
