"""What a stream may send: its egress cap, shared out among its forwards. Pure.

Every forward sends the same stream, so what each needs is known once the stream's rate is.
The cap is shared out by need, and when it does not suffice the newest forward is given up:
slowing all of them down would build a backlog and break up every picture.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WINDOW_S: Final = 5.0
"""Long enough for a key frame and what follows it to average out."""
KNOWN_AFTER_S: Final = 1.0
SETTLED_AFTER_S: Final = 4.0
"""Nothing is given up on less: a second that holds a key frame says too much."""
GAP_S: Final = 1.0
"""Without media for so long, what was measured before says nothing of what comes."""


class Rate:
    """Bytes per second of media time, over the latest seconds."""

    def __init__(self) -> None:
        self._window: deque[tuple[float, int]] = deque()
        self._bytes = 0

    def add(self, at_s: float, size: int) -> None:
        """Takes in ``size`` bytes whose time on the stream's own clock is ``at_s``."""
        if self._window and not 0.0 <= at_s - self._window[-1][0] <= GAP_S:
            self._window.clear()
            self._bytes = 0
        self._window.append((at_s, size))
        self._bytes += size
        while self._window[-1][0] - self._window[0][0] > WINDOW_S:
            self._bytes -= self._window.popleft()[1]

    @property
    def kbps(self) -> float | None:
        """None until enough has been seen to say anything."""
        span_s = self._span_s
        if span_s < KNOWN_AFTER_S:
            return None
        # The first entry was sent before the span began.
        return (self._bytes - self._window[0][1]) * 8 / 1000 / span_s

    @property
    def is_settled(self) -> bool:
        """Whether enough has been seen to act upon."""
        return self._span_s >= SETTLED_AFTER_S

    @property
    def _span_s(self) -> float:
        return self._window[-1][0] - self._window[0][0] if self._window else 0.0


@dataclass(frozen=True, slots=True)
class Claim:
    """What one forward needs to carry the stream whole.

    Attributes:
        need_kbps: 0 while the stream's rate is not known.
        can_wait: whether it can be held to less by pacing its socket; what SRT sends
            cannot be.
    """

    need_kbps: float
    can_wait: bool


def fits(cap_kbps: int, claims: Sequence[Claim]) -> bool:
    """Whether all of them can be whole at once; a cap of 0 is none."""
    return not cap_kbps or sum(claim.need_kbps for claim in claims) <= cap_kbps


def kept(cap_kbps: int, claims: Sequence[Claim]) -> int:
    """How many of the claims, from the first on, can stay; the others are to be given up.

    The last one stays where it can be paced: a picture with pieces missing is better than
    none.

    Args:
        claims: the oldest first.
    """
    count = len(claims)
    while count and not fits(cap_kbps, claims[:count]):
        if count == 1 and claims[0].can_wait:
            break
        count -= 1
    return count


def shares(cap_kbps: int, claims: Sequence[Claim]) -> list[int]:
    """What each may send, in kbit/s: in all the whole cap, by need; evenly while that is
    not known. 0 is without limit."""
    if not cap_kbps:
        return [0] * len(claims)
    total = sum(claim.need_kbps for claim in claims)
    parts = (claim.need_kbps / total if total else 1 / len(claims) for claim in claims)
    return [max(1, int(cap_kbps * part)) for part in parts]
