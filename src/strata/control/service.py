"""``strata control``: the control plane as a process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TypeAlias

import uvicorn

from strata.cluster.unix import HostClient
from strata.control.accounts import Accounts
from strata.control.api.app import make_app
from strata.control.seal import Seal
from strata.control.store import Store
from strata.control.streams import Streams
from strata.errors import BadArguments
from strata.settings import Settings, make_folders, split_listen

log = logging.getLogger(__name__)


Beside: TypeAlias = Callable[[Accounts, Streams], AbstractAsyncContextManager[None]]


async def run(settings: Settings, host_socket: Path, beside: Beside | None = None) -> None:
    """Serves the API until SIGTERM or SIGINT.

    Args:
        beside: something to run while the services do; ends before them.

    Raises:
        BadArguments: the address to listen on is taken or not of this machine.
    """
    make_folders(settings)
    listener = _listen(settings.server.listen)
    store = Store(settings)
    try:
        await store.open()
        seal = Seal.load(settings.data_dir / "seal.key")
        accounts = Accounts(store, settings.server.session_hours)
        made = await accounts.ensure_admin(settings.admin)
        if made is not None:
            # Printed, not logged: the log is kept, this is told once.
            print(
                f"\n  Administrator: {settings.admin.email}\n"
                f"  Password:      {made.reveal()}   (shown this once)\n",
                flush=True,
            )
        async with _services(settings, store, seal, host_socket) as streams:
            app = make_app(settings, accounts, streams)
            config = uvicorn.Config(
                app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=5
            )
            log.info("the API listens on http://%s", settings.server.listen)
            async with beside(accounts, streams) if beside else contextlib.nullcontext():
                await _serve(uvicorn.Server(config), listener)
    finally:
        listener.close()
        await store.close()


@contextlib.asynccontextmanager
async def _services(
    settings: Settings, store: Store, seal: Seal, host_socket: Path
) -> AsyncIterator[Streams]:
    streams = Streams(settings, store, seal)
    host = HostClient(
        host_socket, streams.compare_notes, streams.on_notice, settings.host.request_timeout_s
    )
    streams.start(host)
    host.start()
    try:
        yield streams
    finally:
        await host.close()
        await streams.close()


async def _serve(server: uvicorn.Server, listener: socket.socket) -> None:
    """Serves until SIGTERM or SIGINT, and returns.

    ``Server.serve`` catches these signals itself and raises them anew once it is done,
    which would end the process before anything else is put away.
    """
    loop = asyncio.get_running_loop()

    def stop() -> None:
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    await server._serve(sockets=[listener])


def _listen(text: str) -> socket.socket:
    host, port = split_listen(text)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, UnicodeError) as error:
        listener.close()
        raise BadArguments(
            f"the API cannot listen on {text}: {getattr(error, 'strerror', None) or error}; end "
            f"what holds it (see: ss -tlpn 'sport = :{port}') or choose another with --listen"
        ) from None
    return listener
