from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.backoff import FIRST_S, JITTER, LONGEST_S, STEADY_S, Backoff

FAILURES = st.integers(min_value=0, max_value=1_000_000)
CHANCES = st.floats(min_value=0.0, max_value=1.0)


@pytest.mark.parametrize(
    ("failures", "wait_s"), [(0, 1), (1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 30), (7, 30)]
)
def test_waits_double_up_to_half_a_minute(failures: int, wait_s: float) -> None:
    assert Backoff(failures).wait_s(0.0) == wait_s
    assert Backoff(failures).wait_s(1.0) == wait_s * 1.25


@given(FAILURES, CHANCES)
def test_a_wait_has_bounds(failures: int, chance: float) -> None:
    assert FIRST_S <= Backoff(failures).wait_s(chance) <= LONGEST_S * (1 + JITTER)


@given(FAILURES, CHANCES)
def test_another_failure_never_shortens_the_wait(failures: int, chance: float) -> None:
    before = Backoff(failures)
    assert before.after_failure(0.0).wait_s(chance) >= before.wait_s(chance)


@given(FAILURES, CHANCES, CHANCES)
def test_jitter_only_ever_adds(failures: int, chance: float, other: float) -> None:
    backoff = Backoff(failures)
    assert backoff.wait_s(0.0) <= backoff.wait_s(min(chance, other))
    assert backoff.wait_s(min(chance, other)) <= backoff.wait_s(max(chance, other))


@given(FAILURES, st.floats(min_value=0.0, max_value=STEADY_S, exclude_max=True))
def test_a_short_time_on_the_air_counts_as_one_more_failure(failures: int, live_s: float) -> None:
    assert Backoff(failures).after_failure(live_s) == Backoff(failures + 1)


@given(FAILURES, st.floats(min_value=STEADY_S, max_value=1e6))
def test_after_a_steady_time_the_count_begins_anew(failures: int, live_s: float) -> None:
    assert Backoff(failures).after_failure(live_s) == Backoff(1)
