from __future__ import annotations

import contextlib
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata import errors
from strata.wire import host as wire
from strata.wire import worker

START = wire.Start("str_1", "a-psk-of-the-tests", ["rtmp://host/live/stream-key"], 2)
SAID = wire.WorkerSaid("str_1", worker.Input("receiving", 0.5))
SNAPSHOT = wire.Snapshot("str_1", [15000, 15002], 4711, [worker.Input("waiting", 1.5)])
ENTRUST = wire.Entrust("str_1", "a-psk-of-the-tests", ["rtmp://host/live/stream-key"])
ADD = wire.AddForward("str_1", "rtmp://host/live/stream-key")
REPLACE = wire.ReplaceForward("str_1", "fwd_1", "rtmp://host/live/stream-key")
ALARM = wire.Alarm("restarting", "the worker ended by signal SIGKILL")
ORPHAN = wire.Snapshot("str_2", [15001], 0, [], [ALARM], needs_secrets=True)
LOAD = wire.Load(2.0, 3900.0, 10_000.0, 1, 999, 0.1, 64.0, 8000.0, None, "nothing", ["why"])

FRAMES = [
    wire.Frame(id=1, request=START),
    wire.Frame(id=2, request=wire.Stop("str_1")),
    wire.Frame(id=3, request=wire.List()),
    wire.Frame(id=1, reply=wire.Started([15000, 15002], 4711)),
    wire.Frame(id=2, reply=wire.Stopped("user_stop", "stopped on request")),
    wire.Frame(
        id=3, reply=wire.Streams([SNAPSHOT, ORPHAN], [wire.Ended("str_0", "eos", "told to")])
    ),
    wire.Frame(id=4, reply=wire.Failed("port_taken", "UDP port 15000 is held")),
    wire.Frame(id=5, request=ENTRUST),
    wire.Frame(id=5, reply=wire.Done()),
    wire.Frame(id=6, request=ADD),
    wire.Frame(id=7, request=REPLACE),
    wire.Frame(id=8, request=wire.RemoveForward("str_1", "fwd_2")),
    wire.Frame(id=9, request=wire.Configure("str_1", slate="off", max_egress_kbps=7000)),
    wire.Frame(id=6, reply=wire.Changed("fwd_3")),
    wire.Frame(id=7, reply=wire.Changed("fwd_1", overlap=False)),
    wire.Frame(notice=SAID),
    wire.Frame(notice=wire.Ended("str_1", "worker_crash", "exit status 70")),
    wire.Frame(notice=wire.Restarting("str_1", "exit status 70")),
    wire.Frame(notice=wire.Alarms("str_1", [ALARM, wire.Alarm("forward", "refused", "fwd_1")])),
    wire.Frame(notice=LOAD),
]


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: wire.encode(frame).decode()[:40])
def test_a_frame_comes_back_as_it_went(frame: wire.Frame) -> None:
    line = wire.encode(frame)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert wire.decode(line) == frame


def test_what_stands_on_the_wire() -> None:
    assert json.loads(wire.encode(wire.Frame(id=1, request=START))) == {
        "id": 1,
        "request": {
            "request": "start",
            "stream_id": "str_1",
            "psk": "a-psk-of-the-tests",
            "forwards": ["rtmp://host/live/stream-key"],
            "links": 2,
            "name": "",
            "slate": "on",
            "first_media_s": 300.0,
        },
    }
    assert json.loads(wire.encode(wire.Frame(notice=SAID))) == {
        "notice": {
            "notice": "worker_said",
            "stream_id": "str_1",
            "event": {"event": "input", "state": "receiving", "since_s": 0.5},
        }
    }


def test_a_host_of_the_version_before_tells_no_ends() -> None:
    line = b'{"id":3,"reply":{"reply":"streams","streams":[]}}'
    assert wire.decode(line).reply == wire.Streams([], [])


def test_a_host_of_the_version_before_tells_no_alarms() -> None:
    snapshot = b'{"stream_id":"str_1","ports":[15000],"pid":7,"events":[]}'
    line = b'{"id":3,"reply":{"reply":"streams","streams":[' + snapshot + b"]}}"
    reply = wire.decode(line).reply
    assert reply == wire.Streams([wire.Snapshot("str_1", [15000], 7, [])])
    assert isinstance(reply, wire.Streams)
    assert (reply.streams[0].alarms, reply.streams[0].needs_secrets) == ([], False)


def test_what_the_version_before_entrusts_and_tells_is_understood() -> None:
    line = b'{"id":5,"request":{"request":"entrust","stream_id":"s","psk":"p","forwards":["u"]}}'
    assert wire.decode(line).request == wire.Entrust("s", "p", ["u"], [])
    line = b'{"stream_id":"str_1","ports":[15000],"pid":7,"events":[]}'
    found = msgspec.json.decode(line, type=wire.Snapshot)
    assert (found.forward_ids, found.slate_now, found.max_egress_kbps) == ([], False, None)


def test_unknown_fields_are_ignored() -> None:
    line = b'{"id":7,"more":1,"request":{"request":"stop","stream_id":"str_1","now":true}}'
    assert wire.decode(line) == wire.Frame(id=7, request=wire.Stop("str_1"))


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"no json",
        b"[]",
        b'{"request":{"request":"reboot"}}',
        b'{"request":{"request":"stop"}}',
        b'{"request":{"request":"stop","stream_id":7}}',
        b'{"reply":{"reply":"stopped","reason":"boredom","detail":""}}',
        b'{"notice":{"notice":"ended","stream_id":"\xff","reason":"eos","detail":""}}',
        b'{"more":' + b"[" * 100_000,
    ],
    ids=lambda line: line[:60].decode(errors="replace"),
)
def test_what_is_no_frame_is_refused_with_one_error(line: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        wire.decode(line)


@given(line=st.binary(max_size=200))
def test_no_bytes_raise_anything_else(line: bytes) -> None:
    with contextlib.suppress(msgspec.DecodeError):
        wire.decode(line)


@pytest.mark.parametrize(
    ("request_", "wanted"),
    [
        (START, "Start(str_1, 2 links, 1 forwards)"),
        (ENTRUST, "Entrust(str_1, 1 forwards)"),
        (ADD, "AddForward(str_1, ****)"),
        (REPLACE, "ReplaceForward(str_1, fwd_1, ****)"),
    ],
)
def test_what_has_secrets_prints_without_them(request_: wire.Request, wanted: str) -> None:
    frame = wire.Frame(id=1, request=request_)
    assert repr(request_) == wanted
    for text in (repr(frame), str(frame), f"{request_}"):
        assert "a-psk-of-the-tests" not in text
        assert "stream-key" not in text


def kinds(kind: type[errors.StrataError] = errors.StrataError) -> list[type[errors.StrataError]]:
    below = [each for child in kind.__subclasses__() for each in kinds(child)]
    return [each for each in (kind, *below) if each.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", kinds())
def test_an_error_keeps_its_class_and_message_across_the_wire(
    kind: type[errors.StrataError],
) -> None:
    found = wire.error_of(wire.Failed(kind.code, "what happened; what to do"))
    assert type(found) is kind
    assert found.message == "what happened; what to do"


def test_an_error_of_a_newer_version_is_one_of_ours() -> None:
    found = wire.error_of(wire.Failed("too_new", "what happened"))
    assert type(found) is errors.StrataError
    assert found.message == "what happened"
