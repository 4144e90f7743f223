"""Which link carries which packet. Pure.

First how much of the stream each link should carry (:func:`shares`), each 50 ms; then, packet by
packet, which is next (:class:`Turns`), so that each gets its share evenly and not in blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from strata.bond.link import Link

FILL: Final = 0.9
"""A link is filled up to so much of what it can carry, as long as others have room."""
LOSS_WEIGHT: Final = 8.0
"""How much less a link gets for what it loses: at 12 % half."""


def usable(links: Iterable[Link]) -> list[Link]:
    """The links that media may go out on: those that are there and not too full; where there are
    none, those that are there; where there are none, all that were ever there."""
    seen = [link for link in links if link.state != "joining"]
    there = [link for link in seen if link.state == "up"]
    return [link for link in there if not link.is_full] or there or seen


def shares(links: Sequence[Link], demand_kbps: float) -> dict[str, float]:
    """What each link should carry, in kbit/s.

    By capacity, less where packets are lost, and no link beyond its :data:`FILL` while another
    has room. If all together have none, or nothing is known of what there will be, by what they
    can carry.

    Args:
        demand_kbps: what there is to be carried.
    """
    room = {link.id: FILL * link.capacity_kbps for link in links}
    if not 0 < demand_kbps < sum(room.values()):
        return {id: kbps / FILL for id, kbps in room.items()}
    liked = {link.id: link.capacity_kbps / (1 + LOSS_WEIGHT * link.loss) for link in links}
    found: dict[str, float] = {}
    left_kbps = demand_kbps
    while liked:
        scale = left_kbps / sum(liked.values())
        over = [id for id, weight in liked.items() if weight * scale > room[id]]
        if not over:
            return found | {id: weight * scale for id, weight in liked.items()}
        for id in over:
            found[id] = room[id]
            left_kbps -= room[id]
            del liked[id]
    return found


class Turns:
    """Takes turns by weight: whoever would be the first to be through with one more packet."""

    def __init__(self) -> None:
        self._weights: dict[str, float] = {}
        self._through: dict[str, float] = {}

    def weigh(self, weights: Mapping[str, float]) -> None:
        """From the next packet on. Who was not there before begins with the others."""
        self._weights = {id: weight for id, weight in weights.items() if weight > 0}
        least = min((self._through[id] for id in self._weights if id in self._through), default=0.0)
        self._through = {id: self._through.get(id, least) - least for id in self._weights}

    def next(self, size: int, other_than: Iterable[str] = ()) -> str | None:
        """The link for a packet of that many bytes; None where there is none.

        Args:
            other_than: links that should not be taken.
        """
        best, best_through = None, 0.0
        for id, weight in self._weights.items():
            through = self._through[id] + size / weight
            if id not in other_than and (best is None or through < best_through):
                best, best_through = id, through
        if best is not None:
            self._through[best] = best_through
        return best
