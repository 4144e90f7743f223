"""The one clock of a broadcast. Pure.

Whatever the stamps of the sender do (begin anew with a restarted encoder, jump, step back,
arrive damaged), what goes out counts on: each track strictly forwards, picture and sound
moved by the same amount, and never further ahead than time has passed.

A unit whose stamp does not fit is a *suspect*. It is kept aside for a moment. If what follows
fits again, the stamp was damaged, and the suspects are dropped; if what follows goes on from
the suspects, the sender's clock was set anew, and all of them are moved onto the line. So a
damaged stamp never moves the line, and a new clock costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from strata.worker.formats import Track
from strata.worker.units import NO_TIME, AccessUnit

MS: Final = 1_000_000
SECOND: Final = 1_000 * MS

STEP_MIN: Final = MS
"""Between two units of a track. FLV counts in milliseconds, and two must not be equal."""
SQUEEZE_MAX: Final = 40 * MS
"""A unit that comes so little too early is moved up to the one before: less than anybody
sees or hears. What would have to be moved further is a suspect."""
AHEAD_MAX: Final = 2 * SECOND
"""Further ahead of the passing of time no stamp is believed. What waited in the recovery
buffer comes in a burst, and is not ahead."""
BEHIND_MAX: Final = 2 * SECOND
"""A sender whose clock falls further behind has paused it."""
APART_MAX: Final = 4 * SECOND
"""Between a track that has no past on this line, or none for so long, and the other one."""
DRIFT: Final = 1_000
"""Part of the passing time by which the sender's clock may go faster or slower than ours:
more than any crystal, and nothing beside a damaged stamp."""

SUSPECTS_SURE: Final = 6
"""So many in a row that agree with one another are a new clock."""
SUSPECTS_MAX: Final = 150
SUSPECT_STEP_MAX: Final = SECOND
"""Between two suspects that agree."""


@dataclass(slots=True)
class _Edge:
    """Where a track is.

    Attributes:
        out: the decoding time of its newest unit; nothing goes out at or below it.
        live: the same of its newest live unit, or None for a track that has had none since
            the clock was set.
        at: when that came.
        due: what the track is at when all goes as it should; follows ``live`` slowly.
    """

    out: int | None = None
    live: int | None = None
    at: int = 0
    due: int = 0

    def at_time(self, now: int) -> int:
        return self.due + (now - self.at)

    def follow(self, dts: int, now: int) -> None:
        """Takes in that a unit with this time came now."""
        if self.live is None or dts < self.at_time(now) - BEHIND_MAX:
            self.due = dts
        else:
            most = (now - self.at) // DRIFT
            due = self.at_time(now)
            self.due = due + max(-most, min(most, dts - due))
        self.live, self.at = dts, now


class Timeline:
    """Puts the units of one stream onto one line. All times are ns; ``now`` is any
    monotonic clock.

    Attributes:
        bad_stamps: units that were dropped for their stamp.
        moves: how often the sender's clock was set anew.
    """

    def __init__(self) -> None:
        self.bad_stamps = 0
        self.moves = 0
        self._offset = 0
        self._edges: dict[Track, _Edge] = {"video": _Edge(), "audio": _Edge()}
        self._suspects: list[tuple[AccessUnit, int]] = []
        self._in_dts: dict[Track, int] = {}
        self._expects_jump = False

    def out(self, track: Track) -> int | None:
        """Decoding time of what last went out of a track."""
        return self._edges[track].out

    def edge(self, track: Track, now: int) -> int | None:
        """The decoding time that a live unit of the track would have now; None before any."""
        other: Track = "audio" if track == "video" else "video"
        for edge in (self._edges[track], self._edges[other]):
            if edge.live is not None:
                return edge.at_time(now)
        return None

    def expect_jump(self) -> None:
        """The sender was restarted, or was away: the next key frame may set the clock."""
        self._expects_jump = True

    def took(self, track: Track, dts: int) -> None:
        """Something that did not come from the sender went out."""
        edge = self._edges[track]
        edge.out = dts if edge.out is None else max(edge.out, dts)

    def push(self, unit: AccessUnit, now: int) -> list[AccessUnit]:
        """What may go out, with its time on the line: mostly the unit itself."""
        unit = self._complete(unit)
        dts = unit.dts_ns + self._offset
        if self._fits(unit.track, dts, now):
            return self._accept(unit, now)
        if self._is_late(unit.track, dts):
            return []
        return self._suspect(unit, now)

    # Stamps that are missing.

    def _complete(self, unit: AccessUnit) -> AccessUnit:
        """With both stamps. Without a decoding time it is the time of showing, unless that
        would step back (pictures that are shown later than decoded)."""
        pts, dts = unit.pts_ns, unit.dts_ns
        last = self._in_dts.get(unit.track)
        if dts == NO_TIME:
            following = 0 if last is None else last + unit.format.unit_ns
            is_early = following - SUSPECT_STEP_MAX < pts < following
            dts = following if pts == NO_TIME or is_early else pts
        if pts == NO_TIME:
            pts = dts
        self._in_dts[unit.track] = dts
        if (pts, dts) == (unit.pts_ns, unit.dts_ns):
            return unit
        return replace(unit, pts_ns=pts, dts_ns=dts)

    # Whether a stamp can be true.

    def _fits(self, track: Track, dts: int, now: int) -> bool:
        edge = self._edges[track]
        if edge.out is not None and dts < edge.out + STEP_MIN - SQUEEZE_MAX:
            return False
        due = self.edge(track, now)
        if due is None:
            return dts >= 0
        if edge.live is None or (track != self._leader and now - edge.at > APART_MAX):
            return dts >= 0 and abs(dts - self._due_of_leader(now)) <= APART_MAX
        return dts <= due + AHEAD_MAX

    def _due_of_leader(self, now: int) -> int:
        due = self.edge(self._leader, now)
        assert due is not None
        return due

    def _is_late(self, track: Track, dts: int) -> bool:
        """Whether something else went out in the place of this unit: it comes back from a
        pause that was filled, and is in order but for that."""
        edge = self._edges[track]
        if self._expects_jump or edge.out is None or edge.live is None:
            return False
        return edge.live < dts <= edge.out

    # What becomes of it.

    def _accept(self, unit: AccessUnit, now: int) -> list[AccessUnit]:
        if unit.track == self._leader:
            self._drop_suspects()
            self._expects_jump = False
        edge = self._edges[unit.track]
        dts = unit.dts_ns + self._offset
        edge.follow(dts, now)
        if edge.out is not None:
            dts = max(dts, edge.out + STEP_MIN)
        edge.out = dts
        pts = self._shown(unit, dts)
        if (pts, dts) == (unit.pts_ns, unit.dts_ns):
            return [unit]
        return [replace(unit, pts_ns=pts, dts_ns=dts)]

    def _shown(self, unit: AccessUnit, dts: int) -> int:
        """The time of showing: not before decoding, and not long after."""
        pts = unit.pts_ns + self._offset
        return pts if dts <= pts <= dts + AHEAD_MAX else dts

    def _suspect(self, unit: AccessUnit, now: int) -> list[AccessUnit]:
        leader = self._leader
        if unit.track == leader:
            last = next((u for u, _ in reversed(self._suspects) if u.track == leader), None)
            if last is not None and not 0 < unit.dts_ns - last.dts_ns <= SUSPECT_STEP_MAX:
                self._drop_suspects()
        self._suspects.append((unit, now))
        ours = [(u, at) for u, at in self._suspects if u.track == leader]
        if ours and (
            len(ours) >= SUSPECTS_SURE or (self._expects_jump and unit.track == leader and unit.key)
        ):
            return self._move(*ours[0] if len(ours) >= SUSPECTS_SURE else ours[-1])
        if len(self._suspects) > SUSPECTS_MAX:
            self._drop_suspects()
        return []

    @property
    def _leader(self) -> Track:
        """Whose clock counts."""
        edge = self._edges["video"]
        return "video" if edge.live is not None or edge.out is not None else "audio"

    def _move(self, first: AccessUnit, at: int) -> list[AccessUnit]:
        """Sets the clock so that ``first``, which came at ``at``, follows what is out."""
        due = self.edge(first.track, at)
        assert due is not None
        out = self._edges[first.track].out
        if out is not None:
            due = max(due, out + first.format.unit_ns)
        self._offset = due - first.dts_ns
        self._expects_jump = False
        self.moves += 1
        leader = self._edges[first.track]
        for edge in self._edges.values():
            # The other track's distance to this one may be another now.
            edge.live = None
        leader.follow(due, at)
        held, self._suspects = self._suspects, []
        found: list[AccessUnit] = []
        for unit, came_at in held:
            dts = unit.dts_ns + self._offset
            if self._fits(unit.track, dts, came_at):
                found += self._accept(unit, came_at)
            else:
                self.bad_stamps += 1
        return found

    def _drop_suspects(self) -> None:
        self.bad_stamps += len(self._suspects)
        self._suspects.clear()
