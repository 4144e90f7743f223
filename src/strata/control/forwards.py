"""The forwards of a stream as its row has them: where each leads, and what people call it.

The row holds what is wanted. While the host is asked for a change it holds what was before,
too: should the answer get lost, that tells what to look for once the host is heard again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from strata.control import tables
from strata.control.seal import Seal
from strata.errors import BadUrl
from strata.secrets import Secret, redact_url
from strata.wire import forward_url, worker

FORWARDS_MAX: Final = 32
"""That a worker takes."""


@dataclass(frozen=True, slots=True)
class Forward:
    """One of them.

    Attributes:
        url: the whole of it, with its key.
        id: what the host calls it; empty until it has said so.
        destination: the id of the destination that it was made from.
        name: what people know it by.
    """

    url: str = field(repr=False)
    id: str = ""
    destination: str | None = None
    name: str = ""

    @property
    def shown(self) -> str:
        return redact_url(self.url)

    @property
    def kind(self) -> str:
        return forward_url.parse(self.url).kind

    @property
    def place(self) -> str | None:
        """What only one forward can have at a time; see :class:`ForwardUrl`."""
        try:
            return forward_url.parse(self.url).place
        except BadUrl:  # as an earlier release took it
            return None


@dataclass(frozen=True, slots=True)
class Forwards:
    """All of a stream, the oldest first.

    Attributes:
        before: what they were before a change of which it is not known whether it was carried
            out; None: there is none.
    """

    now: tuple[Forward, ...]
    before: tuple[Forward, ...] | None = None

    @property
    def any(self) -> tuple[Forward, ...]:
        """Those that there may be."""
        return (*self.now, *(self.before or ()))

    def find(self, id: str) -> Forward | None:
        return next((each for each in self.now if each.id == id), None)

    def with_(self, forward: Forward) -> Forwards:
        """With one more, or another one in the place of the one with that id."""
        if forward.id and self.find(forward.id) is not None:
            return Forwards(tuple(forward if each.id == forward.id else each for each in self.now))
        return Forwards((*self.now, forward))

    def without(self, id: str) -> Forwards:
        return Forwards(tuple(each for each in self.now if each.id != id))

    def settled(self, there: Mapping[str, str | None]) -> Forwards:
        """What holds now that the host has told what it has.

        Args:
            there: how the URL of each forward is shown, by id; None: that is not known.
        """
        if self.before is None:
            return self
        old = {each.id: each for each in self.before}
        found = []
        coming = [each for each in self.now if not each.id]
        for id, shown in there.items():
            wanted = self.find(id)
            if wanted is not None and id in old and shown not in (None, wanted.shown):
                found.append(old[id])
            elif wanted is not None or id in old:
                found.append(wanted or old[id])
            elif coming and shown in (None, coming[0].shown):
                found.append(replace(coming.pop(), id=id))
        return Forwards(tuple(found))


def begun(forwards: Iterable[Forward]) -> Forwards:
    """Those that a stream starts with, with the ids that the host will give them."""
    return Forwards(
        tuple(replace(each, id=worker.forward_id(at)) for at, each in enumerate(forwards, 1))
    )


def opened(seal: Seal, row: tables.Stream) -> Forwards:
    """Those of a stream. An earlier release wrote down their URLs alone."""
    held = json.loads(seal.open(row.forwards_sealed, _place(row.id)).reveal())
    if isinstance(held, list):
        return begun(Forward(url) for url in held)
    before = held.get("before")
    return Forwards(_read(held["forwards"]), _read(before) if before is not None else None)


def closed(seal: Seal, stream_id: str, forwards: Forwards) -> bytes:
    """As the row of the stream holds them."""
    held: dict[str, Any] = {"forwards": [asdict(each) for each in forwards.now]}
    if forwards.before is not None:
        held["before"] = [asdict(each) for each in forwards.before]
    return seal.close(Secret(json.dumps(held)), _place(stream_id))


def _read(held: Sequence[Mapping[str, Any]]) -> tuple[Forward, ...]:
    return tuple(
        Forward(each["url"], each["id"], each.get("destination"), each.get("name", ""))
        for each in held
    )


def _place(stream_id: str) -> str:
    return f"{stream_id}.forwards"
