"""The log of events: what happened, and who did it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, Field

from strata.control import tables
from strata.control.api.access import At, Viewer

router = APIRouter(prefix="/api/events", tags=["what happened"])

LIMIT_MAX = 1000


class EventOut(BaseModel):
    """Something that happened."""

    id: str
    at: datetime
    type: str
    subject: str | None = Field(description="the id of what it is about")
    user_id: str | None = Field(description="who did it; null where nobody did")
    data: dict[str, Any]

    @classmethod
    def of(cls, row: tables.Event) -> EventOut:
        return cls.model_validate(row, from_attributes=True)


@router.get("")
async def list_events(
    at: At,
    caller: Viewer,
    since: Annotated[AwareDatetime | None, Query(description="from then on")] = None,
    after: Annotated[
        str | None, Query(max_length=40, description="the id of an event: those that followed it")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX)] = 100,
) -> list[EventOut]:
    """The oldest first; without ``since`` and ``after`` the latest."""
    return [EventOut.of(row) for row in await at.journal.since(caller, since, after, limit)]
