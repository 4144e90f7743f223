from __future__ import annotations

import io
import json
import sys

import pytest

from unit.client.conftest import Run
from unit.client.platform import FakePlatform

ID = "str_0199aaaa000070008000000012345678"
DST = "dst_0199aaaa000070008000000012345678"
SND = "snd_0199aaaa000070008000000012345678"
URL = "rtmp://a.example.org/live/canary-key"
STREAM = {"id": ID, "name": "Derby", "state": "live", "on_air": True, "observed": True}
STARTED = {
    **STREAM,
    "state": "waiting",
    "receive_urls": ["rist://my.host:15000", "rist://my.host:15002"],
    "psk": "the-key",
    "sender_command": "ristsender -p 1 -i udp://127.0.0.1:5000 -o 'rist://my.host:15000?x'",
}


def test_a_list(platform: FakePlatform, strata: Run) -> None:
    platform.tells("GET", "/api/streams", [STREAM])
    found = strata("streams")
    assert found.status == 0
    assert "12345678  Derby  live   on air" in found.out
    assert json.loads(strata("streams", "--json").out) == [STREAM]


@pytest.mark.parametrize("meant", [ID, "5678", "Derby"])
def test_one_of_them(platform: FakePlatform, strata: Run, meant: str) -> None:
    platform.tells("GET", "/api/streams", [STREAM])
    platform.tells("GET", f"/api/streams/{ID}", STREAM)
    assert ID in strata("streams", meant).out
    assert json.loads(strata("streams", meant, "--json").out) == STREAM


def test_one_that_is_not_there(platform: FakePlatform, strata: Run) -> None:
    platform.tells("GET", "/api/streams", [STREAM])
    found = strata("stop", "9999")
    assert (found.status, found.err.count("\n")) == (1, 1)
    assert all(each.method == "GET" for each in platform.asked)


def test_one_of_several_is_not_guessed(platform: FakePlatform, strata: Run) -> None:
    other = {**STREAM, "id": ID.replace("aaaa", "bbbb")}
    platform.tells("GET", "/api/streams", [STREAM, other])
    assert strata("stop", "5678").status == 2
    assert all(each.method == "GET" for each in platform.asked)


def test_a_start_prints_what_a_sender_needs(platform: FakePlatform, strata: Run) -> None:
    platform.tells("POST", "/api/streams", STARTED, 201)
    found = strata("start", "--to", URL, "--links", "3", "--record", "--name", "Derby")
    assert found.status == 0
    assert platform.last("POST").body == {
        **{"forward_to": [URL], "links": 3, "record": True, "name": "Derby"}
    }
    lines = found.out.splitlines()
    assert lines[0] == f"{ID} is waiting; see: strata streams 12345678 --watch"
    assert lines[-1] == STARTED["sender_command"]
    assert "send to  rist://my.host:15002" in lines
    assert any("the-key" in line for line in lines)


def test_only_what_was_said_is_asked_for(platform: FakePlatform, strata: Run) -> None:
    platform.tells("POST", "/api/streams", STARTED, 201)
    strata("start", "--record")
    assert platform.last("POST").body == {"record": True}


def test_destinations_and_senders_by_name(platform: FakePlatform, strata: Run) -> None:
    platform.tells("GET", "/api/destinations", [{"id": DST, "name": "YouTube"}])
    platform.tells("GET", "/api/senders", [{"id": SND, "name": "Van 3"}])
    platform.tells("POST", "/api/streams", {**STARTED, "psk": None}, 201)
    found = strata(
        *("start", "--to", "YouTube", "--to", URL, "--to", "file:show.ts"),
        *("--sender", "Van 3", "--slate", "off"),
    )
    assert platform.last("POST").body == {
        "forward_to": [URL, "file:show.ts"],
        "destinations": [DST],
        "sender_id": SND,
        "slate": "off",
    }
    assert found.out.splitlines()[1:] == ["Van 3 has been told to send"]


def test_urls_with_keys_from_standard_input(
    platform: FakePlatform, strata: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform.tells("POST", "/api/streams", STARTED, 201)
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{URL}\n\nsrt://b:1\n"))
    strata("start", "--to", "-")
    assert platform.last("POST").body == {"forward_to": [URL, "srt://b:1"]}


def test_a_start_to_nowhere(strata: Run) -> None:
    found = strata("start", "--name", "Derby")
    assert found.status == 2
    assert "give --to URL, or --record" in found.err


def test_a_start_as_json(platform: FakePlatform, strata: Run) -> None:
    platform.tells("POST", "/api/streams", STARTED, 201)
    assert json.loads(strata("start", "--record", "--json").out) == STARTED


def test_a_refusal_says_why(platform: FakePlatform, strata: Run) -> None:
    platform.refuses("POST", "/api/streams", 503, "no port is free; stop a stream")
    found = strata("start", "--record")
    assert (found.status, found.out) == (1, "")
    assert found.err == "strata: error: no port is free; stop a stream\n"


def test_a_stop(platform: FakePlatform, strata: Run) -> None:
    stopped = {**STREAM, "state": "ended", "reason": "user_stop", "detail": "stopped by me"}
    platform.tells("POST", f"/api/streams/{ID}/stop", stopped)
    assert strata("stop", ID).out == f"{ID} ended: stopped by me\n"
    assert json.loads(strata("stop", ID, "--json").out) == stopped


def test_the_one_that_runs_is_stopped_and_not_its_namesake_of_yesterday(
    platform: FakePlatform, strata: Run
) -> None:
    old = {**STREAM, "id": ID.replace("aaaa", "bbbb"), "state": "ended"}
    platform.tells("GET", "/api/streams", [old, STREAM])
    platform.tells("POST", f"/api/streams/{ID}/stop", {**STREAM, "state": "ended"})
    assert strata("stop", "Derby").out == f"{ID} ended: stopped\n"
    platform.tells("GET", "/api/streams", [old])
    strata("stop", "Derby")
    found = strata("stop", "Derby")
    assert found.status == 1
    assert "no running stream 'Derby'" in found.err


def test_nobody_is_logged_in(strata: Run) -> None:
    found = strata("streams")
    assert (found.status, found.out) == (3, "")
    assert found.err == "strata: error: nobody is logged in; run: strata login\n"


@pytest.mark.parametrize(
    "arguments", [("streams", "--watch", "--json"), ("start", "--links", "0"), ("stop",)]
)
def test_bad_arguments(platform: FakePlatform, strata: Run, arguments: tuple[str, ...]) -> None:
    assert strata(*arguments).status == 2
    assert platform.asked == []
