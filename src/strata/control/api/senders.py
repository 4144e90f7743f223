"""Senders: the boxes in the field."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from fastapi import APIRouter
from pydantic import BaseModel, Field

from strata.control import tables
from strata.control.api.access import At, Operator, Viewer
from strata.control.api.body import Body
from strata.control.platform import Platform
from strata.secrets import Secret

router = APIRouter(prefix="/api/senders", tags=["senders"])


class SenderIn(Body):
    name: str = Field(default="", max_length=120)


class SenderLinkOut(BaseModel):
    """One of the links of a sender, as it sees it itself; what is null is not known."""

    id: str
    interface: str | None
    state: str | None
    rtt_ms: float | None
    loss_rate: float | None
    sent_bytes: int | None


class SenderStatsOut(BaseModel):
    stream_id: str
    uptime_s: float | None
    encoder_bitrate_kbps: float | None
    links: list[SenderLinkOut]


class StreamStateOut(BaseModel):
    stream_id: str
    state: str
    detail: str


class InterfaceOut(BaseModel):
    name: str
    kind: str
    is_up: bool | None
    addresses: list[str]
    signal_percent: float | None


class InputOut(BaseModel):
    mode: str
    device: str
    name: str


class SenderOut(BaseModel):
    """What it tells of itself is there while it is connected."""

    id: str
    name: str
    owner_id: str
    online: bool
    seen_at: datetime | None
    created_at: datetime
    enrolled_at: datetime | None = Field(description="null: its box has never come")
    enrollment_expires_at: datetime | None = Field(description="null: no token waits for a box")
    hostname: str | None
    arch: str | None
    agent_version: str | None
    address: str | None
    network_interfaces: list[InterfaceOut]
    media_inputs: list[InputOut]
    cpu_percent: float | None
    uptime_s: float | None
    stream_id: str | None = Field(description="what it should send")
    stream_state: StreamStateOut | None = Field(description="what it says that it sends")
    stats: SenderStatsOut | None

    @classmethod
    def of(cls, row: tables.Sender, at: Platform) -> SenderOut:
        return cls(**_sender(row, at))


class EnrollmentOut(SenderOut):
    enrollment_token: str = Field(description="for its box; works once, told this once")


def _sender(row: tables.Sender, at: Platform) -> dict[str, Any]:
    link = at.agents.link_of(row.id)
    told = msgspec.structs.asdict(link.status) if link is not None and link.status else {}
    known = {
        name: None if isinstance(value, msgspec.UnsetType) else value
        for name, value in told.items()
    }
    return {
        "id": row.id,
        "name": row.name,
        "owner_id": row.owner_id,
        "online": link is not None,
        "seen_at": link.heard_at if link is not None else row.seen_at,
        "created_at": row.created_at,
        "enrolled_at": row.enrolled_at,
        "enrollment_expires_at": row.enrollment_expires_at,
        "hostname": row.hostname,
        "arch": row.arch,
        "agent_version": row.agent_version,
        "address": link.address if link is not None else None,
        "network_interfaces": _plain(known.get("network_interfaces")) or [],
        "media_inputs": _plain(known.get("media_inputs")) or [],
        "cpu_percent": known.get("cpu_percent"),
        "uptime_s": known.get("uptime_s"),
        "stream_id": at.assignments.stream_of(row.id),
        "stream_state": _plain(link.doing) if link is not None else None,
        "stats": _plain(link.stats) if link is not None else None,
    }


def _plain(value: Any) -> Any:
    """Structs as dicts, with what they leave out on the wire."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, msgspec.Struct):
        return {name: _plain(each) for name, each in msgspec.structs.asdict(value).items()}
    return value


def _enrollment(row: tables.Sender, at: Platform, token: Secret) -> EnrollmentOut:
    return EnrollmentOut(**_sender(row, at), enrollment_token=token.reveal())


@router.get("")
async def list_senders(at: At, caller: Viewer) -> list[SenderOut]:
    """In the order in which they came."""
    return [SenderOut.of(row, at) for row in await at.senders.visible_to(caller)]


@router.post("", status_code=201)
async def add_sender(at: At, caller: Operator, body: SenderIn) -> EnrollmentOut:
    """The token is to be given to the sender's box: ``enrollment_token`` in its settings, or
    ``STRATA_SENDER_ENROLLMENT_TOKEN``."""
    token, row = await at.senders.add(caller, body.name)
    return _enrollment(row, at, token)


@router.get("/{sender_id}")
async def get_sender(at: At, caller: Viewer, sender_id: str) -> SenderOut:
    return SenderOut.of(await at.senders.get(caller, sender_id), at)


@router.post("/{sender_id}/enroll", status_code=201)
async def enroll_sender(at: At, caller: Operator, sender_id: str) -> EnrollmentOut:
    """For another box in the place of this one, which may go on until the other has come. To
    shut out a box that is lost, remove the sender."""
    token, row = await at.senders.enroll(caller, sender_id)
    return _enrollment(row, at, token)


@router.delete("/{sender_id}", status_code=204)
async def remove_sender(at: At, caller: Operator, sender_id: str) -> None:
    """Refused while a stream of it runs."""
    await at.senders.remove(caller, sender_id)
    at.agents.cut(sender_id)
