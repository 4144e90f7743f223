"""What would not work, and why, before a broadcast begins."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field, model_validator

from strata.control import preflight
from strata.control.api import streams
from strata.control.api.access import At, Operator
from strata.control.preflights import Question

router = APIRouter(prefix="/api/preflight", tags=["streams"])


class EncoderIn(streams.EncoderIn):
    """What the encoder in the field is set to."""

    fps: float = Field(default=preflight.FPS_USUAL, gt=0, le=1000)


class SourceIn(streams.SourceIn):
    audio: bool | None = Field(default=None, description="false: it has no sound")


class PreflightIn(streams.StreamIn):
    """The body of a start. Here source and encoder may be told of any sender."""

    stream_id: str | None = Field(
        default=None,
        max_length=40,
        description="a stream that runs, which the forwards would join; with none given, its own",
    )
    encoder: EncoderIn | None = None
    source: SourceIn | None = None

    @model_validator(mode="after")
    def _has_sender(self) -> PreflightIn:
        return self

    def question(self) -> Question:
        encoder = None
        if self.encoder is not None or self.sender_id is not None:
            encoder = preflight.Encoder(**(self.encoder or EncoderIn()).model_dump())
        has_audio = self.source.audio if self.source is not None else None
        return Question(self.request(), self.stream_id, encoder, has_audio)


class FindingOut(BaseModel):
    """Something that would not work (error), or may not (warning)."""

    severity: Literal["error", "warning"]
    code: str
    field: str | None = Field(description="of the body; of a running stream: its forward")
    message: str

    @classmethod
    def of(cls, finding: preflight.Finding) -> FindingOut:
        return cls(
            severity=finding.severity,
            code=finding.code,
            field=finding.field,
            message=finding.message,
        )


@router.post("")
async def ask(at: At, caller: Operator, body: PreflightIn) -> list[FindingOut]:
    """The errors first; none at all where nothing is known to stand in the way."""
    found = await at.preflights.ask(caller, body.question())
    return [FindingOut.of(each) for each in found]
