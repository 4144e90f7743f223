"""What the encoder should make, from what all links carry together. Pure.

Down at once, to a part of what the links show that they carry; up a little at a time. A link is
never known to carry more than it has carried, and some (:data:`strata.bond.link.ROOM`), so the way
up is also bounded by what has been seen.
"""

from __future__ import annotations

import math
from typing import Final

SAFE: Final = 0.85
"""Of what the links carry: the rest is for repairs, and for what the encoder makes too much."""
CALM: Final = 0.95
"""The same while there is no queue. An encoder makes less than it may, and a link shows no more
than it is given: at less than this there would be no way up."""
UP_PER_S: Final = 0.08
"""Of the ceiling."""
BEHIND_S: Final = 0.3
CATCH_UP: Final = 0.8
"""Where media has waited for longer than the first, so much of it: it has to be carried, too."""
CALM_S: Final = 1.0
"""After the last queue, before it goes up."""
NEAR: Final = 0.1
"""So near what was too much last time it goes up at a fifth of that..."""
NEAR_S: Final = 10.0
"""...for so long."""
FAR: Final = 0.6
LEAP: Final = 0.7
"""Where it is below the first of what would do, it goes to the second at once: that has been seen.
A link was silent, and is back."""


class Rate:
    """
    Args:
        floor_kbps, ceiling_kbps: of the whole transport stream; between them it stays.
        start_kbps: what it begins with.

    Attributes:
        kbps: what the encoder should make now.
    """

    def __init__(self, floor_kbps: float, ceiling_kbps: float, start_kbps: float) -> None:
        self._floor = min(floor_kbps, ceiling_kbps)
        self._ceiling = ceiling_kbps
        self.kbps = min(max(start_kbps, self._floor), self._ceiling)
        self._too_much_kbps = math.inf
        self._too_much_at = -math.inf
        self._lowered_at = -math.inf
        self._at: float | None = None

    def step(self, now: float, carried_kbps: float, congested_at: float, waiting_s: float) -> float:
        """The next value of :attr:`kbps`.

        Args:
            carried_kbps: what the links can carry together.
            congested_at: when one of them was last too full.
            waiting_s: how long the oldest packet has been waiting to be sent.
        """
        passed_s, self._at = (min(now - self._at, 1.0) if self._at is not None else 0.0), now
        safe_kbps = SAFE * carried_kbps
        if waiting_s > BEHIND_S:
            safe_kbps *= CATCH_UP  # what waits has to be carried, too
        is_calm = now - congested_at > CALM_S
        most_kbps = CALM * carried_kbps if is_calm else safe_kbps
        if self.kbps > most_kbps:
            if not is_calm and now - self._lowered_at > CALM_S:
                self._too_much_kbps, self._too_much_at = self.kbps, now
            self.kbps = max(safe_kbps, self._floor)
            self._lowered_at = now
        elif is_calm:
            step = UP_PER_S * self._ceiling * passed_s
            is_near = abs(self.kbps / self._too_much_kbps - 1) < NEAR
            if is_near and now - self._too_much_at < NEAR_S:
                step /= 5
            least = LEAP * safe_kbps if self.kbps < FAR * safe_kbps else 0.0
            self.kbps = min(max(self.kbps + step, least), most_kbps, self._ceiling)
        return self.kbps
