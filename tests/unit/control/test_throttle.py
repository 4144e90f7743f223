from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.control import throttle
from strata.control.throttle import (
    FORGET_S,
    FREE_TRIES,
    FREE_TRIES_OF_ADDRESS,
    KEYS_MAX,
    WAIT_MAX_S,
    Throttle,
)


def failed(one: Throttle, times: int, account: str = "me", now: float = 0.0) -> None:
    for _ in range(times):
        one.failed("1.2.3.4", account, now)


def test_a_few_wrong_tries_are_free() -> None:
    one = Throttle()
    failed(one, FREE_TRIES - 1)
    assert one.wait_s("1.2.3.4", "me", 0.0) == 0.0
    failed(one, 1)
    assert one.wait_s("1.2.3.4", "me", 0.0) == throttle.WAIT_S


def test_each_more_doubles_the_wait_up_to_a_bound() -> None:
    one = Throttle()
    waits = []
    for _ in range(20):
        failed(one, 1)
        waits.append(one.wait_s("1.2.3.4", "me", 0.0))
    assert waits[FREE_TRIES - 1 : FREE_TRIES + 3] == [1.0, 2.0, 4.0, 8.0]
    assert waits[-1] == WAIT_MAX_S
    failed(one, 5000)
    assert one.wait_s("1.2.3.4", "me", 0.0) == WAIT_MAX_S


def test_the_wait_passes() -> None:
    one = Throttle()
    failed(one, FREE_TRIES + 2, now=10.0)
    assert one.wait_s("1.2.3.4", "me", 10.0) == 4.0
    assert one.wait_s("1.2.3.4", "me", 13.0) == 1.0
    assert one.wait_s("1.2.3.4", "me", 15.0) == 0.0


def test_nobody_else_waits() -> None:
    one = Throttle()
    failed(one, FREE_TRIES + 5)
    assert one.wait_s("1.2.3.4", "you", 0.0) == 0.0
    assert one.wait_s("5.6.7.8", "me", 0.0) == 0.0


def test_one_address_cannot_try_every_account() -> None:
    one = Throttle()
    for number in range(FREE_TRIES_OF_ADDRESS):
        assert one.wait_s("1.2.3.4", "nobody", 0.0) == 0.0
        failed(one, 1, f"user{number}")
    assert one.wait_s("1.2.3.4", "nobody", 0.0) > 0.0
    assert one.wait_s("5.6.7.8", "nobody", 0.0) == 0.0


def test_the_right_one_forgets_the_wrong_ones() -> None:
    one = Throttle()
    failed(one, FREE_TRIES)
    one.succeeded("1.2.3.4", "me")
    assert one.wait_s("1.2.3.4", "me", 0.0) == 0.0
    one.succeeded("5.6.7.8", "who was never wrong")


def test_an_office_that_logs_in_all_day_never_waits() -> None:
    one = Throttle()
    for number in range(10 * FREE_TRIES_OF_ADDRESS):
        assert one.wait_s("1.2.3.4", f"user{number}", 0.0) == 0.0
        failed(one, 1, f"user{number}")
        one.succeeded("1.2.3.4", f"user{number}")


def test_what_is_long_past_is_forgotten() -> None:
    one = Throttle()
    failed(one, FREE_TRIES + 5)
    failed(one, 1, now=FORGET_S + 1)
    assert one.wait_s("1.2.3.4", "me", FORGET_S + 1) == 0.0


def test_strangers_cannot_fill_the_memory() -> None:
    one = Throttle()
    for number in range(KEYS_MAX):
        one.failed(f"address {number}", "me", 0.0)
    assert len(one._tries) == KEYS_MAX


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.booleans())))
def test_a_wait_is_never_more_than_the_bound(tries: list[tuple[str, str, bool]]) -> None:
    one = Throttle()
    for now, (address, account, right) in enumerate(tries):
        one.failed(address, account, float(now))
        if right:
            one.succeeded(address, account)
        for who in ("a", "b"):
            assert 0.0 <= one.wait_s(who, account, float(now)) <= WAIT_MAX_S


@pytest.mark.parametrize("address", ["", "::1", "x" * 1000])
def test_any_address_will_do(address: str) -> None:
    one = Throttle()
    one.failed(address, "me", 0.0)
    assert one.wait_s(address, "me", 0.0) == 0.0
