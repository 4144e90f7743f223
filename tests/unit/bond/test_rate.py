"""What the encoder should make."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.bond.rate import CALM, FAR, LEAP, NEAR_S, SAFE, UP_PER_S, Rate

NEVER = -math.inf
STEP_S = 0.25


def steps(
    rate: Rate, begin_s: float, end_s: float, carried_kbps: float, congested_at: float = NEVER
) -> list[float]:
    """What it says meanwhile, each 250 ms."""
    count = round((end_s - begin_s) / STEP_S)
    return [
        rate.step(begin_s + number * STEP_S, carried_kbps, congested_at, 0.0)
        for number in range(count)
    ]


def test_it_begins_as_told_and_stays_where_the_links_carry_it() -> None:
    rate = Rate(500, 4000, 4000)
    assert set(steps(rate, 0, 60, carried_kbps=4000 / SAFE + 1)) == {4000}


@pytest.mark.parametrize(("start", "kbps"), [(100, 500), (9000, 4000), (2000, 2000)])
def test_it_begins_between_floor_and_ceiling(start: float, kbps: float) -> None:
    assert Rate(500, 4000, start).kbps == kbps


def test_a_floor_above_the_ceiling_is_the_ceiling() -> None:
    rate = Rate(5000, 4000, 4500)
    assert rate.kbps == 4000
    assert rate.step(0, 0, 0, 0) == 4000


def test_down_at_once_to_a_part_of_what_the_links_carry() -> None:
    rate = Rate(500, 6000, 6000)
    assert rate.step(10.0, 2000, 10.0, 0.0) == SAFE * 2000


def test_what_waits_is_carried_first() -> None:
    rate = Rate(500, 6000, 6000)
    assert rate.step(10.0, 2000, 10.0, 0.4) == pytest.approx(0.8 * SAFE * 2000)


def test_not_below_the_floor() -> None:
    assert Rate(500, 6000, 6000).step(10.0, 0, 10.0, 0.0) == 500


def test_up_a_little_at_a_time_and_never_beyond_what_was_seen() -> None:
    rate = Rate(500, 6000, 3000)
    found = steps(rate, 0, 30, carried_kbps=5000)
    most = UP_PER_S * 6000 * STEP_S + 1e-6
    assert all(0 <= after - before <= most for before, after in itertools.pairwise(found))
    assert found[-1] == CALM * 5000


def test_not_up_right_after_a_queue() -> None:
    rate = Rate(500, 6000, 3000)
    assert set(steps(rate, 0.0, 0.9, carried_kbps=8000, congested_at=0.0)) == {3000}
    assert steps(rate, 1.1, 2.0, carried_kbps=8000, congested_at=0.0)[-1] > 3000


def test_slowly_past_what_was_too_much_the_last_time() -> None:
    rate = Rate(500, 6000, 4000)
    rate.step(0.0, 4400, 0.0, 0.0)  # 3740: 4000 was too much
    near = steps(rate, 1.25, NEAR_S, carried_kbps=6000, congested_at=0.0)
    slowly = UP_PER_S * 6000 * STEP_S / 5
    assert near[1] - near[0] == pytest.approx(slowly)
    again = Rate(500, 6000, 4000)
    again.step(0.0, 4400, 0.0, 0.0)
    later = steps(again, NEAR_S + 0.25, NEAR_S + 2, carried_kbps=7500, congested_at=0.0)
    assert later[2] - later[1] > 2 * slowly


def test_what_has_been_seen_to_work_is_had_again_at_once() -> None:
    rate = Rate(500, 6000, 6000)
    rate.step(0.0, 700, 0.0, 0.0)
    assert rate.kbps < FAR * SAFE * 6000
    assert rate.step(2.0, 6000, 0.0, 0.0) >= LEAP * SAFE * 6000


@given(
    st.lists(
        st.tuples(st.floats(0, 5), st.floats(0, 20_000), st.floats(0, 10), st.floats(0, 2)),
        max_size=60,
    )
)
def test_it_never_leaves_its_bounds(looks: list[tuple[float, float, float, float]]) -> None:
    rate, now = Rate(500, 4000, 3000), 0.0
    for passed_s, carried_kbps, ago_s, waiting_s in looks:
        now += passed_s
        before = rate.kbps
        kbps = rate.step(now, carried_kbps, now - ago_s, waiting_s)
        assert 500 <= kbps <= 4000
        assert kbps <= max(before, CALM * carried_kbps, 500)
