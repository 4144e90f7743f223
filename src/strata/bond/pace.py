"""How much may go out, and how much comes. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

RATE_S: Final = 0.5
"""The rate of the media is that of so long."""


@dataclass(slots=True)
class Pace:
    """
    Attributes:
        budget: bytes; below 0: so many went out too early.
        rate_kbps: of the media that was written.
    """

    budget: float = 0.0
    at: float | None = None
    rate_kbps: float = 0.0
    _bytes: float = field(default=0.0)

    def count(self, size: int) -> None:
        self._bytes += size

    def pass_to(self, now: float) -> float:
        """Seconds since the last time."""
        if self.at is None:
            self.at = now
        passed_s, self.at = now - self.at, now
        if passed_s > 0:
            kept = math.exp(-passed_s / RATE_S)
            kbps = self._bytes * 8 / 1000 / passed_s
            self.rate_kbps = self.rate_kbps * kept + kbps * (1 - kept)
            self._bytes = 0.0
        return passed_s
