"""When a worker that died is started again, and when no more. Pure: time is an argument."""

from __future__ import annotations

from collections import deque
from typing import Final

TIMES: Final = 3
WITHIN_S: Final = 60.0
FIRST_DELAY_S: Final = 0.25
"""Doubled with each further death within :data:`WITHIN_S`. The first is short: for as long as
it lasts nothing is on the air."""
STEADY_S: Final = 600.0
"""A worker that went over its memory limit after so long has leaked slowly: it is started
again like one that crashed. One that did so sooner would do so again."""


class Restarts:
    """Counts the deaths of one stream's workers."""

    def __init__(self) -> None:
        self._deaths: deque[float] = deque(maxlen=TIMES)

    def after_death(self, now: float) -> float | None:
        """Seconds to wait before the next start; None where there should be none.

        Args:
            now: when the worker died, in seconds of any monotonic clock.
        """
        self._deaths.append(now)
        recent = sum(1 for at in self._deaths if now - at < WITHIN_S)
        return None if recent >= TIMES else FIRST_DELAY_S * 2.0 ** (recent - 1)
