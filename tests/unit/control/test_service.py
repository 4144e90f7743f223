from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from strata import settings
from strata.cluster.unix import HostServer
from strata.control import service
from strata.control.platform import Platform
from strata.errors import BadArguments, HostError
from strata.settings import Settings
from strata.wire import host as wire
from support.control import Place, eventually, place
from support.ports import free_tcp_port

DEADLINE_S = 30.0


@pytest.fixture
def here() -> Iterator[Place]:
    with place() as one:
        one.run.mkdir()
        yield one


def load(here: Place, listen: str | None = None) -> Settings:
    return settings.load(
        data_dir=here.data, server={"listen": listen or f"127.0.0.1:{free_tcp_port()}"}
    )


async def answer(request: wire.Request) -> wire.Reply:
    return wire.Streams([])


@contextlib.asynccontextmanager
async def host(here: Place) -> AsyncIterator[Path]:
    path = here.run / "host.sock"
    server = HostServer(path)
    await server.start(answer)
    try:
        yield path
    finally:
        await server.close()


async def get(loaded: Settings, path: str) -> int | None:
    async with httpx.AsyncClient(trust_env=False) as http:
        try:
            return (await http.get(f"http://{loaded.server.listen}{path}")).status_code
        except httpx.TransportError:
            return None


@contextlib.asynccontextmanager
async def running(loaded: Settings, path: Path, **more: Any) -> AsyncIterator[asyncio.Task[None]]:
    """The control plane in this process, from its first answer to SIGTERM."""
    task = asyncio.create_task(service.run(loaded, path, **more))

    async def answers() -> bool:
        assert not task.done(), task.exception()
        return await get(loaded, "/healthz") == 200

    try:
        await eventually(answers, DEADLINE_S, "it answers")
        yield task
    finally:
        if not task.done():
            os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(task, DEADLINE_S)


async def test_it_serves_until_a_signal(here: Place) -> None:
    loaded = load(here)
    async with host(here) as path, running(loaded, path) as task:

        async def is_ready() -> bool:
            return await get(loaded, "/readyz") == 200

        await eventually(is_ready, DEADLINE_S, "the host is found")
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.wait_for(task, DEADLINE_S)
    assert await get(loaded, "/healthz") is None


async def test_without_a_host_it_is_there_but_not_ready(here: Place) -> None:
    loaded = load(here)
    async with running(loaded, here.run / "nowhere.sock"):
        assert await get(loaded, "/readyz") == 503


async def test_the_password_that_was_made_up_is_printed_once(
    here: Place, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    loaded = load(here)
    caplog.set_level("DEBUG", logger="strata")
    async with running(loaded, here.run / "nowhere.sock"):
        said = capsys.readouterr().out
    assert "Administrator: admin@localhost" in said
    password = said.split("Password:")[1].split()[0]
    assert len(password) >= 24
    assert password not in caplog.text
    async with running(loaded, here.run / "nowhere.sock"):
        assert "Password" not in capsys.readouterr().out


async def test_what_runs_beside_ends_before_what_it_uses(here: Place) -> None:
    loaded = load(here)
    told: list[str] = []

    @contextlib.asynccontextmanager
    async def beside(opened: Platform) -> AsyncIterator[None]:
        user = await opened.users.first_admin()
        told.append(user.role)
        yield
        told.append(f"{len(await opened.streams.visible_to(user))} streams")

    async with running(loaded, here.run / "nowhere.sock", beside=beside):
        assert told == ["admin"]
    assert told == ["admin", "0 streams"]


async def test_an_address_that_is_taken_is_told(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "LISTEN_DEADLINE_S", 0.15)
    with socket.create_server(("127.0.0.1", 0)) as holder:
        listen = f"127.0.0.1:{holder.getsockname()[1]}"
        with pytest.raises(
            BadArguments, match=f"cannot listen on {listen}: Address already in use; .*--listen"
        ):
            await service.run(load(here, listen), here.run / "host.sock")


async def test_answers_do_not_wait_for_acknowledgements() -> None:
    listener = await service._listen("127.0.0.1:0")
    delays: asyncio.Queue[int] = asyncio.Queue()

    async def take(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sock = writer.get_extra_info("socket")
        delays.put_nowait(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    async with await asyncio.start_server(take, sock=listener):
        _, writer = await asyncio.open_connection(*listener.getsockname())
        assert await asyncio.wait_for(delays.get(), DEADLINE_S)
        writer.close()
        await writer.wait_closed()


async def test_an_address_that_is_about_to_be_given_back_is_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        listen = f"127.0.0.1:{holder.getsockname()[1]}"
        listening = asyncio.create_task(service._listen(listen))
        done, _ = await asyncio.wait({listening}, timeout=0.05)
        assert not done
    with await asyncio.wait_for(listening, DEADLINE_S) as listener:
        assert f"127.0.0.1:{listener.getsockname()[1]}" == listen


@pytest.mark.parametrize("address", ["192.0.2.1", "no.such.host.invalid", "x" * 300])
async def test_an_address_that_is_not_of_this_machine_is_told(here: Place, address: str) -> None:
    with pytest.raises(BadArguments, match="cannot listen on"):
        await service.run(load(here, f"{address}:{free_tcp_port()}"), here.run / "host.sock")


async def test_ipv6_may_be_listened_on(here: Place) -> None:
    if not socket.has_dualstack_ipv6():
        assert not Path("/proc/net/if_inet6").exists() or not Path("/proc/net/if_inet6").read_text()
        return
    loaded = load(here, f"[::1]:{free_tcp_port()}")
    async with running(loaded, here.run / "nowhere.sock"):
        assert await get(loaded, "/healthz") == 200


async def test_a_key_file_that_holds_no_key_ends_it_with_a_word(here: Place) -> None:
    loaded = load(here)
    settings.make_folders(loaded)
    (loaded.data_dir / "seal.key").write_text("not a key")
    with pytest.raises(HostError, match="does not hold a key"):
        await service.run(loaded, here.run / "host.sock")
    assert await get(loaded, "/healthz") is None
