"""Senders that are simulated: what comes in, when, and what a line makes of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise

from strata.worker.formats import AudioFormat, Track, VideoFormat
from strata.worker.line import Line
from strata.worker.slates.slate import Slate
from strata.worker.units import AccessUnit

MS = 1_000_000
SECOND = 1_000 * MS
STEP = 40 * MS
TICK_EVERY = 3

VIDEO = VideoFormat("h264", b"\x01", "video/x-h264", 1280, 720, Fraction(25), "main")
OTHER_VIDEO = replace(VIDEO, config=b"\x02", width=1920, height=1080)
AUDIO = AudioFormat("aac", bytes.fromhex("1190"), "audio/mpeg", 48_000, 2)
SLATE = Slate(replace(VIDEO, config=b"slate"), ((b"slate", True), *[(b"slate", False)] * 24))

Change = Callable[[AccessUnit], list[AccessUnit]]


def video(dts: int, *, key: bool = False, pts: int | None = None, **other: object) -> AccessUnit:
    """One picture, by ms."""
    shown = dts if pts is None else pts
    unit = AccessUnit(VIDEO, b"v", shown * MS, dts * MS, key)
    return replace(unit, **other)  # type: ignore[arg-type]


def audio(dts: int, **other: object) -> AccessUnit:
    """One frame of sound, by ms."""
    unit = AccessUnit(AUDIO, b"a", dts * MS, dts * MS, True)
    return replace(unit, **other)  # type: ignore[arg-type]


@dataclass
class Sender:
    """An encoder.

    Attributes:
        clock: by track, what is added to the passing time to give a stamp.
        lag: by track, how much later than its stamp says a unit arrives.
        b_frames: two of them between each two other pictures.
        jitter: pictures come at irregular times (variable frame rate).
        jumps: when its clock was set anew, by its own passing time, and by how much.
    """

    fps: Fraction = Fraction(25)
    key_s: int = 2
    b_frames: bool = False
    jitter: bool = False
    no_dts: bool = False
    no_pts: bool = False
    format: VideoFormat = VIDEO
    has: dict[Track, bool] = field(default_factory=lambda: {"video": True, "audio": True})
    clock: dict[Track, int] = field(default_factory=lambda: {"video": 0, "audio": 0})
    lag: dict[Track, int] = field(default_factory=lambda: {"video": 0, "audio": 0})
    index: dict[Track, int] = field(default_factory=lambda: {"video": 0, "audio": 0})
    jumps: list[tuple[int, int]] = field(default_factory=list)
    key_due: int = 0
    next_format: VideoFormat | None = None

    def units(self, until: int) -> list[tuple[int, AccessUnit]]:
        """What arrives before that time, in the order of arrival."""
        found = [*self._videos(until - self.lag["video"]), *self._audios(until - self.lag["audio"])]
        return sorted(found, key=lambda each: each[0])

    def _videos(self, until: int) -> list[tuple[int, AccessUnit]]:
        found = []
        while (at := self._at(self.index["video"])) < until:
            number = self.index["video"]
            self.index["video"] += 1
            if self.has["video"]:
                found.append((at + self.lag["video"], self._picture(number, at)))
        return found

    def _picture(self, number: int, at: int) -> AccessUnit:
        is_anchor = not self.b_frames or number % 3 == 1
        key = is_anchor and at >= self.key_due
        if key:
            self.key_due = at + self.key_s * SECOND
            self.format = self.next_format or self.format
        dts = self._stamp("video", at)
        pts = dts + (int(3 * SECOND / self.fps) if self.b_frames and is_anchor else 0)
        if self.no_dts:
            dts = -1
        elif self.no_pts:
            pts = -1
        return AccessUnit(self.format, b"v%d" % number, pts, dts, key)

    def _stamp(self, track: Track, at: int) -> int:
        return at + self.clock[track] + sum(by for since, by in self.jumps if since <= at)

    def _at(self, number: int) -> int:
        wobble = (number * 7919 % 13) * MS if self.jitter else 0
        return int(number * SECOND / self.fps) + wobble

    def _audios(self, until: int) -> list[tuple[int, AccessUnit]]:
        found = []
        while (at := self.index["audio"] * 1024 * SECOND // 48_000) < until:
            number = self.index["audio"]
            self.index["audio"] += 1
            if self.has["audio"]:
                dts = self._stamp("audio", at)
                unit = AccessUnit(AUDIO, b"a%d" % number, dts, dts, True)
                found.append((at + self.lag["audio"], unit))
        return found

    def true_time(self, unit: AccessUnit) -> int:
        """When a live unit was made."""
        number = int(unit.data[1:])
        if unit.track == "video":
            return self._at(number)
        return number * 1024 * SECOND // 48_000


def is_live(unit: AccessUnit) -> bool:
    return unit.data[:1] in (b"v", b"a") and unit.data[1:].isdigit()


class Studio:
    """A sender, the link, and a line. Time passes by :meth:`run`."""

    def __init__(
        self, sender: Sender | None = None, slate: Slate | None = SLATE, **options: bool
    ) -> None:
        self.sender = sender or Sender()
        self.line = Line(**options)
        self.set_slate(slate)
        self.now = 0
        self.went: list[tuple[int, AccessUnit]] = []
        self.paused = 0
        """For how long the sender stood still."""
        self.stalled = 0
        """For how long what was sent waited on the link."""
        self.sent_at: dict[bytes, int] = {}
        self.changes: dict[Track, deque[Change]] = {"video": deque(), "audio": deque()}
        self.base = 1_000 * SECOND
        self._held: list[AccessUnit] = []
        self._has_lost: dict[Track, bool] = {"video": False, "audio": False}
        self._has_begun = False
        self._steps = 0
        self.sealed: dict[Track, list[tuple[int, int]]] = {"video": [], "audio": []}
        """What was put out, as when and with which stamp."""
        self._watch()

    def set_slate(self, slate: Slate | None) -> None:
        self.line.slate = slate
        self.line.liveness.can_slate = slate is not None

    def _watch(self) -> None:
        timeline = self.line.timeline
        seal = timeline.seal

        def watched(unit: AccessUnit) -> AccessUnit | None:
            sealed = seal(unit)
            if sealed is not None:
                self.sealed[unit.track].append((self.now, sealed.dts_ns))
            return sealed

        timeline.seal = watched  # type: ignore[method-assign]

    def run(
        self, seconds: float, *, cut: bool = False, stall: bool = False, pause: bool = False
    ) -> None:
        """Lets time pass.

        Args:
            cut: what is sent is lost.
            stall: what is sent waits on the link, and comes all at once afterwards.
            pause: the sender and its clock stand still.
        """
        end = self.now + int(seconds * SECOND)
        while self.now < end:
            self.now += STEP
            self.paused += pause * STEP
            self.stalled += stall * STEP
            self._steps += 1
            arrived = [unit for _, unit in self.sender.units(self.now - self.paused)]
            if cut:
                self._lose(arrived)
                arrived = []
            elif stall:
                self._held += arrived
                arrived = []
            else:
                arrived, self._held = self._held + arrived, []
            self._push(arrived)
            if not self._has_begun and self.now >= SECOND // 2:
                self._has_begun = True
                self.line.liveness.begin()
            if self._steps % TICK_EVERY == 0:
                self._out(self.line.tick(self.now + self.base))

    def lose_held(self, begin: float, end: float) -> None:
        """Loses a part of what waits on the link, and lets the rest arrive.

        Args:
            begin, end: the part, from 0 to 1.
        """
        size = len(self._held)
        held, self._held = self._held, []
        self._push(held[: int(begin * size)])
        self._lose(held[int(begin * size) : int(end * size)])
        self._push(held[int(end * size) :])

    def jump(self, seconds: float) -> None:
        """The sender sets its clock anew."""
        self.sender.jumps.append((self.now - self.paused, round(seconds * SECOND)))

    def _lose(self, units: list[AccessUnit]) -> None:
        for unit in units:
            self._has_lost[unit.track] = True

    def _push(self, arrived: list[AccessUnit]) -> None:
        units: list[AccessUnit] = []
        for unit in arrived:
            if self._has_lost[unit.track]:
                self._has_lost[unit.track] = False
                unit = replace(unit, follows=False)
            self.sent_at.setdefault(unit.data, self.now)
            changes = self.changes[unit.track]
            units += changes.popleft()(unit) if changes else [unit]
        if units:
            self._out(self.line.push(units, self.now + self.base))

    def _out(self, units: list[AccessUnit]) -> None:
        self.went += [(self.now, unit) for unit in units]

    # What came of it.

    def track(self, track: Track, since: int = 0) -> list[tuple[int, AccessUnit]]:
        return [(at, unit) for at, unit in self.went if unit.track == track and at >= since]

    def live(self, track: Track, since: int = 0) -> list[tuple[int, AccessUnit]]:
        return [each for each in self.track(track, since) if is_live(each[1])]

    def shift(self, track: Track) -> int:
        """By how much the newest live unit of a track was moved against when it was made."""
        _, unit = self.live(track)[-1]
        return unit.dts_ns - self.sender.true_time(unit)

    def ahead(self) -> int:
        """By how much stamps were ever further than time had passed since the first."""
        if not self.went:
            return 0
        first_at, first = self.went[0]
        return max((u.dts_ns - first.dts_ns) - (at - first_at) for at, u in self.went)

    def silent_for(self, track: Track, since: int) -> int:
        """The longest pause between two stamps of a track from then on."""
        stamps = [unit.dts_ns for _, unit in self.track(track, since)]
        return max((b - a for a, b in pairwise(stamps)), default=0)

    def frozen_for(self, track: Track, since: int = 0) -> int:
        """The longest time in which nothing of a track was put out."""
        times = [at for at, _ in self.sealed[track] if at >= since]
        return max((b - a for a, b in pairwise([*times, self.now])), default=0)

    def lead(self) -> int:
        """How far the line has got before the passing time, since the beginning."""
        first_at, first = self.sealed["video"][0]
        now = self.now + self.base
        edge = self.line.timeline.edge("video", now)
        assert edge is not None
        return (edge - first) - (self.now - first_at)

    def behind(self) -> int:
        """How far the picture was ever behind the passing time."""
        first_at, first = self.sealed["video"][0]
        row = self.sealed["video"]
        return max((at - first_at) - (dts - first) for (_, dts), (at, _) in pairwise(row))

    def check_order(self) -> None:
        """Stamps of each track go on; pictures are shown after decoding."""
        for name in ("video", "audio"):
            last = None
            for at, unit in self.track(name):
                assert unit.pts_ns >= unit.dts_ns, (at / SECOND, unit)
                assert last is None or unit.dts_ns >= last + MS, (name, at / SECOND, last, unit)
                last = unit.dts_ns

    def check_held(self, most: int = 200) -> None:
        """What is kept back is little."""
        line = self.line
        rows = sum(map(len, line._rows._rows.values()))
        suspects = sum(len(each.suspects) for each in line.timeline._tracks.values())
        assert rows + suspects <= most, (rows, suspects)

    def check_waits(self, most: int = SECOND + TICK_EVERY * STEP) -> None:
        for at, unit in self.went:
            if is_live(unit):
                waited = at - self.sent_at[unit.data]
                assert waited <= most, (at / SECOND, waited / SECOND, unit.data)

    def check_pictures(self) -> None:
        """Live pictures begin with a key frame wherever something is missing before them."""
        last: AccessUnit | None = None
        for at, unit in self.track("video"):
            if is_live(unit) and not unit.key:
                assert last is not None, (at / SECOND, unit)
                assert is_live(last), (at / SECOND, "after a slate", unit)
                missing = int(unit.data[1:]) - int(last.data[1:])
                assert missing in (0, 1), (at / SECOND, last.data, unit.data)
                assert unit.format == last.format, (at / SECOND, unit)
            last = unit
