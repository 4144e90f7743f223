"""Two rows of units that become one."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.worker.formats import Track
from strata.worker.interleave import WAIT_MAX, Interleaver
from strata.worker.units import AccessUnit
from unit.worker.fakes import AUDIO, VIDEO, unit

MS = 1_000_000


def video(at_ms: int) -> AccessUnit:
    return unit(VIDEO, b"", at_ms * MS)


def audio(at_ms: int) -> AccessUnit:
    return unit(AUDIO, b"", at_ms * MS)


def test_a_unit_waits_until_the_other_track_has_got_as_far() -> None:
    row = Interleaver()
    row.add(video(0), 0)
    row.add(video(40), 0)
    assert row.take(0) == []
    row.add(audio(20), 10 * MS)
    assert row.take(10 * MS) == [video(0), audio(20)]
    row.add(audio(41), 20 * MS)
    assert row.take(20 * MS) == [video(40)]
    row.add(video(80), 20 * MS)
    assert row.take(20 * MS) == [audio(41)]


def test_at_one_time_sound_comes_first() -> None:
    row = Interleaver()
    row.add(video(0), 0)
    row.add(audio(0), 0)
    assert row.take(0) == [audio(0), video(0)]


def test_no_unit_waits_longer_than_its_time() -> None:
    row = Interleaver()
    row.add(video(0), 0)
    row.add(video(40), 40 * MS)
    assert row.take(WAIT_MAX - 1) == []
    assert row.take(WAIT_MAX) == [video(0)]
    assert row.take(WAIT_MAX + 40 * MS - 1) == []
    assert row.take(WAIT_MAX + 40 * MS) == [video(40)]


@pytest.mark.parametrize("one", [video, audio])
def test_where_the_other_track_does_not_come_nothing_waits(one: type) -> None:
    row = Interleaver()
    row.add(one(0), 0)
    row.add(one(40), 0)
    assert row.take(0, alone=True) == [one(0), one(40)]
    assert row.take(0, alone=True) == []


def test_what_comes_late_goes_out_at_once() -> None:
    row = Interleaver()
    row.add(video(1000), 0)
    assert row.take(WAIT_MAX) == [video(1000)]
    row.add(audio(0), WAIT_MAX)
    row.add(audio(20), WAIT_MAX)
    assert row.take(WAIT_MAX) == [audio(0), audio(20)]


@dataclass(frozen=True)
class Step:
    """A unit comes so much later than the one before, or none comes."""

    track: Track | None
    after_ms: int
    further_ms: int


STEPS = st.lists(
    st.builds(
        Step,
        st.sampled_from(("video", "audio", None)),
        st.sampled_from((0, 1, 20, 40, 500, 1500)),
        st.sampled_from((1, 20, 40, 1000)),
    ),
    max_size=60,
)


@given(STEPS)
def test_nothing_is_lost_nothing_is_reordered_and_nothing_waits_too_long(
    steps: list[Step],
) -> None:
    row, now = Interleaver(), 0
    at_ms: dict[Track, int] = {"video": 0, "audio": 0}
    given_at: dict[AccessUnit, int] = {}
    out: list[AccessUnit] = []
    for step in steps:
        now += step.after_ms * MS
        if step.track is not None:
            at_ms[step.track] += step.further_ms
            added = (video if step.track == "video" else audio)(at_ms[step.track])
            given_at[added] = now
            row.add(added, now)
        out += row.take(now)
        waiting = [each for each in given_at if each not in out]
        assert all(now - given_at[each] < WAIT_MAX for each in waiting)
    out += row.take(now, alone=True)
    assert len(out) == len(given_at)
    for track in ("video", "audio"):
        ours = [each for each in given_at if each.track == track]
        assert [each for each in out if each.track == track] == ours


@given(
    video_ms=st.lists(st.sampled_from((20, 40, 41, 100)), max_size=40),
    audio_ms=st.lists(st.sampled_from((20, 21, 23, 46)), max_size=40),
    lag_ms=st.integers(0, 600),
    pauses=st.lists(st.integers(0, 60), max_size=80),
)
def test_two_tracks_that_come_in_time_are_ordered_by_their_time(
    video_ms: list[int], audio_ms: list[int], lag_ms: int, pauses: list[int]
) -> None:
    """Sound comes later than a picture of the same time, but not by as much as one waits."""
    coming: list[tuple[int, AccessUnit]] = []
    for steps, one, lag in ((video_ms, video, 0), (audio_ms, audio, lag_ms)):
        at_ms = 0
        for step in steps:
            at_ms += step
            coming.append(((at_ms + lag) * MS, one(at_ms)))
    coming.sort(key=lambda each: each[0])
    row, now, out = Interleaver(), 0, list[AccessUnit]()
    for index, (at, each) in enumerate(coming):
        now = at + (pauses[index] if index < len(pauses) else 0) * MS
        row.add(each, at)
        if index % 3 == 0:
            out += row.take(at)
    stamps = [each.dts_ns for each in [*out, *row.take(now, alone=True)]]
    assert len(stamps) == len(coming)
    assert stamps == sorted(stamps)
