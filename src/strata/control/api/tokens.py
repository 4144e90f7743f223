"""API tokens: logins for programs."""

from __future__ import annotations

from datetime import datetime, timedelta

from fastapi import APIRouter
from pydantic import BaseModel, Field

from strata.control import tables
from strata.control.api.access import At, Viewer
from strata.control.api.body import Body

router = APIRouter(prefix="/api/tokens", tags=["people"])

DAYS_MAX = 3650


class TokenIn(Body):
    name: str = Field(default="", max_length=120, description="what it is for")
    days: int | None = Field(
        default=None, ge=1, le=DAYS_MAX, description="its life; null: until it is deleted"
    )


class TokenOut(BaseModel):
    id: str
    name: str
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None

    @classmethod
    def of(cls, row: tables.Token) -> TokenOut:
        return cls.model_validate(row, from_attributes=True)


class NewTokenOut(TokenOut):
    token: str = Field(description="told this once")


@router.get("")
async def list_tokens(at: At, caller: Viewer) -> list[TokenOut]:
    return [TokenOut.of(row) for row in await at.logins.tokens(caller)]


@router.post("", status_code=201)
async def add_token(at: At, caller: Viewer, body: TokenIn) -> NewTokenOut:
    """A token that may do what its user may."""
    life = timedelta(days=body.days) if body.days is not None else None
    token, row = await at.logins.add_token(caller, body.name, life)
    return NewTokenOut(**TokenOut.of(row).model_dump(), token=token.reveal())


@router.delete("/{token_id}", status_code=204)
async def delete_token(at: At, caller: Viewer, token_id: str) -> None:
    await at.logins.delete_token(caller, token_id)
