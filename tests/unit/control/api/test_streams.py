from __future__ import annotations

import shlex
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import ValidationError

from strata.control import tables
from strata.control.api import streams as module
from strata.control.live import Live
from strata.control.streams import StartRequest, View
from strata.secrets import Secret
from strata.settings import Host
from strata.wire import worker as wire

PSK = Secret("AbcdefghijklmnopqrstuvwxyZ012345")
NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
LINK = wire.LinkStats(15000, "10.0.0.7:4711", 2600.5, 50.0, 1000, 0.01, "up", 42.0)


def stream(**more: Any) -> tables.Stream:
    fields: dict[str, Any] = {
        "id": "str_1",
        "owner_id": "usr_1",
        "name": "Derby",
        "state": "live",
        "ports": [15000, 15002],
        "created_at": NOW,
    }
    return tables.Stream(**{"request": {}} | fields | more)


def live() -> Live:
    found = Live()
    for event in (
        wire.Input("receiving", 0.0),
        wire.Program("live", "live"),
        wire.Forward("fwd_1", "rtmp", "live", "rtmp://host/live/****"),
        wire.Stats(
            5200.0,
            5100.0,
            1000.0,
            12.5,
            4.0,
            60.0,
            wire.Media(wire.VideoMedia("h264", 1280, 720, 25.0, 2.0), wire.AudioMedia("aac")),
            wire.Flow(received=1000),
            [LINK],
            [],
        ),
    ):
        found.hear(event)
    return found


def test_an_empty_start_has_the_defaults() -> None:
    assert module.StreamIn().request() == StartRequest((), 2, "", record=False)


def test_a_start_is_taken_over_whole() -> None:
    body = module.StreamIn(forward_to=["rtmp://a/b/c"], links=3, record=True, name="Derby")
    assert body.request() == StartRequest(("rtmp://a/b/c",), 3, "Derby", record=True)


@pytest.mark.parametrize(
    "fields",
    [
        {"links": 0},
        {"links": module.LINKS_MAX + 1},
        {"links": "two"},
        {"forward_to": "rtmp://a/b/c"},
        {"forward_to": [""]},
        {"forward_to": [7]},
        {"forward_to": ["x" * 2049]},
        {"forward_to": ["rtmp://a/b/c"] * (module.FORWARDS_MAX + 1)},
        {"record": "perhaps"},
        {"name": "x" * 121},
        {"name": None},
        {"unknown": 1},
    ],
    ids=str,
)
def test_what_no_start_may_hold(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        module.StreamIn.model_validate(fields)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("127.0.0.1", ["rist://127.0.0.1:15000", "rist://127.0.0.1:15002"]),
        ("live.example.org", ["rist://live.example.org:15000", "rist://live.example.org:15002"]),
        ("2001:db8::1", ["rist://[2001:db8::1]:15000", "rist://[2001:db8::1]:15002"]),
    ],
)
def test_where_senders_are_sent(name: str, wanted: list[str]) -> None:
    assert Host(public_host=name).receive_urls([15000, 15002]) == wanted


def test_the_line_for_a_sender_names_every_port_and_the_key() -> None:
    urls = ["rist://127.0.0.1:15000", "rist://127.0.0.1:15002"]
    words = shlex.split(module.sender_command(urls, PSK, 1500))
    assert words[:-1] == ["ristsender", "-p", "1", "-i", "udp://127.0.0.1:5000", "-o"]
    peers = [urlsplit(peer) for peer in words[-1].split(",")]
    assert [peer.netloc for peer in peers] == ["127.0.0.1:15000", "127.0.0.1:15002"]
    for peer in peers:
        assert parse_qs(peer.query) == {
            "secret": [PSK.reveal()],
            "aes-type": ["256"],
            "buffer": ["1500"],
            "weight": ["100"],
        }


def test_a_stream_on_the_air() -> None:
    events = [tables.Event(id="evt_1", at=NOW, subject="str_1", type="state", data={"to": "live"})]
    found = module.StreamOut.of(View(stream(host="local"), live(), events), Host())
    shown = found.model_dump()
    assert shown["id"] == "str_1"
    assert (shown["state"], shown["on_air"]) == ("live", True)
    assert shown["receive_urls"] == ["rist://127.0.0.1:15000", "rist://127.0.0.1:15002"]
    assert shown["forwards"] == [
        {
            "forward": "fwd_1",
            "kind": "rtmp",
            "state": "live",
            "url": "rtmp://host/live/****",
            "message": "",
            "destination": None,
            "name": "",
        }
    ]
    assert shown["links"][0]["share_percent"] == 50.0
    assert shown["links"][0]["rtt_ms"] == 42.0
    assert shown["media"]["video"]["codec"] == "h264"
    assert shown["program"] == {"video": "live", "audio": "live"}
    assert shown["stats"]["bitrate_in_kbps"] == 5200.0
    assert shown["events"] == [
        {
            "id": "evt_1",
            "at": NOW,
            "type": "state",
            "subject": "str_1",
            "user_id": None,
            "data": {"to": "live"},
        }
    ]


def test_a_stream_that_is_over() -> None:
    row = stream(state="failed", reason="worker_crash", detail="it crashed", ended_at=NOW)
    shown = module.StreamOut.of(View(row, None, []), Host()).model_dump()
    assert (shown["state"], shown["on_air"]) == ("failed", False)
    assert (shown["reason"], shown["detail"]) == ("worker_crash", "it crashed")
    assert shown["forwards"] == shown["links"] == shown["events"] == []
    assert shown["media"] is shown["program"] is shown["stats"] is None


def test_a_stream_of_which_nothing_is_known_yet() -> None:
    shown = module.StreamOut.of(View(stream(state="waiting"), Live(), []), Host()).model_dump()
    assert (shown["on_air"], shown["links"], shown["media"]) == (False, [], None)
    assert shown["program"] == {"video": "none", "audio": "none"}


def test_the_key_is_in_the_answer_to_a_start_only() -> None:
    view = View(stream(state="waiting"), Live(), [], PSK)
    started = module.StartedOut.started(view, Host(), 1500).model_dump()
    assert started["psk"] == PSK.reveal()
    assert PSK.reveal() in started["sender_command"]
    assert "&buffer=1500&" in started["sender_command"]
    assert PSK.reveal() not in module.StreamOut.of(view, Host()).model_dump_json()
