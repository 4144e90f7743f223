from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from strata.host.ports import SPACING, PortPool

ALL = range(15000, 16001)
REST_S = 60.0
QUARANTINE_S = 300.0


def test_ports_are_two_apart_and_the_next_stream_takes_those_between() -> None:
    pool = PortPool(ALL, REST_S)
    assert pool.allocate(2, 0.0) == (15000, 15002)
    assert pool.allocate(2, 0.0) == (15001, 15003)
    assert pool.allocate(2, 0.0) == (15004, 15006)


@pytest.mark.parametrize(
    ("links", "wanted"),
    [(1, (15000,)), (3, (15000, 15002, 15004)), (8, tuple(range(15000, 15016, 2)))],
)
def test_there_is_a_port_per_link(links: int, wanted: tuple[int, ...]) -> None:
    assert PortPool(ALL, REST_S).allocate(links, 0.0) == wanted


def test_the_whole_range_can_be_used_both_ends_included() -> None:
    pool = PortPool(ALL, REST_S)
    pairs = [pool.allocate(2, 0.0) for _ in range(500)]
    used = sorted(port for pair in pairs if pair is not None for port in pair)
    assert used == list(range(15000, 16000))
    assert pool.allocate(2, 0.0) is None
    assert pool.allocate(1, 0.0) == (16000,)
    assert pool.allocate(1, 0.0) is None
    assert pool.free(0.0) == 0


def test_single_ports_use_up_the_whole_range() -> None:
    pool = PortPool(ALL, REST_S)
    assert [pool.allocate(1, 0.0) for _ in ALL] == [(port,) for port in ALL]
    assert pool.allocate(1, 0.0) is None


def test_a_freed_port_rests() -> None:
    pool = PortPool(range(15000, 15003), REST_S)
    ports = pool.allocate(2, 100.0)
    assert ports == (15000, 15002)
    pool.release(ports, 110.0)
    assert pool.free(169.9) == 1
    assert pool.allocate(2, 169.9) is None
    assert pool.free(170.0) == 3
    assert pool.allocate(2, 170.0) == (15000, 15002)


def test_each_port_rests_from_its_own_release() -> None:
    pool = PortPool(range(15000, 15003), REST_S)
    assert pool.allocate(2, 0.0) == (15000, 15002)
    pool.release([15002], 0.0)
    pool.release([15000], 30.0)
    assert pool.allocate(1, 60.0) == (15001,)
    assert pool.allocate(1, 60.0) == (15002,)
    assert pool.allocate(1, 89.0) is None
    assert pool.allocate(1, 90.0) == (15000,)


def test_without_a_rest_a_port_is_free_at_once() -> None:
    pool = PortPool(range(15000, 15001), 0.0)
    assert pool.allocate(1, 5.0) == (15000,)
    pool.release((15000,), 5.0)
    assert pool.allocate(1, 5.0) == (15000,)


def test_what_was_not_taken_cannot_be_given_back() -> None:
    pool = PortPool(range(15000, 15003), REST_S)
    pool.release((15000, 15001, 99), 0.0)
    assert pool.free(0.0) == 3
    taken = pool.allocate(2, 0.0)
    assert taken is not None
    pool.release(taken, 0.0)
    pool.release(taken, 50.0)  # a second time: the rest is not drawn out
    assert pool.allocate(2, 60.0) == taken


def test_a_stream_with_more_links_than_fit_gets_none_and_takes_none() -> None:
    pool = PortPool(range(15000, 15003), REST_S)
    assert pool.allocate(3, 0.0) is None
    assert pool.free(0.0) == 3


@given(
    first=st.integers(1, 65_535),
    size=st.integers(1, 40),
    links=st.lists(st.integers(1, 8), max_size=30),
)
def test_no_port_is_given_twice_and_all_are_spaced(first: int, size: int, links: list[int]) -> None:
    ports = range(first, min(first + size, 65_536))
    pool = PortPool(ports, REST_S)
    given_out: set[int] = set()
    for count in links:
        found = pool.allocate(count, 0.0)
        if found is None:
            continue
        assert len(found) == count
        assert given_out.isdisjoint(found)
        assert set(found) <= set(ports)
        assert all(b - a == SPACING for a, b in itertools.pairwise(found))
        given_out.update(found)
    assert pool.free(0.0) == len(ports) - len(given_out)


def test_ports_that_a_worker_holds_already_are_not_handed_out() -> None:
    pool = PortPool(range(15000, 15004), REST_S)
    pool.claim((15000, 15002))
    assert pool.free(0.0) == 2
    assert pool.allocate(2, 0.0) == (15001, 15003)
    assert pool.allocate(1, 0.0) is None
    pool.release((15000, 15002), 0.0)
    assert pool.allocate(2, 60.0) == (15000, 15002)


def test_ports_of_a_range_that_was_meanwhile_narrowed_are_claimed_and_do_not_count() -> None:
    pool = PortPool(range(15000, 15002), 0.0)
    pool.claim((14000, 14002))
    assert pool.free(0.0) == 2
    pool.release((14000, 14002), 0.0)
    assert pool.free(0.0) == 2
    assert [pool.allocate(1, 1.0) for _ in range(3)] == [(15000,), (15001,), None]


def test_a_port_that_has_rested_can_be_claimed_before_anybody_looks() -> None:
    pool = PortPool(range(15000, 15001), REST_S)
    ports = pool.allocate(1, 0.0)
    assert ports is not None
    pool.release(ports, 0.0)
    pool.claim(ports)
    assert pool.free(61.0) == 0
    assert pool.allocate(1, 61.0) is None


def test_a_port_that_a_stranger_holds_is_not_tried_again_soon() -> None:
    pool = PortPool(range(15000, 15001), REST_S, quarantine_s=300.0)
    ports = pool.allocate(1, 0.0)
    assert ports is not None
    pool.quarantine(ports, 0.0)
    assert pool.allocate(1, 299.9) is None
    assert pool.allocate(1, 300.0) == ports


def test_a_port_in_quarantine_rests_at_least_as_long_as_another() -> None:
    pool = PortPool(range(15000, 15001), REST_S, quarantine_s=0.0)
    ports = pool.allocate(1, 0.0)
    assert ports is not None
    pool.quarantine(ports, 0.0)
    assert pool.allocate(1, 59.9) is None
    assert pool.allocate(1, 60.0) == ports


class Life(RuleBasedStateMachine):
    """Streams come and go while time passes; the pool is held against a naive book."""

    def __init__(self) -> None:
        super().__init__()
        self.ports = range(15000, 15012)
        self.pool = PortPool(self.ports, REST_S, QUARANTINE_S)
        self.now = 0.0
        self.streams: list[tuple[int, ...]] = []
        self.free_at: dict[int, float] = {}

    def taken(self) -> set[int]:
        return {port for stream in self.streams for port in stream}

    def usable(self) -> set[int]:
        return {
            port
            for port in set(self.ports) - self.taken()
            if self.free_at.get(port, 0.0) <= self.now
        }

    @rule(links=st.integers(1, 4))
    def start(self, links: int) -> None:
        usable = self.usable()
        found = self.pool.allocate(links, self.now)
        fits = [
            first
            for first in self.ports
            if all(first + SPACING * index in usable for index in range(links))
        ]
        if not fits:
            assert found is None
        else:
            assert found == tuple(fits[0] + SPACING * index for index in range(links))
            self.streams.append(found)

    @rule(first=st.integers(14998, 15013), links=st.integers(1, 4))
    def adopt(self, first: int, links: int) -> None:
        """Only a host that has just begun does so: nothing rests yet."""
        ports = tuple(range(first, first + SPACING * links, SPACING))
        if self.taken().isdisjoint(ports) and not self.free_at:
            self.pool.claim(ports)
            self.streams.append(ports)

    @precondition(lambda self: self.streams)
    @rule(which=st.integers(min_value=0))
    def stop(self, which: int) -> None:
        stream = self.streams.pop(which % len(self.streams))
        self.pool.release(stream, self.now)
        self.free_at.update(dict.fromkeys(stream, self.now + REST_S))

    @precondition(lambda self: self.streams)
    @rule(which=st.integers(min_value=0))
    def find_a_stranger(self, which: int) -> None:
        stream = self.streams.pop(which % len(self.streams))
        self.pool.quarantine(stream, self.now)
        self.free_at.update(dict.fromkeys(stream, self.now + QUARANTINE_S))

    @rule(seconds=st.sampled_from([0.5, 20.0, 59.0, 60.0, 61.0, 240.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def counts_what_is_free(self) -> None:
        assert self.pool.free(self.now) == len(self.usable())


TestLife = Life.TestCase
