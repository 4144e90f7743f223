from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.host.restarts import FIRST_DELAY_S, TIMES, WITHIN_S, Restarts


def test_the_first_two_deaths_are_answered_and_the_third_is_the_last() -> None:
    restarts = Restarts()
    assert restarts.after_death(100.0) == FIRST_DELAY_S
    assert restarts.after_death(110.0) == 2 * FIRST_DELAY_S
    assert restarts.after_death(159.9) is None


def test_deaths_of_long_ago_do_not_count() -> None:
    restarts = Restarts()
    assert restarts.after_death(0.0) == FIRST_DELAY_S
    assert restarts.after_death(59.9) == 2 * FIRST_DELAY_S
    assert restarts.after_death(60.0) == 2 * FIRST_DELAY_S
    assert restarts.after_death(1000.0) == FIRST_DELAY_S


@pytest.mark.parametrize("at", [0.0, 1e6])
def test_it_does_not_matter_when_the_clock_began(at: float) -> None:
    assert Restarts().after_death(at) == FIRST_DELAY_S


@given(st.lists(st.floats(0.0, 100.0), max_size=40))
def test_a_third_death_within_a_minute_is_the_end_and_no_other(waits: list[float]) -> None:
    restarts = Restarts()
    deaths: list[float] = []
    for now in itertools.accumulate(waits):
        deaths.append(now)
        recent = sum(now - at < WITHIN_S for at in deaths)
        delay_s = restarts.after_death(now)
        assert (delay_s is None) == (recent >= TIMES)
        if delay_s is not None:
            assert FIRST_DELAY_S <= delay_s < WITHIN_S / TIMES
