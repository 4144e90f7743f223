from __future__ import annotations

from typing import Any, get_args

import pytest

from strata.control import lifecycle
from strata.control.troubles import Key
from strata.dashboard import rows, words
from strata.wire import host
from strata.wire import worker as wire
from unit.dashboard.views import LIVE, PICTURE, RECEIVING, RETRYING, SLATE, link, stats, view
from unit.test_operations_doc import alert_kinds

ON_AIR = (RECEIVING, PICTURE, LIVE)


@pytest.mark.parametrize(
    ("found", "tone", "word"),
    [
        (view("live", *ON_AIR), "good", "On the air"),
        (view("starting"), "wait", "Starting"),
        (view("starting", has_live=False), "wait", "Starting"),
        (view("waiting"), "wait", "Waiting for the picture"),
        (view("waiting", RECEIVING, PICTURE), "wait", "Connecting"),
        (view("stopping", *ON_AIR), "wait", "Stopping"),
        (view("ended", has_live=False), "over", "Ended"),
        (view("failed", has_live=False), "bad", "Failed"),
        (view("live", *ON_AIR, is_observed=False), "bad", "Not known"),
        (view("live", has_live=False), "bad", "Not known"),
        (view("degraded", *ON_AIR, live={"is_restarting": True}), "bad", "Restarting"),
        (view("degraded", RECEIVING, SLATE, LIVE), "bad", "Slate"),
        (view("live", *ON_AIR, live={"is_slate_held": True}), "warn", "Slate, as asked"),
        (view("degraded", RECEIVING, PICTURE, RETRYING), "bad", "Off the air"),
        (
            view("degraded", *ON_AIR, wire.Forward("fwd_2", "srt", "failed", "srt://x")),
            "bad",
            "On the air, in trouble",
        ),
        (
            view("degraded", *ON_AIR, stats(link(15000), link(15002, "down", 9.0))),
            "warn",
            "On the air, with a fault",
        ),
    ],
)
def test_how_a_stream_is(found: Any, tone: str, word: str) -> None:
    said = words.state(found, rows.found(found), is_on_air=rows.is_on_air(found))
    assert (said.tone, said.word) == (tone, word)


def test_nothing_is_fine_that_is_not() -> None:
    """Green is for what is on the air without a trouble, and for nothing else."""
    for state in ("starting", "waiting", "degraded", "stopping", "ended", "failed"):
        for known in (view(state), view(state, has_live=False), view(state, RECEIVING, SLATE)):
            said = words.state(known, rows.found(known), is_on_air=False)
            assert said.tone != "good"


def test_each_alert_and_each_end_has_words() -> None:
    assert alert_kinds() <= words.KINDS.keys()
    ends = {*get_args(host.EndReason), *lifecycle.FAILURES, "sender_lost"}
    assert ends == words.REASONS.keys()


def test_each_state_has_words() -> None:
    assert words.FORWARDS.keys() == set(get_args(wire.ForwardState))
    assert set(words.LINKS) == {"up", "silent", "down"}


@pytest.mark.parametrize(
    ("key", "title"),
    [
        (Key("link_down", port=15000), "The link over wwan0 (port 15000) is down"),
        (Key("link_down", port=15002), "The link on port 15002 is down"),
        (Key("forward_failed", "fwd_1"), "YouTube has given up"),
        (Key("forward_failed", "fwd_2"), "A destination has given up"),
        (Key("slate"), "Viewers see the slate"),
        (Key("of another release"), "Something is wrong"),
    ],
)
def test_a_trouble_in_some_words(key: Key, title: str) -> None:
    names = words.Names({"fwd_1": "YouTube"}, {15000: "wwan0"})
    assert words.title(key, names) == title


def test_what_it_means_and_what_to_do_are_sentences() -> None:
    for kind in (*words.KINDS.values(), words.OTHER):
        for text in (kind.means, kind.do):
            assert text[0].isupper()
            assert text[-1] in ".?"
