from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.control.forwards import Forward
from strata.control.streams import View
from strata.dashboard import rows, words
from strata.dashboard.rows import Rank
from strata.dashboard.words import NAMELESS, Names
from strata.wire import agent
from strata.wire import worker as wire
from unit.dashboard.views import BEGUN, LIVE, PICTURE, RECEIVING, RETRYING, SLATE, link, stats, view

ON_AIR = (RECEIVING, PICTURE, LIVE)


def head_of(one: View, links: Mapping[int, str] | None = None) -> rows.Head:
    return rows.head(one, Names(rows.forward_names(one), links or {}))


def test_a_stream_that_is_as_it_should_be() -> None:
    head = head_of(view("live", *ON_AIR))
    assert (head["name"], head["tone"], head["onAir"]) == ("Derby", "good", True)
    assert (head["troubles"], head["more"], head["note"]) == ([], 0, "")
    assert (head["begun"], head["ended"]) == (int(BEGUN.timestamp() * 1000), None)
    [forward] = head["forwards"]
    assert (forward["name"], forward["word"]) == ("a.rtmp.youtube.com (RTMP)", "Live")


def test_what_is_grave_comes_first_and_too_much_is_counted() -> None:
    links = [link(15000, "down", 9.0), link(15002, "down", 9.0)]
    bad = [wire.Forward(f"fwd_{n}", "rtmp", "failed", "rtmp://x/****") for n in range(1, 7)]
    head = head_of(view("degraded", RECEIVING, SLATE, *bad, stats(*links)))
    assert len(head["troubles"]) == rows.TROUBLES_SHOWN
    assert head["more"] == 9 - rows.TROUBLES_SHOWN
    assert all(each["grave"] for each in head["troubles"])
    assert [each["kind"] for each in head["troubles"]][:2] == ["slate", "forward_failed"]


def test_a_link_that_is_silent_is_told_before_it_counts_as_down() -> None:
    for age_s, is_told in ((1.0, False), (2.0, True)):
        found = rows.found(view("live", *ON_AIR, stats(link(15000), link(15002, "silent", age_s))))
        assert [key.port for key in found] == ([15002] if is_told else [])
    none_is_up = stats(link(15000, "silent", 3.0), link(15002, "silent", 3.0))
    assert rows.found(view("live", *ON_AIR, none_is_up)) == {}, "the input tells of that"
    never_seen = stats(link(15000), link(15002, "silent", None, received=0))
    assert rows.found(view("live", *ON_AIR, never_seen)) == {}


def test_links_are_called_what_the_sender_calls_them() -> None:
    told = agent.StreamStats(
        "str_1",
        links=[
            agent.LinkStats("1", "wwan0", port=15000),
            agent.LinkStats("2", "wwan1", port=15002),
            agent.LinkStats("default", port=15002),
            agent.LinkStats("4", "of an earlier release"),
            agent.LinkStats("5", port=15006),
        ],
    )
    names = rows.link_names(told, {15000: "eth0", 15004: "usb0"})
    assert names == {15000: "wwan0", 15002: "wwan1 and default", 15004: "usb0"}
    assert rows.link_names(None, names) == names, "a modem that is gone is called what it was"
    links = stats(link(15000, "down", 9.0), link(15002))
    found = rows.numbers(links, Names(links=names))["links"]
    assert [each["name"] for each in found] == ["wwan0", "wwan1 and default"]
    [trouble] = head_of(view("degraded", *ON_AIR, links), names)["troubles"]
    assert trouble["title"] == "The link over wwan0 (port 15000) is down"


def test_what_nobody_sees_is_not_shown_as_numbers() -> None:
    assert rows.numbers(None, NAMELESS) == {"in": None, "out": None, "links": []}
    found = rows.found(view("live", *ON_AIR, stats(link(1, "down")), is_observed=False))
    assert [key.kind for key in found] == ["host_unreachable"]


def test_numbers() -> None:
    told = rows.numbers(stats(link(15000), link(15002, "down", 9.04, rtt_ms=10.0)), NAMELESS)
    assert (told["in"], told["out"]) == (5000, 10_000)
    up, down = told["links"]
    assert (up["rtt"], up["age"], up["word"], up["kbps"]) == (42, 0.0, "Up", 2500)
    assert (down["rtt"], down["age"], down["tone"]) == (None, 9.0, "bad")
    unused = rows.numbers(stats(link(15002, "down", None, received=0)), NAMELESS)["links"]
    assert [(each["tone"], each["word"]) for each in unused] == [("wait", "Nothing yet")]


@pytest.mark.parametrize(
    ("state", "columns", "note"),
    [
        ("waiting", {}, "It is ready on the ports 15000, 15002. Start the encoder."),
        ("starting", {}, "Its receiver is being started."),
        ("ended", {"reason": "user_stop", "detail": "by you"}, "Stopped on request: by you"),
        ("failed", {"reason": "no_capacity"}, "There was no room for it"),
        ("failed", {"reason": "of another release"}, "of another release"),
    ],
)
def test_notes(state: str, columns: dict[str, str], note: str) -> None:
    assert head_of(view(state, **columns))["note"] == note


def test_a_forward_has_the_name_that_people_gave_it() -> None:
    names = (Forward("rtmp://x/live/key", "fwd_1", "dst_1", "the club's channel"),)
    head = head_of(view("degraded", RECEIVING, PICTURE, RETRYING, forwards=names))
    assert head["forwards"][0]["name"] == "The club's channel"
    assert head["troubles"][0]["title"] == "The club's channel takes no picture"
    assert head["troubles"][0]["detail"] == "refused"


def test_one_that_was_closed_is_not_shown() -> None:
    closed = wire.Forward("fwd_2", "rtmp", "stopped", "rtmp://x/****")
    assert len(head_of(view("live", *ON_AIR, closed))["forwards"]) == 1


@pytest.mark.parametrize(
    ("url", "kind", "text"),
    [
        ("rtmp://a.rtmp.youtube.com/live2/canary", "rtmp", "a.rtmp.youtube.com (RTMP)"),
        ("srt://me:canary@example.org:7000?passphrase=canary", "srt", "example.org:7000 (SRT)"),
        ("file:///media/x.ts", "file", "Recording"),
        ("https://h/x", "of another release", "h (OF ANOTHER RELEASE)"),
    ],
)
def test_where_it_goes_without_a_key(url: str, kind: str, text: str) -> None:
    assert rows.where(url, kind) == text


@pytest.mark.parametrize(
    ("media", "text"),
    [
        (wire.Media(), ""),
        (wire.Media(wire.VideoMedia("h264")), "H.264, no sound"),
        (
            wire.Media(wire.VideoMedia("h265", 1920, 1080, 50.0), wire.AudioMedia("aac")),
            "1080p50 H.265, AAC",
        ),
        (
            wire.Media(wire.VideoMedia("av1", 1, 720, 29.97), wire.AudioMedia("opus")),
            "720p29.97 AV1, OPUS",
        ),
    ],
)
def test_what_comes_from_the_field(media: wire.Media, text: str) -> None:
    assert rows.media(view("live", stats(media=media))) == text
    assert rows.media(view("live")) == ""


@given(st.lists(st.tuples(st.sampled_from(words.TONES), st.text(max_size=5)), max_size=20))
def test_trouble_is_always_first(streams: list[tuple[words.Tone, str]]) -> None:
    ranks = [Rank(tone, name, f"str_{at}") for at, (tone, name) in enumerate(streams)]
    tones = [words.TONES.index(rank.tone) for rank in sorted(ranks, key=lambda rank: rank.key)]
    assert tones == sorted(tones)


def test_names_are_counted_as_people_count() -> None:
    names = ["Camera 10", "camera 9", "Camera", "10", "9 a", "Zelt", "2. Zug", "Camera 9b"]
    ranks = sorted((Rank("good", name, "str_1") for name in names), key=lambda rank: rank.key)
    counted = ["2. Zug", "9 a", "10", "Camera", "camera 9", "Camera 9b", "Camera 10", "Zelt"]
    assert [rank.name for rank in ranks] == counted
