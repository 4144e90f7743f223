"""How much each link carries, and whose turn it is."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.bond.link import LEAST_KBPS, Link
from strata.bond.shares import FILL, LOSS_WEIGHT, Turns, shares, usable

capacities = st.floats(LEAST_KBPS, 50_000)
losses = st.floats(0, 1)


def link(id: str, kbps: float, loss: float = 0.0, *, echoed: bool = True) -> Link:
    """A link that carries so much; its loss is that of its last packets."""
    one = Link(id, 0.0, kbps)
    if echoed:
        one.echo(0.02, one.ask(0.0), 0.0)
    one.capacity_kbps = kbps
    for _ in range(1000):
        one.sent(1)
    for _ in range(round(loss * 1000)):
        one.lose(-1.0, 0)
    return one


@given(st.lists(st.tuples(capacities, losses), min_size=1, max_size=8), st.floats(0, 400_000))
def test_the_shares_are_what_there_is_to_carry_and_nobody_gets_too_much(
    made: list[tuple[float, float]], demand_kbps: float
) -> None:
    links = [link(str(number), *one) for number, one in enumerate(made)]
    found = shares(links, demand_kbps)
    assert found.keys() == {each.id for each in links}
    room = {each.id: FILL * each.capacity_kbps for each in links}
    if 0 < demand_kbps < sum(room.values()):
        assert sum(found.values()) == pytest.approx(demand_kbps)
        assert all(0 <= found[id] <= room[id] * (1 + 1e-9) for id in found)
    else:
        assert found == pytest.approx({each.id: each.capacity_kbps for each in links})


def test_who_loses_gets_less_as_long_as_the_others_have_room() -> None:
    links = [link("good", 4000), link("bad", 4000, loss=1 / LOSS_WEIGHT)]
    found = shares(links, 3000)
    assert found["bad"] == pytest.approx(found["good"] / 2)
    found = shares(links, 6000)
    assert found["good"] == pytest.approx(FILL * 4000)
    assert found["bad"] == pytest.approx(6000 - FILL * 4000)


def test_there_is_something_to_go_by_before_there_is_media() -> None:
    found = shares([link("a", 3000), link("b", 1000)], 0.0)
    assert found["a"] == pytest.approx(3 * found["b"])
    assert found["b"] > 0


def test_which_links_media_may_go_out_on() -> None:
    up, full, joining = link("up", 1000), link("full", 1000), link("new", 500, echoed=False)
    full.is_full = True
    silent = link("silent", 1000)
    silent.ask(0.1)
    silent.review(5.0)
    assert silent.state == "silent"
    assert usable([up, full, joining, silent]) == [up]
    assert usable([full, joining, silent]) == [full]
    assert usable([joining, silent]) == [silent]
    assert usable([joining]) == []


weights = st.dictionaries(st.sampled_from("abcdef"), st.floats(50, 20_000), min_size=1)


@given(weights, st.integers(1, 400))
def test_each_has_its_share_to_within_a_packet(wanted: dict[str, float], count: int) -> None:
    turns = Turns()
    turns.weigh(wanted)
    took = Counter(turns.next(1000) for _ in range(count))
    for id, weight in wanted.items():
        fair = count * weight / sum(wanted.values())
        # The divisors' method of d'Hondt: nobody is more than a packet behind. So of two links
        # none is more than one ahead.
        assert took[id] > fair - 1 - 1e-6
        assert took[id] < fair + max(len(wanted) - 1, 1) + 1e-6


def test_turns_are_taken_evenly_and_not_in_blocks() -> None:
    turns = Turns()
    turns.weigh({"a": 300.0, "b": 200.0})
    row = "".join(turns.next(1316) or "-" for _ in range(100))
    assert row.count("a") == 60
    assert "aaa" not in row
    assert "bb" not in row


@given(st.lists(weights, min_size=2, max_size=20))
def test_weights_that_change_leave_nobody_with_a_debt(changes: list[dict[str, float]]) -> None:
    turns = Turns()
    for wanted in changes:
        turns.weigh(wanted)
        for _ in range(20):
            turns.next(1000)
    turns.weigh(dict.fromkeys("ab", 1000.0))
    took = Counter(turns.next(1000) for _ in range(2000))
    assert set(took) == {"a", "b"}
    assert took["a"] + took["b"] == 2000


def test_who_comes_later_does_not_have_to_catch_up() -> None:
    turns = Turns()
    turns.weigh({"a": 100.0})
    for _ in range(10_000):
        turns.next(1316)
    turns.weigh({"a": 100.0, "b": 100.0})
    took = Counter(turns.next(1316) for _ in range(100))
    assert took["b"] == 50


def test_a_copy_goes_to_another_one_or_to_nobody() -> None:
    turns = Turns()
    assert turns.next(1) is None
    turns.weigh({"a": 1.0, "b": 1.0, "none": 0.0})
    assert turns.next(1, ("a",)) == "b"
    assert turns.next(1, ("a", "b")) is None
