from __future__ import annotations

from datetime import timedelta
from typing import Any

from strata.control.live import Live
from strata.dashboard import series
from strata.wire.worker import Flow
from unit.dashboard.views import BEGUN, link, stats


def sample(at_s: float, received: int | None = 0, lost: int = 0, **more: Any) -> series.Sample:
    data = {
        "bitrate_in_kbps": 5000.0,
        "bitrate_out_kbps": 5000.0,
        "buffer_ms": 1000.0,
        "received": received,
        "recovered": 0,
        "lost": lost,
        "links": [],
        **more,
    }
    return BEGUN + timedelta(seconds=at_s), data


def test_losses_are_shares_of_what_came_since() -> None:
    points = series.of_history([sample(0), sample(5, 99, 1, recovered=10)], 5.0)
    assert [(each["lost"], each["recovered"]) for each in points] == [(None, None), (1.0, 10.0)]
    assert points[1]["at"] - points[0]["at"] == 5000


def test_counters_that_begin_anew_say_nothing() -> None:
    points = series.of_history([sample(0, 1000, 7), sample(5, 10, 0), sample(10, 110, 0)], 5.0)
    assert [each["lost"] for each in points] == [None, None, 0.0]


def test_what_was_not_known_is_no_number() -> None:
    unknown = sample(5, None, bitrate_in_kbps=None)
    points = series.of_history([sample(0, 10), unknown, sample(10, 30)], 5.0)
    assert [each["in"] for each in points] == [5000.0, None, 5000.0]
    assert [each["lost"] for each in points] == [None, None, None]


def test_where_nothing_came_nothing_was_lost_or_not() -> None:
    assert series.shares(sample(5, 10)[1], sample(0, 10)[1]) == (None, None)


def test_a_pause_is_a_hole() -> None:
    points = series.of_history([sample(0), sample(5), sample(60)], 5.0)
    assert [each["in"] for each in points] == [5000.0, 5000.0, None, 5000.0]
    assert points[2]["at"] == points[1]["at"] + 5000
    assert points[3]["lost"] is None, "what was lost in between is not of that moment"


def test_a_link_that_brings_nothing_has_no_round_trip() -> None:
    links = [
        {"port": 15000, "bitrate_kbps": 2500.0, "rtt_ms": 42.0},
        {"port": 15002, "bitrate_kbps": 0.0, "rtt_ms": 10.0},
    ]
    [point] = series.of_history([sample(0, links=links)], 5.0)
    assert point["links"] == {"15000": [2500.0, 42.0], "15002": [0.0, None]}


def test_the_point_of_this_second() -> None:
    before, now = (stats(link(15000), flow=Flow(received=n)) for n in (100, 200))
    point = series.now(BEGUN, Live(), now, before)
    assert (point["in"], point["lost"], point["links"]["15000"][1]) == (5000.4, 0.0, 42.4)
    assert series.now(BEGUN, Live(), now, None)["lost"] is None
