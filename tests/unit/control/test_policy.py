from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.control import policy
from strata.control.policy import Level, Policy, Watch

BOTH = Policy(2500, 800, 3000, for_s=3.0, back_for_s=5.0)

rates = st.none() | st.floats(0, 10_000)


def course(wanted: Policy, *kbps: float | None) -> list[Level]:
    """The level after each second."""
    watch, found = Watch(), []
    for now_s, rate in enumerate(kbps):
        watch = policy.step(wanted, watch, rate, float(now_s))
        found.append(watch.level)
    return found


def test_down_and_back() -> None:
    rates = [5000.0] * 3 + [2000.0] * 5 + [500.0] * 5 + [4000.0] * 7
    assert course(BOTH, *rates) == (
        ["fine"] * 6 + ["low"] * 2 + ["low"] * 3 + ["slate"] * 2 + ["slate"] * 5 + ["fine"] * 2
    )


def test_straight_to_the_slate() -> None:
    assert course(BOTH, *[0.0] * 5) == ["fine"] * 3 + ["slate"] * 2


@pytest.mark.parametrize(
    ("wanted", "level"), [(Policy(2500, None, 3000), "low"), (Policy(None, 800, 3000), "slate")]
)
def test_one_of_both_alone(wanted: Policy, level: Level) -> None:
    assert course(wanted, *[100.0] * 5)[-1] == level


def test_a_dip_that_does_not_last_is_none() -> None:
    assert set(course(BOTH, *([100.0, 100.0, 100.0, 5000.0] * 10))) == {"fine"}


def test_what_is_missing_is_no_evidence() -> None:
    assert set(course(BOTH, 100.0, 100.0, None, 100.0, 100.0, None)) == {"fine"}
    assert course(BOTH, *[100.0] * 4, *[None] * 100)[-1] == "slate"


def test_between_the_thresholds_nothing_changes() -> None:
    assert course(BOTH, *[100.0] * 4, *[2900.0] * 100)[-1] == "slate"
    assert course(BOTH, *[2900.0] * 100)[-1] == "fine"


@given(st.lists(rates, max_size=60))
def test_each_change_has_its_evidence(kbps: list[float | None]) -> None:
    levels: list[Level] = ["fine", *course(BOTH, *kbps)]
    for at, (before, after) in enumerate(pairwise(levels)):
        if before == after:
            continue
        wait = int(BOTH.back_for_s if after == "fine" else BOTH.for_s)
        seen = kbps[at - wait : at + 1]
        assert at >= wait, "no change without so much evidence"
        for rate in seen:
            assert rate is not None
            if after == "fine":
                assert rate > BOTH.back_above_kbps
            else:
                limit = BOTH.slate_below_kbps if after == "slate" else BOTH.alarm_below_kbps
                assert limit is not None
                assert rate < limit


@given(st.lists(st.tuples(st.booleans(), st.floats(3.1, 9)), max_size=40))
def test_what_swings_inside_the_hysteresis_changes_nothing(days: list[tuple[bool, float]]) -> None:
    for start in ("fine", "low", "slate"):
        watch, now_s = Watch(start), 0.0
        for is_high, pause_s in days:
            now_s += pause_s
            watch = policy.step(BOTH, watch, 2999.0 if is_high else 2501.0, now_s)
        assert watch.level == start


@given(st.builds(Policy, st.none() | st.integers(1), st.none() | st.integers(1), st.integers(1)))
def test_kept_and_read_again(wanted: Policy) -> None:
    for holds in (True, False):
        kept = policy.to_row(wanted, holds=holds)
        assert (policy.of_row(kept), policy.holds(kept)) == (wanted, holds)


def test_without_a_policy() -> None:
    assert policy.to_row(None) is None
    assert policy.of_row(None) is None
    assert not policy.holds(None)
    kept = policy.to_row(None, holds=True)
    assert (policy.of_row(kept), policy.holds(kept)) == (None, True)
