"""How much may go out, and how much comes."""

from __future__ import annotations

import pytest

from strata.bond.pace import RATE_S, Pace


def test_the_rate_is_that_of_the_last_moments() -> None:
    pace = Pace()
    for step in range(300):
        pace.count(5000)
        pace.pass_to(step / 100)
    assert pace.rate_kbps == pytest.approx(4000, rel=0.01)
    pace.pass_to(3.0 + RATE_S)
    assert pace.rate_kbps == pytest.approx(4000 / 2.718, rel=0.05)


def test_no_time_changes_nothing() -> None:
    pace = Pace()
    pace.count(1000)
    assert pace.pass_to(5.0) == 0
    assert pace.pass_to(5.0) == 0
    assert pace.rate_kbps == 0
    assert pace.pass_to(5.5) == 0.5
    assert pace.rate_kbps > 0
