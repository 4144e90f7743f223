"""What goes on the air, unit by unit: the sender's, or what stands in for them. Pure.

Here the decisions come together: damaged pictures are left out (up to the next key frame),
stamps are put on the one line (:mod:`strata.worker.timeline`), a slate and silence fill what
is missing (:mod:`strata.worker.liveness`), and both tracks become one row
(:mod:`strata.worker.interleave`).
"""

from __future__ import annotations

import heapq
import operator
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from strata.worker import silence
from strata.worker.formats import AudioFormat, Format, Track, VideoFormat
from strata.worker.interleave import WAIT_MAX, Interleaver
from strata.worker.liveness import SILENCE_AFTER, Liveness
from strata.worker.slates.slate import Slate
from strata.worker.timeline import Timeline
from strata.worker.units import NO_TIME, AccessUnit

SECOND: Final = 1_000_000_000

MARGIN: Final = SECOND * 4 // 10
"""The slate stays so far behind where the live picture would be, because that comes back a
little later than it was: after an outage librist begins a new buffer, which was measured to be
longer by 0.12 to 0.22 s."""
BACK_MAX: Final = 10 * SECOND
"""A slate that is ready late fills no more than this of what has passed."""
BEHIND_MAX: Final = 2 * SECOND
"""Nor does anything begin further behind what has gone out of the other track."""
DOUBTFUL: Final = 4
"""Pictures after a loss among which it shows whether it was one of the picture."""


@dataclass(slots=True)
class Counts:
    """Since the worker started.

    Attributes:
        gaps: places where something of the picture is missing.
        damaged_frames: pictures that were left out because of those.
        slates: how often the slate went on the air.
        slate_s, silence_s: for how long.
    """

    gaps: int = 0
    damaged_frames: int = 0
    slates: int = 0
    slate_s: float = 0.0
    silence_s: float = 0.0


class Line:
    """The row of one stream. ``now`` is ns on any monotonic clock.

    Args:
        keep_damaged: pictures after a gap go out as they are.
        can_silence: silence stands in for sound that is missing.

    Attributes:
        slate: what stands in for the picture; None for nothing.
        video_format, audio_format: of the newest live units.
    """

    def __init__(self, *, keep_damaged: bool = False, can_silence: bool = True) -> None:
        self.keep_damaged = keep_damaged
        self.counts = Counts()
        self.timeline = Timeline()
        self.liveness = Liveness(can_silence=can_silence)
        self.slate: Slate | None = None
        self.video_format: VideoFormat | None = None
        self.audio_format: AudioFormat | None = None
        self._rows = Interleaver()
        self._is_open = False
        """Whether live pictures go on; else the next key frame is waited for."""
        self._ends: dict[Track, int] = {}
        """By track: the stamp at which what has gone out so far is over."""
        self._frame = 0
        self._slate_lead = 0
        """Where the slate is: its stamps less the time."""
        self._lag = 0
        """How far the sound is behind the picture when it comes."""
        self._doubtful = 0
        """Pictures before which a hole is looked for."""
        self._in_dts = 0

    def push(self, units: Iterable[AccessUnit], now: int) -> list[AccessUnit]:
        """Takes in what the sender sent; returns what goes out."""
        # A batch brings one track after the other. What is seconds apart then only seems so.
        video: list[AccessUnit] = []
        audio: list[AccessUnit] = []
        for unit in units:
            (video if unit.track == "video" else audio).append(unit)
        for unit in heapq.merge(video, audio, key=_dts) if video and audio else video or audio:
            if unit.track == "video":
                self._push_video(unit, now)
            else:
                self._push_audio(unit, now)
        return self.tick(now)

    def tick(self, now: int) -> list[AccessUnit]:
        """What goes out because time has passed."""
        before = self.liveness.video
        self.liveness.look(now)
        lag = self.timeline.lag(now)
        if lag is not None:
            self._lag = max(0, min(lag, WAIT_MAX))
        if self.liveness.video == "slate":
            if before != "slate":
                self._begin_slate(now)
            self._fill_video(now + self._slate_lead - MARGIN, now)
        elif self.liveness.video == "none":
            self._is_open = False
        if self.liveness.audio == "silence":
            self._fill_audio(self._sound_due(now), now)
        return self._rows.take(now, alone=self.liveness.is_alone)

    def end(self, now: int) -> list[AccessUnit]:
        """Nothing comes any more: all that is left."""
        return self._rows.take(now, alone=True)

    def missed(self) -> None:
        """Something is missing of what the next units are made of; it may be of the picture."""
        self._doubtful = DOUBTFUL

    def restarted(self) -> None:
        """Another sender, or the same one from its beginning: its clock may be another."""
        self._is_open = False
        self.timeline.expect_jump()

    # The sender's units.

    def _push_video(self, unit: AccessUnit, now: int) -> None:
        if not self._follows(unit):
            self._lose()
        bad = self.timeline.bad("video")
        placed = self.timeline.place(unit, now)
        if self.timeline.bad("video") > bad:
            self._lose()
        for each in placed:
            self._route(each, now)

    def _push_audio(self, unit: AccessUnit, now: int) -> None:
        for each in self.timeline.place(unit, now):
            self._route(each, now)

    def _lose(self) -> None:
        """A picture is missing."""
        self.counts.gaps += self._is_open
        self._is_open = self._is_open and self.keep_damaged

    def _route(self, unit: AccessUnit, now: int) -> None:
        if self.liveness.holds:
            self._is_open = False
        elif isinstance(unit.format, AudioFormat):
            self._put_sound(unit, unit.format, now)
        else:
            assert isinstance(unit.format, VideoFormat)
            self._put_picture(unit, unit.format, now)

    def _put_picture(self, unit: AccessUnit, format: VideoFormat, now: int) -> None:
        if not (unit.key or (self._is_open and format.is_same(self.video_format))):
            self.counts.damaged_frames += self.liveness.video == "live"
            return
        if self.liveness.video == "slate":
            self._fill_video(unit.dts_ns, now)
        self._is_open = self._put(unit, now)
        if self._is_open:
            self.video_format = format
            self.liveness.went("video", now)

    def _put_sound(self, unit: AccessUnit, format: AudioFormat, now: int) -> None:
        ahead = unit.dts_ns - self._ends.get("audio", unit.dts_ns)
        is_hole = ahead > SILENCE_AFTER and self.liveness.audio == "live"
        if self.liveness.audio == "silence" or (is_hole and self.liveness.can_silence):
            # It may come without a pause and yet leave one, if its clock alone is another.
            self._fill_audio(unit.dts_ns, now)
        if self._put(unit, now):
            self.audio_format = format
            self.liveness.went("audio", now)

    def _follows(self, unit: AccessUnit) -> bool:
        """Whether no picture is missing before this one."""
        if unit.dts_ns == NO_TIME:
            return unit.follows
        before, self._in_dts = self._in_dts, unit.dts_ns
        if not self._doubtful:
            return unit.follows
        # A parser holds a picture or two back, so the hole is not just before the first one:
        # it is where the stamps leave room for what is missing.
        self._doubtful -= 1
        format = unit.format
        assert isinstance(format, VideoFormat)
        is_regular = format.fps is not None
        step = unit.dts_ns - before
        follows = unit.follows and 0 < step < format.unit_ns * 3 // 2
        if not follows or not (is_regular or self._doubtful):
            self._doubtful = 0
            return False
        return True

    # What stands in.

    def _begin_slate(self, now: int) -> None:
        self._frame = 0
        self._is_open = False
        self.counts.slates += 1
        due = self.timeline.edge("video", now)
        self._slate_lead = (0 if due is None else due) - now

    def _fill_video(self, until: int, now: int) -> None:
        if self.slate is None or not ("video" in self._ends or self.liveness.holds):
            return
        format, frames = self.slate.format, self.slate.frames
        for dts in self._steps(format, until):
            data, key = frames[self._frame]
            self._frame = (self._frame + 1) % len(frames)
            self._put(AccessUnit(format, data, dts, dts, key), now)
            self.counts.slate_s += format.unit_ns / SECOND

    def _fill_audio(self, until: int, now: int) -> None:
        format = self.audio_format or silence.USUAL
        data = silence.frame(format)
        for dts in self._steps(format, until):
            self._put(AccessUnit(format, data, dts, dts, True), now)
            self.counts.silence_s += format.unit_ns / SECOND

    def _sound_due(self, now: int) -> int:
        """How far silence goes: as far as the picture; after sound alone, as far as time."""
        if "video" in self._ends:
            # Not further than where sound is when it comes, or there is no room for it.
            return self._ends["video"] - self._lag
        due = self.timeline.edge("audio", now)
        return 0 if due is None else due - MARGIN

    def _steps(self, format: Format, until: int) -> range:
        """The stamps of units that fill up a track; the last one is over by then."""
        step = format.unit_ns
        other: Track = "audio" if format.track == "video" else "video"
        begin = max(
            self._ends.get(format.track, until - step),
            self._ends.get(other, 0) - BEHIND_MAX,
            until - BACK_MAX,
        )
        return range(begin, until - step + 1, step)

    def _put(self, unit: AccessUnit, now: int) -> bool:
        """Whether it goes out: not where something else did in its place."""
        sealed = self.timeline.seal(unit)
        if sealed is None:
            return False
        end = max(sealed.pts_ns, sealed.dts_ns) + sealed.format.unit_ns
        self._ends[sealed.track] = max(end, self._ends.get(sealed.track, 0))
        self._rows.add(sealed, now)
        return True


_dts = operator.attrgetter("dts_ns")
