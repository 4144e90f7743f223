"""An application behind a real server, in this process, on a port of loopback."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from fastapi import FastAPI

DEADLINE_S = 20.0


@contextlib.asynccontextmanager
async def served(app: FastAPI, **options: Any) -> AsyncIterator[str]:
    """``127.0.0.1:port``."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
        **options,
    )
    server = uvicorn.Server(config)
    serving = asyncio.ensure_future(server._serve(sockets=[listener]))
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await asyncio.wait_for(serving, DEADLINE_S)
        listener.close()
