"""The bitrate of what a destination takes, over as long as it needs to mean anything. Pure.

Most destinations take media as it comes. Where they take it in pieces of seconds, nothing is
taken in most seconds and several times the stream in one: there it is averaged from piece to
piece.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, NamedTuple

PIECES: Final = 2
"""Over how many it is averaged. When no more are taken it is 0 after the time of one more: that
one is not late before."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """How media is taken that is handed over in pieces.

    Attributes:
        length_s: of one piece, at most.
        taken_at: when the last one was taken, or when the connection began (monotonic s).
        media_s: what all that this connection took last, played one after the other.
    """

    length_s: float
    taken_at: float
    media_s: float


class _Point(NamedTuple):
    """All that was taken up to a moment."""

    at: float
    total: int
    media_s: float


class Average:
    """Follows what one destination has taken.

    Args:
        began_at: when that was nothing (monotonic s).
    """

    def __init__(self, began_at: float) -> None:
        self._points = deque([_Point(began_at, 0, 0.0)])

    def kbps(self, total: int, now: float, pieces: Pieces | None) -> float:
        """Takes in another total, and tells the bitrate up to now.

        Args:
            total: bytes that have been taken.
            now: monotonic s.
            pieces: None where media is taken as it comes. Then this is since the last call.
        """
        at, over_s, media_s = now, 0.0, 0.0
        if pieces is not None:
            # Up to there the total is all that was due.
            at = max(pieces.taken_at, now - pieces.length_s)
            over_s, media_s = PIECES * pieces.length_s, pieces.media_s
        points = self._points
        end = _Point(max(at, points[-1].at), total, media_s)
        while len(points) > 1 and (not points[1].media_s or end.at - points[1].at >= over_s):
            points.popleft()
        points.append(end)
        # A connection begins with all that there is since the last key frame: seconds of media,
        # taken in a moment.
        span_s = max(end.at - points[0].at, end.media_s - points[0].media_s, 1e-3)
        return (total - points[0].total) * 8 / 1000 / span_s
