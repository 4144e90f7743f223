"""A page with a table of things, and what can be done with each: added, changed, removed.

What stands in it and what can be done is said here; ``parts/records.js`` draws any of them.
Secrets are told in the answer to what made them, once, and are in no row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

from pydantic import BaseModel

from strata.control.roles import User
from strata.dashboard.panel import Action, Arguments, Panel
from strata.dashboard.seat import Seat
from strata.dashboard.words import Tone
from strata.errors import BadArguments

Cell: TypeAlias = dict[str, Any]
Row: TypeAlias = dict[str, Any]


class Column(BaseModel):
    key: str
    text: str


class Field(BaseModel):
    """Something to be filled in."""

    name: str
    text: str
    kind: Literal["text", "email", "password", "number", "choice", "many"] = "text"
    help: str = ""
    value: Any = ""
    options: list[tuple[str, str]] = []
    required: bool = False


class Act(BaseModel):
    """Something that can be done.

    Attributes:
        key: of the action here; with ``fields`` these are asked for first.
        sure: what happens then, said before it is done; empty: it needs no second thought.
    """

    key: str
    text: str
    sure: str = ""
    fields: list[Field] = []
    takes: str = ""
    """What is said while it is being done."""


class Spec(BaseModel):
    """A whole page.

    Attributes:
        add: what makes a new one.
        acts: what can be done with one; rows name those that they have.
        again_s: how often it is looked at anew; 0: when something is done.
    """

    title: str
    note: str = ""
    empty: str = ""
    columns: list[Column] = []
    add: Act | None = None
    acts: list[Act] = []
    again_s: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the rows.

    Attributes:
        earlier: the id of the last one, where others follow; None: these are the last.
    """

    rows: Sequence[Row]
    earlier: str | None = None

    @classmethod
    def of(cls, found: Sequence[Row], shown: int) -> Page:
        """So many of those found; the one more that there may be is not shown."""
        return cls(found[:shown], found[shown - 1]["id"] if len(found) > shown else None)


class Records(Panel, component="parts/records.js"):
    """
    Args:
        seat: of who looks.
    """

    def __init__(self, seat: Seat) -> None:
        super().__init__(seat)
        on_the_page = (each for each in self.client.elements.values() if isinstance(each, Records))
        self.props["is-first"] = next(on_the_page) is self
        self.props["spec"] = self.spec().model_dump()

    def spec(self) -> Spec:
        raise NotImplementedError

    async def rows(self, user: User) -> Sequence[Row]:
        """Each with ``id``, ``cells`` by the keys of columns, and ``acts``."""
        raise NotImplementedError

    async def page(self, user: User, before: str | None) -> Page:
        """The rows that follow the one with that id; None: the first ones."""
        return Page(await self.rows(user))

    async def look(self, user: User, args: Arguments) -> Any:
        before = str(args.get("before") or "")[:64]
        page = await self.page(user, before or None)
        return {"rows": list(page.rows), "earlier": page.earlier}

    actions: ClassVar[dict[str, Action]] = {"look": look}


def name_of(args: Arguments) -> str:
    """What a new one is to be called.

    Raises:
        BadArguments: nothing.
    """
    name = str(args.get("name") or "").strip()
    if not name:
        raise BadArguments("give it a name, so that it is known again among others")
    return name


def text(value: object, *, more: str = "", link: str = "") -> Cell:
    """Words, with smaller ones below them."""
    return {
        "kind": "text",
        "text": "–" if value in (None, "") else str(value),
        "more": more,
        "link": link,
    }


def state(tone: Tone, word: str, *, more: str = "") -> Cell:
    return {"kind": "state", "tone": tone, "text": word, "more": more}


def moment(millis: int | None, *, none: str = "–") -> Cell:
    """A time, in the zone of who looks."""
    return {"kind": "moment", "at": millis, "text": none}


def share(used: float | None, whole: float | None, words: str) -> Cell:
    """How much of something is used, as a bar."""
    known = used is not None and whole
    return {
        "kind": "share",
        "percent": round(100 * used / whole) if known else None,  # type: ignore[operator]
        "text": words if known else "–",
    }


def row(id: str, cells: dict[str, Cell], *acts: str, values: dict[str, Any] | None = None) -> Row:
    """
    Args:
        acts: keys of what can be done with it.
        values: what the fields of an act are filled with before anybody types.
    """
    return {"id": id, "cells": cells, "acts": acts, "values": values or {}}


def once(
    title: str, note: str, lines: Sequence[tuple[str, str]], image: str = ""
) -> dict[str, Any]:
    """What is told once, such as a secret."""
    return {"once": {"title": title, "note": note, "lines": list(lines), "image": image}}


def said(words: str, *, is_good: bool = True) -> dict[str, Any]:
    """What came of it."""
    return {"said": words, "good": is_good}
