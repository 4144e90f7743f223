"""What is known of one link."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.bond.link import (
    CUT,
    ECHO_S,
    FIRST_KBPS,
    FULL_MAX_S,
    LEAST_KBPS,
    LOSS_MAX,
    ROOM,
    SILENT_MAX_S,
    SILENT_MIN_S,
    Link,
)

SIZE = 1344


class Wire:
    """A link that is asked each 50 ms and sent to meanwhile.

    Attributes:
        carries_kbps: what gets through; more makes a queue.
    """

    def __init__(self, rtt_s: float = 0.04, carries_kbps: float = math.inf) -> None:
        self.now = 0.0
        self.link = Link("a", 0.0)
        self.rtt_s = rtt_s
        self.carries_kbps = carries_kbps
        self.answers = True
        self._free_at = 0.0
        self._on_the_way: list[tuple[float, int]] = []
        self._owed = 0.0

    def run(self, seconds: float, kbps: float = 0.0, loss: float = 0.0) -> None:
        """Sends so much; loses evenly, which the receiver tells 0.1 s later."""
        end = self.now + seconds
        count = 0
        while self.now < end - 1e-9:
            self.now += ECHO_S
            for at, stamp in [each for each in self._on_the_way if each[0] <= self.now]:
                self._on_the_way.remove((at, stamp))
                self.link.echo(at, stamp, 0.0)
            self._owed += kbps * 125 * ECHO_S
            while self._owed >= SIZE:
                self._owed -= SIZE
                count += 1
                self.link.sent(SIZE)
                if int(count * loss) > int((count - 1) * loss):
                    self.link.lose(self.now - 0.1, SIZE)
                self._free_at = max(self._free_at, self.now) + SIZE * 8 / 1000 / self.carries_kbps
            self.link.review(self.now)
            stamp = self.link.ask(self.now)
            if self.answers:
                self._on_the_way.append((max(self._free_at, self.now) + self.rtt_s, stamp))


def test_a_link_joins_when_the_receiver_answers() -> None:
    link = Link("a", 0.0)
    assert link.state == "joining"
    assert link.rtt_s == math.inf
    assert (link.base_s, link.forward_s, link.carries_kbps) == (0, 0, 0)
    stamp = link.ask(1.0)
    link.review(1.0 + 10 * SILENT_MAX_S)
    assert link.state == "joining"
    link.echo(1.04, link.ask(1.0), 0.01)
    assert link.state == "up"
    assert link.rtt_s == pytest.approx(0.03)
    assert stamp == 1_000_000_000


def test_an_echo_that_nobody_asked_for_or_that_comes_again_tells_nothing() -> None:
    link = Link("a", 0.0)
    link.echo(1.0, 12345, 0.0)
    assert link.state == "joining"
    stamp = link.ask(1.0)
    link.echo(1.04, stamp, 0.0)
    link.echo(9.0, stamp, 0.0)
    assert link.rtt_s == pytest.approx(0.04)


def test_an_echo_that_claims_to_have_been_held_for_longer_than_it_took_is_not_believed() -> None:
    link = Link("a", 0.0)
    link.echo(1.04, link.ask(1.0), 4000.0)
    assert link.rtt_s == 0.0


def test_a_link_is_silent_soon_after_the_last_answer_and_not_before() -> None:
    wire = Wire()
    wire.run(2.0, kbps=500)
    wire.answers = False
    wire._on_the_way.clear()
    begin = wire.now
    while wire.link.state == "up":
        wire.run(ECHO_S)
    assert SILENT_MIN_S <= wire.now - begin < 0.5
    assert wire.link.carries_kbps == 0
    wire.answers = True
    wire.run(0.2)
    assert wire.link.state == "up"
    assert wire.link.capacity_kbps < 500 * ROOM


def test_a_lossy_link_is_given_more_time() -> None:
    calm, lossy = Wire(), Wire()
    calm.run(5.0, kbps=1000)
    lossy.run(5.0, kbps=1000, loss=0.25)
    assert lossy.link.loss == pytest.approx(0.25, abs=0.03)
    assert lossy.link.silent_after_s > 1.5 * calm.link.silent_after_s
    assert lossy.link.silent_after_s <= SILENT_MAX_S


def test_what_it_has_carried_is_what_it_is_taken_for_and_a_little_more() -> None:
    wire = Wire()
    wire.run(3.0, kbps=2000)
    assert wire.link.delivered_kbps == pytest.approx(2000, rel=0.1)
    assert wire.link.capacity_kbps == pytest.approx(2000 * ROOM, rel=0.1)
    assert wire.link.congested_at == -math.inf


def test_with_a_queue_it_is_taken_for_what_gets_through() -> None:
    wire = Wire(carries_kbps=1000)
    wire.run(2.0, kbps=500)
    wire.run(2.0, kbps=1400)
    assert wire.link.queue_s > 0.1
    assert wire.link.congested_at > 2.0
    assert wire.link.capacity_kbps == pytest.approx(1000, rel=0.1)


def test_a_full_link_has_to_drain_first() -> None:
    wire = Wire(carries_kbps=1000)
    wire.run(2.0, kbps=500)
    wire.run(1.5, kbps=1400)
    assert wire.link.is_full
    wire.run(1.5)
    assert not wire.link.is_full


def test_a_full_link_that_falls_silent_is_not_only_full() -> None:
    wire = Wire(carries_kbps=1000)
    wire.run(2.0, kbps=500)
    wire.run(1.5, kbps=1400)
    wire.answers = False
    wire._on_the_way.clear()
    wire.run(0.7)
    assert (wire.link.state, wire.link.is_full) == ("silent", True)
    assert wire.link.carries_kbps > 0
    wire.run(FULL_MAX_S)
    assert not wire.link.is_full
    assert wire.link.carries_kbps == 0


def test_jitter_is_no_queue() -> None:
    link, now = Link("a", 0.0), 0.0
    for number in range(400):
        now += ECHO_S
        link.sent(SIZE)
        link.review(now)
        link.echo(now + 0.04 + 0.06 * (number * 7 % 10) / 10, link.ask(now), 0.0)
    assert link.congested_at == -math.inf
    assert not link.is_full


def test_sudden_loss_lowers_it_and_usual_loss_does_not() -> None:
    sudden, usual = Wire(), Wire()
    sudden.run(10.0, kbps=1000)
    before = sudden.link.capacity_kbps
    sudden.run(3.0, kbps=1000, loss=0.28)
    assert sudden.link.capacity_kbps < before * CUT
    usual.run(13.0, kbps=1000, loss=0.2)
    assert usual.link.congested_at == -math.inf


def test_more_loss_than_repairs_could_ever_mend_lowers_it_also_where_it_is_usual() -> None:
    wire = Wire()
    wire.run(5.0, kbps=1000, loss=LOSS_MAX + 0.1)
    assert wire.link.congested_at > 0
    assert wire.link.capacity_kbps < 1000 * ROOM * CUT


def test_loss_is_forgotten_when_it_ends() -> None:
    wire = Wire()
    wire.run(5.0, kbps=1000, loss=0.2)
    wire.run(10.0, kbps=1000)
    assert wire.link.loss < 0.01


def test_after_a_queue_it_is_tried_for_more_with_time() -> None:
    wire = Wire(carries_kbps=1000)
    wire.run(2.0, kbps=500)
    wire.run(1.5, kbps=1400)
    wire.run(1.0)
    low = wire.link.capacity_kbps
    wire.carries_kbps = math.inf
    wire.link.hope_kbps = 2000
    wire.run(1.0, kbps=low / 2)
    assert wire.link.capacity_kbps == low
    wire.run(10.0, kbps=low / 2)
    assert wire.link.capacity_kbps == pytest.approx(2000, rel=0.03)
    assert wire.link.proven_kbps < 1100, "hope is not proof"


moves = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.floats(0, 2)),
        st.tuples(st.just("send"), st.integers(1, 20)),
        st.tuples(st.just("ask"), st.just(0)),
        st.tuples(st.just("answer"), st.integers(0, 30)),
        st.tuples(st.just("lose"), st.floats(0, 3)),
        st.tuples(st.just("review"), st.just(0)),
    ),
    max_size=80,
)


@given(moves)
def test_whatever_happens_it_stays_within_reason(made: list[tuple[str, float]]) -> None:
    link, now, asked = Link("a", 0.0), 0.0, [1]
    for what, value in made:
        if what == "pass":
            now += value
        elif what == "send":
            for _ in range(int(value)):
                link.sent(SIZE)
        elif what == "ask":
            asked.append(link.ask(now))
        elif what == "answer":
            link.echo(now, asked[int(value) % len(asked)], 0.001)
        elif what == "lose":
            link.lose(now - value, SIZE)
        else:
            link.review(now)
        assert link.capacity_kbps >= min(LEAST_KBPS, FIRST_KBPS)
        assert 0 <= link.proven_kbps <= link.capacity_kbps
        assert 0 <= link.loss <= 1
        assert link.queue_s >= 0
        assert SILENT_MIN_S <= link.silent_after_s <= SILENT_MAX_S
        assert len(link._asked) < 200
