"""docs/lifecycle.md says what the tables of transitions say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from strata.control import agent_link, lifecycle
from strata.host import stream, supervised
from strata.sender import agent, post
from strata.worker import forward, liveness

DOC = Path(__file__).parents[2] / "docs" / "lifecycle.md"

TABLES: dict[str, Mapping[str, frozenset[str]]] = {
    "Stream": lifecycle.TRANSITIONS,  # type: ignore[dict-item]
    "Stream, on its host": stream.TRANSITIONS,  # type: ignore[dict-item]
    "Worker, seen from its host": supervised.TRANSITIONS,  # type: ignore[dict-item]
    "Agent, one connection": agent_link.TRANSITIONS,  # type: ignore[dict-item]
    "Sender, its connection to control": agent.TRANSITIONS,  # type: ignore[dict-item]
    "Sender, what it sends": post.TRANSITIONS,  # type: ignore[dict-item]
    "Picture, on the air": liveness.VIDEO_TRANSITIONS,  # type: ignore[dict-item]
    "Sound, on the air": liveness.AUDIO_TRANSITIONS,  # type: ignore[dict-item]
    "Forward": forward.TRANSITIONS,  # type: ignore[dict-item]
}


def steps_in_doc(title: str) -> set[tuple[str, str]]:
    section = DOC.read_text().split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| (\w+) \| (\w+) \|", section, re.MULTILINE)
    return {(old, new) for old, new in rows if old != "from"}


@pytest.mark.parametrize("title", TABLES)
def test_the_document_and_the_table_agree(title: str) -> None:
    table = TABLES[title]
    assert steps_in_doc(title) == {(old, new) for old in table for new in table[old]}
