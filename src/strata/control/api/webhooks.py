"""Webhooks: addresses that are told of events."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from strata.control import tables
from strata.control.api.access import At, Operator, Viewer
from strata.control.api.body import Body

router = APIRouter(prefix="/api/webhooks", tags=["what happened"])

TYPES_MAX = 100


class WebhookIn(Body):
    url: str = Field(min_length=1, max_length=2048, description="https://host/path")
    types: list[Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")]] = Field(
        default=[], max_length=TYPES_MAX, description="of events, as in the log; none: all"
    )


class WebhookOut(BaseModel):
    id: str
    url: str = Field(description="without its path, which may hold a key")
    types: list[str]
    created_at: datetime

    @classmethod
    def of(cls, row: tables.Webhook) -> WebhookOut:
        return cls.model_validate(row, from_attributes=True)


class NewWebhookOut(WebhookOut):
    secret: str = Field(
        description="told this once. Each delivery has X-Strata-Signature: t=<seconds since "
        "1970>,v1=<HMAC-SHA256 with this secret of t, a dot and the body, in hex>"
    )


class DeliveryOut(BaseModel):
    """An event on its way. X-Strata-Delivery carries its id: the same twice is the same."""

    id: str
    event: str
    type: str
    attempts: int
    created_at: datetime
    due_at: datetime | None = Field(description="of the next attempt; null: there is none")
    delivered_at: datetime | None
    error: str | None = Field(description="why the latest attempt failed")

    @classmethod
    def of(cls, row: tables.Delivery) -> DeliveryOut:
        body = json.loads(row.body)
        names = cls.model_fields.keys() - {"event", "type"}
        kept = {name: getattr(row, name) for name in names}
        return cls(event=body["id"], type=body["type"], **kept)


@router.get("")
async def list_webhooks(at: At, caller: Viewer) -> list[WebhookOut]:
    return [WebhookOut.of(row) for row in await at.webhooks.visible_to(caller)]


@router.post("", status_code=201)
async def add_webhook(at: At, caller: Operator, body: WebhookIn) -> NewWebhookOut:
    """It is told of what its user may see. Any 2xx within 10 s counts as arrived; else it is
    tried again for a day."""
    secret, row = await at.webhooks.add(caller, body.url, body.types)
    return NewWebhookOut(**WebhookOut.of(row).model_dump(), secret=secret.reveal())


@router.delete("/{webhook_id}", status_code=204)
async def delete_webhook(at: At, caller: Operator, webhook_id: str) -> None:
    await at.webhooks.delete(caller, webhook_id)


@router.post("/{webhook_id}/test")
async def test_webhook(at: At, caller: Operator, webhook_id: str) -> DeliveryOut:
    """Answered with how it went, within 10 s."""
    return DeliveryOut.of(await at.webhooks.test(caller, webhook_id))


@router.get("/{webhook_id}/deliveries")
async def list_deliveries(at: At, caller: Viewer, webhook_id: str) -> list[DeliveryOut]:
    """The newest first."""
    return [DeliveryOut.of(row) for row in await at.webhooks.deliveries(caller, webhook_id)]
