"""Logging in and out."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field, SecretStr
from starlette.exceptions import HTTPException

from strata.control.api.access import At, Token, Viewer
from strata.control.api.body import Body
from strata.control.roles import Role, User
from strata.errors import NotAllowed

router = APIRouter(prefix="/api/auth", tags=["people"])


class Login(Body):
    email: str = Field(max_length=254)
    password: SecretStr = Field(max_length=1024)


class WhoOut(BaseModel):
    """Who is logged in."""

    id: str
    email: str
    role: Role

    @classmethod
    def of(cls, user: User) -> WhoOut:
        return cls(id=user.id, email=user.email, role=user.role)


class LoginOut(BaseModel):
    token: str = Field(description="for the header: Authorization: Bearer ...")
    user: WhoOut


@router.post("/login")
async def log_in(at: At, request: Request, body: Login) -> LoginOut:
    """A token that lives for some days."""
    address = request.client.host if request.client is not None else ""
    try:
        token, user = await at.logins.log_in(body.email, body.password.get_secret_value(), address)
    except NotAllowed as error:
        raise HTTPException(401, error.message) from None
    return LoginOut(token=token.reveal(), user=WhoOut.of(user))


@router.post("/logout", status_code=204)
async def log_out(at: At, token: Token, caller: Viewer) -> None:
    """Ends the login; an API token lives on until it is deleted."""
    await at.logins.log_out(token)


@router.get("/me")
async def who_am_i(caller: Viewer) -> WhoOut:
    return WhoOut.of(caller)
