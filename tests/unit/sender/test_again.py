from __future__ import annotations

import pytest

from strata.backoff import LONGEST_S, STEADY_S, Backoff
from strata.sender.again import NOT_KNOWN, REPLACED, after, way
from strata.sender.connection import Parting
from strata.sender.interfaces import Interface
from strata.wire import agent as wire

BROKEN = Parting(1006, "it broke")


def test_waits_double_until_it_was_there_for_a_while() -> None:
    backoff, waits = Backoff(), []
    for _ in range(7):
        found = after(backoff, BROKEN, 0.0, 0.0)
        backoff = found.backoff
        waits.append(found.wait_s)
        assert found.advice == ""
    assert waits == [1, 2, 4, 8, 16, 30, 30]
    assert after(backoff, BROKEN, STEADY_S - 1.0, 0.0).wait_s == LONGEST_S
    assert after(backoff, BROKEN, STEADY_S, 0.0).wait_s == 1.0
    assert after(Backoff(), BROKEN, 0.0, 1.0).wait_s == 1.25


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (wire.CLOSE_NOT_ALLOWED, NOT_KNOWN),
        (wire.CLOSE_REMOVED, NOT_KNOWN),
        (wire.CLOSE_REPLACED, REPLACED),
    ],
)
@pytest.mark.parametrize("present_s", [0.0, 1000.0])
def test_where_a_soon_try_would_do_harm_it_waits_longest(
    code: int, advice: str, present_s: float
) -> None:
    found = after(Backoff(), Parting(code, "no"), present_s, 0.0)
    assert (found.wait_s, found.advice) == (LONGEST_S, advice)
    assert after(Backoff(), Parting(code, "no"), present_s, 1.0).wait_s == LONGEST_S * 1.25


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, wire.CLOSE_LATE, wire.CLOSE_TOO_MANY])
def test_other_ends_are_tried_again_soon(code: int) -> None:
    assert after(Backoff(), Parting(code, "no"), 0.0, 0.0).wait_s == 1.0


def test_each_modem_has_its_turn_while_nobody_is_reached() -> None:
    modems = [Interface(f"wwan{number}", "cellular", True, ("10.0.0.1",)) for number in (0, 1)]
    dead = Interface("eth0", "ethernet", False, ("10.0.0.2",))
    bare = Interface("wlan0", "wifi", True)
    tried = [way([dead, *modems, bare], failures) for failures in range(5)]
    assert tried == [None, "wwan0", "wwan1", None, "wwan0"]
    assert way([dead, modems[0]], 1) is None  # there is no other
    assert way([], 7) is None
    bridge = Interface("docker0", "ethernet", True, ("172.17.0.1",), is_virtual=True)
    ends = [Interface(name, "ethernet", True, ("10.0.0.1",), is_virtual=True) for name in "ab"]
    assert way([bridge, *modems], 3) is None
    assert way(ends, 2) == "b"
