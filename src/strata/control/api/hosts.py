"""The machines that run workers."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from strata.control.api.access import At, Viewer
from strata.control.observer import LOCAL_HOST
from strata.control.platform import Platform
from strata.wire import host as host_wire

router = APIRouter(prefix="/api/hosts", tags=["hosts"])


class HostOut(BaseModel):
    """How full a host is, as it last told; figures are null before it has."""

    id: str
    connected: bool
    streams: int | None
    free_ports: int | None
    cpu_cores: float | None
    used_cpu_cores: float | None
    memory_mb: float | None
    used_memory_mb: float | None
    egress_kbps: float | None
    used_egress_kbps: float | None
    free_disk_mb: float | None
    limits: str | None
    warnings: list[str]

    @classmethod
    def of(cls, id: str, connected: bool, load: host_wire.Load | None) -> HostOut:
        names = [name for name in cls.model_fields if name not in ("id", "connected", "warnings")]
        told = {name: getattr(load, name) if load is not None else None for name in names}
        return cls(
            id=id, connected=connected, warnings=load.warnings if load is not None else [], **told
        )


@router.get("")
async def list_hosts(at: At, caller: Viewer) -> list[HostOut]:
    return listed(at)


def listed(platform: Platform) -> list[HostOut]:
    """All hosts, as they are now."""
    streams = platform.streams
    return [HostOut.of(LOCAL_HOST, streams.can_start, streams.observer.load)]
