from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.wire import worker as wire

KEY = "abcd-efgh-1234"
URL = f"rtmp://host/app/{KEY}"

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
    wire.Ok("update_forward", 7, forward="fwd_1", overlap=False),
    wire.Ok("remove_forward", forward="fwd_2"),
    wire.Error("refused", "unreachable", forward="fwd_1"),
    wire.Error("not a command", "bad_command", id=3),
    wire.Stopped("eos"),
]

COMMANDS: list[wire.Command] = [
    wire.Stop(),
    wire.Stop(id=1),
    wire.Shutdown(id="two"),
    wire.GetStats(id=None),
    wire.UpdateForward(URL),
    wire.UpdateForward(URL, "fwd_1", id=3),
    wire.AddForward(URL, id="three"),
    wire.RemoveForward("fwd_1"),
    wire.Configure(),
    wire.Configure(100, 0, "off", False, id=4),
    wire.Configure(stats_interval_ms=60_000, max_egress_kbps=10_000_000),
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


@pytest.mark.parametrize("command", COMMANDS, ids=repr)
def test_no_command_shows_its_url(command: wire.Command) -> None:
    assert "host" not in f"{command!r} {command}"
    assert "fwd_1" in repr(command) or getattr(command, "forward", None) is None


@pytest.mark.parametrize(
    ("command", "names"),
    [
        (wire.UpdateForward(URL), {"cmd", "url"}),
        (wire.UpdateForward(URL, "fwd_1", 1), {"cmd", "url", "forward", "id"}),
        (wire.AddForward(URL), {"cmd", "url"}),
        (wire.RemoveForward("fwd_1"), {"cmd", "forward"}),
        (wire.Configure(), {"cmd"}),
        (wire.Configure(slate_now=False), {"cmd", "slate_now"}),
    ],
)
def test_a_command_says_no_more_than_is_asked(command: wire.Command, names: set[str]) -> None:
    assert set(json.loads(wire.encode(command))) == names


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
    assert fields(wire.Ok("stop", 7)) == {"event", "cmd", "id"}
    assert fields(wire.Ok("add_forward", forward="fwd_1")) == {"event", "cmd", "id", "forward"}
    overlapping = wire.Ok("update_forward", forward="fwd_1", overlap=False)
    assert fields(overlapping) == {"event", "cmd", "id", "forward", "overlap"}
    stats = json.loads(wire.encode(STATS))
    assert set(stats) == {
        *("event", "id", "bitrate_in_kbps", "bitrate_out_kbps", "buffer_ms", "uptime_s"),
        *("cpu_percent", "rss_mb", "media", "flow", "links", "forwards", "line"),
    }
    assert set(stats["line"]) == {
        *("gaps", "damaged_frames", "bad_stamps", "clock_moves", "slates", "slate_s", "silence_s"),
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
        *("last_packet_age_s", "state", "reason"),
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
        (b'{"cmd":"update_forward","url":"file:///a.ts"}', wire.UpdateForward("file:///a.ts")),
        (b'{"cmd":"add_forward","url":"","id":1}', wire.AddForward("", 1)),
        (b'{"cmd":"remove_forward","forward":"fwd_1"}', wire.RemoveForward("fwd_1")),
        (b'{"cmd":"configure","max_egress_kbps":null}', wire.Configure()),
        (b'{"cmd":"configure","slate_now":true,"later":1}', wire.Configure(slate_now=True)),
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
        (b'{"cmd":"update_forward","id":1}', 1),
        (b'{"cmd":"update_forward","url":null,"id":1}', 1),
        (b'{"cmd":"add_forward","id":1}', 1),
        (b'{"cmd":"remove_forward","url":"fwd_1","id":1}', 1),
        (b'{"cmd":"configure","stats_interval_ms":99,"id":1}', 1),
        (b'{"cmd":"configure","stats_interval_ms":60001,"id":1}', 1),
        (b'{"cmd":"configure","stats_interval_ms":1e12,"id":1}', 1),
        (b'{"cmd":"configure","stats_interval_ms":"1000","id":1}', 1),
        (b'{"cmd":"configure","max_egress_kbps":-1,"id":1}', 1),
        (b'{"cmd":"configure","max_egress_kbps":10000001,"id":1}', 1),
        (b'{"cmd":"configure","max_egress_kbps":0.5,"id":1}', 1),
        (b'{"cmd":"configure","slate":false,"id":1}', 1),
        (b'{"cmd":"configure","slate_now":1,"id":1}', 1),
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
    assert isinstance(command, wire.Command)


NUMBERS = st.one_of(st.none(), st.integers(-100, 100_000), st.integers(9_999_900, 10_000_100))


@given(interval_ms=NUMBERS, cap_kbps=NUMBERS)
def test_settings_out_of_their_bounds_are_refused(
    interval_ms: int | None, cap_kbps: int | None
) -> None:
    command = wire.Configure(stats_interval_ms=interval_ms, max_egress_kbps=cap_kbps)
    if (interval_ms is None or 100 <= interval_ms <= 60_000) and (
        cap_kbps is None or 0 <= cap_kbps <= 10_000_000
    ):
        assert wire.decode_command(wire.encode(command)) == command
    else:
        with pytest.raises(wire.BadCommand):
            wire.decode_command(wire.encode(command))


@pytest.mark.parametrize(
    "line",
    [
        f'{{"cmd":"add_forward","url":["{URL}"]}}',
        f'{{"cmd":"add_forward","url":{{"{URL}":1}}}}',
        f'{{"cmd":"add_forward","url":"{URL}","id":[]}}',
        f'{{"cmd":"add_forward","url":"{URL}"',
        f'{{"cmd":"add_forward","uri":"{URL}"}}',
        f'{{"cmd":"update_forward","url":"{URL}","forward":5}}',
        f'{{"cmd":"configure","slate":["{URL}"]}}',
        URL,
    ],
)
def test_a_refusal_does_not_repeat_the_url(line: str) -> None:
    with pytest.raises(wire.BadCommand) as caught:
        wire.decode_command(line.encode())
    assert KEY not in str(caught.value)


def test_an_answer_without_a_forward_comes_back_without_one() -> None:
    answer = wire.decode_event(b'{"event":"ok","cmd":"stop"}')
    assert answer == wire.Ok("stop")
    assert isinstance(answer, wire.Ok)
    assert answer.forward is answer.overlap is msgspec.UNSET


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


@pytest.mark.parametrize(
    ("id", "number"),
    [
        ("fwd_1", 1),
        ("fwd_12", 12),
        ("fwd_0", 0),
        ("fwd_01", 0),
        ("fwd_", 0),
        ("x", 0),
        ("fwd_-1", 0),
    ],
)
def test_the_number_of_a_forward(id: str, number: int) -> None:
    assert wire.forward_number(id) == number
    assert number == 0 or wire.forward_id(number) == id


def test_a_worker_of_another_version_understands_its_secrets() -> None:
    class Before(msgspec.Struct):
        psk: str | None = None
        forwards: list[str] = []

    now = wire.Secrets("psk", ["url"], ["fwd_3"], 4)
    assert msgspec.json.decode(msgspec.json.encode(now), type=Before) == Before("psk", ["url"])


def test_secrets_are_read_and_not_shown() -> None:
    line = b'{"psk":"abcd-efgh","forwards":["rtmp://host/app/abcd-efgh"]}'
    secrets = msgspec.json.decode(line, type=wire.Secrets)
    assert secrets == wire.Secrets("abcd-efgh", ["rtmp://host/app/abcd-efgh"])
    assert "abcd" not in f"{secrets!r} {secrets}"
    assert msgspec.json.decode(b"{}", type=wire.Secrets) == wire.Secrets(None, [])
