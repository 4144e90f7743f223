"""What is done when little arrives: an alarm, then the slate, then back. Pure.

Each step wants its evidence without a break for a while, and the way back lies higher than the
way down, so that a rate that swings about a threshold changes nothing. A number that is missing
is no evidence for anything.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final, Literal, TypeAlias

Level: TypeAlias = Literal["fine", "low", "slate"]


@dataclass(frozen=True, slots=True)
class Policy:
    """
    Attributes:
        alarm_below_kbps: less than that is an alarm; None: never.
        slate_below_kbps: less than that, and the slate goes on the air; None: never.
        back_above_kbps: more than that ends both.
        for_s: how long it has to be too little.
        back_for_s: how long it has to be enough.
    """

    alarm_below_kbps: int | None
    slate_below_kbps: int | None
    back_above_kbps: int
    for_s: float = 3.0
    back_for_s: float = 5.0


NAMES: Final = tuple(each.name for each in fields(Policy))


@dataclass(frozen=True, slots=True)
class Watch:
    """How it stands, and since when each step has had its evidence; None: it has none."""

    level: Level = "fine"
    alarm_since_s: float | None = None
    slate_since_s: float | None = None
    back_since_s: float | None = None


def step(policy: Policy, before: Watch, kbps: float | None, now_s: float) -> Watch:
    """How it stands, now that so much arrives.

    Args:
        kbps: None: nobody knows.
    """
    if kbps is None:
        return Watch(before.level)
    after = Watch(
        before.level,
        _since(_is_below(kbps, policy.alarm_below_kbps), before.alarm_since_s, now_s),
        _since(_is_below(kbps, policy.slate_below_kbps), before.slate_since_s, now_s),
        _since(kbps > policy.back_above_kbps, before.back_since_s, now_s),
    )
    return replace(after, level=_level(policy, after, now_s))


def _level(policy: Policy, watch: Watch, now_s: float) -> Level:
    if watch.level == "slate" or watch.level == "low":
        if _lasts(watch.back_since_s, policy.back_for_s, now_s):
            return "fine"
    elif _lasts(watch.alarm_since_s, policy.for_s, now_s):
        return "slate" if _lasts(watch.slate_since_s, policy.for_s, now_s) else "low"
    return "slate" if _lasts(watch.slate_since_s, policy.for_s, now_s) else watch.level


def _is_below(kbps: float, threshold_kbps: int | None) -> bool:
    return threshold_kbps is not None and kbps < threshold_kbps


def _since(is_so: bool, since_s: float | None, now_s: float) -> float | None:
    if not is_so:
        return None
    return since_s if since_s is not None else now_s


def _lasts(since_s: float | None, for_s: float, now_s: float) -> bool:
    return since_s is not None and now_s - since_s >= for_s


# As it is kept, in the row of a stream.


def of_row(kept: dict[str, Any] | None) -> Policy | None:
    """The policy that is kept; None: there is none."""
    if kept is None or "back_above_kbps" not in kept:
        return None
    return Policy(**{name: kept[name] for name in NAMES})


def to_row(policy: Policy | None, *, holds: bool = False) -> dict[str, Any] | None:
    """
    Args:
        holds: whether the slate is on the air for its sake.
    """
    if policy is None and not holds:
        return None
    kept = asdict(policy) if policy is not None else {}
    return {**kept, "holds": True} if holds else kept


def holds(kept: dict[str, Any] | None) -> bool:
    """Whether the slate is on the air for the sake of a policy."""
    return bool(kept and kept.get("holds"))
