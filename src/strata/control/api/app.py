"""The application: routes, and nothing that they decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeAlias

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

import strata
from strata.control.accounts import Accounts, User
from strata.control.api import models, problems
from strata.control.observer import LOCAL_HOST
from strata.control.streams import Streams
from strata.errors import NotAllowed
from strata.settings import Settings

BODY_BYTES_MAX = 256 * 1024

router = APIRouter()
_bearer = HTTPBearer(auto_error=False, description="from POST /api/auth/login")


@dataclass(frozen=True, slots=True)
class Services:
    """What the routes call."""

    settings: Settings
    accounts: Accounts
    streams: Streams


def make_app(settings: Settings, accounts: Accounts, streams: Streams) -> FastAPI:
    """The REST interface over the services that it is given."""
    app = FastAPI(
        title="Strata",
        version=strata.__version__,
        openapi_url="/api/openapi.json",
        docs_url="/api/docs",
        redoc_url=None,
    )
    app.state.services = Services(settings, accounts, streams)
    problems.install(app)
    app.include_router(router)
    app.middleware("http")(_bound_bodies)
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


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


async def _token(
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> str:
    if credentials is None:
        raise HTTPException(401, "log in first: POST /api/auth/login gives a token")
    return credentials.credentials


At: TypeAlias = Annotated[Services, Depends(_services)]
Token: TypeAlias = Annotated[str, Depends(_token)]


async def _caller(at: At, token: Token) -> User:
    try:
        return await at.accounts.user_of(token)
    except NotAllowed as error:
        raise HTTPException(401, error.message) from None


Caller: TypeAlias = Annotated[User, Depends(_caller)]


@router.post("/api/auth/login")
async def log_in(at: At, body: models.Login) -> models.LoginOut:
    try:
        token, user = await at.accounts.log_in(body.email, body.password.get_secret_value())
    except NotAllowed as error:
        raise HTTPException(401, error.message) from None
    return models.LoginOut(token=token.reveal(), user=models.UserOut.of(user))


@router.post("/api/auth/logout", status_code=204)
async def log_out(at: At, token: Token, caller: Caller) -> None:
    await at.accounts.log_out(token)


@router.get("/api/streams")
async def list_streams(at: At, caller: Caller) -> list[models.StreamOut]:
    views = await at.streams.visible_to(caller)
    return [models.StreamOut.of(view, at.settings.host) for view in views]


@router.post("/api/streams", status_code=201)
async def start_stream(at: At, caller: Caller, body: models.StreamIn) -> models.StartedOut:
    view = await at.streams.begin(caller, body.request())
    return models.StartedOut.started(view, at.settings.host)


@router.get("/api/streams/{stream_id}")
async def get_stream(at: At, caller: Caller, stream_id: str) -> models.StreamOut:
    return models.StreamOut.of(await at.streams.view(caller, stream_id), at.settings.host)


@router.post("/api/streams/{stream_id}/stop")
async def stop_stream(at: At, caller: Caller, stream_id: str) -> models.StreamOut:
    return models.StreamOut.of(await at.streams.stop(caller, stream_id), at.settings.host)


@router.get("/api/hosts")
async def list_hosts(at: At, caller: Caller) -> list[models.HostOut]:
    streams = at.streams
    return [models.HostOut.of(LOCAL_HOST, streams.can_start, streams.observer.load)]


@router.get("/healthz", include_in_schema=False)
async def healthz() -> dict[str, str]:
    """Whether the process answers."""
    return {"status": "ok"}


@router.get("/readyz", include_in_schema=False)
async def readyz(at: At) -> JSONResponse:
    """Whether a stream could be started."""
    if not at.streams.can_start:
        return problems.problem(503, "host_unreachable", "the host is not connected yet")
    return JSONResponse({"status": "ready"})
