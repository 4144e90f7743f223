"""Changes of a stream that runs, each answered once it has been carried out; and its picture."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from strata.control.api.access import At, Operator, Viewer
from strata.control.api.body import Body
from strata.control.forwards import Forward
from strata.wire import host as host_wire

router = APIRouter(prefix="/api/streams/{stream_id}", tags=["streams"])


class ForwardIn(Body):
    """Where to: one of the two."""

    url: Annotated[str, Field(min_length=1, max_length=2048)] | None = None
    destination: Annotated[str, Field(min_length=1, max_length=40)] | None = Field(
        default=None, description="the id of a destination"
    )


class ChangedOut(BaseModel):
    """A forward that has taken media, or will as soon as there is any."""

    forward: str
    kind: str
    url: str
    destination: str | None
    name: str
    overlap: bool | None = Field(
        description="of one that was replaced: whether both were on the air for a moment; "
        "false: the old one had to be closed first"
    )

    @classmethod
    def of(cls, forward: Forward, changed: host_wire.Changed) -> ChangedOut:
        return cls(
            forward=changed.forward,
            kind=forward.kind,
            url=forward.shown,
            destination=forward.destination,
            name=forward.name,
            overlap=changed.overlap,
        )


class SlateIn(Body):
    now: bool = Field(description="true: show it, whatever media comes; false: no longer")


class SlateOut(BaseModel):
    now: bool


@router.post("/forwards", status_code=201)
async def add_forward(at: At, caller: Operator, stream_id: str, body: ForwardIn) -> ChangedOut:
    """Answered when the destination has taken media."""
    return ChangedOut.of(*await at.orders.add(caller, stream_id, body.url, body.destination))


@router.put("/forwards/{forward_id}")
async def replace_forward(
    at: At, caller: Operator, stream_id: str, forward_id: str, body: ForwardIn
) -> ChangedOut:
    """Answered when the new destination has taken media; where it does not, the old one stays
    on the air."""
    return ChangedOut.of(
        *await at.orders.replace(caller, stream_id, forward_id, body.url, body.destination)
    )


@router.delete("/forwards/{forward_id}", status_code=204)
async def remove_forward(at: At, caller: Operator, stream_id: str, forward_id: str) -> None:
    """Answered when it has been closed."""
    await at.orders.remove(caller, stream_id, forward_id)


@router.post("/slate")
async def show_slate(at: At, caller: Operator, stream_id: str, body: SlateIn) -> SlateOut:
    """Shows the slate now, or no longer."""
    await at.orders.show_slate(caller, stream_id, now=body.now)
    return SlateOut(now=body.now)


@router.get(
    "/thumbnail.jpg",
    response_class=Response,
    responses={
        200: {
            "description": "a picture of what is on the air, 320 pixels wide",
            "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}},
            "headers": {
                "Strata-Shows": {
                    "description": "live: the sender's picture; slate: the slate",
                    "schema": {"type": "string", "enum": ["live", "slate"]},
                },
                "Strata-Age-S": {
                    "description": "since it went on the air",
                    "schema": {"type": "number"},
                },
            },
        }
    },
)
async def thumbnail(at: At, caller: Viewer, stream_id: str) -> Response:
    """A few seconds old at most; 409 while there is nothing to be seen."""
    picture = await at.orders.picture(caller, stream_id)
    headers = {
        "Cache-Control": "no-store",
        "Strata-Shows": picture.shows,
        "Strata-Age-S": f"{picture.age_s:.1f}",
    }
    return Response(picture.jpeg, headers=headers, media_type="image/jpeg")
