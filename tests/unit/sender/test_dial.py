from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from strata.errors import BadArguments
from strata.sender import dial as module
from strata.sender.connection import Gone
from strata.sender.dial import Unreachable, dial, trust
from strata.sender.settings import SenderSettings
from strata.wire import agent as wire
from support.ports import free_tcp_port
from support.tls import Certificates

DEADLINE_S = 10.0


async def echo(connection: ServerConnection) -> None:
    async for text in connection:
        await connection.send(text)


@asynccontextmanager
async def server(
    handler: Callable[[ServerConnection], Awaitable[None]] = echo,
    context: ssl.SSLContext | None = None,
    status: HTTPStatus | None = None,
) -> AsyncIterator[int]:
    """Its port."""

    def refuse(connection: ServerConnection, request: Request) -> Response | None:
        assert request.path == "/agent/ws"
        return connection.respond(status, "no\n") if status is not None else None

    port = free_tcp_port()
    quiet = logging.getLogger("tests.server")
    quiet.setLevel(logging.CRITICAL)
    async with serve(
        handler,
        "localhost",
        port,
        ssl=context,
        process_request=refuse,
        logger=quiet,
        close_timeout=0.1,
    ):
        yield port


def to(port: int, scheme: str = "ws", host: str = "localhost", **more: object) -> SenderSettings:
    return SenderSettings.model_validate({"control": f"{scheme}://{host}:{port}", **more})


async def test_what_is_said_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # not for this machine itself
    async with server() as port:
        one = await dial(to(port))
        await one.send("hello")
        assert await one.receive() == "hello"
        await one.close(1001)
        with pytest.raises(Gone):
            await one.receive()
        with pytest.raises(Gone):
            await one.send("hello")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (1012, "control ends or is being restarted"),
        (wire.CLOSE_REPLACED, "replaced"),
        (wire.CLOSE_LATE, "control says that it waited too long"),
    ],
)
async def test_why_it_was_closed(code: int, words: str) -> None:
    async def close(connection: ServerConnection) -> None:
        await connection.close(code, "replaced")

    async with server(close) as port:
        one = await dial(to(port))
        with pytest.raises(Gone, match=words) as raised:
            await asyncio.wait_for(one.receive(), DEADLINE_S)
        assert raised.value.parting.code == code
        await one.close(1001)


async def test_a_connection_that_breaks() -> None:
    async def abort(connection: ServerConnection) -> None:
        connection.transport.abort()
        await connection.wait_closed()

    async with server(abort) as port:
        one = await dial(to(port))
        with pytest.raises(Gone, match="it broke") as raised:
            await asyncio.wait_for(one.receive(), DEADLINE_S)
        assert raised.value.parting.code == 1006


async def test_a_frame_that_is_too_long_ends_it() -> None:
    async def shout(connection: ServerConnection) -> None:
        await connection.send("x" * (wire.MAX_FRAME_BYTES + 1))
        await connection.wait_closed()

    async with server(shout) as port:
        one = await dial(to(port))
        with pytest.raises(Gone, match="too long"):
            await asyncio.wait_for(one.receive(), DEADLINE_S)


async def test_a_connection_that_is_half_open_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PING_INTERVAL_S", 0.05)
    monkeypatch.setattr(module, "PING_DEADLINE_S", 0.05)

    async def go_deaf(connection: ServerConnection) -> None:
        connection.transport.pause_reading()  # type: ignore[attr-defined]
        await connection.wait_closed()

    async with server(go_deaf) as port:
        one = await dial(to(port))
        with pytest.raises(Gone, match="no answer to a ping"):
            await asyncio.wait_for(one.receive(), DEADLINE_S)
        await one.close(1001)


async def test_nobody_is_there() -> None:
    port = free_tcp_port()
    words = rf"127\.0\.0\.1:{port} cannot be reached \(Connection refused\)"
    with pytest.raises(Unreachable, match=words):
        await dial(to(port, host="127.0.0.1"))
    with pytest.raises(Unreachable, match=r"localhost:\d+ cannot be reached \(.*refused"):
        await dial(to(port))  # each of its addresses


async def test_somebody_else_is_there() -> None:
    async with server(status=HTTPStatus.NOT_FOUND) as port:
        with pytest.raises(Unreachable, match=r"answers 404 .*WebSockets"):
            await dial(to(port))

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        writer.close()
        await writer.wait_closed()

    port = free_tcp_port()
    async with await asyncio.start_server(talk, "127.0.0.1", port):
        with pytest.raises(Unreachable, match="does not speak as control does"):
            await dial(to(port, host="127.0.0.1"))


async def test_somebody_who_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OPEN_DEADLINE_S", 0.05)
    deaf = socket.create_server(("127.0.0.1", 0))
    with deaf, pytest.raises(Unreachable, match=r"does not answer within 0\.05 s"):
        await dial(to(deaf.getsockname()[1], host="127.0.0.1"))


async def test_a_name_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)

    async def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", unknown)
    with pytest.raises(Unreachable, match=r"control\.example has no address here"):
        await dial(to(443, "https", "control.example"))


async def test_only_who_proves_to_be_control_hears_a_word(tmp_path: Path) -> None:
    certificates = await Certificates.make(tmp_path)
    others = await Certificates.make(tmp_path / "other", "other.example")
    async with server(context=certificates.context()) as port:
        with pytest.raises(Unreachable, match="certificate cannot be trusted"):
            await dial(to(port, "wss"))
        one = await dial(to(port, "wss", ca_file=certificates.authority))
        await one.send("hello")
        assert await one.receive() == "hello"
        await one.close(1001)
    async with server(context=others.context()) as port:
        with pytest.raises(Unreachable, match="name in control is the one in the certificate"):
            await dial(to(port, "wss", ca_file=others.authority))


def test_an_authority_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    for file in ("ca.pem", "none.pem"):
        with pytest.raises(BadArguments, match=f"{file} holds no certificates"):
            trust(tmp_path / file)


async def test_it_goes_over_one_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    async with server() as port:
        one = await dial(to(port), "lo")
        await one.send("hello")
        assert await one.receive() == "hello"
        await one.close(1001)
        with pytest.raises(Unreachable, match="cannot be reached"):
            await dial(to(port), "none0")
    with pytest.raises(Unreachable, match="Connection refused"):
        await dial(to(port), "lo")
    monkeypatch.setattr(module, "ADDRESS_DEADLINE_S", 0.05)

    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", hang)
    with pytest.raises(Unreachable, match="does not answer"):
        await dial(to(port), "lo")
    dialling = asyncio.create_task(dial(to(port), "lo"))
    await asyncio.sleep(0.01)
    dialling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dialling
