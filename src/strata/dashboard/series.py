"""Numbers over time, as charts want them: a list of values each, one beside the other. Pure.

What is not known is None, and makes a hole in the line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, TypeAlias

from strata.control.history import numbers
from strata.control.live import Live
from strata.wire.worker import Stats

Point: TypeAlias = dict[str, Any]
Sample: TypeAlias = tuple[datetime, Mapping[str, Any]]

GAP_S: Final = 3.0
"""Times the usual distance of samples: where they are further apart, the line has a hole."""


def of_history(samples: Iterable[Sample], interval_s: float) -> list[Point]:
    """Points of a chart from what was written down.

    Args:
        interval_s: how far apart they usually are.
    """
    found: list[Point] = []
    before: Sample | None = None
    for at, data in samples:
        if before is not None and (at - before[0]).total_seconds() > GAP_S * interval_s:
            found.append(hole(before[0], interval_s))
            before = None
        found.append(_point(at, data, before[1] if before is not None else None))
        before = at, data
    return found


def now(at: datetime, live: Live, stats: Stats, before: Stats | None) -> Point:
    """The point of this second."""
    return _point(at, numbers(live, stats), numbers(live, before) if before else None)


def hole(after: datetime, interval_s: float) -> Point:
    """Where nothing is known."""
    at = after.timestamp() + interval_s
    names = ("in", "out", "buffer", "lost", "recovered")
    return {"at": round(at * 1000), **dict.fromkeys(names), "links": {}}


def _point(at: datetime, data: Mapping[str, Any], before: Mapping[str, Any] | None) -> Point:
    lost, recovered = shares(data, before)
    return {
        "at": round(at.timestamp() * 1000),
        "in": data["bitrate_in_kbps"],
        "out": data["bitrate_out_kbps"],
        "buffer": data["buffer_ms"],
        "lost": lost,
        "recovered": recovered,
        "links": {str(each["port"]): _link(each) for each in data["links"]},
    }


def _link(link: Mapping[str, Any]) -> list[float | None]:
    """Bitrate and round trip. That of a link that brings nothing is what it was once."""
    return [link["bitrate_kbps"], link["rtt_ms"] if link["bitrate_kbps"] else None]


def shares(
    data: Mapping[str, Any], before: Mapping[str, Any] | None
) -> tuple[float | None, float | None]:
    """Of the packets since then, how many percent were lost for good, and how many came late
    but in time. Counters that began anew, with a worker, say nothing."""
    if before is None:
        return None, None
    names = ("received", "lost", "recovered")
    if any(data[name] is None or before[name] is None for name in names):
        return None, None
    received, lost, recovered = (data[name] - before[name] for name in names)
    all_of_them = received + lost
    if min(received, lost, recovered) < 0 or all_of_them == 0:
        return None, None
    return round(100 * lost / all_of_them, 3), round(100 * recovered / all_of_them, 3)
