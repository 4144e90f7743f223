"""Where a stream is cut into segments."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from strata.worker.formats import Track
from strata.worker.segments import FIRST_S_MAX, FIRST_S_MIN, Segment, Segmenter
from strata.worker.units import NO_TIME, AccessUnit
from unit.worker import fakes
from unit.worker.fakes import AUDIO, SECOND_NS, VIDEO


def unit(at_s: float, key: bool = False, track: Track = "video", size: int = 100) -> AccessUnit:
    format = VIDEO if track == "video" else AUDIO
    return fakes.unit(format, bytes(size), round(at_s * SECOND_NS), key)


def sound(at_s: float) -> AccessUnit:
    return unit(at_s, key=True, track="audio")


def groups(*lengths_s: float) -> list[AccessUnit]:
    """Groups of pictures of these lengths, one after the other."""
    units: list[AccessUnit] = []
    begin_s = 0.0
    for length_s in lengths_s:
        units += stream(begin_s + length_s - 0.04, length_s, begin_s=begin_s)
        begin_s += length_s
    return units


def stream(end_s: float, gop_s: float, fps: int = 25, begin_s: float = 0.0) -> list[AccessUnit]:
    """A picture at each 1/fps, the last one at ``end_s``, with a key frame each ``gop_s``."""
    every = round(gop_s * fps)
    frames = range(round((end_s - begin_s) * fps) + 1)
    return [unit(begin_s + frame / fps, key=frame % every == 0) for frame in frames]


def cut(segmenter: Segmenter, units: Iterable[AccessUnit]) -> list[Segment]:
    """All segments, the last of them being what is left at the end."""
    ended = [segmenter.add(each) for each in units]
    return [each for each in (*ended, segmenter.finish()) if each is not None]


def lengths(segmenter: Segmenter, units: Iterable[AccessUnit]) -> list[float]:
    return [round(each.duration_s, 3) for each in cut(segmenter, units)]


def test_segments_have_the_wanted_length_but_for_a_short_first_one() -> None:
    segmenter = Segmenter(4, has_video=True)
    assert lengths(segmenter, stream(14.0, gop_s=1.0)) == [1.0, 4.0, 4.0, 4.0, 1.0]
    assert segmenter.limit_s == 4


@pytest.mark.parametrize(("gop_s", "first_s"), [(0.2, 0.8), (0.4, 0.8), (0.6, 1.2), (2.0, 2.0)])
def test_the_first_segment_ends_with_the_first_key_frame_after_a_moment(
    gop_s: float, first_s: float
) -> None:
    assert lengths(Segmenter(4, has_video=True), stream(3.0, gop_s))[0] == first_s
    assert first_s >= FIRST_S_MIN


@pytest.mark.parametrize(
    ("gop_s", "length_s"), [(0.4, 4.0), (1.92, 3.84), (2.0, 4.0), (2.4, 2.4), (3.0, 3.0)]
)
def test_a_segment_ends_with_the_key_frame_next_to_the_wanted_length(
    gop_s: float, length_s: float
) -> None:
    assert lengths(Segmenter(4, has_video=True), stream(30.0, gop_s))[1:4] == [length_s] * 3


@pytest.mark.parametrize(("gop_s", "limit_s"), [(4.0, 4), (4.48, 4), (4.52, 5), (10.0, 10)])
def test_long_groups_of_pictures_make_long_segments(gop_s: float, limit_s: int) -> None:
    segmenter = Segmenter(4, has_video=True)
    assert lengths(segmenter, stream(3 * gop_s, gop_s)) == [gop_s, gop_s, gop_s, 0.0]
    assert segmenter.limit_s == limit_s


def test_a_group_of_pictures_that_does_not_end_is_cut_in_two() -> None:
    segmenter = Segmenter(4, has_video=True)
    found = cut(segmenter, stream(20.0, gop_s=60.0))
    assert len(found) == 2
    assert found[0].duration_s == FIRST_S_MAX
    assert not found[1].units[0].key
    assert segmenter.limit_s == 12


def test_a_limit_that_is_fixed_already_is_kept() -> None:
    segmenter = Segmenter(4, has_video=True, limit_s=6)
    assert lengths(segmenter, stream(12.0, gop_s=1.0)) == [4.0, 4.0, 4.0, 0.0]
    assert segmenter.limit_s == 6


def test_a_short_target_is_met_by_the_first_segment_too() -> None:
    segmenter = Segmenter(0.5, has_video=True)
    assert lengths(segmenter, stream(1.6, gop_s=0.4)) == [0.4, 0.4, 0.4, 0.4, 0.0]
    assert segmenter.limit_s == 1


def test_what_comes_before_the_first_key_frame_is_left_out() -> None:
    segmenter = Segmenter(4, has_video=True)
    assert segmenter.add(unit(0.0)) is None
    assert segmenter.add(sound(0.1)) is None
    assert segmenter.finish() is None
    key = unit(0.2, key=True)
    assert cut(segmenter, [key]) == [Segment([key])]


def test_what_has_no_time_is_left_out() -> None:
    timeless = fakes.unit(VIDEO, at_ns=NO_TIME)
    key, second = unit(1.0, key=True), unit(1.1)
    found = cut(Segmenter(4, has_video=True), [timeless, key, timeless, second])
    assert [each.units for each in found] == [[key, second]]


def test_a_sound_does_not_cut_where_there_is_a_picture() -> None:
    units = [unit(0.0, key=True), *(sound(number / 10) for number in range(60))]
    assert len(cut(Segmenter(4, has_video=True), units)) == 1


def test_without_a_picture_any_unit_begins_a_segment() -> None:
    segmenter = Segmenter(4, has_video=False)
    units = [sound(number / 50) for number in range(501)]
    assert lengths(segmenter, units) == [0.76, 3.76, 3.76, 1.72]
    assert segmenter.limit_s == 4


def test_a_unit_that_steps_back_stays_in_its_segment() -> None:
    units = [unit(5.0, key=True), sound(4.9), unit(0.0), unit(5.1), unit(3.0, key=True)]
    found = cut(Segmenter(4, has_video=True), units)
    assert [each.units for each in found] == [units]
    assert found[0].duration_s == pytest.approx(0.1)


def test_what_is_left_ends_with_its_latest_unit() -> None:
    segmenter = Segmenter(4, has_video=True)
    segmenter.add(unit(1.0, key=True))
    segmenter.add(sound(1.6))
    segmenter.add(unit(1.5))
    rest = segmenter.finish()
    assert rest is not None
    assert rest.duration_s == pytest.approx(0.6)
    assert segmenter.finish() is None


def test_after_the_end_another_key_frame_begins_anew() -> None:
    segmenter = Segmenter(4, has_video=True)
    segmenter.add(unit(1.0, key=True))
    assert segmenter.finish() is not None
    assert segmenter.limit_s == 4
    again = unit(1.2, key=True)
    assert cut(segmenter, [unit(1.1), again]) == [Segment([again])]


def test_a_segment_knows_its_size_and_its_pictures() -> None:
    segment = Segment([unit(0.0, size=5), unit(0.1, size=7), sound(0.1)])
    assert (segment.size, segment.pictures) == (112, 2)
    assert (Segment().size, Segment().pictures, Segment().follows) == (0, 0, True)


OTHER = replace(VIDEO, width=32)


def test_pictures_of_another_format_begin_a_segment_that_follows_nothing() -> None:
    old = stream(1.96, gop_s=1.0)
    others = [replace(each, format=OTHER) for each in stream(4.0, gop_s=1.0, begin_s=2.0)]
    found = cut(Segmenter(4, has_video=True, limit_s=6), [*old, *others])
    assert [each.follows for each in found] == [True, False]
    assert found[0].units == old
    assert found[0].duration_s == pytest.approx(2.0)
    assert found[1].units == others


def test_a_format_that_changes_back_is_another_one_again() -> None:
    units = [unit(at_s, key=True) for at_s in (0.0, 0.4, 0.8)]
    units[1] = replace(units[1], format=OTHER)
    found = cut(Segmenter(4, has_video=True, limit_s=6), units)
    assert [each.units for each in found] == [[each] for each in units]
    assert [each.follows for each in found] == [True, False, False]


@pytest.mark.parametrize(
    "changed",
    [
        replace(unit(0.5), format=OTHER),
        replace(unit(0.5, key=True), format=replace(VIDEO, fps=Fraction(30), caps="video/x-h264")),
        replace(sound(0.5), format=replace(AUDIO, channels=1)),
    ],
    ids=["no key frame", "what is said of the same pictures", "sound"],
)
def test_another_format_does_not_cut_where_players_need_no_mark(changed: AccessUnit) -> None:
    units = [unit(0.0, key=True), sound(0.1), changed, unit(0.6, key=True)]
    assert [each.units for each in cut(Segmenter(4, True, limit_s=6), units)] == [units]


def test_a_picture_that_was_not_announced_does_not_cut() -> None:
    units = [sound(0.0), unit(0.02, key=True), sound(0.04)]
    assert [each.units for each in cut(Segmenter(4, has_video=False), units)] == [units]


STEPS = st.lists(
    st.tuples(
        st.sampled_from((0.0, 0.02, 0.04, 0.5, 1.0, 3.0, -0.03)),
        st.booleans(),
        st.sampled_from(("video", "audio")),
    ),
    max_size=80,
)
TARGETS = st.sampled_from((0.5, 1.0, 2.0, 4.0, 6.0))
LIMITS = st.one_of(st.none(), st.integers(6, 12))


def walk(steps: list[tuple[float, bool, Track]]) -> list[AccessUnit]:
    units, at_s = [], 1.0
    for step_s, key, track in steps:
        at_s = max(0.0, at_s + step_s)
        units.append(unit(at_s, key or track == "audio", track))
    return units


@given(steps=STEPS, target_s=TARGETS, limit_s=LIMITS, has_video=st.booleans())
def test_the_segments_are_the_stream_from_its_first_key_frame_on(
    steps: list[tuple[float, bool, Track]], target_s: float, limit_s: int | None, has_video: bool
) -> None:
    units = walk(steps)
    starts = [each.key and (each.track == "video" or not has_video) for each in units]
    whole = units[starts.index(True) :] if True in starts else []
    found = cut(Segmenter(target_s, has_video, limit_s), units)
    assert [each for segment in found for each in segment.units] == whole
    assert all(segment.units and segment.duration_s >= 0.0 for segment in found)
    if has_video:
        assert all(segment.follows for segment in found)


@example(
    steps=[
        (0.0, True, "video"),
        (0.5, False, "video"),
        (1.0, False, "video"),
        (-0.03, True, "video"),
    ],
    target_s=0.5,
    limit_s=None,
)
@given(steps=STEPS, target_s=TARGETS, limit_s=LIMITS)
def test_the_limit_is_set_once_and_no_unit_lies_past_it(
    steps: list[tuple[float, bool, Track]], target_s: float, limit_s: int | None
) -> None:
    segmenter = Segmenter(target_s, True, limit_s)
    limits = []
    found = []
    for each in walk(steps):
        ended = segmenter.add(each)
        found += [ended] if ended is not None else []
        limits += [segmenter.limit_s] if segmenter.limit_s is not None else []
    assert len(set(limits)) <= 1
    for segment in found:
        latest_ns = max(each.dts_ns for each in segment.units)
        assert segmenter.limit_s is not None
        assert round((latest_ns - segment.units[0].dts_ns) / SECOND_NS) <= segmenter.limit_s


@given(frames=st.integers(5, 120), target_s=TARGETS, limit_s=st.none() | st.integers(6, 12))
def test_steady_groups_of_pictures_are_never_torn(
    frames: int, target_s: float, limit_s: int | None
) -> None:
    segmenter = Segmenter(target_s, True, limit_s)
    found = cut(segmenter, stream(30.0, gop_s=frames / 25))
    assert sum(each.duration_s for each in found) == pytest.approx(30.0)
    assert all(each.units[0].key for each in found)
    assert segmenter.limit_s is not None
    assert all(round(each.duration_s) <= segmenter.limit_s for each in found)


@pytest.mark.parametrize(
    "units",
    [
        [unit(0.0, key=True), unit(4.48), unit(4.52)],
        [unit(0.0, key=True), unit(4.48), unit(4.6, key=True)],
        [unit(0.0, key=True), unit(1.0), unit(9.0, key=True)],
        stream(30.0, gop_s=30.0),
        groups(0.6, 4.0, 4.0),
    ],
    ids=["a long group", "a key frame too late", "a gap", "a very long group", "another scene"],
)
def test_no_segment_rounds_to_more_than_the_limit(units: list[AccessUnit]) -> None:
    found = lengths(Segmenter(4, has_video=True, limit_s=4), units)
    assert all(round(length_s) <= 4 for length_s in found)


def test_a_key_frame_that_steps_back_does_not_cut() -> None:
    segmenter = Segmenter(4, has_video=True, limit_s=12)
    units = [unit(0.0, key=True), sound(12.5), unit(12.48, key=True), unit(12.52)]
    assert 0.0 not in lengths(segmenter, units)
