from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.host.health import ForwardReport, Report, Rules, Verdict, judge
from strata.wire.host import Alarm

RULES = Rules()
WELL = Report(
    heard_s=0.9,
    quiet_s=0.1,
    had_media=True,
    is_fed=True,
    forwards=(ForwardReport("fwd_1", "live", idle_s=0.5),),
)


def but(**changes: Any) -> Verdict:
    """What is found of a stream that is well, but for that."""
    return judge(dataclasses.replace(WELL, **changes), RULES)


def forward(**changes: Any) -> tuple[ForwardReport, ...]:
    return (dataclasses.replace(WELL.forwards[0], **changes),)


def test_a_stream_that_is_well_has_no_alarm() -> None:
    assert judge(WELL, RULES) == Verdict()


def test_a_stream_that_was_just_started_has_no_alarm() -> None:
    assert judge(Report(heard_s=0.0, quiet_s=0.0, had_media=False), RULES) == Verdict()


def test_a_worker_that_reports_nothing_is_killed() -> None:
    assert but(heard_s=14.9) == Verdict()
    text = "the worker has reported nothing for 15 s"
    assert but(heard_s=15.0) == Verdict(
        (Alarm("no_stats", text),), "kill", f"{text} and was killed"
    )


def test_a_worker_that_hangs_is_killed_before_its_stream_is_given_up() -> None:
    """Whether media arrives is not known then."""
    assert but(heard_s=15.0, quiet_s=1000.0).action == "kill"


def test_a_stream_without_media_is_an_alarm_and_then_ended() -> None:
    assert but(quiet_s=29.9) == Verdict()
    assert but(quiet_s=30.0) == Verdict(
        (Alarm("stalled", "no media for 30 s; it ends after 60 s"),)
    )
    assert but(quiet_s=59.9).action is None
    verdict = but(quiet_s=60.0)
    assert (verdict.action, verdict.alarms) == ("reclaim", ())
    assert verdict.detail == (
        "no media came for 60 s, so the stream was ended and its ports were given back; look "
        "after the sender and its links, then start a new one"
    )


def test_a_sender_that_has_never_come_is_waited_for_longer_and_is_no_alarm() -> None:
    assert but(had_media=False, quiet_s=299.9) == Verdict()
    verdict = but(had_media=False, quiet_s=300.0)
    assert (verdict.action, verdict.alarms) == ("reclaim", ())
    assert verdict.detail == (
        "no media came at all in 300 s; check address, key and firewall of the sender, then "
        "start the stream again"
    )


@pytest.mark.parametrize(
    "report",
    [
        dataclasses.replace(WELL, heard_s=1e9),
        dataclasses.replace(WELL, quiet_s=1e9),
        dataclasses.replace(WELL, quiet_s=1e9, had_media=False),
        dataclasses.replace(WELL, forwards=forward(idle_s=1e9)),
    ],
)
def test_0_is_for_ever(report: Report) -> None:
    assert judge(report, Rules(0.0, 0.0, 0.0, 0.0, 0.0)) == Verdict()


def test_a_stream_that_never_ends_is_not_told_to_end_soon() -> None:
    rules = dataclasses.replace(RULES, no_input_s=0.0)
    verdict = judge(dataclasses.replace(WELL, quiet_s=4000.0), rules)
    assert verdict == Verdict((Alarm("stalled", "no media for 4000 s"),))


@pytest.mark.parametrize("state", ["retrying", "failed"])
def test_a_forward_that_is_not_on_the_air_is_an_alarm(state: str) -> None:
    assert but(forwards=forward(state=state, message="connection refused")) == Verdict(
        (Alarm("forward", "connection refused", "fwd_1"),)
    )
    assert but(forwards=forward(state=state)) == Verdict(
        (Alarm("forward", f"the destination is {state}", "fwd_1"),)
    )


@pytest.mark.parametrize("state", ["connecting", "stopped"])
def test_a_forward_on_its_way_or_closed_on_purpose_is_none(state: str) -> None:
    assert but(forwards=forward(state=state, idle_s=99.0)) == Verdict()


def test_a_forward_that_says_it_is_live_and_takes_nothing_is_an_alarm() -> None:
    assert but(forwards=forward(idle_s=14.9)) == Verdict()
    assert but(forwards=forward(idle_s=15.0)) == Verdict(
        (Alarm("forward", "the destination has taken nothing for 15 s", "fwd_1"),)
    )


def test_a_forward_that_is_given_nothing_cannot_take_anything() -> None:
    assert but(is_fed=False, forwards=forward(idle_s=99.0)) == Verdict()


def test_what_is_not_known_is_no_alarm() -> None:
    assert but(forwards=forward(idle_s=None)) == Verdict()


def test_each_forward_has_its_own_alarm_beside_that_of_the_input() -> None:
    one, two = forward(state="failed")[0], ForwardReport("fwd_2", "retrying")
    verdict = but(quiet_s=31.0, forwards=(one, WELL.forwards[0], two))
    assert [(each.kind, each.forward) for each in verdict.alarms] == [
        ("stalled", None),
        ("forward", "fwd_1"),
        ("forward", "fwd_2"),
    ]
    assert verdict.action is None


ages = st.floats(0.0, 1000.0)
reports = st.builds(
    Report,
    heard_s=ages,
    quiet_s=ages,
    had_media=st.booleans(),
    is_fed=st.booleans(),
    forwards=st.lists(
        st.builds(
            ForwardReport,
            st.sampled_from(["fwd_1", "fwd_2"]),
            st.sampled_from(["connecting", "live", "retrying", "failed", "stopped"]),
            st.just(""),
            st.none() | ages,
        ),
        max_size=3,
    ).map(tuple),
)


@given(reports)
def test_what_is_done_is_always_explained(report: Report) -> None:
    verdict = judge(report, RULES)
    assert (verdict.action is None) == (verdict.detail == "")
    assert all(alarm.detail for alarm in verdict.alarms)


@given(reports)
def test_a_stream_of_which_little_time_has_passed_is_left_alone(report: Report) -> None:
    verdict = judge(report, RULES)
    if report.heard_s < RULES.silence_s and report.quiet_s < RULES.no_input_s:
        assert verdict.action is None
