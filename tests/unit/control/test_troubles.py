from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.control import troubles
from strata.control.live import Live
from strata.control.troubles import Key, Standing
from strata.wire import worker as wire
from strata.wire.host import Alarm, Load

LOAD = Load(2.0, 4000.0, 9000.0, 0, 100, 0.0, 0.0, 0.0, None, "none", ["no limits", "no rules"])


def forward(state: wire.ForwardState, message: str = "") -> wire.Forward:
    return wire.Forward("fwd_1", "rtmp", state, "rtmp://host/app/****", message)


def stats(*links: wire.LinkStats) -> wire.Stats:
    return wire.Stats(0.0, 0.0, None, 1.0, 1.0, 1.0, wire.Media(), wire.Flow(), list(links), [])


def link(port: int, state: Any = "down", received: int = 5, reason: str | None = None) -> Any:
    return wire.LinkStats(port, None, 0.0, 0.0, received, 9.0, state, reason=reason)


def live(*events: wire.Event, **fields: Any) -> Live:
    found = Live(**fields)
    for event in events:
        found.hear(event)
    return found


# What is wrong.

PICTURE = wire.Program("live", "live")


@pytest.mark.parametrize(
    ("known", "wanted"),
    [
        (live(), {}),
        (live(wire.Input("receiving", 0.0), PICTURE, forward("live"), stats(link(1, "up"))), {}),
        (live(forward("connecting")), {}),
        (live(wire.Input("stalled", 30.0)), {Key("stalled")}),
        (live(wire.Program("slate", "silence")), {Key("slate")}),
        (live(PICTURE, wire.Program("none", "none")), {Key("off_air")}),
        (live(stats(link(15000), link(15002))), {Key("link_down", port=p) for p in (15000, 15002)}),
        (live(stats(link(15000, received=0))), {}),
        (live(low="less than 800 kb/s arrive"), {Key("low_bitrate")}),
        (live(forward("retrying")), {Key("forward_retrying", "fwd_1")}),
        (live(forward("failed", "refused")), {Key("forward_failed", "fwd_1")}),
        (live(forward("failed"), is_restarting=True), {Key("worker_restarting")}),
        (live(alarms=[Alarm("no_stats", "nothing for 16 s")]), {Key("no_stats")}),
        (live(alarms=[Alarm("restarting", "...")]), {}),
        (
            live(forward("live"), alarms=[Alarm("forward", "took nothing", "fwd_1")]),
            {Key("forward_stuck", "fwd_1")},
        ),
        (
            live(forward("retrying"), alarms=[Alarm("forward", "refused", "fwd_1")]),
            {Key("forward_retrying", "fwd_1")},
        ),
    ],
)
def test_what_is_wrong_with_a_stream(known: Live, wanted: dict[Key, Any]) -> None:
    assert set(troubles.of_stream(known, is_observed=True)) == set(wanted)


def test_of_a_stream_that_nobody_sees_only_that_is_known() -> None:
    found = troubles.of_stream(live(forward("failed")), is_observed=False)
    assert set(found) == {Key("host_unreachable")}


def test_the_words_are_those_of_who_knows_best() -> None:
    known = live(
        forward("failed", "the key was refused"),
        stats(link(15000, reason="nothing gets back to the sender")),
        alarms=[Alarm("stalled", "no media for 31 s")],
    )
    assert troubles.of_stream(known, is_observed=True) == {
        Key("forward_failed", "fwd_1"): "the key was refused",
        Key("link_down", port=15000): "the link on port 15000 is down: nothing gets back to the "
        "sender",
        Key("stalled"): "no media for 31 s",
    }
    nameless = troubles.of_stream(live(forward("retrying")), is_observed=True)
    assert list(nameless.values()) == ["the destination rtmp://host/app/**** is retrying"]


def test_what_is_wrong_with_a_host() -> None:
    assert set(troubles.of_host(LOAD, is_connected=False)) == {Key("host_unreachable")}
    assert troubles.of_host(None, is_connected=True) == {}
    assert list(troubles.of_host(LOAD, is_connected=True).values()) == ["no limits", "no rules"]


# What of it is news.

K = Key("slate")
BAD = {K: "viewers see the slate"}


class Story:
    """What is told of one trouble as it comes and goes."""

    def __init__(self) -> None:
        self.standing: dict[Key, Standing] = {}
        self.told: list[tuple[float, str]] = []

    def at(self, now_s: float, found: dict[Key, str], is_final: bool = False) -> list[str]:
        self.standing, news = troubles.step(self.standing, found, now_s, is_final=is_final)
        self.told += [(now_s, each.what) for each in news]
        return [each.what for each in news]


def test_it_is_raised_once_and_cleared_once() -> None:
    story = Story()
    for now_s in range(3):
        story.at(now_s, BAD)
    for now_s in range(3, 60):
        story.at(now_s, {})
    assert story.told == [(0, "raised"), (3, "cleared")]
    assert story.standing == {}


def test_what_comes_back_soon_is_the_same_and_then_has_to_stay_away() -> None:
    story = Story()
    assert story.at(0, BAD) == ["raised"]
    assert story.at(1, {}) == ["cleared"]
    assert story.at(31, BAD) == ["again"]
    assert story.at(32, {}) == []
    assert story.at(62, {}) == []
    assert story.at(62.1, {}) == ["cleared"]
    assert story.at(62.2, BAD) == ["raised"]


def test_what_comes_back_late_is_another() -> None:
    story = Story()
    story.at(0, BAD)
    story.at(1, {})
    assert story.at(31.1, BAD) == ["raised"]


def test_what_flaps_for_ever_is_told_three_times() -> None:
    story = Story()
    for now_s in range(1000):
        story.at(now_s, BAD if now_s % 8 < 4 else {})
    assert [what for _, what in story.told] == ["raised", "cleared", "again"]


def test_the_end_clears_at_once_and_remembers_nothing() -> None:
    story = Story()
    story.at(0, BAD)
    story.at(1, {})
    story.at(2, BAD)
    assert story.at(3, {}, is_final=True) == ["cleared"]
    assert story.standing == {}
    assert story.at(4, {}, is_final=True) == []


KEYS = [Key("slate"), Key("link_down", port=15000), Key("link_down", port=15002)]


@given(
    st.lists(st.tuples(st.floats(0.1, 40), st.sets(st.sampled_from(KEYS))), min_size=1, max_size=60)
)
def test_whatever_happens_it_is_told_in_turns_and_not_missed(
    days: list[tuple[float, set[Key]]],
) -> None:
    standing: dict[Key, Standing] = {}
    open: set[Key] = set()
    now_s = 0.0
    for pause_s, found in days:
        now_s += pause_s
        standing, news = troubles.step(standing, dict.fromkeys(found, "it is so"), now_s)
        for each in news:
            assert (each.key in open) == (each.what == "cleared")
            open ^= {each.key}
        assert found <= open, "what is wrong stands"
        assert {key for key, known in standing.items() if not known.is_over} == open
    standing, news = troubles.step(standing, {}, now_s, is_final=True)
    assert {each.key for each in news} == open
    assert standing == {}
    assert all(each.what == "cleared" for each in news)


@given(st.lists(st.tuples(st.floats(0.1, 5), st.booleans()), max_size=200))
def test_no_storm_whatever_flaps(days: list[tuple[float, bool]]) -> None:
    story = Story()
    now_s = 0.0
    for pause_s, is_bad in days:
        now_s += pause_s
        story.at(now_s, BAD if is_bad else {})
    assert len(story.told) <= 3 + 3 * now_s / troubles.SAME_S
