"""*On the air*: the wall of streams. A browser is sent what it shows, and no more of it."""

from __future__ import annotations

import time
from typing import Any, ClassVar, Final

from pydantic import BaseModel

from strata.control.roles import User
from strata.dashboard.overview import Entry
from strata.dashboard.panel import Action, Arguments, Panel
from strata.dashboard.rows import Head
from strata.dashboard.seat import Seat

SHOWN_MAX: Final = 60
"""Rows that are sent at once; a screen shows fewer."""

SEARCH_MAX: Final = 80


class Looked(BaseModel):
    """Which rows the browser shows, and of which streams.

    Attributes:
        anew: whether it has none of them yet.
    """

    first: int = 0
    count: int = 0
    tone: str = ""
    search: str = ""
    anew: bool = False


class Wall(Panel, component="parts/wall.js"):
    """
    Attributes:
        first, count: the rows that are on the screen.
        tone: of the streams to be listed; empty: all.
        search: what has to be in their names.
    """

    def __init__(self, seat: Seat) -> None:
        super().__init__(seat)
        self.props["may-operate"] = seat.may_operate
        self.first, self.count = 0, 0
        self.tone, self.search = "", ""
        self._sent: dict[str, Head] = {}
        self._order: list[str] | None = None

    async def look(self, user: User, args: Arguments) -> Any:
        """The browser says which rows it shows; it is answered with them, whole."""
        looked = Looked.model_validate(args)
        self.first = max(0, looked.first)
        self.count = min(SHOWN_MAX, max(0, looked.count))
        self.tone = looked.tone[:8]
        self.search = looked.search[:SEARCH_MAX].casefold()
        if looked.anew:
            self._sent, self._order = {}, None
        return self.tick()

    actions: ClassVar[dict[str, Action]] = {"look": look}

    def tick(self) -> dict[str, Any] | None:
        """What is different on this screen."""
        entries = self.seat.overview.entries
        visible = self.seat.overview.visible_to(self.seat.user)
        order = [id for id in visible if self._is_wanted(entries[id].head)]
        shown = order[self.first : self.first + self.count]
        told: dict[str, Any] = {"heads": [], "points": {}, "numbers": {}}
        told["counts"] = counts([entries[id].head for id in visible])
        if order != self._order:
            self._order = told["order"] = order
        for id in shown:
            self._tell(id, entries[id], told)
        self._sent = {id: self._sent[id] for id in shown}
        told["whole"] = self.seat.overview.is_whole
        told["seen"] = self.seat.platform.streams.can_start
        told["rows"] = [self.first, self.count]
        told["at"] = round(time.time() * 1000)
        return told

    def _tell(self, id: str, entry: Entry, told: dict[str, Any]) -> None:
        sent = self._sent.get(id)
        if sent is not entry.head:
            told["heads"].append(entry.head)
            if sent is None:
                told["points"][id] = [*entry.points]
            self._sent[id] = entry.head
        told["numbers"][id] = entry.numbers

    def _is_wanted(self, head: Head) -> bool:
        is_of_tone = not self.tone or group(head["tone"]) == self.tone
        return is_of_tone and self.search in head["name"].casefold()


def group(tone: str) -> str:
    """What a stream is counted as."""
    return {"bad": "trouble", "warn": "trouble", "good": "fine"}.get(tone, "waiting")


def counts(heads: list[Head]) -> dict[str, int]:
    """How many there are of each group; ``all``: of all."""
    found = {"all": len(heads), "trouble": 0, "fine": 0, "waiting": 0}
    for head in heads:
        found[group(head["tone"])] += 1
    return found
