"""Alerts: what is wrong now, and what was."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from strata.control import tables
from strata.control.api.access import At, Operator, Viewer

router = APIRouter(prefix="/api/alerts", tags=["what happened"])

LIMIT_MAX = 1000


class AlertOut(BaseModel):
    """Something that is wrong, or was."""

    id: str
    subject: str = Field(description="the id of the stream or host that it is about")
    kind: str = Field(description="for programs")
    detail: str = Field(description="in plain words, as it was when it began")
    forward: str | None = Field(description="which one, where it is about a forward")
    port: int | None = Field(description="of which link, where it is about a link")
    raised_at: datetime
    cleared_at: datetime | None = Field(description="null: it stands")
    acked_at: datetime | None
    acked_by: str | None

    @classmethod
    def of(cls, row: tables.Alert) -> AlertOut:
        return cls.model_validate(row, from_attributes=True)


@router.get("")
async def list_alerts(
    at: At,
    caller: Viewer,
    open: Annotated[
        bool | None, Query(description="those that stand, or those that do not")
    ] = None,
    subject: Annotated[str | None, Query(max_length=253, pattern=r"^[^\x00]+$")] = None,
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX)] = 100,
) -> list[AlertOut]:
    """The newest first."""
    rows = await at.alerts.visible_to(caller, open, subject, limit)
    return [AlertOut.of(row) for row in rows]


@router.post("/{alert_id}/ack")
async def ack_alert(at: At, caller: Operator, alert_id: str) -> AlertOut:
    """Says that somebody has seen it; it stands until it is over all the same."""
    return AlertOut.of(await at.alerts.ack(caller, alert_id))
