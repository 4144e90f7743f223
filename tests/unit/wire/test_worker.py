from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.wire import worker as wire

STATS = wire.Stats(
    bitrate_in_kbps=5200.5,
    bitrate_out_kbps=5100.0,
    buffer_ms=120.0,
    uptime_s=12.5,
    cpu_percent=3.1,
    rss_mb=50.2,
    media=wire.Media(
        video=wire.VideoMedia("h264", 1280, 720, 25.0, 2.0),
        audio=wire.AudioMedia("aac", 48000, 2),
    ),
    flow=wire.Flow(received=10, recovered=2, lost=1, late=1, duplicates=3, quality_percent=90.9),
    links=[wire.LinkStats(15000, "10.0.0.1", 2600.0, 50.0, 5, 0.01, "up", 30.5)],
    forwards=[wire.ForwardStats("fwd_1", "rtmp", "live", 5100.0, 1000, 2, 1, 9.5, 0.2)],
)

EVENTS: list[wire.Event] = [
    wire.Ready([15000, 15002], "str_1", 4711, "0.1.0"),
    wire.Input("waiting", 1.2),
    wire.Input("stalled", 30.0),
    wire.Program("live", "none"),
    wire.Forward("fwd_1", "rtmp", "retrying", "rtmp://host/app/****", "refused"),
    wire.Stats(0.0, 0.0, None, 0.0, 0.0, 0.0, wire.Media(), wire.Flow(), [], []),
    STATS,
    wire.Ok("stop", 7),
    wire.Ok("stop", "an-id"),
    wire.Error("refused", "unreachable", forward="fwd_1"),
    wire.Error("not a command", "bad_command", id=3),
    wire.Stopped("eos"),
]

COMMANDS: list[wire.Command] = [
    wire.Stop(),
    wire.Stop(id=1),
    wire.Shutdown(id="two"),
    wire.GetStats(id=None),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_events_survive_the_wire(event: wire.Event) -> None:
    line = wire.encode(event)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert wire.decode_event(line) == event


@pytest.mark.parametrize("command", COMMANDS, ids=repr)
def test_commands_survive_the_wire(command: wire.Command) -> None:
    assert wire.decode_command(wire.encode(command)) == command


IDS = st.one_of(st.none(), st.integers(-(2**63), 2**63), st.text(st.characters(codec="utf-8")))


@given(IDS)
def test_any_id_comes_back(id: str | int | None) -> None:
    command = wire.decode_command(wire.encode(wire.GetStats(id=id)))
    answer = wire.decode_event(wire.encode(wire.Ok("stats", command.id)))
    assert isinstance(answer, wire.Ok)
    assert answer.id == id


def test_the_fields_have_the_names_that_others_rely_on() -> None:
    def fields(event: wire.Event) -> set[str]:
        return set(json.loads(wire.encode(event)))

    assert fields(EVENTS[0]) == {"event", "ports", "stream_id", "pid", "version", "protocol"}
    assert fields(wire.Input("waiting", 0.0)) == {"event", "state", "since_s"}
    assert fields(wire.Program("live", "live")) == {"event", "video", "audio"}
    assert fields(EVENTS[4]) == {"event", "forward", "kind", "state", "url", "message"}
    assert fields(wire.Error("m", "c")) == {"event", "message", "code"}
    assert fields(wire.Stopped("eos")) == {"event", "reason"}
    stats = json.loads(wire.encode(STATS))
    assert set(stats) == {
        *("event", "id", "bitrate_in_kbps", "bitrate_out_kbps", "buffer_ms", "uptime_s"),
        *("cpu_percent", "rss_mb", "media", "flow", "links", "forwards"),
    }
    assert set(stats["media"]["video"]) == {
        *("codec", "width", "height", "fps", "keyframe_interval_s"),
    }
    assert set(stats["media"]["audio"]) == {"codec", "rate", "channels"}
    assert set(stats["flow"]) == {
        *("received", "recovered", "lost", "late", "duplicates", "quality_percent"),
    }
    assert set(stats["links"][0]) == {
        *("port", "peer", "bitrate_kbps", "share_percent", "rtt_ms", "received"),
        *("last_packet_age_s", "state"),
    }
    assert set(stats["forwards"][0]) == {
        *("forward", "kind", "state", "bitrate_kbps", "bytes", "dropped_frames"),
        *("reconnects", "live_s", "last_progress_age_s"),
    }


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (b'{"cmd":"stop"}', wire.Stop()),
        (b'{"cmd":"shutdown","id":5}', wire.Shutdown(id=5)),
        (b' {"id": "x", "cmd": "stats", "unknown": [1, {}]} ', wire.GetStats(id="x")),
        (b'{"cmd":"stop","id":null}', wire.Stop()),
    ],
)
def test_commands_as_people_write_them(line: bytes, command: wire.Command) -> None:
    assert wire.decode_command(line) == command


@pytest.mark.parametrize(
    ("line", "id"),
    [
        (b"", None),
        (b"stop", None),
        (b"{", None),
        (b"[]", None),
        (b"null", None),
        (b"{}", None),
        (b"[" * 60_000, None),
        (b"\xff\xfe", None),
        (b'{"cmd":"stop","id":"\xff"}', None),
        (b'{"id":3}', 3),
        (b'{"cmd":"nonsense","id":"x"}', "x"),
        (b'{"cmd":5,"id":4}', 4),
        (b'{"cmd":"stop","id":1.5}', None),
        (b'{"cmd":"stop","id":[1]}', None),
        (b'{"event":"ready","id":9}', 9),
    ],
)
def test_what_is_no_command_is_refused_with_its_id(line: bytes, id: str | int | None) -> None:
    with pytest.raises(wire.BadCommand, match="not a command") as caught:
        wire.decode_command(line)
    assert caught.value.id == id


@given(st.binary(max_size=200))
def test_any_line_is_a_command_or_refused(line: bytes) -> None:
    try:
        command = wire.decode_command(line)
    except wire.BadCommand:
        return
    assert isinstance(command, wire.Stop | wire.Shutdown | wire.GetStats)


def test_an_event_of_a_later_version_is_passed_over() -> None:
    assert wire.decode_event(b'{"event":"thumbnail","jpeg":"..."}') is None
    assert wire.decode_event(b'{"hello":"world"}') is None


def test_a_later_version_may_add_fields() -> None:
    line = b'{"event":"stopped","reason":"eos","detail":"new"}'
    assert wire.decode_event(line) == wire.Stopped("eos")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"no json",
        b'{"event":"ready"}',
        b'{"event":"stopped","reason":"boredom"}',
        b'{"event":"input","state":"waiting","since_s":"long"}',
        b'{"event":"ok","cmd":"\xff"}',
        b'{"event":"later","deep":' + b"[" * 60_000,
    ],
)
def test_an_event_that_cannot_be_read_is_an_error(line: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        wire.decode_event(line)


def test_stats_become_the_answer_to_a_command() -> None:
    answer = wire.with_id(STATS, "x")
    assert answer.id == "x"
    assert wire.with_id(answer, None) == STATS


def test_secrets_are_read_and_not_shown() -> None:
    line = b'{"psk":"abcd-efgh","forwards":["rtmp://host/app/abcd-efgh"]}'
    secrets = msgspec.json.decode(line, type=wire.Secrets)
    assert secrets == wire.Secrets("abcd-efgh", ["rtmp://host/app/abcd-efgh"])
    assert "abcd" not in f"{secrets!r} {secrets}"
    assert msgspec.json.decode(b"{}", type=wire.Secrets) == wire.Secrets(None, [])
