"""What bodies of requests have in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class Body(BaseModel):
    """Says no to what it does not know, and to what no text should hold."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _has_no_nul(cls, value: Any) -> Any:
        if isinstance(value, dict) and any(_holds_nul(each) for each in value.values()):
            raise ValueError("texts may not hold a NUL character")
        return value


def _holds_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, list):
        return any(_holds_nul(each) for each in value)
    if isinstance(value, dict):
        return any(_holds_nul(each) for pair in value.items() for each in pair)
    return False
