"""The pages as a part of the control plane."""

from __future__ import annotations

import contextlib
import functools
import importlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from fastapi import FastAPI
from nicegui import core, ui

from strata.control.platform import Platform
from strata.dashboard import open_pages, pictures
from strata.dashboard.door import Door
from strata.dashboard.overview import Overview

ICON: Final = Path(__file__).parent / "look" / "icon.svg"

RECONNECT_S: Final = 30.0
"""How long a page that has lost its connection is kept: a phone in a tunnel."""

TAB_S: Final = 3600.0


@functools.cache
def _prepared() -> FastAPI:
    """NiceGUI, of which there is one in a process, with the pages on it."""
    importlib.import_module("strata.dashboard.pages")  # which registers them
    behind = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    behind.add_route("/pictures/{stream_id}.jpg", pictures.picture)
    behind.add_route("/watch/{stream_id}/index.m3u8", pictures.playlist)
    core.app.storage.max_tab_storage_age = TAB_S
    # A bar at the top for each picture that is fetched would be a light that always flickers.
    core.app.config.quasar_config["loadingBar"]["skipHijack"] = True
    # The door knows where a socket comes from. With no list of origins there is none that a
    # browser would be told to trust, either; nor does anything go around the door by polling.
    core.sio.eio.cors_allowed_origins = []
    core.sio.eio.transports = core.app.config.socket_io_js_transports = ["websocket"]
    ui.run_with(
        behind,
        title="Strata",
        favicon=ICON,
        dark=None,
        language="en-US",
        binding_refresh_interval=None,
        reconnect_timeout=RECONNECT_S,
        tailwind=False,
        show_welcome_message=False,
    )
    return behind


@contextlib.asynccontextmanager
async def running(platform: Platform, app: FastAPI) -> AsyncIterator[None]:
    """Serves the pages beside the API, at what the API does not know."""
    behind = _prepared()
    overview = Overview(platform)
    # Not mounted: a mount would take what the API has under another method for its own.
    app.router.default = Door(platform, overview, behind)
    overview.start()
    overview.tasks.spawn("open-pages", open_pages.follow_logins())
    try:
        async with behind.router.lifespan_context(behind):
            yield
    finally:
        await overview.close()
