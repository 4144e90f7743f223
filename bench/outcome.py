"""What became of the pictures that were sent: from recordings to figures."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from bench.arrivals import Arrivals
from bench.coded import Came, Sent, clip_pictures, recorded_pictures
from bench.decoded import decode
from bench.media import FPS, MUX_KBPS
from bench.schedule import CALM_S

HOLE_S: Final = 0.2
"""From one shown picture to the next; a shorter pause is hardly seen."""
STEP_MIN_S: Final = 0.010
"""A quarter of a frame; stamps that step back, stand or crowd are no picture's time."""
_CLOCK_SLACK_S: Final = 0.05
"""A recorded picture that is seen so much before it was sent is still that one."""


class Source:
    """The clip: its pictures, and what each looks like."""

    def __init__(self, clip: Path) -> None:
        self.pictures, self.parameters = clip_pictures(clip.read_bytes())
        self._looks = {_ms(pts): sum_ for pts, sum_ in decode(clip).pictures}
        self._first_dts = self.pictures[0].dts

    def looks(self, picture: Sent) -> str | None:
        return self._looks.get(_ms(picture.pts))

    def shots(
        self, begin: float, sent_s: float, from_s: float = 0.0, to_s: float = math.inf
    ) -> list[Shot]:
        """The pictures of a feed.

        Args:
            begin: when it began (``time.monotonic()``).
            sent_s: how much of the clip it sent.
            from_s, to_s: those of the clip's seconds between count.
        """
        bytes_per_s = MUX_KBPS * 1000 / 8
        found = []
        for each in self.pictures:
            at_s = each.end / bytes_per_s
            if at_s < sent_s:
                source_at = begin + each.dts - self._first_dts
                found.append(Shot(each, source_at, begin + at_s, from_s <= at_s < to_s))
        return found


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture that was sent. Times are ``time.monotonic()``.

    Attributes:
        source_at: its decoding time, but for a constant.
        sent_at: when its last byte was handed to the sender.
    """

    picture: Sent
    source_at: float
    sent_at: float
    counts: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one peer made of one day. Milliseconds and seconds as the names say.

    Attributes:
        sent: pictures that were sent in the window.
        delivered: of these, came with every byte.
        clean: of these, a viewer sees just as they were.
        broken: pictures that a viewer sees that are neither the source's nor a slate.
        latency_ms, latency_95_ms, latency_end_ms: from the last byte of a picture handed to
            the sender to the last byte written by nginx, recovery buffer (1000 ms) and all:
            median, 95 of 100, and median over the calm seconds at the end.
        dead_s: holes of more than :data:`HOLE_S` between pictures in the recording's time
            line, time between sessions, and what is missing at the end.
        silent_s: longest time in which no picture arrived at nginx.
        slate_s: of a picture that stands in.
        drift_ms: how much longer the recording's time line is than what was sent.
        errors: how often a decoder complains.
        parser_errors: and a parser, which does not change the picture.
        bad_stamps: steps of less than :data:`STEP_MIN_S` in decoding time.
    """

    sent: int
    delivered: int
    clean: int
    broken: int
    latency_ms: float | None
    latency_95_ms: float | None
    latency_end_ms: float | None
    dead_s: float
    silent_s: float
    slate_s: float
    sessions: int
    errors: int
    parser_errors: int
    bad_stamps: int
    drift_ms: float | None


@dataclass(frozen=True, slots=True)
class _Seen:
    """A picture of a recording: which shot it is, if any, and what it looks like."""

    came: Came
    at: float
    file: int
    shot: Shot | None
    looks: str | None


def outcome(
    source: Source,
    recordings: Sequence[Path],
    arrivals: Arrivals,
    shots: Sequence[Shot],
    begin: float,
    end: float,
) -> Outcome:
    """Args:
    shots: all that was sent, in order.
    begin, end: ``time.monotonic()`` between which arrivals are looked at; the feed still
        runs at the end.
    """
    seen: list[_Seen] = []
    errors = parser_errors = 0
    for file, path in enumerate(recordings):
        shown = decode(path)
        errors += shown.errors
        parser_errors += shown.parser_errors
        seen += _seen(source, path, file, arrivals, shots, dict(_in_ms(shown.pictures)))
    window = [each for each in seen if begin <= each.at < end]
    counted = [each for each in seen if each.shot is not None and each.shot.counts]
    clean = {
        id(each.shot)
        for each in counted
        if each.shot and each.looks == source.looks(each.shot.picture)
    }
    delays = [(each.at - each.shot.sent_at) * 1000 for each in counted if each.shot]
    calm = max((shot.sent_at for shot in shots if shot.counts), default=end) - CALM_S / 2
    late = [
        (each.at - each.shot.sent_at) * 1000
        for each in counted
        if each.shot and each.shot.sent_at > calm
    ]
    ats = [begin, *(each.at for each in window), end]
    return Outcome(
        sent=sum(shot.counts for shot in shots),
        delivered=len({id(each.shot) for each in counted}),
        clean=len(clean),
        broken=sum(_is_broken(source, each) for each in window),
        latency_ms=statistics.median(delays) if delays else None,
        latency_95_ms=statistics.quantiles(delays, n=20)[-1] if len(delays) > 1 else None,
        latency_end_ms=statistics.median(late) if late else None,
        dead_s=_dead_s(window, begin, end),
        silent_s=max(after - before for before, after in pairwise(ats)),
        slate_s=sum(each.came.alien for each in window) / FPS,
        sessions=len(recordings),
        errors=errors,
        parser_errors=parser_errors,
        bad_stamps=sum(
            after.file == before.file and after.came.dts - before.came.dts < STEP_MIN_S
            for before, after in pairwise(window)
        ),
        drift_ms=_drift_ms(counted),
    )


def _seen(
    source: Source,
    path: Path,
    file: int,
    arrivals: Arrivals,
    shots: Sequence[Shot],
    looks: dict[int, str],
) -> list[_Seen]:
    by_key: dict[bytes, list[Shot]] = {}
    for shot in shots:
        by_key.setdefault(shot.picture.key, []).append(shot)
    found = []
    for came in recorded_pictures(path, source.parameters):
        at = arrivals.at(path, came.end)
        # One that was sent twice is the later one that it can be.
        fitting = [shot for shot in by_key.get(came.key, ()) if shot.sent_at <= at + _CLOCK_SLACK_S]
        which = fitting[-1] if fitting else None
        found.append(_Seen(came, at, file, which, looks.get(_ms(came.pts))))
    return found


def _is_broken(source: Source, each: _Seen) -> bool:
    if each.came.alien or each.looks is None:
        return False
    return each.shot is None or each.looks != source.looks(each.shot.picture)


def _dead_s(window: Sequence[_Seen], begin: float, end: float) -> float:
    if not window:
        return end - begin
    dead = 0.0
    for file in sorted({each.file for each in window}):
        stamps = sorted(each.came.pts for each in window if each.file == file)
        steps = [after - before for before, after in pairwise(stamps)]
        dead += sum(step - 1 / FPS for step in steps if step > HOLE_S)
    ends = [(begin, window[0].at), (window[-1].at, end)]
    changes = [(a.at, b.at) for a, b in pairwise(window) if a.file != b.file]
    waits = [after - before for before, after in (*ends, *changes)]
    return dead + sum(wait for wait in waits if wait > HOLE_S)


def _drift_ms(counted: Sequence[_Seen]) -> float | None:
    """None where the recording is not one session from the first to the last."""
    if len(counted) < 2 or counted[0].file != counted[-1].file:
        return None
    first, last = counted[0], counted[-1]
    assert first.shot is not None
    assert last.shot is not None
    sent_s = last.shot.source_at - first.shot.source_at
    return (last.came.dts - first.came.dts - sent_s) * 1000


def _in_ms(pictures: Sequence[tuple[float, str]]) -> list[tuple[int, str]]:
    return [(_ms(pts), sum_) for pts, sum_ in pictures]


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
