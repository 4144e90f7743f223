"""What is on the air, from units that go out and time that passes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strata.worker.liveness import (
    AUDIO_TRANSITIONS,
    SECOND,
    SILENCE_AFTER,
    SLATE_AFTER,
    VIDEO_TRANSITIONS,
    AudioState,
    Liveness,
    VideoState,
)


def live(*, slate: bool = True, silence: bool = True) -> Liveness:
    """Both tracks go out at 10 s."""
    liveness = Liveness(can_silence=silence)
    liveness.can_slate = slate
    liveness.begin()
    liveness.went("video", 10 * SECOND)
    liveness.went("audio", 10 * SECOND)
    return liveness


def states(liveness: Liveness) -> tuple[str, str]:
    return liveness.video, liveness.audio


def test_nothing_stands_in_before_the_stream_begins() -> None:
    liveness = Liveness()
    liveness.can_slate = True
    liveness.went("video", 0)
    liveness.look(100 * SECOND)
    assert states(liveness) == ("live", "none")
    assert not liveness.is_alone
    liveness.begin()
    liveness.look(100 * SECOND)
    assert states(liveness) == ("slate", "silence")


def test_units_put_their_tracks_on_the_air() -> None:
    liveness = live()
    assert states(liveness) == ("live", "live")
    assert liveness.has_video
    assert liveness.since == 10 * SECOND
    assert not liveness.is_alone


def test_a_picture_that_is_missing_becomes_the_slate() -> None:
    liveness = live()
    liveness.look(10 * SECOND + SLATE_AFTER)
    assert liveness.video == "live"
    liveness.look(10 * SECOND + SLATE_AFTER + 1)
    assert states(liveness) == ("slate", "silence")
    assert liveness.since == 10 * SECOND + SLATE_AFTER + 1
    liveness.look(20 * SECOND)
    assert liveness.since == 10 * SECOND + SLATE_AFTER + 1
    liveness.went("video", 21 * SECOND)
    assert liveness.video == "live"
    assert liveness.since == 21 * SECOND


def test_without_a_slate_there_is_no_picture() -> None:
    liveness = live(slate=False)
    liveness.look(12 * SECOND)
    assert states(liveness) == ("none", "none")
    assert liveness.is_alone
    liveness.can_slate = True
    liveness.look(13 * SECOND)
    assert states(liveness) == ("slate", "silence")


def test_a_slate_that_is_taken_away_leaves_nothing() -> None:
    liveness = live()
    liveness.look(12 * SECOND)
    liveness.can_slate = False
    liveness.look(13 * SECOND)
    assert states(liveness) == ("none", "none")


def test_a_stream_without_a_picture_has_no_slate() -> None:
    liveness = Liveness()
    liveness.can_slate = True
    liveness.begin()
    liveness.look(100 * SECOND)
    assert states(liveness) == ("none", "none")
    assert not liveness.has_video
    assert liveness.is_alone


def test_sound_that_is_missing_becomes_silence() -> None:
    liveness = live()
    liveness.went("video", 11 * SECOND)
    liveness.look(10 * SECOND + SILENCE_AFTER)
    assert liveness.audio == "live"
    liveness.look(10 * SECOND + SILENCE_AFTER + 1)
    assert states(liveness) == ("live", "silence")
    liveness.went("audio", 12 * SECOND)
    assert liveness.audio == "live"


def test_sound_that_was_never_there_is_silence_at_once() -> None:
    liveness = Liveness()
    liveness.went("video", 0)
    liveness.begin()
    liveness.look(0)
    assert states(liveness) == ("live", "silence")


def test_sound_alone_is_followed_by_silence() -> None:
    liveness = Liveness()
    liveness.begin()
    liveness.went("audio", 0)
    liveness.look(SILENCE_AFTER)
    assert states(liveness) == ("none", "live")
    liveness.look(SILENCE_AFTER + 1)
    assert states(liveness) == ("none", "silence")


def test_silence_may_be_unwanted() -> None:
    liveness = live(silence=False)
    liveness.went("video", 12 * SECOND)
    liveness.look(12 * SECOND)
    assert states(liveness) == ("live", "none")
    assert liveness.is_alone


def test_sound_has_a_second_to_come_back_after_the_picture() -> None:
    liveness = live(slate=False)
    liveness.look(20 * SECOND)
    assert states(liveness) == ("none", "none")
    liveness.went("video", 21 * SECOND)
    liveness.look(21 * SECOND + SILENCE_AFTER)
    assert states(liveness) == ("live", "none")
    liveness.look(21 * SECOND + SILENCE_AFTER + 1)
    assert states(liveness) == ("live", "silence")


def test_the_operator_holds_the_slate() -> None:
    liveness = live()
    liveness.holds = True
    liveness.look(10 * SECOND)
    assert states(liveness) == ("slate", "silence")
    liveness.holds = False
    liveness.look(10 * SECOND)
    assert states(liveness) == ("slate", "silence")
    liveness.went("video", 11 * SECOND)
    liveness.went("audio", 11 * SECOND)
    assert states(liveness) == ("live", "live")


def test_the_operator_holds_the_slate_from_the_beginning() -> None:
    liveness = Liveness()
    liveness.holds = True
    liveness.begin()
    liveness.look(SECOND)
    assert states(liveness) == ("none", "none")
    liveness.can_slate = True
    liveness.look(2 * SECOND)
    assert states(liveness) == ("slate", "silence")
    liveness.holds = False
    liveness.look(3 * SECOND)
    assert states(liveness) == ("slate", "silence")  # until there is a picture
    liveness.went("video", 4 * SECOND)
    assert liveness.video == "live"


@pytest.mark.parametrize("state", ["none", "live", "slate"])
def test_each_state_of_the_picture_can_be_left(state: VideoState) -> None:
    assert VIDEO_TRANSITIONS[state]
    assert state not in VIDEO_TRANSITIONS[state]


@pytest.mark.parametrize("state", ["none", "live", "silence"])
def test_each_state_of_the_sound_can_be_left(state: AudioState) -> None:
    assert AUDIO_TRANSITIONS[state]
    assert state not in AUDIO_TRANSITIONS[state]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("video", "audio", "look", "look", "slate", "hold", "begin")),
            st.integers(0, 3 * SECOND),
        ),
        max_size=40,
    ),
    st.booleans(),
)
@settings(deadline=None, max_examples=200)
def test_whatever_happens_the_states_tell_what_there_is(
    events: list[tuple[str, int]], silence: bool
) -> None:
    liveness, now, seen = Liveness(can_silence=silence), 0, {"video": -1, "audio": -1}
    has_begun = was_held = False
    for event, passed in events:
        now += passed
        if event == "video" or event == "audio":
            liveness.went(event, now)
            seen[event] = now
            assert getattr(liveness, event) == "live"
        elif event == "slate":
            liveness.can_slate = not liveness.can_slate
        elif event == "hold":
            liveness.holds = not liveness.holds
            was_held = True
        elif event == "begin":
            liveness.begin()
            has_begun = True
        else:
            liveness.look(now)
            if not has_begun:
                continue
            is_gone = seen["video"] >= 0 and now - seen["video"] > SLATE_AFTER
            if liveness.holds or is_gone:
                assert liveness.video == ("slate" if liveness.can_slate else "none")
            elif seen["video"] < 0 and not was_held:
                assert liveness.video == "none"
            if liveness.audio == "live":
                assert now - seen["audio"] <= SILENCE_AFTER
                assert not liveness.holds
            if liveness.video == "slate" and silence:
                assert liveness.audio != "none"
            if not silence:
                assert liveness.audio != "silence"
