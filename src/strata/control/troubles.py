"""What is wrong, given what is known, and which of it is news. Pure.

A trouble stands from when it begins until it is over. One that comes back soon is the same
again; from then on it is over only once it has stayed away for a while, so that a forward that
fails each few seconds is told once and not each few seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from strata.control.live import Live
from strata.wire.host import Load

SAME_S: Final = 30.0
"""What comes back within that is the same again."""

DETAIL_MAX: Final = 2000

FORWARD_KINDS: Final = {"retrying": "forward_retrying", "failed": "forward_failed"}

HOST_KINDS: Final = {"forward": "forward_stuck"}
"""What alarms of a host are called here, where that is not what the host calls them."""

TOLD_BY_WORKER: Final = frozenset(("restarting",))
"""Alarms of a host of which its worker's own words, or the host's notice, tell sooner."""


@dataclass(frozen=True, slots=True)
class Key:
    """Which trouble; two with the same key are one.

    Attributes:
        kind: for programs. Of a stream: ``host_unreachable``, ``worker_restarting``,
            ``no_stats``, ``stalled``, ``slate``, ``off_air``, ``low_bitrate``, ``link_down``,
            ``forward_retrying``, ``forward_failed``, ``forward_stuck``; of a host:
            ``host_unreachable``, ``host_warning``.
        forward: which one, where it is about a forward.
        port: of which link, where it is about a link.
        text: of a warning; there is one trouble for each.
    """

    kind: str
    forward: str | None = None
    port: int | None = None
    text: str | None = None


Troubles: TypeAlias = dict[Key, str]
"""Each with what is to be said of it."""


def of_stream(live: Live, *, is_observed: bool) -> Troubles:
    """What is wrong with a stream that runs.

    Args:
        is_observed: whether its host is there to tell; what it said last is not known to hold
            any more where it is not.
    """
    if not is_observed:
        text = "the host does not answer, so nobody knows how the stream is; it may well go on"
        return {Key("host_unreachable"): text}
    if live.is_restarting:
        return {Key("worker_restarting"): "the worker died; the next one is on its way"}
    return {**_of_input(live), **_of_forwards(live), **_of_alarms(live)}


def _of_input(live: Live) -> Troubles:
    found: Troubles = {}
    if live.input.state == "stalled":
        found[Key("stalled")] = "no media comes; look after the sender and its links"
    if live.program.video == "slate":
        found[Key("slate")] = "viewers see the slate"
    if live.is_off:
        found[Key("off_air")] = (
            "nothing is on the air any more: no media comes, and there is no slate"
        )
    if live.low:
        found[Key("low_bitrate")] = live.low
    for link in live.stats.links if live.stats is not None else ():
        if link.port in live.links_down:
            why = f": {link.reason}" if link.reason else ""
            found[Key("link_down", port=link.port)] = f"the link on port {link.port} is down{why}"
    return found


def _of_forwards(live: Live) -> Troubles:
    return {
        Key(FORWARD_KINDS[each.state], each.forward): each.message
        or f"the destination {each.url} is {each.state}"
        for each in live.forwards.values()
        if each.state in FORWARD_KINDS
    }


def _of_alarms(live: Live) -> Troubles:
    found: Troubles = {}
    for alarm in live.standing:
        forward = live.forwards.get(alarm.forward or "")
        if alarm.kind in TOLD_BY_WORKER or (forward and forward.state in FORWARD_KINDS):
            continue
        found[Key(HOST_KINDS.get(alarm.kind, alarm.kind), alarm.forward)] = alarm.detail
    return found


def of_host(load: Load | None, *, is_connected: bool) -> Troubles:
    """What is wrong with a host."""
    if not is_connected:
        text = "the host does not answer; its streams may well go on, but none can be changed"
        return {Key("host_unreachable"): text}
    warnings = load.warnings if load is not None else []
    told = [text[:DETAIL_MAX] for text in warnings]
    return {Key("host_warning", text=text): text for text in told}


@dataclass(frozen=True, slots=True)
class Standing:
    """A trouble that stands, or stood a moment ago.

    Attributes:
        came_back: whether it was over once, and is the same again.
        gone_at: since when it is not found any more; None while it is.
        is_over: whether it was told to be over.
    """

    came_back: bool = False
    gone_at: float | None = None
    is_over: bool = False


What: TypeAlias = Literal["raised", "again", "cleared"]


@dataclass(frozen=True, slots=True)
class Step:
    what: What
    key: Key
    detail: str = ""


def step(
    before: Mapping[Key, Standing], found: Troubles, now_s: float, *, is_final: bool = False
) -> tuple[dict[Key, Standing], list[Step]]:
    """What stands now, and what is news about it.

    Args:
        is_final: what it is about has ended: nothing will come back.
    """
    after: dict[Key, Standing] = {}
    news: list[Step] = []
    for key, detail in found.items():
        known = before.get(key)
        if known is None or (known.is_over and _is_long_ago(known, now_s)):
            news.append(Step("raised", key, detail))
            after[key] = Standing()
        elif known.is_over:
            news.append(Step("again", key, detail))
            after[key] = Standing(came_back=True)
        else:
            after[key] = replace(known, gone_at=None)
    for key, known in before.items():
        if key in found:
            continue
        gone = known if known.gone_at is not None else replace(known, gone_at=now_s)
        waits = gone.came_back and not is_final and not _is_long_ago(gone, now_s)
        if not gone.is_over and not waits:
            news.append(Step("cleared", key))
            gone = replace(gone, is_over=True)
        if not is_final and not (gone.is_over and _is_long_ago(gone, now_s)):
            after[key] = gone
    return after, news


def _is_long_ago(standing: Standing, now_s: float) -> bool:
    return standing.gone_at is not None and now_s - standing.gone_at > SAME_S
