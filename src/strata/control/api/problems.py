"""Errors as problem details (RFC 9457)."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, TypeAlias

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from strata import errors

Next: TypeAlias = Callable[[Request], Awaitable[Response]]

log = logging.getLogger(__name__)

PROBLEM_SCHEMA: Final = "#/components/schemas/Problem"

STATUS: Final[dict[type[errors.StrataError], int]] = {
    errors.NotAllowed: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.TooManyTries: 429,
    errors.OperatorError: 422,
    errors.SenderError: 422,
    errors.DestinationError: 502,
    errors.HostError: 503,
    errors.StrataError: 500,
}
"""By the nearest class: what a person asked for wrongly is 4xx, what the other end of a forward
does not take 502, what the machine lacks 503."""


def problem(
    status: int, code: str, detail: str, headers: Mapping[str, str] | None = None, **more: Any
) -> JSONResponse:
    body = {
        "type": f"urn:strata:error:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        **more,
    }
    login = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    headers = {**(headers or {}), **login}
    return JSONResponse(body, status, headers, media_type="application/problem+json")


class Problem(BaseModel):
    """What went wrong (RFC 9457): ``detail`` says what it means and what to do, ``code`` is
    for programs."""

    type: str
    title: str
    status: int
    detail: str
    code: str


def install(app: FastAPI) -> None:
    """Makes every error of the app a problem document, and says so in its description."""
    app.openapi = functools.partial(_describe, app)  # type: ignore[method-assign]

    @app.exception_handler(errors.StrataError)
    async def on_strata(request: Request, error: errors.StrataError) -> JSONResponse:
        status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
        headers = {}
        if isinstance(error, errors.TooManyTries):
            headers["Retry-After"] = str(math.ceil(error.wait_s))
        return problem(status, error.code, error.message, headers, can_retry=error.can_retry)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        # Without the input: it may hold a password or a stream key.
        faults = [
            {"field": ".".join(map(str, item["loc"])), "message": item["msg"]}
            for item in error.errors()
        ]
        listed = "; ".join(f"{fault['field']}: {fault['message']}" for fault in faults)
        return problem(422, "bad_request", f"the request cannot be read: {listed}", errors=faults)

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> JSONResponse:
        code = HTTPStatus(error.status_code).name.lower()
        return problem(error.status_code, code, str(error.detail), error.headers)

    @app.exception_handler(Exception)
    async def on_anything(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return problem(
            500, "internal", "an internal failure; the control plane's log has the details"
        )


def _describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, in which every operation may answer with a problem."""
    if app.openapi_schema is None:
        found = get_openapi(title=app.title, version=app.version, routes=app.routes)
        schemas = found.setdefault("components", {}).setdefault("schemas", {})
        schemas["Problem"] = Problem.model_json_schema()
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        content = {"application/problem+json": {"schema": {"$ref": PROBLEM_SCHEMA}}}
        for path in found["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
                operation["responses"]["4XX"] = {
                    "description": "it was not done, and why",
                    "content": content,
                }
                operation["responses"]["5XX"] = {
                    "description": "it could not be done now, and why",
                    "content": content,
                }
        app.openapi_schema = found
    return app.openapi_schema
