"""Both ends over a real socket, in one loop."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from strata.cluster import unix
from strata.cluster.unix import HostClient, HostServer
from strata.errors import HostUnreachable, NoCapacity, PortTaken, StrataError
from strata.wire import host as wire
from strata.wire import worker
from support.children import until

DEADLINE_S = 10.0
ENDED = wire.Ended("str_1", "eos", "told to")


class Control:
    """The client, and what it heard."""

    def __init__(self, path: Path, request_timeout_s: float = DEADLINE_S) -> None:
        self.notices: list[wire.Notice] = []
        self.connections = 0
        self.greet: Callable[[], Awaitable[None]] | None = None
        self.client = HostClient(path, self._on_connect, self.notices.append, request_timeout_s)

    async def _on_connect(self) -> None:
        self.connections += 1
        if self.greet is not None:
            await self.greet()

    async def connected(self, times: int = 1) -> None:
        await until(
            lambda: self.client.connected and self.connections == times,
            DEADLINE_S,
            f"connected {times} times",
        )

    async def ask(self, request: wire.Request) -> wire.Reply:
        return await asyncio.wait_for(self.client.request(request), DEADLINE_S)


async def answer(request: wire.Request) -> wire.Reply:
    match request:
        case wire.List():
            return wire.Streams([])
        case wire.Stop(stream_id):
            return wire.Stopped("user_stop", stream_id)
        case wire.Start():
            raise NoCapacity("no ports are free")


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
    one = Control(path)
    one.client.start()
    await one.connected()
    yield one
    await one.client.close()


async def test_a_request_is_answered(control: Control) -> None:
    assert await control.ask(wire.List()) == wire.Streams([])


async def test_each_request_gets_its_own_answer_whatever_the_order(path: Path) -> None:
    turns = {f"str_{number}": asyncio.Event() for number in range(3)}

    async def in_turn(request: wire.Request) -> wire.Reply:
        assert isinstance(request, wire.Stop)
        await turns[request.stream_id].wait()
        return await answer(request)

    server = HostServer(path)
    await server.start(in_turn)
    control = Control(path)
    control.client.start()
    await control.connected()
    asked = {name: asyncio.create_task(control.ask(wire.Stop(name))) for name in turns}
    for name in reversed(turns):
        turns[name].set()
        assert await asked[name] == wire.Stopped("user_stop", name)
    await control.client.close()
    await server.close()


async def test_an_error_of_the_host_is_raised_here(control: Control) -> None:
    with pytest.raises(NoCapacity, match=r"^no ports are free$"):
        await control.ask(wire.Start("str_1", "psk", [], 2))


@pytest.mark.parametrize(
    ("raised", "kind", "words"),
    [
        (PortTaken(15000), PortTaken, "UDP port 15000 is held"),
        (ValueError("canary"), StrataError, "^the host failed internally; its log has"),
    ],
)
async def test_what_a_handler_raises(
    path: Path,
    caplog: pytest.LogCaptureFixture,
    raised: Exception,
    kind: type[StrataError],
    words: str,
) -> None:
    async def fail(request: wire.Request) -> wire.Reply:
        raise raised

    server = HostServer(path)
    await server.start(fail)
    control = Control(path)
    control.client.start()
    await control.connected()
    with pytest.raises(kind, match=words) as found:
        await control.ask(wire.Start("str_1", "canary-psk", ["rtmp://h/a/canary-key"], 2))
    assert "canary" not in found.value.message
    assert "canary-" not in caplog.text
    await control.client.close()
    await server.close()


async def test_notices_reach_every_control_plane_in_their_order(
    server: HostServer, control: Control, path: Path
) -> None:
    other = Control(path)
    other.client.start()
    await other.connected()
    notices: list[wire.Notice] = [
        wire.WorkerSaid("str_1", worker.Input("receiving", float(number))) for number in range(50)
    ]
    notices.append(ENDED)
    for notice in notices:
        server.notify(notice)
    for each in (control, other):
        await until(lambda each=each: len(each.notices) == 51, DEADLINE_S, "all came")
        assert each.notices == notices
    await other.client.close()


async def test_a_notice_to_nobody_is_nothing(server: HostServer) -> None:
    server.notify(ENDED)


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
    control = Control(path)
    control.client.start()
    await control.connected()
    await control.client.close()
    await server.close()


async def test_without_a_host_a_request_fails_at_once(path: Path) -> None:
    control = Control(path)
    assert not control.client.connected
    with pytest.raises(HostUnreachable, match="streams that run go on"):
        await control.ask(wire.List())


async def test_the_host_may_come_later(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = asyncio.Event()
    connect = asyncio.open_unix_connection

    async def counted(where: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        tried.set()
        return await connect(where)

    monkeypatch.setattr(asyncio, "open_unix_connection", counted)
    monkeypatch.setattr(unix, "RECONNECT_S", 0.01)
    control = Control(path)
    control.client.start()
    await asyncio.wait_for(tried.wait(), DEADLINE_S)
    server = HostServer(path)
    await server.start(answer)
    await control.connected()
    assert await control.ask(wire.List()) == wire.Streams([])
    await control.client.close()
    await server.close()


async def test_a_host_that_comes_back_is_found_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix, "RECONNECT_S", 0.01)
    control = Control(path)
    control.client.start()
    for times in (1, 2, 3):
        server = HostServer(path)
        await server.start(answer)
        await control.connected(times)
        assert await control.ask(wire.List()) == wire.Streams([])
        await server.close()
        await until(lambda: not control.client.connected, DEADLINE_S, "the loss is noticed")
    await control.client.close()


async def test_a_host_that_goes_while_it_is_asked_is_told(path: Path) -> None:
    asked = asyncio.Event()

    async def never(request: wire.Request) -> wire.Reply:
        asked.set()
        return await asyncio.Future[wire.Reply]()

    server = HostServer(path)
    await server.start(never)
    control = Control(path)
    control.client.start()
    await control.connected()
    asking = asyncio.create_task(control.ask(wire.List()))
    await asyncio.wait_for(asked.wait(), DEADLINE_S)
    await server.close()
    with pytest.raises(HostUnreachable, match="went away before it answered"):
        await asking
    await control.client.close()


async def test_a_host_that_does_not_answer_is_told(path: Path) -> None:
    gate = asyncio.Event()

    async def late(request: wire.Request) -> wire.Reply:
        await gate.wait()
        return await answer(request)

    server = HostServer(path)
    await server.start(late)
    control = Control(path, request_timeout_s=0.1)
    control.client.start()
    await control.connected()
    with pytest.raises(HostUnreachable, match="has not answered for 0 s; see its log"):
        await control.ask(wire.List())
    gate.set()  # the answer comes after all, and is nobody's
    server.notify(ENDED)
    await until(lambda: control.notices, DEADLINE_S, "the connection goes on")
    assert await control.ask(wire.Stop("str_2")) == wire.Stopped("user_stop", "str_2")
    await control.client.close()
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
    monkeypatch.setattr(unix, "RECONNECT_S", 0.01)
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.write(line if connections == 1 else wire.encode(wire.Frame(notice=ENDED)))
        await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(serve, path)
    control = Control(path)
    control.client.start()
    await until(lambda: control.notices == [ENDED], DEADLINE_S, "it connected anew")
    assert "the connection to the host broke" in caplog.text
    await control.client.close()
    server.close()


async def test_an_answer_that_nobody_awaits_is_nothing(path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(wire.encode(wire.Frame(id=99, reply=wire.Streams([]))))
        writer.write(wire.encode(wire.Frame()))
        writer.write(wire.encode(wire.Frame(notice=ENDED)))
        await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(serve, path)
    control = Control(path)
    control.client.start()
    await until(lambda: control.notices == [ENDED], DEADLINE_S, "the connection goes on")
    await control.client.close()
    server.close()


async def test_who_does_not_read_is_cut_off_before_memory_runs_out(
    server: HostServer,
    control: Control,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(unix, "UNREAD_BYTES_MAX", 200_000)
    _, writer = await asyncio.open_unix_connection(path)
    await until(lambda: len(server._writers) == 2, DEADLINE_S, "both are served")
    writer.transport.pause_reading()
    big = wire.Ended("str_1", "eos", "x" * 20_000)
    sent = 0
    while len(server._writers) == 2:
        server.notify(big)
        sent += 1
        assert sent < 1000, "never cut off"
        await until(lambda n=sent: len(control.notices) == n, DEADLINE_S, "the other reads on")
    assert "control does not read" in caplog.text
    writer.close()


async def test_greeting_may_ask_the_host(server: HostServer, path: Path) -> None:
    found: list[wire.Reply] = []

    async def greet() -> None:
        found.append(await control.client.request(wire.List()))

    control = Control(path)
    control.greet = greet
    control.client.start()
    await until(lambda: found, DEADLINE_S, "it was answered")
    await control.client.close()


async def test_closing_ends_what_was_asked(path: Path) -> None:
    cancelled = asyncio.Event()
    asked = asyncio.Event()

    async def never(request: wire.Request) -> wire.Reply:
        asked.set()
        try:
            return await asyncio.Future[wire.Reply]()
        finally:
            cancelled.set()

    server = HostServer(path)
    await server.start(never)
    control = Control(path)
    control.client.start()
    await control.connected()
    asking = asyncio.create_task(control.ask(wire.List()))
    await asyncio.wait_for(asked.wait(), DEADLINE_S)
    await control.client.close()
    with pytest.raises(HostUnreachable):
        await asking
    await asyncio.wait_for(server.close(), DEADLINE_S)
    assert cancelled.is_set()
