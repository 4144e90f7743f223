"""The key of what is sealed at rest."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from strata.control import rotation
from strata.control.api.access import Admin, At

router = APIRouter(prefix="/api/seal", tags=["installation"])


class RotatedOut(BaseModel):
    values: int


@router.post("/rotate")
async def rotate(at: At, caller: Admin) -> RotatedOut:
    """Seals every stored secret with a new key, and forgets the old one."""
    return RotatedOut(values=await rotation.rotate(at.journal, at.store, at.seal, caller))
