"""Who calls: what routes ask for before they do anything."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from fastapi import Depends, Query, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

from strata.control.platform import Platform
from strata.control.roles import User
from strata.errors import NotAllowed

bearer = HTTPBearer(
    auto_error=False, description="from POST /api/auth/login, or an API token of POST /api/tokens"
)


def _platform(request: Request) -> Platform:
    platform: Platform = request.app.state.platform
    return platform


async def token_of(
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> str:
    if credentials is None:
        raise HTTPException(401, "log in first: POST /api/auth/login gives a token")
    return credentials.credentials


At: TypeAlias = Annotated[Platform, Depends(_platform)]
Token: TypeAlias = Annotated[str, Depends(token_of)]


async def viewer(at: At, token: Token) -> User:
    try:
        return await at.logins.user_of(token)
    except NotAllowed as error:
        raise HTTPException(401, error.message) from None


Viewer: TypeAlias = Annotated[User, Depends(viewer)]
"""Whoever is logged in."""


async def watcher(
    at: At,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
    token: Annotated[
        str | None, Query(max_length=200, description="a token, for players that send no header")
    ] = None,
) -> User:
    given = credentials.credentials if credentials is not None else token
    if given is None:
        raise HTTPException(401, "log in first, and give the token as header or as ?token=")
    return await viewer(at, given)


Watcher: TypeAlias = Annotated[User, Depends(watcher)]
"""The same, for what cannot send a header."""


async def operator(caller: Viewer) -> User:
    # Services ask, too. Here it comes before the body is read: who may not do it at all need
    # not be told how it is written.
    caller.require("operator")
    return caller


async def admin(caller: Viewer) -> User:
    caller.require("admin")
    return caller


Operator: TypeAlias = Annotated[User, Depends(operator)]
Admin: TypeAlias = Annotated[User, Depends(admin)]
