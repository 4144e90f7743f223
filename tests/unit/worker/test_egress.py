"""What a stream may send, and who is given up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.worker import egress
from strata.worker.egress import GAP_S, KNOWN_AFTER_S, WINDOW_S, Claim, Rate


def fed(*entries: tuple[float, int]) -> Rate:
    rate = Rate()
    for at_s, size in entries:
        rate.add(at_s, size)
    return rate


def steady(begin_s: float, end_s: float, kbps: float) -> list[tuple[float, int]]:
    """Eight entries each second, at powers of two so that nothing is rounded."""
    first, last = round(begin_s * 8), round(end_s * 8)
    return [(number / 8, round(kbps * 1000 / 64)) for number in range(first, last + 1)]


def claims(*needs_kbps: float, can_wait: bool = True) -> list[Claim]:
    return [Claim(need, can_wait) for need in needs_kbps]


def test_a_rate_is_not_known_at_once() -> None:
    assert Rate().kbps is None
    assert fed((0.0, 1000)).kbps is None
    assert fed((0.0, 1000), (KNOWN_AFTER_S - 0.01, 1000)).kbps is None
    assert fed((0.0, 1000), (KNOWN_AFTER_S, 1000)).kbps == 8.0


def test_entries_at_the_same_time_count_together() -> None:
    assert fed((5.0, 0), (5.0, 1000), (6.0, 500), (6.0, 500)).kbps == 16.0


@pytest.mark.parametrize("length_s", [1.0, 4.0, 60.0])
def test_a_steady_stream_has_its_rate(length_s: float) -> None:
    assert fed(*steady(100.0, 100.0 + length_s, 4000)).kbps == 4000.0


def test_only_the_latest_seconds_count() -> None:
    before, after = steady(0.0, 20.0, 8000), steady(20.125, 20.0 + WINDOW_S, 2000)
    assert fed(*before, *after).kbps == 2000.0
    assert 2000.0 < (fed(*before, *after[:-8]).kbps or 0.0) < 8000.0


@pytest.mark.parametrize("to_s", [10.125 + GAP_S, 9.875, 0.0, -1.0])
def test_after_a_jump_the_rate_is_measured_anew(to_s: float) -> None:
    rate = fed(*steady(0.0, 10.0, 8000), (to_s, 10**9))
    assert rate.kbps is None
    for at_s, size in steady(to_s + 0.125, to_s + 1.0, 2000):
        rate.add(at_s, size)
    assert rate.kbps == 2000.0


def test_a_gap_that_is_no_jump_counts_as_silence() -> None:
    assert fed((0.0, 0), (1.0, 1000), (1.0 + GAP_S, 1000)).kbps == 8.0


@given(st.lists(st.tuples(st.floats(-0.01, 1.2), st.integers(0, 10**6)), max_size=60))
def test_a_rate_is_never_more_than_what_came(steps: list[tuple[float, int]]) -> None:
    rate, at_s = Rate(), 0.0
    for step_s, size in steps:
        at_s += step_s
        rate.add(at_s, size)
    total_bytes = sum(size for _, size in steps)
    assert rate.kbps is None or 0.0 <= rate.kbps <= total_bytes * 8 / 1000 / KNOWN_AFTER_S


def test_without_a_cap_everything_fits() -> None:
    assert egress.fits(0, claims(10**9, 10**9))
    assert egress.kept(0, claims(10**9, 10**9)) == 2
    assert egress.shares(0, claims(5000, 5000)) == [0, 0]


def test_without_forwards_everything_fits() -> None:
    assert egress.fits(1, [])
    assert egress.kept(1, []) == 0
    assert egress.shares(0, []) == egress.shares(5000, []) == []


def test_what_fills_the_cap_fits() -> None:
    assert egress.fits(10_000, claims(5000, 5000))
    assert not egress.fits(10_000, claims(5000, 5000.1))


def test_the_newest_is_given_up_first() -> None:
    assert egress.kept(15_000, claims(5000, 5000, 5000)) == 3
    assert egress.kept(10_000, claims(5000, 5000, 5000)) == 2
    assert egress.kept(9_000, claims(5000, 5000, 5000)) == 1


def test_a_newer_one_is_not_kept_instead_of_an_older_one() -> None:
    assert egress.kept(6_000, claims(5000, 5000, 100)) == 1


def test_the_last_one_stays_where_it_can_be_paced() -> None:
    assert egress.kept(1_000, claims(5000, 5000)) == 1
    assert egress.kept(1_000, claims(5000, 5000, can_wait=False)) == 0


def test_while_the_rate_is_not_known_nobody_is_given_up() -> None:
    assert egress.kept(1, claims(0, 0, 0, can_wait=False)) == 3


def test_the_cap_is_shared_by_need() -> None:
    assert egress.shares(10_000, claims(4000)) == [10_000]
    assert egress.shares(10_000, claims(4000, 4000)) == [5000, 5000]
    assert egress.shares(10_000, claims(6000, 2000)) == [7500, 2500]


def test_the_cap_is_shared_evenly_while_no_need_is_known() -> None:
    assert egress.shares(10_000, claims(0, 0, 0)) == [3333] * 3


def test_no_share_is_0_which_would_be_no_limit() -> None:
    assert egress.shares(100, claims(10**6, 1)) == [99, 1]
    assert egress.shares(1, claims(5000)) == [1]


NEEDS = st.lists(st.floats(50.0, 5000.0), min_size=1, max_size=32)
CLAIMS = st.lists(st.tuples(st.floats(0.0, 10**5), st.booleans()), max_size=8).map(
    lambda found: [Claim(need, wait) for need, wait in found]
)


@given(cap_kbps=st.integers(0, 200_000), made=CLAIMS)
def test_what_is_kept_fits_and_is_as_much_as_can_be(cap_kbps: int, made: list[Claim]) -> None:
    kept = egress.kept(cap_kbps, made)
    assert egress.fits(cap_kbps, made[:kept]) or (kept == 1 and made[0].can_wait)
    assert kept == len(made) or not egress.fits(cap_kbps, made[: kept + 1])


@given(cap_kbps=st.integers(5_000, 10_000_000), needs=NEEDS)
def test_the_shares_are_the_cap(cap_kbps: int, needs: list[float]) -> None:
    found = egress.shares(cap_kbps, claims(*needs))
    assert cap_kbps - len(needs) <= sum(found) <= cap_kbps


@given(cap_kbps=st.integers(1, 200_000), made=CLAIMS)
def test_the_shares_pass_the_cap_by_no_more_than_the_least_of_each(
    cap_kbps: int, made: list[Claim]
) -> None:
    found = egress.shares(cap_kbps, made)
    assert len(found) == len(made)
    assert all(share >= 1 for share in found)
    assert sum(share for share in found if share > 1) <= cap_kbps


@given(cap_kbps=st.integers(1, 10_000_000), needs=NEEDS)
def test_where_all_fit_nobody_gets_less_than_it_needs(cap_kbps: int, needs: list[float]) -> None:
    made = claims(*needs)
    if egress.fits(cap_kbps, made):
        found = egress.shares(cap_kbps, made)
        pairs = zip(found, made, strict=True)
        assert all(share + 1 > claim.need_kbps - 1e-6 for share, claim in pairs)
