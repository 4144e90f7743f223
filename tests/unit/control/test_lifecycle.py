from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.control import lifecycle
from strata.control.lifecycle import OVER, RUNNING, TRANSITIONS, State
from strata.wire.worker import ForwardState, InputState

STATES: tuple[State, ...] = get_args(State)

states = st.sampled_from(STATES)
inputs = st.sampled_from(get_args(InputState))
forwards = st.lists(st.sampled_from(get_args(ForwardState)), max_size=5)


def test_every_state_has_its_row_and_every_row_leads_to_a_state() -> None:
    assert set(TRANSITIONS) == set(STATES)
    assert {state for row in TRANSITIONS.values() for state in row} <= set(STATES)


@pytest.mark.parametrize(
    ("old", "new", "allowed"),
    [
        ("starting", "waiting", True),
        ("starting", "live", False),
        ("starting", "failed", True),
        ("starting", "ended", True),
        ("waiting", "live", True),
        ("waiting", "starting", False),
        ("live", "degraded", True),
        ("live", "waiting", False),
        ("degraded", "live", True),
        ("stopping", "live", False),
        ("stopping", "ended", True),
        ("ended", "live", False),
        ("ended", "failed", False),
        ("failed", "ended", False),
    ],
)
def test_steps(old: State, new: State, allowed: bool) -> None:
    assert lifecycle.may_advance(old, new) is allowed


def test_an_end_is_final() -> None:
    for state in OVER:
        assert not TRANSITIONS[state]


@pytest.mark.parametrize("state", [state for state in STATES if state not in OVER])
def test_from_everywhere_there_is_a_way_to_both_ends(state: State) -> None:
    assert TRANSITIONS[state] >= {"ended", "failed"}


@pytest.mark.parametrize("state", sorted(RUNNING))
def test_what_runs_can_be_stopped(state: State) -> None:
    assert lifecycle.may_advance(state, "stopping")


def test_no_state_leads_to_itself_or_back_to_the_start() -> None:
    for state, row in TRANSITIONS.items():
        assert state not in row
        assert "starting" not in row


@pytest.mark.parametrize(
    ("state", "input", "forwards", "wanted"),
    [
        # Before the first media nothing is wrong.
        ("waiting", "waiting", [], "waiting"),
        ("waiting", "waiting", ["connecting", "connecting"], "waiting"),
        ("waiting", "receiving", ["connecting"], "waiting"),
        ("waiting", "receiving", ["live", "connecting"], "waiting"),
        # On the air.
        ("waiting", "receiving", ["live"], "live"),
        ("waiting", "receiving", ["live", "live"], "live"),
        ("waiting", "receiving", [], "live"),
        ("degraded", "receiving", ["live"], "live"),
        ("live", "receiving", ["live"], "live"),
        # A forward has trouble, before or while it is on the air.
        ("waiting", "waiting", ["retrying"], "degraded"),
        ("waiting", "receiving", ["live", "failed"], "degraded"),
        ("live", "receiving", ["live", "retrying"], "degraded"),
        ("live", "receiving", ["connecting"], "degraded"),
        ("degraded", "receiving", ["connecting"], "degraded"),
        # The input has.
        ("waiting", "stalled", ["live"], "degraded"),
        ("live", "stalled", ["live"], "degraded"),
        ("live", "waiting", ["live"], "degraded"),
        ("degraded", "waiting", ["connecting"], "waiting"),
        ("degraded", "waiting", ["retrying"], "degraded"),
        # Closed on purpose: the worker is told to stop, and its end comes next.
        ("waiting", "waiting", ["stopped"], "waiting"),
        ("waiting", "receiving", ["stopped", "stopped"], "waiting"),
        ("live", "receiving", ["stopped"], "live"),
        ("live", "receiving", ["stopped", "live"], "live"),
        ("degraded", "receiving", ["stopped"], "degraded"),
        ("live", "receiving", ["stopped", "retrying"], "degraded"),
    ],
)
def test_observed(
    state: State, input: InputState, forwards: list[ForwardState], wanted: State
) -> None:
    assert lifecycle.observed(state, input, forwards) == wanted


@given(state=st.sampled_from([s for s in STATES if s not in RUNNING]), input=inputs, f=forwards)
def test_what_a_worker_says_changes_nothing_that_is_not_running(
    state: State, input: InputState, f: list[ForwardState]
) -> None:
    assert lifecycle.observed(state, input, f) == state


@given(state=states, input=inputs, f=forwards)
def test_what_is_observed_is_always_an_allowed_step(
    state: State, input: InputState, f: list[ForwardState]
) -> None:
    new = lifecycle.observed(state, input, f)
    assert new == state or lifecycle.may_advance(state, new)


@given(state=st.sampled_from(sorted(RUNNING)), input=inputs, f=forwards)
def test_live_means_media_and_every_forward_that_is_open(
    state: State, input: InputState, f: list[ForwardState]
) -> None:
    opened = [each for each in f if each != "stopped"]
    new = lifecycle.observed(state, input, f)
    if f and not opened:
        assert new == state
    else:
        assert (new == "live") is (input == "receiving" and set(opened) <= {"live"})


@given(state=states, input=inputs, f=forwards)
def test_nothing_is_live_while_an_alarm_stands(
    state: State, input: InputState, f: list[ForwardState]
) -> None:
    new = lifecycle.observed(state, input, f, has_alarm=True)
    assert new == state or new in lifecycle.TRANSITIONS[state]
    if state in RUNNING and (not f or set(f) != {"stopped"}):
        assert new == "degraded"


@given(state=states, is_fed=st.booleans(), f=forwards)
def test_on_air_while_one_forward_makes_progress(
    state: State, is_fed: bool, f: list[ForwardState]
) -> None:
    wanted = state in RUNNING and is_fed and "live" in f
    assert lifecycle.is_on_air(state, is_fed, iter(f)) is wanted


@pytest.mark.parametrize(
    ("reason", "wanted"),
    [
        ("user_stop", "ended"),
        ("eos", "ended"),
        ("no_input", "ended"),
        ("sender_lost", "ended"),
        ("worker_crash", "failed"),
        ("out_of_memory", "failed"),
        ("host_lost", "failed"),
        ("no_capacity", "failed"),
        ("start_failed", "failed"),
    ],
)
def test_each_reason_is_an_end_or_a_failure(reason: str, wanted: State) -> None:
    assert lifecycle.end_state(reason) == wanted
