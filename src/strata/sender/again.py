"""What a connection that ended, or never was, means: how long to wait, and what to tell the
person at the box. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from strata.backoff import JITTER, LONGEST_S, Backoff
from strata.sender.connection import Parting
from strata.sender.interfaces import Interface
from strata.wire import agent as wire

NOT_KNOWN: Final = (
    "control does not know this machine (any more); whoever looks after the platform makes a new "
    "enrollment token for it (or adds it as a new sender), which goes into the settings as "
    "enrollment_token; what is on the air goes on meanwhile"
)
REPLACED: Final = (
    "another machine logs in as this one, and the two take turns; end the other one, or give it an "
    "enrollment token of its own"
)

SLOW: Final = {
    wire.CLOSE_NOT_ALLOWED: NOT_KNOWN,
    wire.CLOSE_REMOVED: NOT_KNOWN,
    wire.CLOSE_REPLACED: REPLACED,
}
"""Ends after which a soon next try would only do harm."""


def way(interfaces: Iterable[Interface], failures: int) -> str | None:
    """The interface to dial over after so many tries in vain since the start, so that one which
    led to control is the next that is tried; None: where the routes lead.

    A modem that is up and brings nothing through keeps the default route, and with it would keep
    the whole box from control while the others could reach it.
    """
    up = [each for each in interfaces if each.is_up and each.addresses]
    names = [each.name for each in up if not each.is_virtual] or [each.name for each in up]
    return (None, *names)[failures % (len(names) + 1)] if len(names) > 1 else None


@dataclass(frozen=True, slots=True)
class Next:
    """
    Attributes:
        advice: what a person has to do; empty: nothing, it will be tried again.
    """

    backoff: Backoff
    wait_s: float
    advice: str


def after(backoff: Backoff, parting: Parting, present_s: float, chance: float) -> Next:
    """
    Args:
        present_s: how long it was logged in.
        chance: a random number from 0 to 1.
    """
    backoff = backoff.after_failure(present_s)
    advice = SLOW.get(parting.code, "")
    wait_s = LONGEST_S * (1.0 + JITTER * chance) if advice else backoff.wait_s(chance)
    return Next(backoff, wait_s, advice)
