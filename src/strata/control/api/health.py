"""For whoever watches this process from outside."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from strata.control.api import problems
from strata.control.api.access import At
from strata.errors import StoreUnavailable

router = APIRouter(include_in_schema=False)


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Whether the process answers."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(at: At) -> JSONResponse:
    """Whether a stream could be started."""
    if not at.streams.can_start:
        return problems.problem(503, "host_unreachable", "the host is not connected yet")
    try:
        await at.store.check()
    except StoreUnavailable as error:
        return problems.problem(503, error.code, error.message)
    return JSONResponse({"status": "ready"})
