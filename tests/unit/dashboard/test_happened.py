from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from strata import control
from strata.control import tables
from strata.dashboard import happened
from strata.dashboard.stream_page import TYPES_LEFT_OUT
from unit.dashboard.views import BEGUN


@pytest.mark.parametrize(
    ("type", "data", "tone", "text"),
    [
        ("state", {"to": "live"}, "good", "On the air, all as it should be"),
        ("state", {"to": "of another release"}, "over", "It is of another release"),
        (
            "state",
            {"to": "ended", "reason": "user_stop", "detail": "stopped on request"},
            "over",
            "The broadcast has ended. Stopped on request",
        ),
        (
            "state",
            {"to": "failed", "reason": "worker_crash"},
            "bad",
            "The broadcast failed. The receiver died again and again",
        ),
        (
            "alert_raised",
            {"kind": "link_down", "port": 15002, "detail": "nothing arrives"},
            "bad",
            "The link on port 15002 is down: nothing arrives",
        ),
        ("alert_cleared", {"kind": "slate", "detail": "x"}, "good", "Over: Viewers see the slate"),
        ("alert_acked", {"kind": "slate"}, "over", "Seen: Viewers see the slate"),
        ("forward", {"name": "YouTube", "state": "live"}, "good", "YouTube: live"),
        (
            "forward",
            {"url": "srt://x", "state": "retrying", "message": "refused"},
            "bad",
            "x (SRT): trying again: refused",
        ),
        ("forward", {"forward": "fwd_1", "state": "new"}, "over", "fwd_1"),
        (
            "forward_requested",
            {"change": "add_forward", "name": "Club"},
            "over",
            "Club is to be added",
        ),
        (
            "forward_changed",
            {"change": "replace_forward", "name": "Club"},
            "good",
            "Club has taken the place of another",
        ),
        (
            "forward_refused",
            {"name": "Club", "message": "no answer"},
            "bad",
            "Club was not changed: no answer",
        ),
        ("slate_requested", {"now": True}, "warn", "The slate was put on the air"),
        ("slate_requested", {"now": False}, "warn", "The slate was taken off"),
        ("of_another_release", {}, "over", "Of another release"),
    ],
)
def test_what_happened(type: str, data: dict[str, Any], tone: str, text: str) -> None:
    told = happened.tell(type, data)
    assert (told.tone, told.text) == (tone, text)


@pytest.mark.parametrize("type", list(happened._SAY))
def test_an_event_that_lacks_everything_is_told_all_the_same(type: str) -> None:
    assert happened.tell(type, {}).text


@pytest.mark.parametrize(
    ("user_id", "by"), [(None, ""), ("usr_me", "you"), ("usr_x", "another user")]
)
def test_who_did_it(user_id: str | None, by: str) -> None:
    event = tables.Event(id="evt_1", at=BEGUN, type="stop_requested", user_id=user_id, data={})
    line = happened.line(event, "usr_me")
    assert (line["by"], line["text"]) == (by, "Stopping was asked for")


WRITES = ("note", "_note", "_write", "_conclude", "set_forwards")


def noted() -> set[str]:
    """What control writes down: the words in calls of ``note`` and its like, and what is told."""
    found: set[str] = set()
    for path in Path(control.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(attr=name), args=args) if name in WRITES:
                    parts = [
                        each
                        for arg in args
                        if not isinstance(arg, ast.Dict)
                        for each in ast.walk(arg)
                    ]
                case ast.Return(value=ast.Tuple(elts=[ast.Constant() as word, ast.Dict()])):
                    parts = [word]
                case _:
                    continue
            found |= {each.value for each in parts if isinstance(each, ast.Constant)} - {None}
    return {each for each in found if isinstance(each, str) and each.isidentifier()}


def test_each_event_that_is_written_down_has_words() -> None:
    all_of_them = noted()
    assert {"start_requested", "input", "forward_changed", "host_undrain"} <= all_of_them
    assert all_of_them - happened._SAY.keys() - TYPES_LEFT_OUT == set()
