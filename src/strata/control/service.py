"""``strata control``: the control plane as a process."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final, TypeAlias

import uvicorn

from strata.cluster.unix import HostClient
from strata.control.accounts import Accounts
from strata.control.api.app import make_app
from strata.control.seal import Seal
from strata.control.store import Store
from strata.control.streams import Streams
from strata.ending import Ending
from strata.errors import BadArguments
from strata.settings import Settings, make_folders, split_listen
from strata.tasks import TaskGroup

log = logging.getLogger(__name__)

LISTEN_DEADLINE_S: Final = 3.0
LISTEN_AGAIN_S: Final = 0.1


Beside: TypeAlias = Callable[[Accounts, Streams], AbstractAsyncContextManager[None]]


async def run(
    settings: Settings,
    host_socket: Path,
    beside: Beside | None = None,
    parent: int | None = None,
) -> None:
    """Serves the API until SIGTERM, SIGINT or SIGHUP; what is on the air is the host's.

    Args:
        beside: something to run while the services do; ends before them.
        parent: the process without which this one should not go on.

    Raises:
        BadArguments: the address to listen on is taken or not of this machine.
    """
    make_folders(settings)
    listener = await _listen(settings.server.listen)
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
                await _serve(uvicorn.Server(config), listener, parent)
    finally:
        listener.close()
        await store.close()


@contextlib.asynccontextmanager
async def _services(
    settings: Settings, store: Store, seal: Seal, host_socket: Path
) -> AsyncIterator[Streams]:
    streams = Streams(settings, store, seal)
    host = HostClient(
        host_socket,
        streams.observer.compare_notes,
        streams.observer.on_notice,
        settings.host.request_timeout_s,
    )
    streams.start(host)
    host.start()
    try:
        yield streams
    finally:
        await host.close()
        await streams.close()


async def _serve(server: uvicorn.Server, listener: socket.socket, parent: int | None) -> None:
    """Serves until it is told to end, and returns.

    ``Server.serve`` catches the signals itself and raises them anew once it is done, which
    would end the process before anything else is put away.
    """
    ending = Ending(parent)

    async def stop() -> None:
        await ending.wait()
        server.should_exit = True

    tasks = TaskGroup()
    tasks.spawn("ending", stop())
    try:
        await server._serve(sockets=[listener])
    finally:
        await tasks.close()
        ending.close()


async def _listen(text: str) -> socket.socket:
    """A socket for the API. An earlier control plane may be about to give it back.

    Raises:
        BadArguments: it is somebody else's, or not of this machine.
    """
    host, port = split_listen(text)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    give_up_at = time.monotonic() + LISTEN_DEADLINE_S
    while True:
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            return listener
        except (OSError, UnicodeError) as error:
            listener.close()
            is_taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
            if not is_taken or time.monotonic() > give_up_at:
                raise BadArguments(
                    f"the API cannot listen on {text}: {getattr(error, 'strerror', None) or error};"
                    f" end what holds it (see: ss -tlpn 'sport = :{port}') or choose another with "
                    "--listen"
                ) from None
        await asyncio.sleep(LISTEN_AGAIN_S)
