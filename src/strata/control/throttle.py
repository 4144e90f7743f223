"""How long somebody has to wait who has given wrong passwords. Pure.

By address and account together, so that a stranger cannot lock the owner out from elsewhere;
and by address alone, so that one machine cannot try the same password on every account.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FREE_TRIES: Final = 5
FREE_TRIES_OF_ADDRESS: Final = 30
WAIT_S: Final = 1.0
WAIT_MAX_S: Final = 300.0
FORGET_S: Final = 900.0
"""After so long without another, wrong tries are forgotten."""

KEYS_MAX: Final = 10_000
"""Kept in memory: those that have waited longest are forgotten first."""


@dataclass(slots=True)
class _Tries:
    count: int
    last_at: float


class Throttle:
    """Counts what failed. Times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._tries: dict[tuple[str, ...], _Tries] = {}

    def wait_s(self, address: str, account: str, now: float) -> float:
        """How long until another try is looked at; 0: now."""
        return max(
            self._wait_s((address, account), FREE_TRIES, now),
            self._wait_s((address,), FREE_TRIES_OF_ADDRESS, now),
        )

    def failed(self, address: str, account: str, now: float) -> None:
        """One more that was wrong."""
        for key in ((address, account), (address,)):
            tries = self._tries.pop(key, None)
            if tries is None or now - tries.last_at > FORGET_S:
                tries = _Tries(0, now)
            # Put in anew, at the end: the first is the one that has waited longest.
            self._tries[key] = _Tries(tries.count + 1, now)
        while len(self._tries) > KEYS_MAX:
            del self._tries[next(iter(self._tries))]

    def succeeded(self, address: str, account: str) -> None:
        """The right one: it was no try, and the account's wrong ones from there are forgotten."""
        self._tries.pop((address, account), None)
        of_address = self._tries.get((address,))
        if of_address is not None:
            of_address.count -= 1

    def _wait_s(self, key: tuple[str, ...], free: int, now: float) -> float:
        tries = self._tries.get(key)
        if tries is None or tries.count < free:
            return 0.0
        # The exponent is bounded, or it would leave what a float can hold.
        wait = min(WAIT_S * 2.0 ** min(tries.count - free, 20), WAIT_MAX_S)
        return max(0.0, tries.last_at + wait - now)
