"""What the bitrate of a forward that is measured each second is said to be."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from strata.worker.average import Average, Pieces

BYTES_PER_S = 625_000
"""5 Mb/s."""
TICK_S = 1.003
"""From one measurement to the next: a second, and what the measuring takes."""


class Pushed:
    """A forward that hands segments over.

    Args:
        taken: when each is taken, and how many seconds of media it holds.
        target_s: how long a segment is at most.
        began_at: when the connection was made; before that there is none.
    """

    def __init__(
        self, taken: Iterable[tuple[float, float]], target_s: float, began_at: float = 0.0
    ) -> None:
        self._taken = list(taken)
        self._target_s = target_s
        self._began_at = began_at

    def at(self, now: float) -> tuple[int, Pieces | None]:
        """The total, and how it came about."""
        if now < self._began_at:
            return 0, None
        past = [(at, length_s) for at, length_s in self._taken if at <= now]
        media_s = sum(length_s for _, length_s in past)
        latest = max([self._began_at, *(at for at, _ in past)])
        return round(media_s * BYTES_PER_S), Pieces(self._target_s, latest, media_s)


class Told:
    """What is told at each measurement, in Mb/s, from one forward to another in its place."""

    def __init__(self) -> None:
        self.mbps: dict[float, float] = {}
        self._average = Average(0.0)
        self._before = 0

    def follow(self, pushed: Pushed, until_s: float) -> None:
        total = self._before
        while (now := TICK_S * (len(self.mbps) + 1)) <= until_s:
            size, pieces = pushed.at(now)
            total = self._before + size
            self.mbps[now] = self._average.kbps(total, now, pieces) / 1000
        self._before = total

    def between(self, begin_s: float, end_s: float = 1e9) -> set[float]:
        """Each number once, rounded to 100 kb/s."""
        return {round(mbps, 1) for at, mbps in self.mbps.items() if begin_s <= at < end_s}


def segments(
    length_s: float, until_s: float, *, first_s: float | None = None, late_s: float = 0.0
) -> list[tuple[float, float]]:
    """Segments of that length, each taken when it is complete or up to ``late_s`` later."""
    chance = random.Random(5)
    lengths = [first_s or length_s]
    while sum(lengths) + length_s <= until_s:
        lengths.append(length_s)
    ends = [sum(lengths[: number + 1]) for number in range(len(lengths))]
    return [
        (end + chance.uniform(0.0, late_s), length)
        for end, length in zip(ends, lengths, strict=True)
    ]


def test_what_is_taken_as_it_comes_counts_since_the_last_time() -> None:
    average = Average(100.0)
    assert average.kbps(250_000, 102.0, None) == pytest.approx(1000.0)
    assert average.kbps(250_000, 103.0, None) == 0.0
    assert average.kbps(500_000, 103.5, None) == pytest.approx(4000.0)
    assert average.kbps(500_000, 103.5, None) == 0.0


@pytest.mark.parametrize("first_s", [None, 1.0])
@pytest.mark.parametrize(
    ("length_s", "target_s"), [(2.0, 2.0), (4.0, 4.0), (2.5, 4.0), (3.0, 4.0), (10.0, 10.0)]
)
def test_segments_are_the_stream_from_the_first_on(
    length_s: float, target_s: float, first_s: float | None
) -> None:
    told = Told()
    told.follow(Pushed(segments(length_s, 120.0, first_s=first_s), target_s), 120.0)
    first_at = first_s or length_s
    assert told.between(0.0, first_at) <= {0.0}
    assert told.between(first_at) == {5.0}


@pytest.mark.parametrize(("length_s", "late_s"), [(2.0, 0.5), (4.0, 1.0)])
def test_uploads_that_take_a_while_hardly_show(length_s: float, late_s: float) -> None:
    told = Told()
    told.follow(Pushed(segments(length_s, 300.0, late_s=late_s), length_s), 300.0)
    assert min(told.between(length_s + late_s)) >= 4.2
    assert max(told.between(0.0)) <= 5.8


def test_a_connection_that_begins_with_what_there_is_makes_no_peak() -> None:
    told = Told()
    told.follow(Pushed([(10.1, 2.0), *((10.1 + n, 2.0) for n in (2, 4, 6))], 2.0, 10.0), 17.0)
    assert told.between(0.0, 10.1) == {0.0}
    assert told.between(10.1) == {5.0}


@pytest.mark.parametrize("length_s", [2.0, 4.0])
def test_when_no_more_are_taken_it_falls_to_nothing(length_s: float) -> None:
    told = Told()
    told.follow(Pushed(segments(length_s, 40.0), length_s), 60.0)
    assert told.between(20.0, 40.0 + length_s) == {5.0}
    falling = [mbps for at, mbps in told.mbps.items() if at > 40.0 + length_s + TICK_S]
    assert falling == sorted(falling, reverse=True)
    assert falling[0] < 5.0
    assert told.between(40.0 + 3 * length_s + TICK_S) == {0.0}


def test_half_of_the_segments_is_half_of_the_bitrate() -> None:
    told = Told()
    told.follow(Pushed(segments(2.0, 120.0)[::2], 2.0), 120.0)
    found = told.between(10.0, 118.0)
    assert min(found) >= 2.3
    assert max(found) <= 3.4


def test_a_connection_that_is_lost_takes_nothing_and_the_next_begins_anew() -> None:
    told = Told()
    told.follow(Pushed(segments(4.0, 40.0), 4.0), 41.0)
    lost = Pushed([(52.5, 2.0), (56.5, 4.0), (60.5, 4.0)], 4.0, began_at=50.5)
    told.follow(lost, 61.0)
    assert told.between(20.0, 41.0) == {5.0}
    assert told.between(41.0, 52.5) == {0.0}
    assert told.between(52.5) == {5.0}


def test_a_forward_that_takes_the_place_of_another_kind_goes_on_from_its_bytes() -> None:
    average = Average(0.0)
    assert average.kbps(625_000, 1.0, None) == 5000.0
    assert average.kbps(1_250_000, 2.0, None) == 5000.0
    # Two seconds of media, taken while it was on trial beside the old one.
    assert average.kbps(2_500_000, 3.0, Pieces(2.0, 2.5, 2.0)) == 5000.0
    assert average.kbps(2_500_000, 4.0, Pieces(2.0, 2.5, 2.0)) == 5000.0
