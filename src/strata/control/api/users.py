"""The people of this installation, for administrators."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, Field, SecretStr

from strata.control import tables
from strata.control.api.access import Admin, At
from strata.control.api.body import Body
from strata.control.roles import Role
from strata.control.users import Changes
from strata.secrets import Secret

router = APIRouter(prefix="/api/users", tags=["people"])

SEES_MAX = 1000

PASSWORD = Field(min_length=8, max_length=1024)
SEES = "ids of other users whose things this one may see and, as an operator, change"


class UserIn(Body):
    email: str = Field(max_length=254, pattern=r"^[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+$")
    password: SecretStr = PASSWORD
    role: Role = "operator"
    sees: list[str] = Field(default=[], max_length=SEES_MAX, description=SEES)


class UserPatch(Body):
    """What is to change; what is null or not named stays."""

    role: Role | None = None
    password: SecretStr | None = Field(default=None, min_length=8, max_length=1024)
    is_disabled: bool | None = Field(default=None, description="true: ends all its logins")
    sees: list[str] | None = Field(default=None, max_length=SEES_MAX, description=SEES)


class UserOut(BaseModel):
    id: str
    email: str
    role: str
    is_disabled: bool
    sees: list[str]
    created_at: datetime

    @classmethod
    def of(cls, row: tables.User) -> UserOut:
        return cls.model_validate(row, from_attributes=True)


@router.get("")
async def list_users(at: At, caller: Admin) -> list[UserOut]:
    return [UserOut.of(row) for row in await at.users.all(caller)]


@router.post("", status_code=201)
async def add_user(at: At, caller: Admin, body: UserIn) -> UserOut:
    password = Secret(body.password.get_secret_value())
    row = await at.users.add(caller, body.email, password, body.role, tuple(body.sees))
    return UserOut.of(row)


@router.patch("/{user_id}")
async def change_user(at: At, caller: Admin, user_id: str, body: UserPatch) -> UserOut:
    """A new password, or to be disabled, ends every login and API token of the user."""
    changes = Changes(
        role=body.role,
        password=Secret(body.password.get_secret_value()) if body.password else None,
        is_disabled=body.is_disabled,
        sees=tuple(body.sees) if body.sees is not None else None,
    )
    return UserOut.of(await at.users.change(caller, user_id, changes))


@router.delete("/{user_id}", status_code=204)
async def remove_user(at: At, caller: Admin, user_id: str) -> None:
    """Only somebody who owns nothing; others can be disabled."""
    await at.users.remove(caller, user_id)
