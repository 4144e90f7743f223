"""What a look at one thing found, and how findings are told. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

Level: TypeAlias = Literal["ok", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table.

    Attributes:
        name: what was looked at; for programs, it stays.
        level: ``error``: broadcasts fail, or will; ``warning``: something is less safe or less
            fast than it could be.
        text: what was found and what it means.
        mend: the command, or the change of a setting, that mends it; empty where all is well.
    """

    name: str
    level: Level
    text: str
    mend: str = ""


def table(findings: Sequence[Finding]) -> str:
    """For people."""
    width = max((len(each.name) for each in findings), default=0)
    lines = []
    for each in findings:
        lines.append(f"{each.level:<8} {each.name:<{width}}  {each.text}")
        if each.mend:
            lines.append(f"{'':<8} {'':<{width}}  mend it: {each.mend}")
    errors = sum(each.level == "error" for each in findings)
    warnings = sum(each.level == "warning" for each in findings)
    lines.append(f"\n{errors or 'no'} errors, {warnings or 'no'} warnings")
    return "\n".join(lines)


def as_json(findings: Sequence[Finding]) -> str:
    """For programs."""
    return json.dumps([asdict(each) for each in findings], indent=2)


def exit_status(findings: Sequence[Finding]) -> int:
    """0: broadcasts can be carried; 1: something is missing. Warnings alone are 0."""
    return int(any(each.level == "error" for each in findings))
