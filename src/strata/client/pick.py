"""Which of many things somebody means: by a part of its id, or by its name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from strata.client.text import plain
from strata.errors import BadArguments, PlatformRefused

PART_CHARS_MIN: Final = 4
"""Fewer are a slip of the finger: nobody wants to stop another stream for it."""
OVER: Final = ("ended", "failed")
"""States of a stream that it does not leave."""
SHORT_CHARS: Final = 8
"""Of ids in tables. Their ends are by chance, their beginnings are the time."""


def pick(noun: str, rows: Iterable[Mapping[str, Any]], meant: str) -> str:
    """The id of what is meant.

    Args:
        noun: what the rows are, for the error.
        meant: an id, its beginning (with or without what comes before ``_``), its end, or the
            name or e-mail address.

    Raises:
        BadArguments: it may be several.
        PlatformRefused: it is none.
    """
    rows = [row for row in rows if isinstance(row.get("id"), str)]
    exact = [row for row in rows if row["id"] == meant]
    named = [row for row in rows if meant and meant in (row.get("name"), row.get("email"))]
    parts = [row for row in rows if len(meant) >= PART_CHARS_MIN and _is_part(row["id"], meant)]
    found = exact or named or parts
    if len(found) == 1:
        return str(found[0]["id"])
    if found:
        listed = ", ".join(str(row["id"]) for row in found[:4])
        more = f" and {len(found) - 4} more" if len(found) > 4 else ""
        raise BadArguments(f"{plain(meant)} may be {listed}{more}; write more of the id")
    short = f" (at least {PART_CHARS_MIN} characters of an id)" if len(meant) < 4 else ""
    raise PlatformRefused(f"there is no {noun} {plain(meant)!r} that you may see{short}")


def short(id: str) -> str:
    """An id as tables show it: its end, which :func:`pick` understands."""
    _, mark, number = id.partition("_")
    return number[-SHORT_CHARS:] if mark and len(number) == 32 else id


def _is_part(id: str, meant: str) -> bool:
    number = id.partition("_")[2]
    if meant.endswith("_") or "_" not in id:  # a kind alone says nothing; a host has a name
        return False
    return id.startswith(meant) or number.startswith(meant) or number.endswith(meant)
