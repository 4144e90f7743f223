"""The states of a stream, and what moves it from one to another. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, TypeAlias

from strata.wire.worker import ForwardState, InputState

State: TypeAlias = Literal["starting", "waiting", "live", "degraded", "stopping", "ended", "failed"]

TRANSITIONS: Final[dict[State, frozenset[State]]] = {
    # The row exists; the worker is not ready yet. The word of its end may overtake the word
    # that it was ready.
    "starting": frozenset(("waiting", "stopping", "ended", "failed")),
    # The worker is ready; no media yet, or no forward has taken any.
    "waiting": frozenset(("live", "degraded", "stopping", "ended", "failed")),
    # Media arrives and every forward makes progress.
    "live": frozenset(("degraded", "stopping", "ended", "failed")),
    # It was live; something is wrong with the input or a forward.
    "degraded": frozenset(("live", "waiting", "stopping", "ended", "failed")),
    "stopping": frozenset(("ended", "failed")),
    "ended": frozenset(),
    "failed": frozenset(),
}

RUNNING: Final[frozenset[State]] = frozenset(("waiting", "live", "degraded"))
OVER: Final[frozenset[State]] = frozenset(("ended", "failed"))

FAILURES: Final = frozenset(
    ("worker_crash", "out_of_memory", "host_lost", "no_capacity", "start_failed")
)
"""Reasons that make an end a failure."""


def observed(
    state: State, input: InputState, forwards: Iterable[ForwardState], *, has_alarm: bool = False
) -> State:
    """The state that a running stream is in, from what its worker reports.

    Args:
        state: the state so far; one that is not running is kept.
        input: whether media arrives.
        forwards: the state of each forward; none at all counts as every one being live.
        has_alarm: something else is wrong, such as a link that is down.
    """
    given = list(forwards)
    # A forward that was closed on purpose is no alarm; when all are, the end comes next.
    states = [each for each in given if each != "stopped"]
    if state not in RUNNING or (given and not states):
        return state
    if input == "receiving" and not has_alarm and all(each == "live" for each in states):
        return "live"
    quiet = (
        not has_alarm
        and input != "stalled"
        and all(each in ("connecting", "live") for each in states)
    )
    # Not yet on the air is no alarm, unless something says that it will not get there. A worker
    # that took the place of one that died before anything was on the air waits like the first.
    waits = state == "waiting" or (state == "degraded" and input == "waiting")
    return "waiting" if waits and quiet else "degraded"


def is_on_air(state: State, is_fed: bool, forwards: Iterable[ForwardState]) -> bool:
    """True while at least one forward makes progress.

    Args:
        is_fed: whether forwards are given anything, be it a slate.
    """
    return state in RUNNING and is_fed and "live" in list(forwards)


def end_state(reason: str) -> State:
    """``failed`` or ``ended``, by the reason of the end."""
    return "failed" if reason in FAILURES else "ended"


def may_advance(old: State, new: State) -> bool:
    return new in TRANSITIONS[old]
