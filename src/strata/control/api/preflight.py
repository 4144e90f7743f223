"""What would not work, and why, before a broadcast begins."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from strata.control import preflight
from strata.control.api.access import At, Operator
from strata.control.api.body import Body
from strata.control.api.streams import StreamIn
from strata.control.preflights import Question

router = APIRouter(prefix="/api/preflight", tags=["streams"])


class EncoderIn(Body):
    """What the encoder in the field is set to."""

    codec: Literal["h264", "h265"] = "h264"
    bitrate_kbps: float | None = Field(default=None, gt=0, le=1_000_000)
    keyint_max: int | None = Field(
        default=None, ge=1, le=100_000, description="pictures from one key frame to the next"
    )
    fps: float = Field(default=preflight.FPS_USUAL, gt=0, le=1000)


class PreflightIn(StreamIn):
    """The body of a start."""

    stream_id: str | None = Field(
        default=None,
        max_length=40,
        description="a stream that runs, which the forwards would join; with none given, its own",
    )
    encoder: EncoderIn | None = None
    source: dict[str, Any] | None = Field(
        default=None, description='"audio": false says that it has no sound'
    )

    def question(self) -> Question:
        encoder = preflight.Encoder(**self.encoder.model_dump()) if self.encoder else None
        audio = (self.source or {}).get("audio")
        has_audio = audio if isinstance(audio, bool) else None
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
