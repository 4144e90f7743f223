"""The machines that run workers."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from strata.control.api.access import Admin, At, Viewer
from strata.control.observer import LOCAL_HOST
from strata.control.platform import Platform
from strata.wire import host as host_wire

router = APIRouter(prefix="/api/hosts", tags=["hosts"])


class HostOut(BaseModel):
    """How full a host is, as it last told; figures are null before it has."""

    id: str
    connected: bool
    draining: bool
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
    def of(cls, id: str, connected: bool, draining: bool, load: host_wire.Load | None) -> HostOut:
        own = ("id", "connected", "draining", "warnings")
        names = [name for name in cls.model_fields if name not in own]
        told = {name: getattr(load, name) if load is not None else None for name in names}
        warnings = load.warnings if load is not None else []
        return cls(id=id, connected=connected, draining=draining, warnings=warnings, **told)


@router.get("")
async def list_hosts(at: At, caller: Viewer) -> list[HostOut]:
    return await listed(at)


@router.post("/{host_id}/drain")
async def drain_host(at: At, caller: Admin, host_id: str) -> HostOut:
    """It takes no new streams; those that it has go on."""
    await at.hosts.drain(caller, host_id, is_draining=True)
    return await _host(at)


@router.post("/{host_id}/undrain")
async def undrain_host(at: At, caller: Admin, host_id: str) -> HostOut:
    await at.hosts.drain(caller, host_id, is_draining=False)
    return await _host(at)


async def listed(platform: Platform) -> list[HostOut]:
    """All hosts, as they are now."""
    return [await _host(platform)]


async def _host(platform: Platform) -> HostOut:
    is_draining = await platform.hosts.is_draining(LOCAL_HOST)
    streams = platform.streams
    return HostOut.of(LOCAL_HOST, streams.can_start, is_draining, streams.observer.load)
