"""Picture and sound in the order in which they go out. Pure.

What RTMP and containers want is one row of units, ordered by decoding time. Of two tracks
one always comes later (encoders send sound after its picture, or before), so a unit waits
until the other track has got as far; but never for long, because a track may be missing.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from strata.worker.formats import Track
from strata.worker.units import AccessUnit

WAIT_MAX: Final = 1_000_000_000
"""ns that a unit waits for the other track."""


class Interleaver:
    """Two rows that become one. Times are ns."""

    def __init__(self) -> None:
        self._rows: dict[Track, deque[tuple[AccessUnit, int]]] = {
            "video": deque(),
            "audio": deque(),
        }
        self._reached: dict[Track, int] = {"video": -1, "audio": -1}

    def add(self, unit: AccessUnit, now: int) -> None:
        self._rows[unit.track].append((unit, now))
        self._reached[unit.track] = unit.dts_ns

    def take(self, now: int, *, alone: bool = False) -> list[AccessUnit]:
        """What may go out.

        Args:
            alone: nothing else is to come; nothing waits.
        """
        found: list[AccessUnit] = []
        video, audio = self._rows["video"], self._rows["audio"]
        while video or audio:
            is_video = not audio or (bool(video) and video[0][0].dts_ns < audio[0][0].dts_ns)
            row, other = (video, audio) if is_video else (audio, video)
            unit, came_at = row[0]
            reached = self._reached["audio" if is_video else "video"]
            if not (other or alone or reached >= unit.dts_ns or now - came_at >= WAIT_MAX):
                break
            row.popleft()
            found.append(unit)
        return found
