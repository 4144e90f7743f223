"""One direction of a link, with a clock made by hand."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.errors import BadArguments
from strata.impair.path import LIMITS, PERFECT, Impairment, Outage, Path

SIZE = 1316
SPACING_S = 1 / 512
"""About that of 5 Mbps; a power of two, so that times stay exact wherever they begin."""

percents = st.floats(0, 100)
lengths_ms = st.floats(0, 2000)
impairments = st.builds(
    Impairment,
    loss_percent=percents,
    burst_loss_percent=percents,
    burst_ms=st.floats(1, 2000),
    delay_ms=lengths_ms,
    jitter_ms=lengths_ms,
    reorder_percent=percents,
    reorder_ms=lengths_ms,
    duplicate_percent=percents,
    rate_kbps=st.one_of(st.just(0.0), st.floats(1, 20_000)),
    queue_ms=lengths_ms,
)
gaps_s = st.one_of(st.just(0.0), st.integers(0, 1024).map(lambda number: number / 1024))
packets = st.lists(st.tuples(gaps_s, st.integers(0, 1500)), max_size=60).map(
    lambda pairs: list(
        zip(accumulate(gap for gap, _ in pairs), (size for _, size in pairs), strict=True)
    )
)
"""As (seconds, bytes), in the order of time."""


def steady(count: int) -> list[tuple[float, int]]:
    return [(number * SPACING_S, SIZE) for number in range(count)]


def lost(path: Path, sent: list[tuple[float, int]]) -> list[int]:
    """Numbers of the packets that do not come out."""
    return [number for number, (at_s, size) in enumerate(sent) if not path.send(at_s, size)]


@given(impairments, packets, st.integers(0, 1000))
def test_nothing_comes_out_before_its_delay(
    impairment: Impairment, sent: list[tuple[float, int]], seed: int
) -> None:
    path = Path(impairment, seed=seed)
    longest_s = (impairment.delay_ms + impairment.jitter_ms + impairment.reorder_ms) / 1000
    if impairment.rate_kbps:
        longest_s += impairment.queue_ms / 1000 + 2 * 1500 * 8 / (impairment.rate_kbps * 1000)
    for at_s, size in sent:
        for out_s in path.send(at_s, size):
            assert at_s + impairment.delay_ms / 1000 <= out_s <= at_s + longest_s + 1e-6


@given(impairments, packets, st.integers(0, 1000), st.integers(0, 1_000_000))
def test_the_same_packets_come_out_the_same_way_whenever_it_begins(
    impairment: Impairment, sent: list[tuple[float, int]], seed: int, later_s: int
) -> None:
    outage = Outage(0.25, 0.5, every_s=1.0)
    one, two = Path(impairment, [outage], seed), Path(impairment, [outage], seed)
    for at_s, size in sent:
        times = [later_s + out_s for out_s in one.send(at_s, size)]
        assert two.send(later_s + at_s, size) == pytest.approx(times, abs=1e-6)
    assert one.counters == two.counters


def test_another_seed_loses_other_packets() -> None:
    impairment = Impairment(loss_percent=10)
    found = {tuple(lost(Path(impairment, seed=seed), steady(200))) for seed in (1, 2, "1", "one")}
    assert len(found) == 4


def test_the_same_packets_are_lost_whatever_else_is_set() -> None:
    plain = Impairment(loss_percent=10, burst_loss_percent=5)
    worse = replace(
        plain, delay_ms=40, jitter_ms=60, reorder_percent=5, duplicate_percent=20, rate_kbps=20_000
    )
    assert lost(Path(plain, seed=3), steady(500)) == lost(Path(worse, seed=3), steady(500))


@given(packets)
def test_without_impairments_all_comes_out_at_once(sent: list[tuple[float, int]]) -> None:
    path = Path()
    for at_s, size in sent:
        assert path.send(at_s, size) == [at_s]
    assert path.counters.lost == 0
    assert path.counters.delivered_bytes == sum(size for _, size in sent)


@given(impairments, packets)
def test_every_copy_is_counted_once(impairment: Impairment, sent: list[tuple[float, int]]) -> None:
    path = Path(impairment, [Outage(0.5, 1.0)])
    out = [len(path.send(at_s, size)) for at_s, size in sent]
    count = path.counters
    assert count.taken == len(sent)
    assert count.delivered == sum(out)
    assert count.taken + count.duplicated == count.lost + count.delivered


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("percent", [1, 10, 50])
def test_the_share_that_is_lost_is_what_was_asked_for(percent: float, seed: int) -> None:
    count = 20_000
    found = len(lost(Path(Impairment(loss_percent=percent), seed=seed), steady(count)))
    share = percent / 100
    deviation = (count * share * (1 - share)) ** 0.5
    assert abs(found - count * share) < 4 * deviation


@pytest.mark.parametrize("seed", range(2))
def test_bursts_have_their_share_and_their_length(seed: int) -> None:
    impairment = Impairment(burst_loss_percent=10, burst_ms=100)
    count = 200_000
    numbers = lost(Path(impairment, seed=seed), steady(count))
    bursts = sum(
        number - before > 1 for before, number in zip([-2, *numbers], numbers, strict=False)
    )
    assert len(numbers) / count == pytest.approx(0.1, rel=0.25)
    assert len(numbers) * SPACING_S / bursts == pytest.approx(0.1, rel=0.25)


def test_a_burst_ends_when_bursts_are_switched_off() -> None:
    path = Path(Impairment(burst_loss_percent=100))
    assert lost(path, steady(100)) == list(range(100))
    path.set(PERFECT)
    assert lost(path, [(at_s + 1, size) for at_s, size in steady(100)]) == []


@pytest.mark.parametrize("setting", ["loss_percent", "burst_loss_percent"])
def test_all_is_lost_at_a_hundred_percent(setting: str) -> None:
    path = Path(Impairment(**{setting: 100.0, "duplicate_percent": 100.0}))
    assert lost(path, steady(100)) == list(range(100))
    assert path.counters.duplicated == 0


@given(st.floats(10, 20_000), st.floats(0, 500), packets, st.booleans())
def test_no_window_carries_more_than_the_rate_and_one_packet(
    rate_kbps: float, queue_ms: float, sent: list[tuple[float, int]], is_twice: bool
) -> None:
    path = Path(
        Impairment(
            rate_kbps=rate_kbps, queue_ms=queue_ms, delay_ms=40, duplicate_percent=100 * is_twice
        )
    )
    out = [(out_s, size) for at_s, size in sent for out_s in path.send(at_s, size)]
    assert out == sorted(out, key=lambda one: one[0])
    for first, (begin_s, _) in enumerate(out):
        for last in range(first, len(out)):
            bits = sum(size for _, size in out[first + 1 : last + 1]) * 8
            assert bits <= rate_kbps * 1000 * (out[last][0] - begin_s) + 1e-3


def test_a_queue_that_is_full_overflows() -> None:
    path = Path(Impairment(rate_kbps=1000, queue_ms=100))
    packet_s = 1250 * 8 / 1e6
    out = [path.send(0.0, 1250) for _ in range(20)]
    assert [one for each in out for one in each] == pytest.approx(
        [(number + 1) * packet_s for number in range(11)]
    )
    assert path.counters.lost == 9
    path.set(PERFECT)
    assert path.send(0.05, 1250) == [0.05]  # without a rate there is no queue to wait in


def test_what_is_lost_on_the_air_took_its_share_of_the_rate() -> None:
    path = Path(Impairment(rate_kbps=1000, loss_percent=100))
    path.send(0.0, 1250)
    path.set(Impairment(rate_kbps=1000))
    assert path.send(0.0, 1250) == pytest.approx([0.02])


def test_jitter_lets_packets_overtake_within_its_bounds() -> None:
    path = Path(Impairment(delay_ms=40, jitter_ms=60), seed=7)
    ways = []
    out = []
    for at_s, size in steady(2000):
        [out_s] = path.send(at_s, size)
        out.append(out_s)
        ways.append(out_s - at_s)
    assert out != sorted(out)
    assert min(ways) >= 0.04
    assert max(ways) <= 0.1
    assert sum(ways) / len(ways) == pytest.approx(0.07, abs=0.002)


def test_a_share_of_the_packets_is_held_back() -> None:
    path = Path(Impairment(reorder_percent=10, reorder_ms=20), seed=7)
    held = [path.send(at_s, size)[0] - at_s for at_s, size in steady(5000)]
    assert {round(way_s, 9) for way_s in held} == {0.0, 0.02}
    assert sum(way_s > 0.01 for way_s in held) / 5000 == pytest.approx(0.1, abs=0.02)


def test_a_share_of_the_packets_comes_twice_each_copy_on_its_own_way() -> None:
    path = Path(Impairment(duplicate_percent=20, jitter_ms=50), seed=7)
    out = [path.send(at_s, size) for at_s, size in steady(5000)]
    twice = [times for times in out if len(times) == 2]
    assert len(twice) / 5000 == pytest.approx(0.2, abs=0.02)
    assert all(first != second for first, second in twice)
    assert path.counters.duplicated == len(twice)


@given(
    st.integers(0, 40),
    st.integers(1, 40),
    st.one_of(st.none(), st.integers(1, 40)),
    st.lists(st.integers(0, 400), min_size=1).map(sorted),
)
def test_an_outage_loses_all_inside_and_nothing_outside(
    begin: int, length: int, pause: int | None, times: list[int]
) -> None:
    every = None if pause is None else length + pause
    path = Path(PERFECT, [Outage(begin / 8, (begin + length) / 8, every_s=every and every / 8)])
    path.begin(1000.0)
    for at in times:
        begins = [begin] if every is None else range(begin, at + 1, every)
        is_inside = any(one <= at < one + length for one in begins)
        assert bool(path.send(1000.0 + at / 8, SIZE)) is not is_inside


def test_outages_count_from_the_first_packet_unless_told() -> None:
    path = Path(PERFECT, [Outage(1.0, 2.0)])
    assert [bool(path.send(at_s, SIZE)) for at_s in (50.0, 50.9, 51.0, 51.9, 52.0)] == [
        *(True, True, False, False, True)
    ]


def test_a_path_is_cut_and_restored_by_hand() -> None:
    path = Path()
    assert path.send(0.0, SIZE)
    path.cut()
    assert path.is_cut
    assert not path.send(1.0, SIZE)
    path.restore()
    assert path.send(2.0, SIZE)
    assert (path.counters.taken, path.counters.lost, path.counters.delivered) == (3, 1, 2)


def test_settings_change_from_the_next_packet_on() -> None:
    path = Path()
    assert path.send(0.0, SIZE) == [0.0]
    path.set(Impairment(delay_ms=500))
    assert path.impairment.delay_ms == 500
    assert path.send(0.0, SIZE) == [0.5]


@pytest.mark.parametrize("name", LIMITS)
def test_each_setting_has_limits_and_its_error_tells_them(name: str) -> None:
    least, most = LIMITS[name]
    Impairment(**{name: least})
    Impairment(**{name: most})
    for value in (least - 1, most + 1, float("nan"), float("inf")):
        with pytest.raises(BadArguments) as refused:
            Impairment(**{name: value})
        assert refused.value.message == (
            f"{name.replace('_', '-')} is {value:g}; it must be {least:g} to {most:,.0f}"
        )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((-1, 2), "begin-s is -1; it must be 0 or more"),
        ((float("nan"), 2), "begin-s is nan"),
        ((float("inf"), float("inf")), "begin-s is inf"),
        ((2, 2), "end-s is 2; it must be after begin-s, which is 2"),
        ((0, float("inf")), "end-s is inf"),
        ((0, 2, "both", 2), "every-s is 2; it must be more than the outage is long, which is 2"),
        ((0, 2, "both", float("inf")), "every-s is inf"),
        ((0, 2, "up"), "direction is 'up'; it must be both, forward, return"),
    ],
)
def test_an_outage_that_cannot_be_is_told(arguments: Any, words: str) -> None:
    with pytest.raises(BadArguments) as refused:
        Outage(*arguments)
    assert words in refused.value.message
