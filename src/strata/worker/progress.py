"""Whether a destination takes the media that it is offered. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PAUSE_S: Final = 1.0
"""After so long without media a destination gets its time to take some anew."""


@dataclass(slots=True)
class Progress:
    """Follows one forward over all its connections. Times are seconds on any monotonic clock.

    Attributes:
        at: when it last took anything; None for never.
    """

    at: float | None = None
    _taken: int = 0
    _began_at: float = 0.0
    _offered_at: float = -PAUSE_S
    _offered_since: float = 0.0

    def begin(self, now: float) -> None:
        """Another connection, of which nothing has been taken yet."""
        self._began_at, self._taken = now, 0

    def offer(self, now: float) -> None:
        """Media is handed to it."""
        if now - self._offered_at > PAUSE_S:
            self._offered_since = now
        self._offered_at = now

    def wait(self, now: float) -> None:
        """Taking nothing is in order."""
        self._began_at = now

    def take(self, total: int, now: float) -> bool:
        """Whether it has taken more since the last call, of this connection."""
        if total <= self._taken:
            return False
        self._taken, self.at = total, now
        return True

    def stalled_s(self, deadline_s: float, now: float, *, is_live: bool) -> float | None:
        """For how long it has taken nothing although media is offered, once that is longer
        than the deadline; None otherwise."""
        since = max(self._began_at, self._offered_since)
        if is_live and self.at is not None:
            since = max(since, self.at)
        is_stalled = now - since > deadline_s and now - self._offered_at < deadline_s
        return now - since if is_stalled else None
