"""Numbers for Prometheus, and the time that requests take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import HTTPAuthorizationCredentials
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from strata.control.api import access
from strata.control.api.access import At
from strata.control.metrics import Metrics
from strata.control.roles import User

router = APIRouter(include_in_schema=False)

METHODS = frozenset(("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"))


async def _reader(
    at: At,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(access.bearer)],
) -> User | None:
    if credentials is None and at.settings.metrics.open:
        return None
    return await access.viewer(at, await access.token_of(credentials))


@router.get("/metrics")
async def metrics(
    at: At, request: Request, reader: Annotated[User | None, Depends(_reader)]
) -> Response:
    """An administrator reads everything, others their own streams. Who runs which broadcast is
    nobody else's business, so a token is asked for unless ``metrics.open`` is set."""
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(_Scrape(at.metrics, reader)), media_type=content_type)


class _Scrape:
    """What the encoder takes for a registry."""

    def __init__(self, metrics: Metrics, reader: User | None) -> None:
        self._metrics = metrics
        self._reader = reader

    def collect(self) -> Iterator[Metric]:
        return self._metrics.collect(self._reader)


class Timed:
    """Measures each request, by the template of its route: ids in it would make series without
    end, and so would what strangers ask for."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        began = time.perf_counter()
        try:
            await self._app(scope, receive, watched)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            method = scope["method"] if scope["method"] in METHODS else "other"
            took_s = time.perf_counter() - began
            self._metrics.requests.labels(method, route, str(status)).observe(took_s)
