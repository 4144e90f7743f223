"""The whole chain as a stranger would use it: the API, Debian's ristsender, nginx-rtmp."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.control import Api, GivenSender, Json, Place, StrataUp, place
from support.media import FPS, GOP_S, MUX_KBPS, Probe, RistSender, decode_errors, probe
from support.nginx import Nginx
from support.ports import udp_port_is_bound

KEY = "canary-stream-key"

QUIET_S = 2.0
"""Without a packet for that long, all has left the recovery buffer (a second) and is out."""


@pytest.fixture
def here() -> Iterator[Place]:
    with place() as one:
        yield one


def is_on_the_air(stream: Json) -> bool:
    """On both links, to every destination, with all the numbers that there will be."""
    return (
        stream["state"] == "live"
        and stream["on_air"]
        and [link["state"] for link in stream["links"]] == ["up", "up"]
        and all(link["share_percent"] > 20 for link in stream["links"])
        and stream["stats"]["bitrate_in_kbps"] > 1000
        and all(each["bitrate_kbps"] > 1000 for each in stream["stats"]["forwards"])
    )


def is_quiet(stream: Json) -> bool:
    return all((link["last_packet_age_s"] or 0.0) > QUIET_S for link in stream["links"])


async def is_whole(path: Path, sent_s: float) -> Probe:
    """It decodes without an error, begins with a key frame and has the length that was sent,
    less a group of pictures at most."""
    assert await decode_errors(path) == ""
    found = await probe(path)
    assert found.of("video")[0].key
    assert found.of("audio")
    assert sent_s - GOP_S - 0.5 <= found.video_s <= sent_s + 0.5
    assert found.longest_step_s < 1.5 / FPS
    return found


async def broadcast(api: Api, sender: RistSender, file: Path, id: str, seconds: float) -> Json:
    """Sends that much, and returns the stream as it was while on the air."""
    await sender.begin(file, seconds)
    stream = await api.until(id, is_on_the_air, "it is on the air over both links")
    await sender.sent()
    await api.until(id, is_quiet, "all that was sent has arrived")
    return stream


async def test_from_the_encoder_to_the_platform(
    here: Place, tmp_path: Path, test_file: Path
) -> None:
    async with (
        Nginx(tmp_path / "nginx") as nginx,
        StrataUp(here, environment={"STRATA_FORWARD__ALLOW_PRIVATE": "true"}) as one,
        await one.log_in() as api,
    ):
        started = await api.start(nginx.url(KEY), record=True, name="Derby", slate="off")
        id, ports = started["id"], started["ports"]
        assert (started["state"], started["on_air"]) == ("waiting", False)
        assert ports[1] == ports[0] + 2
        async with RistSender(tmp_path / "sender", ports, started["psk"]) as sender:
            stream = await broadcast(api, sender, test_file, id, 8)
            stopped = await api.stop(id)
        assert (stopped["state"], stopped["reason"]) == ("ended", "user_stop")
        assert (stopped["on_air"], stopped["detail"]) == (False, "stopped on request")

        assert here.workers() == []
        assert [name for name in here.sockets() if name.startswith("str_")] == []
        assert not [port for port in ports if udp_port_is_bound(port)]
        [flv] = await nginx.finished()
        await is_whole(flv, sent_s=8)
        [recording] = (here.data / "media").iterdir()
        assert recording.name.startswith(f"{id}-")
        assert recording.suffix == ".ts"
        await is_whole(recording, sent_s=8)

        # What was seen while it was on the air.
        assert stream["media"]["video"]["codec"] == "h264"
        assert (stream["media"]["video"]["width"], stream["media"]["video"]["height"]) == (
            *(1280, 720),
        )
        assert stream["media"]["audio"]["codec"] == "aac"
        assert stream["program"] == {"video": "live", "audio": "live"}
        assert [each["kind"] for each in stream["forwards"]] == ["rtmp", "file"]
        assert [each["state"] for each in stream["forwards"]] == ["live", "live"]
        assert stream["forwards"][0]["url"] == f"rtmp://127.0.0.1:{nginx.port}/live/****"
        assert [link["port"] for link in stream["links"]] == ports
        assert sum(link["share_percent"] for link in stream["links"]) == pytest.approx(100, abs=1)
        assert stream["stats"]["flow"]["lost"] == 0
        assert stream["stats"]["bitrate_in_kbps"] < 1.5 * MUX_KBPS

        tells_the_story(stopped)

        # And once more, at once, with the line that the answer gives.
        again = await api.start(nginx.url(KEY), name="Second half", slate="off")
        assert again["psk"] != started["psk"]
        async with GivenSender(tmp_path / "given", again["sender_command"]) as sender:
            await broadcast(api, sender, test_file, again["id"], 6)
            stopped = await api.stop(again["id"])
        assert stopped["reason"] == "user_stop"
        _, second = await nginx.finished(2)
        await is_whole(second, sent_s=6)
        said = one.said()
    assert "Traceback" not in said
    assert KEY not in said
    assert started["psk"] not in said


def tells_the_story(stream: Json) -> None:
    """What the events say, in their order, is what happened."""
    told = [
        each["data"]["to"] if each["type"] == "state" else each["type"]
        for each in stream["events"]
        if each["type"] not in ("forward", "input", "program", "alert_raised", "alert_cleared")
    ]
    # Between the end of the encoder and the stop nothing was on the air.
    assert told == [
        *("start_requested", "waiting", "live", "degraded"),
        *("stop_requested", "stopping", "ended"),
    ]
    on_air = [each["data"] for each in stream["events"] if each["type"] == "program"]
    assert on_air[0] == {"video": "live", "audio": "live"}
    assert on_air[-1] == {"video": "none", "audio": "none"}
    assert [each["data"]["state"] for each in stream["events"] if each["type"] == "input"] == [
        *("waiting", "receiving"),
    ]
    for forward in ("fwd_1", "fwd_2"):
        states = [
            each["data"]["state"]
            for each in stream["events"]
            if each["type"] == "forward" and each["data"]["forward"] == forward
        ]
        assert states == ["connecting", "live", "stopped"]
    moments = [each["at"] for each in stream["events"]]
    assert moments == sorted(moments)
    last = stream["events"][-1]["data"]
    assert (last["reason"], last["detail"]) == ("user_stop", "stopped on request")
