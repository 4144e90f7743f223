"""docs/sender.md says of the log what the program says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOC = (ROOT / "docs" / "sender.md").read_text()

PLACE = re.compile(
    r"\.\.\.|str_|\b[A-Z]+\b|wwan[01]|StreamStart\(|\)|404|strata-sender|identity\.json|: |; | -> "
)
"""What stands for something else in the words of the document."""
WORDS_MIN = 4


def source() -> str:
    """All texts of the sender, with the pieces of each joined, and without what is filled in."""
    files = [*(ROOT / "src/strata/sender").rglob("*.py"), ROOT / "src/strata/alone.py"]
    files.append(ROOT / "src/strata/control/senders.py")
    text = "\n".join(path.read_text() for path in files)
    text = re.sub(r'"\s*\n\s*f?"', "", text)
    return re.sub(r"\s+", " ", text)


def rows() -> list[str]:
    section = DOC.split("\n## What the log says\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"^\| `([^`]+)` \| .+ \|$", section, re.MULTILINE)


@pytest.mark.parametrize("line", rows())
def test_what_the_document_explains_is_said(line: str) -> None:
    said = source()
    pieces = [piece for each in PLACE.split(line) if len(piece := each.strip()) >= WORDS_MIN]
    assert pieces
    for piece in pieces:
        assert piece in said, piece


def test_all_of_the_table_is_looked_at() -> None:
    assert len(rows()) >= 20
