"""The account of what the forwards of a stream send."""

from __future__ import annotations

from typing import Any, cast

import pytest

from strata.worker import cap as cap_module
from strata.worker.cap import FADE_S, EgressCap
from strata.worker.egress import SETTLED_AFTER_S, Claim, Rate


class FakeForward:
    """Needs as much as it is told, whatever the stream brings."""

    def __init__(self, need_kbps: float | None = 1000.0) -> None:
        self.need_kbps = need_kbps
        self.share_kbps = 0

    def claim(self, units_kbps: float, packets_kbps: float) -> Claim | None:
        return None if self.need_kbps is None else Claim(self.need_kbps, can_wait=True)

    def set_share(self, kbps: int) -> None:
        self.share_kbps = kbps


class FakeHub:
    def __init__(self) -> None:
        self.units_rate = Rate()
        self.packets_rate = Rate()
        self.fed: list[FakeForward] = []

    def add(self, forward: FakeForward) -> None:
        self.fed.append(forward)

    def remove(self, forward: FakeForward) -> None:
        if forward in self.fed:
            self.fed.remove(forward)

    def bring(self, seconds: float) -> None:
        for number in range(round(seconds * 10) + 1):
            self.units_rate.add(number / 10, 1000)


class Case:
    def __init__(self, kbps: int = 2500) -> None:
        self.hub = FakeHub()
        self.cap = EgressCap(cast(Any, self.hub), kbps)

    def begin(self, *forwards: FakeForward) -> list[Any]:
        """Begins each beside those before it."""
        begun: list[Any] = []
        for forward in cast(list[Any], forwards):
            self.cap.begin(forward, begun)
            begun.append(forward)
        return begun


def test_the_second_one_over_the_network_waits_until_the_rate_is_known() -> None:
    case, first, second, file = Case(), FakeForward(), FakeForward(), FakeForward(None)
    everyone = case.begin(first, second, file)
    assert case.hub.fed == [first, file]
    assert case.cap.is_waiting(everyone[1])
    case.cap.admit(everyone)
    assert case.hub.fed == [first, file]
    case.hub.bring(1.0)
    case.cap.admit(everyone)
    assert case.hub.fed == [first, file, second]
    assert not case.cap.is_waiting(everyone[1])


def test_one_that_does_not_fit_waits_on_and_is_in_excess() -> None:
    case = Case()
    everyone = case.begin(FakeForward(), FakeForward(), FakeForward())
    case.hub.bring(1.0)
    case.cap.admit(everyone)
    assert case.hub.fed == everyone[:2]
    assert not case.cap.is_sure
    case.hub.bring(SETTLED_AFTER_S + 1.0)
    assert case.cap.is_sure
    assert case.cap.excess(everyone) == everyone[2:]
    case.cap.forget(everyone[2])
    assert not case.cap.is_waiting(everyone[2])


def test_without_a_cap_nobody_waits() -> None:
    case = Case(kbps=0)
    everyone = case.begin(FakeForward(), FakeForward())
    assert case.hub.fed == everyone
    assert case.cap.excess(everyone) == []
    case.cap.share_out(everyone)
    assert [each.share_kbps for each in everyone] == [0, 0]


def test_one_that_is_forgotten_is_fed_no_longer() -> None:
    case = Case()
    [one] = case.begin(FakeForward())
    case.cap.forget(one)
    case.cap.forget(one)
    assert case.hub.fed == []


def test_what_has_ended_is_counted_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(cap_module.time, "monotonic", lambda: now)
    case, old, new = Case(), FakeForward(), FakeForward()
    begun = case.begin(old, new)
    case.cap.share_out(begun)
    assert (old.share_kbps, new.share_kbps) == (1250, 1250)
    case.cap.fade(begun[0])
    case.cap.share_out(begun[1:])
    assert new.share_kbps == 1250
    now += FADE_S
    case.cap.share_out(begun[1:])
    assert new.share_kbps == 2500


def test_one_without_a_share_leaves_nothing_behind() -> None:
    case, old, new = Case(), FakeForward(), FakeForward()
    begun = case.begin(old, new)
    case.cap.fade(begun[0])
    case.cap.share_out(begun[1:])
    assert new.share_kbps == 2500


def test_the_error_says_how_much_there_would_be() -> None:
    case = Case()
    claims = case.cap.claims(case.begin(FakeForward(), FakeForward(), FakeForward()))
    assert not case.cap.fits(claims)
    assert case.cap.error(claims).message.startswith(
        "3 forwards of this stream would send 3.0 Mbit/s, and the egress cap is 2.5 Mbit/s"
    )
