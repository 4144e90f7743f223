"""The application: routes, and nothing that they decide."""

from __future__ import annotations

from typing import Final

from fastapi import FastAPI, Request, Response

import strata
from strata.control.api import (
    agent_socket,
    alerts,
    auth,
    destinations,
    events,
    forwards,
    health,
    history,
    hls,
    hosts,
    metrics,
    noalbs,
    preflight,
    problems,
    seal,
    senders,
    socket,
    streams,
    tokens,
    users,
    webhooks,
)
from strata.control.api.feed import Feed
from strata.control.platform import Platform

BODY_BYTES_MAX: Final = 256 * 1024

ROUTERS: Final = (
    auth.router,
    tokens.router,
    users.router,
    senders.router,
    destinations.router,
    preflight.router,
    streams.router,
    forwards.router,
    hls.router,
    history.router,
    noalbs.router,
    hosts.router,
    events.router,
    alerts.router,
    webhooks.router,
    socket.router,
    seal.router,
    health.router,
    agent_socket.router,
    metrics.router,
)


def make_app(platform: Platform) -> FastAPI:
    """The interface to a platform."""
    app = FastAPI(
        title="Strata",
        version=strata.__version__,
        openapi_url="/api/openapi.json",
        docs_url="/api/docs",
        swagger_ui_oauth2_redirect_url=None,
        redoc_url=None,
    )
    app.state.platform = platform
    app.state.feed = feed = Feed(platform)
    platform.metrics.gauge(
        "strata_socket_watchers", "Sockets that follow the news", lambda: feed.watching
    )
    for router in ROUTERS:
        app.include_router(router)
    problems.install(app)
    app.middleware("http")(_bound_bodies)
    app.add_middleware(metrics.Timed, metrics=platform.metrics)
    return app


async def _bound_bodies(request: Request, call_next: problems.Next) -> Response:
    if "transfer-encoding" in request.headers:
        return problems.problem(411, "length_required", "send the body with its Content-Length")
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > BODY_BYTES_MAX:
        return problems.problem(
            413, "too_large", f"a request may have {BODY_BYTES_MAX} bytes at most"
        )
    return await call_next(request)
