"""``strata control``: the control plane as a process."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import socket
import sys
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final, TypeAlias

import uvicorn
from fastapi import FastAPI

from strata.alone import Alone
from strata.cluster.unix import HostClient
from strata.control import platform
from strata.control.api.app import make_app
from strata.control.observer import Observer
from strata.control.platform import Platform
from strata.ending import Ending
from strata.errors import BadArguments
from strata.settings import Settings, make_folders, split_listen
from strata.tasks import TaskGroup
from strata.wire.agent import MAX_FRAME_BYTES

log = logging.getLogger(__name__)

LISTEN_DEADLINE_S: Final = 3.0
LISTEN_AGAIN_S: Final = 0.1

SWITCH_S: Final = 0.0005
"""How long a thread that computes may keep the database's threads waiting for Python's lock, at
most; 5 ms are the default, and a request waits for it several times."""

GRACE_S: Final = 5
"""For requests that are being answered when it is told to end."""
END_DEADLINE_S: Final = GRACE_S + 10.0
"""An earlier control plane has that long, to answer them and to put the database away."""


Beside: TypeAlias = Callable[[Platform], AbstractAsyncContextManager[None]]
Pages: TypeAlias = Callable[[Platform, FastAPI], AbstractAsyncContextManager[None]]


async def run(
    settings: Settings,
    host_socket: Path,
    beside: Beside | None = None,
    parent: int | None = None,
    pages: Pages | None = None,
) -> None:
    """Serves the API until SIGTERM, SIGINT or SIGHUP; what is on the air is the host's.

    Args:
        beside: something to run while the services do; ends before them.
        parent: the process without which this one should not go on.
        pages: adds to the application what is served beside the API.

    Raises:
        BadArguments: the address to listen on is taken or not of this machine.
        Conflict: another control plane runs on the same data folder.
    """
    make_folders(settings)
    sys.setswitchinterval(SWITCH_S)
    # A backup is not restored under one that runs, and no two change the same rows.
    async with Alone(settings.data_dir / "control.lock", END_DEADLINE_S):
        await _run(settings, host_socket, beside, parent, pages)


async def _run(
    settings: Settings,
    host_socket: Path,
    beside: Beside | None,
    parent: int | None,
    pages: Pages | None,
) -> None:
    listener = await _listen(settings.server.listen)

    def connect(observer: Observer) -> HostClient:
        timeout_s = settings.host.request_timeout_s
        return HostClient(host_socket, observer.compare_notes, observer.on_notice, timeout_s)

    try:
        async with platform.opened(settings, connect) as opened:
            await _ensure_admin(opened)
            app = make_app(opened)
            config = uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                # The other one, which is taken where it is installed, bounds no headers.
                http="h11",
                lifespan="off",
                timeout_graceful_shutdown=GRACE_S,
                ws_max_size=MAX_FRAME_BYTES,
                ws_ping_interval=settings.server.ping_interval_s,
                ws_ping_timeout=settings.server.ping_timeout_s,
                # Numbers each second to everybody: it would cost more than all the rest.
                ws_per_message_deflate=False,
            )
            log.info("the API listens on http://%s", settings.server.listen)
            async with contextlib.AsyncExitStack() as stack:
                if pages is not None:
                    await stack.enter_async_context(pages(opened, app))
                if beside is not None:
                    await stack.enter_async_context(beside(opened))
                _spare_collector()
                await _serve(uvicorn.Server(config), listener, parent)
    finally:
        listener.close()


def _spare_collector() -> None:
    """What is there now stays until the end: modules, models, routes. To go over it again and
    again in search of garbage would hold up whoever asks for 0.1 s every few seconds."""
    gc.collect()
    gc.freeze()


async def _ensure_admin(opened: Platform) -> None:
    made = await opened.users.ensure_admin(opened.settings.admin)
    if made is not None:
        # Printed, not logged: the log is kept, this is told once.
        print(
            f"\n  Administrator: {opened.settings.admin.email}\n"
            f"  Password:      {made.reveal()}   (shown this once)\n",
            flush=True,
        )


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
        # The protocol is named because asyncio sets TCP_NODELAY only where it is: without that,
        # each answer on a connection that is kept open waits 40 ms for an ACK.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
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
