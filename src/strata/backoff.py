"""How long to wait before a destination is tried again. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FIRST_S: Final = 1.0
LONGEST_S: Final = 30.0
JITTER: Final = 0.25
"""Added, never taken away: a platform that limits attempts is never asked sooner."""
STEADY_S: Final = 30.0
"""On the air for this long, the next failure is a new one and starts at ``FIRST_S`` again.
Shorter, and a platform that accepts and then drops would be tried in a tight loop, each
time leaving a tiny video behind."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """The waits so far; a value, not a thing that changes."""

    failures: int = 0

    def after_failure(self, live_s: float) -> Backoff:
        """The next one, given how long the attempt that failed was on the air (seconds)."""
        return Backoff(1 if live_s >= STEADY_S else self.failures + 1)

    def wait_s(self, chance: float) -> float:
        """Seconds to wait: 1, 2, 4 ... 30, plus up to a quarter.

        Args:
            chance: a random number from 0 to 1.
        """
        # Bounded: a float overflows at 2 ** 1024, which is one night of failures.
        doublings = min(max(0, self.failures - 1), 16)
        base = min(LONGEST_S, FIRST_S * 2.0**doublings)
        return base * (1.0 + JITTER * chance)
