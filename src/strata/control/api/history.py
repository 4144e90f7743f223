"""The numbers of a stream over time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, Field

from strata.control import history
from strata.control.api.access import At, Viewer

router = APIRouter(prefix="/api/streams", tags=["streams"])

USUAL: Final = timedelta(hours=1)


class LinkSample(BaseModel):
    port: int
    bitrate_kbps: float
    rtt_ms: float | None


class ForwardSample(BaseModel):
    forward: str
    bitrate_kbps: float
    state: str


class SampleOut(BaseModel):
    """How a stream was at one moment; what was not known is null, and not 0."""

    at: datetime
    bitrate_in_kbps: float | None
    bitrate_out_kbps: float | None
    buffer_ms: float | None
    quality_percent: float | None
    received: int | None = Field(description="packets since the worker started; as the next two")
    recovered: int | None
    lost: int | None
    cpu_percent: float | None
    slate: bool
    links: list[LinkSample]
    forwards: list[ForwardSample]


class HistoryOut(BaseModel):
    stream_id: str
    interval_s: float = Field(description="between samples, while the stream ran")
    samples: list[SampleOut]


@router.get("/{stream_id}/stats")
async def get_stats(
    at: At,
    caller: Viewer,
    stream_id: str,
    since: Annotated[AwareDatetime | None, Query(description="from then on; null: 1 h")] = None,
    until: Annotated[AwareDatetime | None, Query(description="null: now")] = None,
) -> HistoryOut:
    """Samples, the oldest first. Of a long time there are not all: those left out lie evenly
    between the others."""
    end = until or datetime.now(UTC)
    begin = since or datetime.now(UTC) - USUAL
    step, rows = await at.history.of(caller, stream_id, begin, end)
    samples = [SampleOut(at=row.at, **row.data) for row in rows]
    return HistoryOut(stream_id=stream_id, interval_s=step * history.EACH_S, samples=samples)
