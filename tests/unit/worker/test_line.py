"""What goes on the air, from simulated senders on simulated links."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from strata.worker import silence
from strata.worker.units import AccessUnit
from unit.worker.streams import (
    AUDIO,
    MS,
    OTHER_VIDEO,
    SECOND,
    SLATE,
    VIDEO,
    Change,
    Sender,
    Studio,
    audio,
    is_live,
    video,
)

EXAMPLES = int(os.environ.get("STRATA_LINE_EXAMPLES", "40"))
"""For a hunt by hand."""
APART_MAX = 50 * MS
BEHIND_MAX = 1_800 * MS
"""1.5 s until the slate, and a tick."""
HOLE_MAX = 1_700 * MS
"""In the stamps of the sound."""
PICTURES_HOLE_MAX = 3_200 * MS
"""In those of the picture: a part of a burst is up to 1.5 s old as it goes out, and only 1.5 s
after that is it time for the slate."""
WAIT_MAX = 1_620 * MS
"""Half a second as a suspect (sound whose clock is set anew alone), one for the other track,
and a tick."""


def moved(ms: int, *, dts: bool = True) -> Change:
    """A damaged stamp."""

    def change(unit: AccessUnit) -> list[AccessUnit]:
        by = ms * MS
        return [replace(unit, pts_ns=unit.pts_ns + by, dts_ns=unit.dts_ns + by * dts)]

    return change


def twice(unit: AccessUnit) -> list[AccessUnit]:
    return [unit, unit]


def is_well(studio: Studio, after: int = 3) -> None:
    """That nothing is wrong with what went out, and that live units do after some seconds more."""
    since = studio.now
    studio.run(after + 2)
    studio.check_order()
    studio.check_pictures()
    studio.check_waits(WAIT_MAX)
    studio.check_held()
    late = since + after * SECOND
    assert len(studio.live("video", late)) >= 1.9 * studio.sender.fps
    assert len(studio.live("audio", late)) >= 90
    assert abs(studio.shift("video") - studio.shift("audio")) <= APART_MAX


# What is in order.


def test_a_clean_stream_goes_out_as_it_is() -> None:
    studio = Studio()
    is_well(studio)
    assert all(is_live(unit) for _, unit in studio.went)
    assert studio.shift("video") == studio.shift("audio") == 0
    assert studio.line.timeline.moves == 0
    assert studio.line.counts.gaps == 0
    assert studio.line.video_format == VIDEO
    assert studio.line.audio_format == AUDIO


@pytest.mark.parametrize("slate", [SLATE, None])
@pytest.mark.parametrize(
    "sender",
    [
        Sender(fps=Fraction(30000, 1001), format=replace(VIDEO, fps=Fraction(30000, 1001))),
        Sender(fps=Fraction(50), b_frames=True, format=replace(VIDEO, fps=Fraction(50))),
        Sender(jitter=True),
        Sender(b_frames=True),
        Sender(no_dts=True),
        Sender(no_pts=True),
        Sender(lag={"video": 0, "audio": 400 * MS}),
        Sender(lag={"video": 400 * MS, "audio": 0}),
        Sender(clock={"video": 10**6 * SECOND, "audio": 10**6 * SECOND}),
        Sender(fps=Fraction(1)),
    ],
    ids=lambda value: "",
)
def test_senders_of_all_kinds_go_out_as_they_are(sender: Sender, slate: object) -> None:
    studio = Studio(
        replace(sender, index={"video": 0, "audio": 0}, key_due=0), SLATE if slate else None
    )
    is_well(studio)
    is_well(studio)
    assert studio.line.timeline.moves == 0
    assert studio.line.timeline.bad_stamps == 0


def test_the_end_lets_out_what_waits() -> None:
    studio = Studio()
    studio.run(0.2)
    line = studio.line
    last = video(200)
    assert last not in line.push([last], studio.now + studio.base)
    assert last in line.end(studio.now + studio.base)


# Damage.


def test_after_a_gap_a_key_frame_is_waited_for() -> None:
    studio = Studio()
    studio.run(4.2)
    studio.run(0.1, cut=True)
    is_well(studio)
    assert studio.line.counts.gaps == 1
    assert studio.line.counts.damaged_frames > 20
    assert studio.line.counts.slates == 1
    assert studio.line.counts.slate_s == pytest.approx(1.6, abs=0.3)


def test_damaged_pictures_are_kept_where_they_are_wanted() -> None:
    studio = Studio(keep_damaged=True)
    studio.run(4.2)
    studio.run(0.12, cut=True)
    studio.run(5)
    studio.check_order()
    assert studio.line.counts.gaps == 1
    assert studio.line.counts.damaged_frames == 0
    assert studio.silent_for("video", 0) <= 200 * MS


@pytest.mark.parametrize("ms", [-(10**9), -500, 2500, 10**6, 10**9])
def test_a_damaged_stamp_costs_the_pictures_up_to_the_next_key_frame(ms: int) -> None:
    studio = Studio()
    studio.run(4.2)
    studio.changes["video"].append(moved(ms))
    is_well(studio)
    assert studio.line.timeline.moves == 0
    assert studio.line.timeline.bad_stamps == 1
    assert studio.line.counts.gaps == 1
    assert studio.shift("video") == 0


def test_a_key_frame_with_a_damaged_stamp() -> None:
    studio = Studio()
    studio.run(4.0)
    studio.changes["video"].append(moved(10**6))
    studio.sender.key_due = 0
    is_well(studio)
    assert studio.line.timeline.moves == 0


def test_a_damaged_time_of_showing_costs_nothing() -> None:
    studio = Studio()
    studio.run(4.2)
    studio.changes["video"].append(moved(10**6, dts=False))
    is_well(studio)
    assert studio.line.timeline.bad_stamps == 0


def test_a_damaged_stamp_right_before_a_key_frame() -> None:
    studio = Studio()
    studio.run(4.2)
    studio.changes["video"].append(moved(10**6))
    studio.run(0.04)
    studio.sender.key_due = 0
    since = studio.now
    is_well(studio)
    assert studio.silent_for("video", since) <= 40 * MS
    assert studio.line.counts.gaps == 1


@pytest.mark.parametrize("at", [0, 1, 2])
def test_what_is_missed_is_looked_for_in_the_stamps(at: int) -> None:
    line = Studio().line
    line.push([video(0, key=True), video(40)], 0)
    line.missed()
    stamps = [80, 120, 160, 200]
    stamps = stamps[:at] + [stamp + 40 for stamp in stamps[at:]]
    out = line.push([video(stamp) for stamp in stamps], 0)
    out += line.end(0)
    assert line.counts.gaps == 1
    assert line.counts.damaged_frames == 4 - at
    assert [each.dts_ns // MS for each in out] == [0, 40, *stamps[:at]][-len(out) :]


def test_what_is_missed_may_be_of_the_sound() -> None:
    studio = Studio()
    studio.run(4.2)
    studio.line.missed()
    is_well(studio)
    assert studio.line.counts.gaps == 0


def test_what_is_missed_of_a_picture_at_irregular_times_cannot_be_seen() -> None:
    studio = Studio(Sender(jitter=True, format=replace(VIDEO, fps=None)))
    studio.run(4.2)
    studio.line.missed()
    is_well(studio)
    assert studio.line.counts.gaps == 1


# What stands in.


def test_a_cut_is_filled_with_the_slate_and_silence() -> None:
    studio = Studio()
    studio.run(4.2)
    studio.run(10, cut=True)
    is_well(studio)
    assert studio.silent_for("video", 0) <= 40 * MS
    assert studio.silent_for("audio", 0) <= 40 * MS
    assert studio.behind() <= BEHIND_MAX
    assert studio.line.counts.silence_s == pytest.approx(10, abs=0.5)
    assert {unit.format for _, unit in studio.track("audio")} == {AUDIO}
    for _, unit in studio.went:
        assert unit.stands_in is not is_live(unit)


def test_without_a_slate_there_is_a_hole() -> None:
    studio = Studio(slate=None)
    studio.run(4.2)
    studio.run(10, cut=True)
    assert (studio.line.liveness.video, studio.line.liveness.audio) == ("none", "none")
    is_well(studio)
    assert 10 * SECOND <= studio.silent_for("video", 0) <= 13 * SECOND


def test_a_slate_that_is_ready_late_fills_no_more_than_ten_seconds() -> None:
    studio = Studio(slate=None)
    studio.run(4.2)
    studio.run(30, cut=True)
    studio.set_slate(SLATE)
    since = studio.now
    studio.run(0.2, cut=True)
    stamps = [unit.dts_ns for _, unit in studio.track("video", since)]
    assert 9 * SECOND <= stamps[-1] - stamps[0] <= 11 * SECOND
    is_well(studio)


def test_a_slate_that_is_on_the_air_may_be_taken_away() -> None:
    studio = Studio()
    studio.run(4.2)
    studio.run(3, cut=True)
    studio.line.slate = None
    studio.run(1, cut=True)
    studio.set_slate(None)
    studio.run(1, cut=True)
    assert studio.line.liveness.video == "none"
    is_well(studio)


def test_the_operator_holds_the_slate() -> None:
    studio = Studio()
    studio.run(4.2)
    since = studio.now
    studio.line.liveness.holds = True
    studio.run(10)
    assert not studio.live("video", since + 2 * SECOND)
    assert not studio.live("audio", since + 2 * SECOND)
    assert studio.silent_for("video", 0) <= 40 * MS
    studio.line.liveness.holds = False
    is_well(studio)


def test_sound_that_is_missing_is_silence() -> None:
    studio = Studio()
    studio.run(4.2)
    studio.sender.has["audio"] = False
    studio.run(5)
    assert studio.line.liveness.audio == "silence"
    studio.sender.has["audio"] = True
    is_well(studio)
    assert studio.silent_for("audio", 0) <= 40 * MS


def test_sound_that_was_never_there_is_silence_of_the_usual_kind() -> None:
    studio = Studio()
    studio.sender.has["audio"] = False
    studio.run(5)
    assert {unit.format for _, unit in studio.track("audio")} == {silence.USUAL}
    assert studio.silent_for("audio", 0) <= 40 * MS
    assert studio.line.counts.silence_s > 4.4
    studio.sender.has["audio"] = True
    is_well(studio)


def test_a_stream_of_sound_alone_has_silence_after_it() -> None:
    studio = Studio()
    studio.sender.has["video"] = False
    studio.run(5)
    studio.run(5, cut=True)
    assert studio.line.liveness.audio == "silence"
    assert studio.silent_for("audio", 0) <= 40 * MS
    studio.sender.has["video"] = True
    is_well(studio)


def test_a_unit_whose_place_is_taken_is_left_out() -> None:
    studio = Studio()
    studio.run(5)
    line, now = studio.line, studio.now + studio.base
    for made in (video(5_100), audio(5_100)):
        assert line.timeline.seal(made)
        dts = made.dts_ns - 40 * MS + 1
        unit = replace(made, dts_ns=dts, pts_ns=dts, key=True)
        assert unit.dts_ns not in [each.dts_ns for each in line.push([unit], now)]
    assert line.timeline.bad_stamps == 0


def test_nothing_stands_in_for_what_has_no_time_yet() -> None:
    studio = Studio()
    line = studio.line
    line.liveness.begin()
    line.liveness.went("video", 0)
    line.tick(2 * SECOND)
    assert (line.liveness.video, line.liveness.audio) == ("slate", "silence")
    assert line.counts.slate_s == 0
    assert line.counts.silence_s < 0.05


def test_a_picture_that_is_missing_while_sound_goes_on() -> None:
    studio = Studio()
    studio.run(4.2)
    studio.sender.has["video"] = False
    studio.run(10)
    assert (studio.line.liveness.video, studio.line.liveness.audio) == ("slate", "live")
    assert studio.behind() <= BEHIND_MAX
    studio.sender.has["video"] = True
    studio.sender.key_due = 0
    is_well(studio)
    assert studio.silent_for("video", 0) <= 80 * MS
    assert studio.line.timeline.moves == 0


def test_another_format_begins_with_a_key_frame() -> None:
    studio = Studio()
    studio.run(4.2)
    studio.sender.next_format = OTHER_VIDEO
    is_well(studio)
    assert studio.line.video_format == OTHER_VIDEO
    studio.run(3, cut=True)
    is_well(studio)


# New clocks.


@pytest.mark.parametrize(
    ("seconds", "hint"),
    [
        *((seconds, True) for seconds in (-99, -2, -0.5, 2.5, 1000, 10**6)),
        *((seconds, False) for seconds in (-99, -2, -0.5, 2.5, 1000, 10**6)),
    ],
)
def test_a_clock_that_is_set_anew(seconds: float, hint: bool) -> None:
    studio = Studio(Sender(clock={"video": 100 * SECOND, "audio": 100 * SECOND}))
    studio.run(5.2)
    studio.jump(seconds)
    if hint:
        studio.line.restarted()
        studio.sender.key_due = 0
    is_well(studio)
    assert studio.line.timeline.moves == 1
    assert studio.silent_for("video", 0) <= 80 * MS
    assert studio.silent_for("audio", 0) <= 80 * MS


def test_a_hint_at_the_wrong_moment_costs_the_pictures_up_to_the_next_key_frame() -> None:
    studio = Studio()
    studio.run(4.2)
    studio.line.restarted()
    is_well(studio)
    assert studio.line.timeline.moves == 0
    assert studio.shift("video") == 0


def test_picture_and_sound_stay_together_over_fifty_cuts() -> None:
    studio = Studio()
    for index in range(50):
        studio.run(3 + index % 7 * 0.24)
        studio.run(5 + index % 5 * 0.12, cut=True)
    is_well(studio)
    assert studio.shift("video") == studio.shift("audio") == 0


def test_picture_and_sound_stay_together_over_fifty_restarts() -> None:
    studio = Studio(Sender(clock={"video": 5000 * SECOND, "audio": 5000 * SECOND}))
    for index in range(50):
        studio.run(3 + index % 7 * 0.24)
        studio.run(2 + index % 5 * 0.6, cut=True)
        studio.jump(-50 - index)
    is_well(studio)
    assert studio.frozen_for("video") <= BEHIND_MAX
    assert studio.silent_for("video", 0) <= 80 * MS


# At random.

FRAMES = st.sampled_from((Fraction(25), Fraction(30000, 1001), Fraction(50)))
seconds = st.integers(1, 50).map(lambda tenths: tenths / 10)
calm = st.integers(5, 50).map(lambda tenths: tenths / 10)
"""What comes right after something else may do harm as yet: see the defects below."""
Step = Callable[[Studio], None]


def _cut(duration: float) -> Step:
    return lambda studio: studio.run(duration, cut=True)


def _stall(duration: float) -> Step:
    return lambda studio: studio.run(duration, stall=True)


def _burst(duration: float, begin: float, end: float) -> Step:
    def step(studio: Studio) -> None:
        studio.run(duration, stall=True)
        studio.lose_held(min(begin, end), max(begin, end))

    return step


def _pause(duration: float) -> Step:
    return lambda studio: studio.run(duration, pause=True)


def _jump(by: float) -> Step:
    return lambda studio: studio.jump(by)


def _damage(track: str, *by: int) -> Step:
    return lambda studio: studio.changes[track].extend(moved(ms) for ms in by)  # type: ignore[index]


def _twice(track: str) -> Step:
    return lambda studio: studio.changes[track].append(twice)  # type: ignore[index]


def _jump_of(track: str, by: float, duration: float) -> Step:
    def step(studio: Studio) -> None:
        studio.sender.clock[track] += round(by * SECOND)  # type: ignore[index]
        studio.run(duration)
        studio.sender.clock[track] -= round(by * SECOND)  # type: ignore[index]

    return step


def _hint(studio: Studio) -> None:
    studio.line.restarted()


def _without_sound(duration: float) -> Step:
    def step(studio: Studio) -> None:
        studio.sender.has["audio"] = False
        studio.run(duration)
        studio.sender.has["audio"] = True

    return step


def _hold(duration: float) -> Step:
    def step(studio: Studio) -> None:
        if studio.line.slate is not None:
            studio.line.liveness.holds = True
            studio.run(duration)
            studio.line.liveness.holds = False

    return step


def _format(studio: Studio) -> None:
    studio.sender.next_format = replace(OTHER_VIDEO, fps=studio.sender.fps)


def _slate(studio: Studio) -> None:
    studio.set_slate(SLATE)


COMMON = (
    seconds.map(_cut),
    seconds.map(_stall),
    seconds.map(_without_sound),
    st.sampled_from((-9000, 9000, 10**9)).map(lambda ms: _damage("video", ms)),
    st.sampled_from((-9000, 9000, 10**9)).map(lambda ms: _damage("audio", ms)),
    st.just(_damage("video", 5000, -7000)),
    st.just(_twice("audio")),
    st.just(_twice("video")),
    st.just(_hint),
    seconds.map(_hold),
    st.just(_format),
    st.just(_slate),
)
"""What comes in the way of every stream, and does no harm."""
RARE = (
    st.sampled_from((-60.0, -9.0, 9.0, 100.0, 1e6)).map(_jump),
    seconds.map(_pause),
    st.builds(_burst, seconds, st.floats(0, 1), st.floats(0, 1)),
    st.floats(-4, 4).map(_jump),
    st.integers(-300, 300).map(lambda ms: _damage("video", ms)),
    st.integers(-300, 300).map(lambda ms: _damage("audio", ms)),
    st.builds(_jump_of, st.sampled_from(("video", "audio")), st.floats(-9, 9), seconds),
)
"""What does harm as yet: see the defects below."""
LAGS = st.sampled_from(((0, 0), (0, 0), (0, 100), (0, 500), (0, 900), (300, 0)))
"""By how many ms picture and sound are late."""


def _run(
    fps: Fraction,
    steps: list[tuple[Step, float]],
    slate: bool,
    lags: tuple[int, int] = (0, 0),
    after: int = 3,
) -> Studio:
    video_lag, audio_lag = lags
    sender = Sender(
        fps=fps,
        format=replace(VIDEO, fps=fps),
        clock={"video": 2000 * SECOND, "audio": 2000 * SECOND},
        lag={"video": video_lag * MS, "audio": audio_lag * MS},
    )
    studio = Studio(sender, SLATE if slate else None)
    studio.run(3)
    for step, duration in steps:
        step(studio)
        studio.run(duration)
    is_well(studio, after)
    slates = studio.line.counts.slates
    studio.run(3)
    assert studio.line.counts.slates == slates
    if slate:
        assert studio.frozen_for("video") <= BEHIND_MAX
        assert studio.silent_for("video", 0) <= PICTURES_HOLE_MAX
        assert studio.silent_for("audio", 0) <= HOLE_MAX
    return studio


@given(FRAMES, st.lists(st.tuples(st.one_of(*COMMON), calm), max_size=4), st.booleans())
@settings(deadline=None, max_examples=EXAMPLES)
def test_whatever_is_common_does_no_harm(
    fps: Fraction, steps: list[tuple[Step, float]], slate: bool
) -> None:
    _run(fps, steps, slate)


@given(
    FRAMES,
    st.lists(st.tuples(st.one_of(*COMMON, *RARE), seconds), max_size=4),
    st.booleans(),
    LAGS,
)
@example(
    Fraction(25),
    [(_slate, 0.3), (_damage("audio", -9000), 1.4), (_jump(-2.5190598612710833), 4.3)],
    True,
    (0, 500),
)
@settings(
    deadline=None,
    max_examples=EXAMPLES // 4,
    phases=(Phase.explicit, Phase.generate),
    report_multiple_bugs=False,
)
def test_whatever_happens_does_no_harm(
    fps: Fraction, steps: list[tuple[Step, float]], slate: bool, lags: tuple[int, int]
) -> None:
    # Sound whose clock alone went up to 4 s ahead, and back, is late for as long.
    studio = _run(fps, steps, slate, lags, after=5)
    # A new clock in a burst: see the defects below.
    burst = studio.stalled if studio.line.timeline.moves else 0
    assert studio.lead() <= 500 * MS * (len(steps) + 1) + burst


# What once was wrong.


def test_a_damaged_stamp_of_the_sound_costs_no_picture() -> None:
    studio = Studio()
    studio.run(4.2)
    since = studio.now
    studio.changes["audio"].append(moved(10**6))
    studio.run(1.2)
    assert len(studio.live("video", since)) >= 28
    assert studio.line.counts.gaps == 0


def test_sound_that_never_fits_costs_no_picture() -> None:
    studio = Studio(Sender(clock={"video": 0, "audio": 100 * SECOND}))
    studio.run(10)
    assert len(studio.live("video")) >= 245


def test_sound_alone_then_a_restart_with_a_picture() -> None:
    studio = Studio(Sender(clock={"video": 100 * SECOND, "audio": 100 * SECOND}))
    studio.sender.has["video"] = False
    studio.run(5)
    studio.sender.has["video"] = True
    studio.jump(-100)
    is_well(studio)


def test_a_stream_that_begins_with_a_damaged_stamp_of_sound() -> None:
    studio = Studio(Sender(lag={"video": 100 * MS, "audio": 0}))
    studio.changes["audio"].append(moved(10**6))
    is_well(studio)


@pytest.mark.parametrize("duration", [3, 5])
def test_bursts_after_a_stall_do_not_move_the_line(duration: int) -> None:
    studio = Studio()
    for _ in range(5):
        studio.run(5)
        studio.run(duration, stall=True)
    is_well(studio)
    assert abs(studio.lead()) <= 40 * MS


@pytest.mark.parametrize("slate", [SLATE, None])
def test_the_picture_comes_back_after_a_burst(slate: object) -> None:
    studio = Studio(slate=SLATE if slate else None)
    studio.run(5)
    studio.run(5, stall=True)
    studio.run(3)
    since = studio.now
    studio.run(4)
    assert len(studio.live("video", since)) >= 95


def test_a_burst_without_a_slate_is_in_order() -> None:
    studio = Studio(slate=None)
    studio.run(5)
    studio.run(5, stall=True)
    studio.run(1)
    assert studio.line.timeline.moves == 0
    assert studio.line.timeline.bad_stamps == 0


@pytest.mark.parametrize("lag", [200, 400])
def test_sound_that_comes_later_than_its_picture_comes_back(lag: int) -> None:
    studio = Studio(Sender(lag={"video": 0, "audio": lag * MS}))
    studio.run(5)
    studio.sender.has["audio"] = False
    studio.run(5)
    studio.sender.has["audio"] = True
    is_well(studio)


def test_a_suspect_from_before_a_gap_does_not_go_out_after_it() -> None:
    studio = Studio(Sender(clock={"video": 100 * SECOND, "audio": 100 * SECOND}))
    studio.run(5)
    studio.changes["video"].append(moved(10**6))
    studio.run(0.04)
    studio.jump(-3)
    studio.run(0.04)
    studio.sender.key_due = 0
    studio.run(1)
    studio.check_pictures()


def test_the_slate_ends_before_the_picture_whatever_sound_was_held() -> None:
    line = Studio().line
    line.liveness.begin()
    out = line.push([video(100_000, key=True), audio(100_000)], 0)
    out += line.push([audio(100_010)], 10 * MS)
    out += line.tick(2500 * MS)
    assert line.liveness.video == "slate"
    # A new clock: sound, a little ahead of its picture.
    out += line.push([audio(5_100), video(5_000, key=True)], 2600 * MS)
    out += line.end(2700 * MS)
    stamps = [each.dts_ns for each in out if each.track == "video"]
    assert stamps == sorted(stamps)


def test_a_picture_with_another_clock_than_the_sound_before_it() -> None:
    studio = Studio(Sender(clock={"video": 10 * SECOND, "audio": 0}))
    studio.sender.has["video"] = False
    studio.run(3)
    studio.sender.has["video"] = True
    studio.run(8)
    assert studio.live("video")


def test_sound_restarts_while_the_picture_is_away() -> None:
    studio = Studio(Sender(clock={"video": 99 * SECOND, "audio": 99 * SECOND}))
    studio.run(5)
    studio.sender.has["video"] = False
    studio.run(3)
    studio.jump(-99)
    studio.run(3)
    since = studio.now
    studio.run(3)
    assert studio.live("audio", since)


def test_a_damaged_time_of_showing_does_not_delay_the_slate() -> None:
    studio = Studio()
    studio.run(4.2)
    studio.changes["video"].append(moved(1900, dts=False))
    studio.run(0.4)
    studio.run(5, cut=True)
    assert studio.silent_for("video", 0) <= 100 * MS


def test_a_late_slate_does_not_go_back_behind_the_sound() -> None:
    studio = Studio(slate=None)
    studio.run(4.2)
    studio.sender.has["video"] = False
    studio.run(20)
    heard = studio.track("audio")[-1][1].dts_ns
    studio.set_slate(SLATE)
    since = studio.now
    studio.run(1)
    assert studio.track("video", since)[0][1].dts_ns >= heard - 2 * SECOND


def test_a_picture_that_comes_again_does_not_go_out_again() -> None:
    line = Studio(Sender(fps=Fraction(50))).line
    first = [video(dts, key=dts == 0) for dts in (0, 20, 40)]
    out = line.push(first, 40 * MS)
    out += line.push([video(20), video(40), video(60)], 60 * MS)
    out += line.end(80 * MS)
    assert [each.dts_ns // MS for each in out] == [0, 20, 40]


@pytest.mark.parametrize("seconds", [-60, -2.5, 2.5, 60])
@pytest.mark.parametrize("hint", [False, True])
def test_sound_of_before_a_new_clock_goes_out_where_it_belongs(seconds: float, hint: bool) -> None:
    clock = {"video": 99 * SECOND, "audio": 99 * SECOND}
    studio = Studio(Sender(clock=clock, lag={"video": 0, "audio": 900 * MS}))  # type: ignore[arg-type]
    studio.run(5)
    silence_s = studio.line.counts.silence_s
    studio.jump(seconds)
    if hint:
        studio.line.restarted()
        studio.sender.key_due = 0
    is_well(studio)
    assert studio.silent_for("audio", 0) <= 100 * MS
    assert studio.line.counts.silence_s == silence_s
    assert studio.line.timeline.moves == 1


@pytest.mark.parametrize("silence", [True, False])
def test_sound_whose_clock_alone_goes_ahead_leaves_no_hole(silence: bool) -> None:
    studio = Studio(can_silence=silence)
    studio.run(5)
    studio.sender.clock["audio"] += 3 * SECOND
    studio.run(8)
    assert (studio.silent_for("audio", 0) <= 100 * MS) == silence
    assert (studio.line.counts.silence_s > 0) == silence


# Defects.


def test_sound_that_ends_while_it_is_late_is_silence() -> None:
    studio = Studio()
    studio.run(5)
    studio.sender.has["audio"] = False
    studio.run(4)
    studio._push([audio(6000, data=b"a")])
    since = studio.now
    studio.run(6)
    assert studio.frozen_for("audio", since) <= 1_500 * MS


def test_a_sender_that_paused_has_silence_until_its_next_key_frame() -> None:
    studio = Studio(Sender(key_s=10))
    studio.run(5.2)
    studio.run(4, pause=True)
    studio.run(12)
    assert studio.frozen_for("audio") <= 1_800 * MS


def test_sound_that_is_late_for_long_is_silence() -> None:
    studio = Studio()
    studio.run(5)
    studio.sender.has["audio"] = False
    studio.run(15)
    studio.sender.has["audio"] = True
    studio.sender.clock["audio"] -= 15 * SECOND
    studio.run(20)
    assert studio.frozen_for("audio") <= 1_800 * MS


def test_a_burst_after_late_pictures_does_not_move_the_line() -> None:
    studio = Studio()
    studio.run(5)
    studio.run(5, stall=True)
    studio.lose_held(0.4, 1)
    studio.run(20, cut=True)
    studio.run(6, stall=True)
    studio.run(8)
    assert abs(studio.lead()) <= 300 * MS


def test_the_slate_ends_soon_after_a_burst_from_a_sender_that_paused() -> None:
    studio = Studio()
    studio.run(3)
    studio.run(0.8, pause=True)
    studio.run(1.1)
    studio.run(6, stall=True)
    since = studio.now
    studio.run(5)
    assert studio.live("video", since)


def test_suspects_of_before_a_cut_do_not_go_out_after_it() -> None:
    studio = Studio(Sender(clock={"video": 100 * SECOND, "audio": 100 * SECOND}))
    studio.run(5)
    studio.jump(100)
    studio.run(0.2)
    studio.run(2.6, cut=True)
    studio.run(6)
    studio.check_waits(1_500 * MS)
    assert studio.lead() <= 500 * MS
    assert studio.silent_for("audio", 0) <= 500 * MS


def test_two_pictures_with_the_same_stamp() -> None:
    studio = Studio()
    studio.run(5)
    studio.changes["video"].append(moved(-40))
    studio.run(3)
    studio.check_pictures()


@pytest.mark.xfail(
    strict=True,
    reason="a picture that comes again is a suspect, and as it is dropped the picture stops "
    "until the next key frame, although nothing is missing",
)
def test_a_picture_that_comes_again_costs_nothing() -> None:
    line = Studio().line
    pictures = [video(40 * i, key=i == 0, data=b"v%d" % i) for i in range(22)]
    out = line.push(pictures[:20], 800 * MS)
    out += line.push(pictures[17:], 880 * MS)
    out += line.end(2 * SECOND)
    assert [each.data for each in out] == [each.data for each in pictures]
    assert line.counts.gaps == 0


@pytest.mark.xfail(
    strict=True,
    reason="six pictures that come again are taken for a new clock, and go out again",
)
def test_many_pictures_that_come_again_do_not_go_out_again() -> None:
    line = Studio().line
    pictures = [video(40 * i, key=i == 0, data=b"v%d" % i) for i in range(22)]
    out = line.push(pictures[:20], 800 * MS)
    out += line.push(pictures[10:], 880 * MS)
    out += line.end(2 * SECOND)
    assert len({each.data for each in out}) == len(out)
    assert line.timeline.moves == 0


@pytest.mark.xfail(
    strict=True,
    reason="the first of six units that are a new clock is put where the broadcast is, even if "
    "seconds of the same burst come behind it: the line is ahead by those",
)
def test_a_new_clock_in_a_burst_does_not_move_the_line_ahead() -> None:
    studio = Studio(Sender(clock={"video": 99 * SECOND, "audio": 99 * SECOND}))
    studio.run(3)
    studio.jump(-4)
    studio.run(3.3, stall=True)
    studio.run(5)
    assert studio.lead() <= SECOND


def test_restarts_do_not_add_up() -> None:
    studio = Studio(Sender(clock={"video": 999 * SECOND, "audio": 999 * SECOND}))
    studio.run(5)
    for _ in range(6):
        studio.run(2.4, cut=True)
        studio.jump(-100)
        studio.run(4)
    assert abs(studio.lead()) <= 6 * 200 * MS + SECOND


def test_new_clocks_at_two_pictures_a_second_do_not_add_up() -> None:
    fps = Fraction(2)
    clock = {"video": 999 * SECOND, "audio": 999 * SECOND}
    studio = Studio(Sender(fps=fps, format=replace(VIDEO, fps=fps), clock=clock))  # type: ignore[arg-type]
    studio.run(6)
    for _ in range(4):
        studio.jump(100)
        studio.run(12)
    assert studio.lead() <= 4 * 300 * MS


def test_a_restart_into_the_time_of_the_cut_takes_the_first_key_frame() -> None:
    studio = Studio(Sender(key_s=10))
    studio.run(5)
    studio.run(8, cut=True)
    studio.jump(-5)
    studio.line.restarted()
    studio.sender.key_due = 0
    since = studio.now
    studio.run(3)
    assert studio.live("video", since)


def test_what_is_missed_of_the_sound_without_decoding_times() -> None:
    studio = Studio(Sender(no_dts=True))
    studio.run(4.2)
    studio.line.missed()
    studio.run(1)
    assert studio.line.counts.gaps == 0
