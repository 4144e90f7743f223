"""Where a stream is cut into segments. Pure.

Source: RFC 8216 section 4.3.3.1: no segment, rounded to a second, may be longer than the
playlist's target duration, and the target duration must not change.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

from strata.worker.formats import Format
from strata.worker.units import NO_TIME, AccessUnit

FIRST_S_MAX: Final = 12.0
"""A group of pictures that is longer is cut in two. 10 s is the longest in use."""
FIRST_S_MIN: Final = 0.75
"""The first segment is as short as can be: it is what everybody waits for."""
ROUNDED_S: Final = 0.49
EARLY_S: Final = 0.25
"""A key frame that comes so much too early is taken: encoders round."""


@dataclass(slots=True)
class Segment:
    """Access units that make one file.

    Attributes:
        duration_s: to the first unit of the next segment; 0 while it grows.
        follows: whether nothing is missing between the segment before and this one.
    """

    units: list[AccessUnit] = field(default_factory=list)
    duration_s: float = 0.0
    follows: bool = True

    @property
    def size(self) -> int:
        return sum(unit.size for unit in self.units)

    @property
    def pictures(self) -> int:
        return sum(unit.track == "video" for unit in self.units)


class Segmenter:
    """Cuts at key frames, near the wanted length.

    Args:
        target_s: what is wanted. Where groups of pictures are longer, segments are.
        limit_s: the playlist's target duration, where it is fixed already.
        has_video: without it, any unit can begin a segment.
    """

    def __init__(self, target_s: float, has_video: bool, limit_s: int | None = None) -> None:
        self.limit_s = limit_s
        self._target_s = target_s
        self._has_video = has_video
        self._open: Segment | None = None
        self._format: Format | None = None
        self._begin_ns = 0
        self._key_ns = 0
        self._latest_ns = 0

    def add(self, unit: AccessUnit) -> Segment | None:
        """Takes a unit in; returns the segment that ended before it, if one did.

        Units before the first key frame are left out, and so are those without a time.
        """
        if unit.dts_ns == NO_TIME:
            return None
        ended = None
        is_key = unit.key and (unit.track == "video" or not self._has_video)
        if self._open is None:
            if not is_key:
                return None
            self._begin(unit)
        elif self._is_changed(unit):
            # Players set their decoder up anew after a mark only (RFC 8216 section 4.3.2.3).
            ended = self._close(unit.dts_ns)
            self._begin(unit)
            self._open.follows = False
        elif (is_key and self._is_due(unit)) or self._is_too_long(unit):
            ended = self._close(unit.dts_ns)
            self._begin(unit)
        if is_key:
            self._key_ns = unit.dts_ns
        if unit.key and unit.track == "video":
            self._format = unit.format
        assert self._open is not None
        self._open.units.append(unit)
        self._latest_ns = max(self._latest_ns, unit.dts_ns)
        return ended

    def finish(self) -> Segment | None:
        """What is left at the end."""
        return self._close(self._latest_ns) if self._open is not None else None

    def _begin(self, unit: AccessUnit) -> None:
        self._open = Segment()
        self._begin_ns = self._latest_ns = unit.dts_ns

    def _close(self, at_ns: int) -> Segment:
        ended, self._open = self._open, None
        assert ended is not None
        ended.duration_s = max(0.0, (at_ns - self._begin_ns) / 1e9)
        if self.limit_s is None:
            ended.duration_s = min(ended.duration_s, FIRST_S_MAX)
            # The next segment may begin a little before the last unit of the other track.
            longest_s = max(ended.duration_s, (self._latest_ns - self._begin_ns) / 1e9)
            self.limit_s = max(math.ceil(self._target_s), math.ceil(longest_s - ROUNDED_S))
        # A pause before the unit that comes next belongs to no segment.
        ended.duration_s = min(ended.duration_s, self.limit_s + ROUNDED_S)
        return ended

    def _is_changed(self, unit: AccessUnit) -> bool:
        """Whether another encoder's pictures begin."""
        return (
            self._has_video and unit.key and unit.track == "video" and unit.format != self._format
        )

    def _is_due(self, unit: AccessUnit) -> bool:
        """Whether to cut at this key frame: the next one would come too late."""
        elapsed_s = (unit.dts_ns - self._begin_ns) / 1e9
        if self.limit_s is None:
            return elapsed_s >= min(FIRST_S_MIN, self._target_s - EARLY_S)
        gop_s = (unit.dts_ns - max(self._key_ns, self._begin_ns)) / 1e9
        if elapsed_s <= 0.0:
            return False
        return elapsed_s >= self._target_s - EARLY_S or elapsed_s + gop_s > self._target_s + 0.5

    def _is_too_long(self, unit: AccessUnit) -> bool:
        longest_s = FIRST_S_MAX if self.limit_s is None else self.limit_s + ROUNDED_S
        # A unit that steps back is before this segment; it never cuts.
        return (unit.dts_ns - self._begin_ns) / 1e9 > longest_s
