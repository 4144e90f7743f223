from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console, RenderableType

from strata.client import show
from strata.client.screen import as_text

NOW = datetime(2026, 1, 31, 20, 0, tzinfo=UTC)
ID = "str_0199aaaa000070008000000012345678"
STREAM: dict[str, Any] = {
    "id": ID,
    "name": "Derby",
    "state": "live",
    "on_air": True,
    "observed": True,
    "reason": None,
    "detail": None,
    "host": "local",
    "ports": [15000, 15002],
    "receive_urls": ["rist://my.host:15000", "rist://my.host:15002"],
    "forwards": [
        {"forward": "fwd_1", "kind": "rtmp", "state": "live", "url": "rtmp://x/a/****"},
        {"forward": "fwd_2", "kind": "srt", "state": "retrying", "message": "refused"},
    ],
    "links": [{"port": 15000, "state": "up", "rtt_ms": 41.25}, {"port": 15002, "state": "up"}],
    "media": {"video": {"codec": "h264", "width": 1280}, "audio": None},
    "program": {"video": "live", "audio": "silence"},
    "stats": {"bitrate_in_kbps": 5217.4},
    "alarms": [],
    "events": [
        {"at": "2026-01-31T19:59:00Z", "type": "state", "subject": ID, "data": {"to": "live"}}
    ],
    "created_at": "2026-01-31T19:48:00Z",
    "ended_at": None,
}


def text(drawn: RenderableType) -> str:
    return as_text(Console(width=1000, markup=False, highlight=False), drawn)


def cells(drawn: RenderableType) -> list[list[str]]:
    """By the two blanks between columns."""
    return [[each for each in line.split("  ") if each] for line in text(drawn).splitlines()]


def stripped(rows: list[list[str]]) -> list[list[str]]:
    return [[each.strip() for each in row] for row in rows]


def test_streams_at_a_glance() -> None:
    head, row = stripped(cells(show.streams([STREAM], NOW)))
    wanted = {
        **{"ID": "12345678", "NAME": "Derby", "STATE": "live", "ON AIR": "on air"},
        **{"KBPS IN": "5217", "LINKS": "2/2", "FORWARDS": "1/2", "AGE": "12m"},
    }
    found = dict(zip(head, row, strict=False))
    assert {key: found[key] for key in wanted} == wanted


def test_what_is_wrong_is_told_beside_it() -> None:
    row = {
        **STREAM,
        "state": "degraded",
        "alarms": [{"detail": "link 2\nis down"}, {"detail": "B"}],
    }
    assert text(show.streams([row], NOW)).endswith("link 2 is down; B")


def test_what_nobody_sees_is_not_told_as_if_it_were_so() -> None:
    """Old figures of a stream that is not observed would look as if all were well."""
    drawn = text(show.streams([{**STREAM, "observed": False}], NOW))
    assert "live? (not observed)" in drawn
    assert "unknown" in drawn
    assert "5217" not in drawn
    assert "on air" not in drawn
    one = text(show.stream({**STREAM, "observed": False}, NOW))
    assert "live? (not observed)" in one
    assert "Links (as last told)" in one


def test_states_have_colours() -> None:
    colours = {
        state: show.stream_state({**STREAM, "state": state}, NOW).style
        for state in ("live", "degraded", "failed", "waiting", "ended")
    }
    assert colours == {
        **{"live": "green", "degraded": "yellow", "failed": "bold red"},
        **{"waiting": "cyan", "ended": "dim"},
    }
    assert show.stream_state({**STREAM, "observed": False}, NOW).style == "yellow"
    assert show.on_air({**STREAM, "on_air": False}, NOW).style == "bold red"


@pytest.mark.parametrize(
    ("state", "hours", "shown"),
    [("ended", 1, True), ("failed", 23, True), ("ended", 25, False), ("failed", 25, False)],
)
def test_what_is_over_is_shown_for_a_day(state: str, hours: int, shown: bool) -> None:
    ended_at = (NOW - timedelta(hours=hours)).isoformat()
    row = {**STREAM, "state": state, "ended_at": ended_at, "reason": "user_stop"}
    drawn = text(show.streams([row], NOW))
    assert ("12345678" in drawn) is shown
    assert ("1 that ended earlier: --all" in drawn) is not shown
    assert "12345678" in text(show.streams([row], NOW, everything=True))


def test_one_stream() -> None:
    drawn = text(show.stream(STREAM, NOW))
    for words in (
        *(ID, "Derby", "rist://my.host:15000, rist://my.host:15002"),
        *("video live, audio silence", "codec h264, width 1280"),
        *("15000", "41.2", "fwd_2", "retrying", "refused", "2026-01-31 19:59:00Z", "to=live"),
    ):
        assert words in drawn, words


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"id": ID},
        {"id": 5, "state": ["x"], "forwards": None, "links": [5], "alarms": [5], "stats": 3},
        {"state": "of tomorrow", "created_at": "yesterday", "events": "x", "media": []},
    ],
)
def test_a_platform_of_another_version_is_shown_as_far_as_it_goes(row: dict[str, Any]) -> None:
    text(show.streams([row], NOW))
    text(show.stream(row, NOW))
    for columns in (
        *(show.SENDERS, show.DESTINATIONS, show.HOSTS, show.ALERTS, show.EVENTS),
        *(show.USERS, show.TOKENS),
    ):
        text(show.table(columns, [row], NOW))


@pytest.mark.parametrize("rows", [None, {}, "x", [], [5]])
def test_what_is_no_list_is_an_empty_one(rows: object) -> None:
    assert text(show.table(show.HOSTS, rows, NOW, "no host")) == "no host"
    assert "no stream runs" in text(show.streams(rows, NOW))


def test_figures_that_are_not_known_are_no_zeros() -> None:
    host = {"id": "local", "connected": False, "streams": None, "free_ports": None}
    head, row = stripped(cells(show.table(show.HOSTS, [host], NOW)))
    assert (head, row) == (["ID", "CONNECTED"], ["local", "no"])
    full = {"id": "local", "connected": True, "used_cpu_cores": 0.25, "cpu_cores": 4.0}
    assert "0.2 of 4" in text(show.table(show.HOSTS, [full], NOW))


def test_names_are_no_markup_and_no_commands_to_the_terminal() -> None:
    row = {"id": "snd_1", "name": "[red]\x1b[2J:smile:"}
    assert "[red] [2J:smile:" in text(show.table(show.SENDERS, [row], NOW))


def test_alerts_that_are_over() -> None:
    rows = [
        {"id": "evt_1", "kind": "link_down", "cleared_at": None},
        {"id": "evt_2", "kind": "no_input", "cleared_at": "2026-01-31T19:00:00Z"},
    ]
    assert "no_input" not in text(show.alerts(rows, NOW))
    assert "no_input" in text(show.alerts(rows, NOW, everything=True))
    assert "nothing is wrong" in text(show.alerts(rows[1:], NOW))


def test_facts_of_whatever_kind() -> None:
    drawn = text(show.facts({"ok": True, "answer": {"code": 200}, "tries": [1, 2], "none": None}))
    assert stripped(cells(show.facts(None))) == []
    assert "code 200" in drawn
    assert "1, 2" in drawn


@pytest.mark.parametrize(
    ("seconds", "wanted"),
    [(-5, "0s"), (0, "0s"), (59, "59s"), (60, "1m"), (7199, "120m"), (7200, "2h"), (2e5, "2d")],
)
def test_durations(seconds: float, wanted: str) -> None:
    assert show.duration(seconds) == wanted


@pytest.mark.parametrize(
    ("value", "wanted"), [(0, "0"), (15000, "15000"), (1.25, "1.2"), (5217.4, "5217"), ("x", "-")]
)
def test_numbers(value: object, wanted: str) -> None:
    assert show.number(value) == wanted


def test_moments_are_utc() -> None:
    assert show.parsed("2026-01-31T21:00:00+01:00") == NOW
    assert show.parsed("2026-01-31T20:00:00") == NOW
    assert show.parsed("yesterday") is None
    assert show.parsed(5) is None
