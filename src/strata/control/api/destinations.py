"""Destinations: where pictures may go, kept with their keys."""

from __future__ import annotations

from datetime import datetime

import msgspec
from fastapi import APIRouter
from pydantic import BaseModel, Field, SecretStr

from strata.control.api.access import At, Operator, Viewer
from strata.control.api.body import Body
from strata.control.destinations import View

router = APIRouter(prefix="/api/destinations", tags=["destinations"])

URL_MAX = 2048
KEY_MAX = 1024


class DestinationIn(Body):
    """A destination. What is null or not given of the key keeps the one there is."""

    name: str = Field(min_length=1, max_length=120)
    url: str = Field(
        min_length=1,
        max_length=URL_MAX,
        description="a forward URL; {key} in it is where the key goes",
    )
    key: SecretStr | None = Field(
        default=None,
        min_length=1,
        max_length=KEY_MAX,
        description="goes to the end of an rtmp(s) URL, else where {key} stands",
    )


class DestinationOut(BaseModel):
    """A destination, without its key."""

    id: str
    owner_id: str
    name: str
    kind: str
    url: str = Field(description="**** hides what can be a key")
    has_key: bool = Field(description="whether the key is kept apart from the URL")
    created_at: datetime

    @classmethod
    def of(cls, view: View) -> DestinationOut:
        row = view.row
        return cls(
            id=row.id,
            owner_id=row.owner_id,
            name=row.name,
            kind=row.kind,
            url=row.url,
            has_key=view.has_key,
            created_at=row.created_at,
        )


class TestedOut(BaseModel):
    """What came of a test."""

    ok: bool = Field(description="it took the colour bars for as long as they were sent")
    code: str = Field(
        description="ok, waiting (for callers), unconfirmed, or that of the error of a forward"
    )
    message: str
    live_s: float = Field(description="for how long media was taken")
    bytes: int = Field(description="that were taken")


def _key(body: DestinationIn) -> str | None:
    return body.key.get_secret_value() if body.key is not None else None


@router.get("")
async def list_destinations(at: At, caller: Viewer) -> list[DestinationOut]:
    """The oldest first."""
    return [DestinationOut.of(view) for view in await at.destinations.visible_to(caller)]


@router.post("", status_code=201)
async def add_destination(at: At, caller: Operator, body: DestinationIn) -> DestinationOut:
    view = await at.destinations.add(caller, body.name, body.url, _key(body))
    return DestinationOut.of(view)


@router.get("/{destination_id}")
async def get_destination(at: At, caller: Viewer, destination_id: str) -> DestinationOut:
    return DestinationOut.of(await at.destinations.get(caller, destination_id))


@router.put("/{destination_id}")
async def change_destination(
    at: At, caller: Operator, destination_id: str, body: DestinationIn
) -> DestinationOut:
    """Without a key the one there is goes on, where the new URL has a place for it; the URL as
    it is shown means the one there is. Streams that run go on to where they lead."""
    view = await at.destinations.change(caller, destination_id, body.name, body.url, _key(body))
    return DestinationOut.of(view)


@router.delete("/{destination_id}", status_code=204)
async def remove_destination(at: At, caller: Operator, destination_id: str) -> None:
    """Only one that no running stream leads to."""
    await at.destinations.remove(caller, destination_id)


@router.post("/{destination_id}/test")
async def test_destination(at: At, caller: Operator, destination_id: str) -> TestedOut:
    """Sends ten seconds of colour bars, and answers what the other end said. Not while a stream
    that runs leads there."""
    told = await at.destinations.test(caller, destination_id)
    return TestedOut(**msgspec.structs.asdict(told))
