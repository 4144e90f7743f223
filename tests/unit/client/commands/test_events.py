from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest

from strata.client.commands import events
from strata.errors import BadArguments
from unit.client.conftest import Run
from unit.client.platform import FakePlatform

NOW = datetime(2026, 1, 31, 20, 0, tzinfo=UTC)


def event(number: int) -> dict[str, Any]:
    return {
        "id": f"evt_{number:032x}",
        "at": "2026-01-31T20:00:00Z",
        "type": "login",
        "subject": None,
        "user_id": None,
        "data": {"count": number},
    }


def test_the_latest(platform: FakePlatform, strata: Run) -> None:
    platform.tells("GET", "/api/events", [event(1), event(2)])
    assert "2026-01-31 20:00:00Z  login  count=1" in strata("events").out
    assert json.loads(strata("events", "--json").out) == [event(1), event(2)]


def test_all_pages_of_what_is_asked_for(
    platform: FakePlatform, strata: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "PAGE", 2)
    for page in ([event(1), event(2)], [event(3), event(4)], [event(5)]):
        platform.tells("GET", "/api/events", page)
    found = strata("events", "--since", "2026-01-31T20:00:00Z", "--json")
    assert json.loads(found.out) == [event(each) for each in range(1, 6)]
    queries = [parse_qs(each.query) for each in platform.asked]
    assert queries[0] == {"limit": ["2"], "since": ["2026-01-31T20:00:00+00:00"]}
    assert [each.get("after") for each in queries[1:]] == [[event(2)["id"]], [event(4)["id"]]]


def test_what_happens_from_now_on(
    platform: FakePlatform, strata: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A platform that is away for a moment is told once, and nothing is missed."""
    platform.tells("GET", "/api/events", [event(1)])
    platform.refuses("GET", "/api/events", 503, "the database does not answer")
    platform.refuses("GET", "/api/events", 503, "the database does not answer")
    platform.tells("GET", "/api/events", [event(2), event(3)])
    platform.tells("GET", "/api/events", [])
    rounds = iter(range(4))

    def sleep(seconds: float) -> None:
        if next(rounds, None) is None:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", sleep)
    found = strata("events", "--follow", "--json")
    assert found.status == 0
    assert [json.loads(line) for line in found.out.splitlines()] == [event(1), event(2), event(3)]
    assert found.err.count("does not answer") == 1
    afters = [parse_qs(each.query).get("after") for each in platform.asked[1:]]
    assert afters == [[event(1)["id"]]] * 3 + [[event(3)["id"]]]


def test_new_lines_for_a_person(
    platform: FakePlatform, strata: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform.tells("GET", "/api/events", [event(1)])
    platform.tells("GET", "/api/events", [event(2)])
    rounds = iter(range(1))

    def sleep(seconds: float) -> None:
        if next(rounds, None) is None:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", sleep)
    lines = strata("events", "-f").out.splitlines()
    assert lines[-1] == "2026-01-31 20:00:00Z  login  count=2"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("90s", NOW - timedelta(seconds=90)),
        ("10m", NOW - timedelta(minutes=10)),
        ("2h", NOW - timedelta(hours=2)),
        ("3d", NOW - timedelta(days=3)),
        ("2026-01-31T21:00:00+01:00", NOW),
    ],
)
def test_a_moment(text: str, wanted: datetime) -> None:
    assert events.began(text, NOW) == wanted


def test_a_moment_without_a_zone_is_of_here() -> None:
    found = events.began("2026-01-31 20:00", NOW)
    assert found.tzinfo is not None
    assert found == datetime(2026, 1, 31, 20, 0).astimezone()


@pytest.mark.parametrize("text", ["", "yesterday", "10", "-1h", "999999d", "2026-13-01", "1y"])
def test_what_is_no_moment(text: str, strata: Run) -> None:
    with pytest.raises(BadArguments, match="is no moment; write it like 10m"):
        events.began(text, NOW)


def test_what_cannot_be_read_is_told(platform: FakePlatform, strata: Run) -> None:
    platform.tells("GET", "/api/events", {"events": []})
    found = strata("events")
    assert found.status == 1
    assert "cannot be read" in found.err
