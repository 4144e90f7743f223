"""The one clock of a broadcast. Pure.

Whatever the stamps of the sender do (begin anew with a restarted encoder, jump, step back,
arrive damaged), what goes out counts on: each track strictly forwards, picture and sound
moved by the same amount.

A stamp is believed when it continues its track: later than the one before, and by no more than
time has passed. A unit whose stamp does not is a *suspect*, and kept aside for a moment. If what
follows continues the track, the stamp was damaged, and the suspects are dropped; if what follows
continues the suspects, the sender's clock was set anew, and all of them are moved to where the
broadcast is by then. So a damaged stamp never moves the line, and a new clock costs nothing.
The track that comes later of the two still brings units by the clock of before then: those go
on from where their track was.

Believed units may still be *late*: something else went out in their place (a slate), and they
come in a burst behind it. They are left out, unless they stay late: then the sender's clock
stood still, and is moved.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from strata.worker.formats import Track
from strata.worker.units import NO_TIME, AccessUnit

MS: Final = 1_000_000
SECOND: Final = 1_000 * MS

STEP_MIN: Final = MS
"""Between two units of a track that go out. FLV counts in milliseconds, and two must not be
equal."""
SQUEEZE_MAX: Final = 40 * MS
"""A unit that comes so little too early is moved up behind the one before: less than anybody
sees or hears."""
SLACK: Final = 200 * MS
"""By so much a stamp may go ahead of the time that has passed since the last: batches, and
packets that waited for a repair."""
LATE_MAX: Final = 2 * SECOND
"""What is later than this is taken for a clock that stood still."""
SHOWN_AFTER_MAX: Final = SECOND
"""From decoding to showing: 16 pictures, at 16 a second."""

SUSPECTS_SURE: Final = 6
"""So many in a row that continue one another are a new clock."""
SURE_AFTER: Final = 300 * MS
"""Or fewer, for so long: pictures may be rare."""
SUSPECT_AGE_MAX: Final = SECOND
APART_MAX: Final = 4 * SECOND
"""Between picture and sound of one sender."""
LAG_MAX: Final = SECOND
"""Of one track behind the other, as they come."""
AWAY: Final = 2 * SECOND
"""A picture that has not been heard of for so long leaves the lead to the sound."""
STEADY: Final = SECOND // 2
"""For so long at least units are late, at the pace of time, before the clock is moved for it."""


@dataclass(slots=True)
class _Late:
    """A row of late units: when it began and with which stamp, and when its last one came."""

    since: int
    dts: int
    at: int


@dataclass(slots=True)
class _Before:
    """Where a track was by the clock of before: its newest stamp, when that came, and by what
    it was moved; and until when more may come by it."""

    came: int
    got: int
    offset: int
    until: int

    def goes_on(self, unit: AccessUnit, now: int) -> bool:
        """Whether the unit comes right after what came by that clock."""
        is_next = 0 < unit.dts_ns - self.came <= SLACK
        return is_next and now - self.got <= SLACK and now <= self.until


@dataclass(slots=True)
class _Track:
    """Where one track is.

    Attributes:
        out: the stamp of what went out last; nothing goes out at or before it.
        came: the newest stamp of the sender that was believed, by its own clock; None for
            none since that was set.
        data: what came with it.
        at: when that should have come: what comes late (a parser holds a unit back until the
            next one, a recovery buffer stalls) says nothing of the sender's clock.
        got: when it did come.
        seen: when any unit came last; None for never.
        bad: units that were dropped for their stamp.
        before: of the clock of before, until something comes by the present one.
    """

    out: int | None = None
    came: int | None = None
    data: bytes = b""
    at: int = 0
    got: int = 0
    seen: int | None = None
    late: _Late | None = None
    bad: int = 0
    before: _Before | None = None
    suspects: list[tuple[AccessUnit, int]] = field(default_factory=list)


class Timeline:
    """Puts the units of one stream onto one line. All times are ns; ``now`` is any monotonic
    clock.

    Attributes:
        moves: how often the sender's clock was set anew.
    """

    def __init__(self) -> None:
        self.moves = 0
        self._offset = 0
        self._tracks: dict[Track, _Track] = {"video": _Track(), "audio": _Track()}
        self._completed: dict[Track, int] = {}
        self._expects_jump = False

    @property
    def bad_stamps(self) -> int:
        """Units that were dropped for their stamp."""
        return sum(track.bad for track in self._tracks.values())

    def bad(self, track: Track) -> int:
        """The same of one track."""
        return self._tracks[track].bad

    def lag(self, now: int) -> int | None:
        """How far the sound is behind the picture when it comes; None while one of them does
        not come."""
        video, audio = self._tracks["video"], self._tracks["audio"]
        if video.came is None or audio.came is None or now - min(video.got, audio.got) > STEADY:
            return None
        return (video.came - video.got) - (audio.came - audio.got)

    def edge(self, track: Track, now: int) -> int | None:
        """The stamp that a live unit of the track would have now; None before any."""
        other: Track = "audio" if track == "video" else "video"
        for each in (self._tracks[track], self._tracks[other]):
            if each.came is not None:
                seen = each.at if each.seen is None else each.seen
                return each.came + self._offset + min(now - each.at, now - seen + LATE_MAX)
        return None

    def expect_jump(self) -> None:
        """The sender was restarted: its next key frame may set the clock."""
        self._expects_jump = True

    def place(self, unit: AccessUnit, now: int) -> list[AccessUnit]:
        """What may go out now that this has come, with its place on the line: mostly the unit
        itself; nothing; or several, of both tracks."""
        unit = self._complete(unit)
        track = self._tracks[unit.track]
        track.seen = now
        if unit.dts_ns == track.came and unit.data == track.data:
            return []  # a copy
        before = track.before
        if before is not None and before.goes_on(unit, now):
            before.came, before.got = unit.dts_ns, now
            return [_moved(unit, before.offset)]
        if self._continues(unit, now):
            track.bad += len(track.suspects)
            track.suspects.clear()
            return self._believe(unit, now)
        return self._doubt(unit, now)

    def seal(self, unit: AccessUnit) -> AccessUnit | None:
        """The unit as it goes out, or None where something else went out in its place."""
        out = self._tracks[unit.track].out
        dts, pts = unit.dts_ns, unit.pts_ns
        if out is not None:
            if dts < out + STEP_MIN - SQUEEZE_MAX:
                return None
            dts = max(dts, out + STEP_MIN)
        self._tracks[unit.track].out = dts
        pts = pts if dts <= pts <= dts + SHOWN_AFTER_MAX else dts
        return unit if (pts, dts) == (unit.pts_ns, unit.dts_ns) else _at(unit, pts, dts)

    # Stamps that are missing.

    def _complete(self, unit: AccessUnit) -> AccessUnit:
        """With both stamps. Without a decoding time it is that of showing, as in MPEG-2
        systems, unless that would step back (pictures that are shown later than decoded)."""
        pts, dts = unit.pts_ns, unit.dts_ns
        if dts == NO_TIME:
            last = self._completed.get(unit.track)
            if pts == NO_TIME:
                dts = 0 if last is None else last + unit.format.unit_ns
            else:
                steps_back = last is not None and last - SECOND < pts <= last
                dts = last + STEP_MIN if last is not None and steps_back else pts
        self._completed[unit.track] = dts
        if pts == NO_TIME:
            pts = dts
        return unit if (pts, dts) == (unit.pts_ns, unit.dts_ns) else _at(unit, pts, dts)

    # Whether a stamp can be true.

    def _continues(self, unit: AccessUnit, now: int) -> bool:
        track = self._tracks[unit.track]
        if track.came is not None:
            step = unit.dts_ns - track.came
            return 0 < step <= now - track.at + SLACK and self._is_beside(unit, now)
        due = self.edge(unit.track, now)
        return due is None or abs(unit.dts_ns + self._offset - due) <= APART_MAX

    def _believe(self, unit: AccessUnit, now: int) -> list[AccessUnit]:
        track = self._tracks[unit.track]
        if track.came is None:
            track.at = now
        else:
            # What is late for good (a longer way, a clock that paused) is caught up with.
            track.at = min(now, track.at + 2 * (unit.dts_ns - track.came))
        track.came, track.data, track.got, track.before = unit.dts_ns, unit.data, now, None
        if track.out is not None and unit.dts_ns + self._offset < track.out - SQUEEZE_MAX:
            if not self._stays_late(unit, track, now):
                return []
            self._offset = track.out + unit.format.unit_ns - unit.dts_ns
            track.at = now
            self.moves += 1
        if unit.key and unit.track == "video":
            self._expects_jump = False
        track.late = None
        return [_moved(unit, self._offset)]

    def _stays_late(self, unit: AccessUnit, track: _Track, now: int) -> bool:
        """Whether the clock is to be moved, because this track will not catch up."""
        late = track.late
        if (
            late is None
            or now - late.at > STEADY
            or (unit.dts_ns - late.dts) - (now - late.since) > SLACK
        ):
            # The first, or of another burst, or one that brings more media than time.
            late = track.late = _Late(now, unit.dts_ns, now)
        late.at = now
        if not unit.key or unit.track != self._leader(now):
            return False
        is_hinted = self._expects_jump and unit.track == "video"
        return is_hinted or now - late.since >= STEADY

    def _doubt(self, unit: AccessUnit, now: int) -> list[AccessUnit]:
        track = self._tracks[unit.track]
        suspects = track.suspects
        is_leader = unit.track == self._leader(now)
        begins = is_leader and self._expects_jump and unit.track == "video" and unit.key
        if suspects and (begins or not _continues(suspects[-1], unit, now)):
            track.bad += len(suspects)
            suspects.clear()
        suspects.append((unit, now))
        waited = now - suspects[0][1]
        are_sure = len(suspects) >= SUSPECTS_SURE or (len(suspects) > 1 and waited >= SURE_AFTER)
        if is_leader:
            return self._move(unit.track) if begins or are_sure else []
        if are_sure and waited >= STEADY and self._jumped_alone(suspects[0]):
            return self._release(unit.track)
        while now - suspects[0][1] > SUSPECT_AGE_MAX:
            del suspects[0]
            track.bad += 1
        return []

    def _jumped_alone(self, suspect: tuple[AccessUnit, int]) -> bool:
        """Whether the leading track went on as before since this suspect came, and it may be
        one of that sender."""
        unit, at = suspect
        leader = self._tracks[self._leader(at)]
        return leader.got > at and not leader.suspects and self._is_beside(unit, at)

    def _is_beside(self, unit: AccessUnit, now: int) -> bool:
        """Whether its stamp can belong to what the leading track brings."""
        name = self._leader(now)
        leader = self._tracks[name]
        if name == unit.track or leader.came is None:
            return True
        # Seen from when the leader came, or from when it should have: either may be in a burst.
        return any(
            abs(unit.dts_ns - (leader.came + now - at)) <= APART_MAX
            for at in (leader.got, leader.at)
        )

    def _leader(self, now: int) -> Track:
        """Whose clock counts."""
        seen = self._tracks["video"].seen
        return "video" if seen is not None and now - seen <= AWAY else "audio"

    def _move(self, name: Track) -> list[AccessUnit]:
        """Sets the clock so that the suspects of the leading track follow what is out; then
        those of the other track are seen with other eyes."""
        track = self._tracks[name]
        first, at = track.suspects[0]
        due = self.edge(name, at)
        if track.out is not None:
            after = track.out + first.format.unit_ns
            due = after if due is None else max(due, after)
        assert due is not None  # there is no suspect where nothing was believed
        other: Track = "audio" if name == "video" else "video"
        second = self._tracks[other]
        if second.came is not None:
            second.before = _Before(second.came, second.got, self._offset, at + LAG_MAX)
        self._offset = due - first.dts_ns
        self._expects_jump = False
        self.moves += 1
        track.came = second.came = None
        found = self._release(name)
        waiting, second.suspects = second.suspects, []
        for unit, came_at in waiting:
            found += self.place(unit, came_at)
        return found

    def _release(self, name: Track) -> list[AccessUnit]:
        track = self._tracks[name]
        suspects, track.suspects = track.suspects, []
        return [placed for unit, at in suspects for placed in self._believe(unit, at)]


def _continues(suspect: tuple[AccessUnit, int], unit: AccessUnit, now: int) -> bool:
    before, at = suspect
    age_max = max(SUSPECT_AGE_MAX, 2 * unit.format.unit_ns)
    return 0 < unit.dts_ns - before.dts_ns <= now - at + SLACK and now - at <= age_max


def _moved(unit: AccessUnit, by: int) -> AccessUnit:
    return _at(unit, unit.pts_ns + by, unit.dts_ns + by) if by else unit


def _at(unit: AccessUnit, pts: int, dts: int) -> AccessUnit:
    return AccessUnit(unit.format, unit.data, pts, dts, unit.key, unit.follows, unit.stands_in)
