from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.wire import agent as wire
from strata.wire.agent import BadFrame, Frame

AT = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
KEY = "canary-key-of-a-broadcast"

REPORTS: list[wire.Report] = [
    wire.Login("snd_1.secret", None, "0.1.0", "box", "aarch64"),
    wire.Login(device_token="snd_1.secret"),
    wire.Status(),
    wire.Status(stream_state=None),
    wire.Status(
        [wire.NetworkInterface("wwan0", "cellular", True, ["10.0.0.1"], 70.0)],
        [wire.MediaInput("v4l2", "/dev/video0", "camera")],
        wire.StreamState("str_1", "running"),
        12.5,
        3600.0,
    ),
    wire.StreamStats("str_1", 1.0, 5000.0, [wire.LinkStats("1", "wwan0", "up", 40.0, 0.01, 10)]),
    wire.StreamEnded("str_1", "encoder", "it died", 12.5, 10**12),
]
ORDERS: list[wire.Order] = [
    wire.StreamStart(
        "str_1",
        wire.Source("uri", uri="rtsp://user:canary@camera"),
        wire.Encoder("h265", 8000, 50),
        ["rist://host:15000"],
        KEY,
    ),
    wire.StreamStop("str_1", "user_stop"),
    wire.StreamMove("str_1", ["rist://host:15000"], KEY),
    wire.ConfigUpdate(wire.Config("Van", 5.0, 1.0)),
]
ANSWERS: list[wire.LoggedIn | wire.Done] = [
    wire.LoggedIn(True, "snd_1", "snd_1.secret", wire.Config()),
    wire.LoggedIn(False, code="not_allowed", message="no"),
    wire.Done(True),
    wire.Done(False, "busy", "it sends str_2"),
]


@pytest.mark.parametrize("message", REPORTS)
def test_reports_come_back_as_they_were(message: wire.Report) -> None:
    frame = wire.frame("id-1", message)
    assert wire.decode_from_agent(wire.encode(frame, AT)) == frame


@pytest.mark.parametrize("message", ORDERS)
def test_orders_come_back_as_they_were(message: wire.Order) -> None:
    frame = wire.frame("id-1", message)
    assert wire.decode_from_control(wire.encode(frame, AT).encode()) == frame


def test_the_form_that_others_rely_on() -> None:
    start = wire.StreamStart(
        "str_1", wire.Source("test"), wire.Encoder(), ["rist://host:15000"], "x" * 32
    )
    assert json.loads(wire.encode(wire.frame("id-1", start), AT)) == {
        "id": "id-1",
        "type": "stream.start",
        "ts": "2026-01-31T12:00:00Z",
        "payload": {
            "stream_id": "str_1",
            "source": {"mode": "test"},
            "encoder": {"codec": "h264", "bitrate_kbps": 5000, "keyint_max": 60},
            "destinations": ["rist://host:15000"],
            "psk": "x" * 32,
            "aes_type": 256,
            "buffer_ms": 1000,
        },
    }


@pytest.mark.parametrize("message", ANSWERS)
def test_an_answer_repeats_the_id_and_says_to_what(message: wire.LoggedIn | wire.Done) -> None:
    asked = wire.frame("id-1", REPORTS[0] if isinstance(message, wire.LoggedIn) else REPORTS[2])
    answer = asked.answered(message)
    assert (answer.id, answer.type) == ("id-1", asked.type + ".response")
    assert wire.decode_from_control(wire.encode(answer, AT)) == answer
    if isinstance(message, wire.Done):
        answer = wire.frame("id-2", ORDERS[1]).answered(message)
        assert wire.decode_from_agent(wire.encode(answer, AT)) == answer


def text(type: str, payload: Any, **more: Any) -> str:
    return json.dumps({"id": "id-1", "type": type, "payload": payload, **more})


def test_fields_that_are_unknown_are_ignored() -> None:
    of_the_future = text("stream.ended", {"stream_id": "s", "reason": "eos", "mood": "sad"}, v=2)
    assert wire.decode_from_agent(of_the_future) == wire.frame("id-1", wire.StreamEnded("s", "eos"))


@pytest.mark.parametrize(
    ("data", "code", "id"),
    [
        ("", "bad_frame", ""),
        ("[]", "bad_frame", ""),
        ('"\ud800"', "bad_frame", ""),
        (b"\xff\xfe", "bad_frame", ""),
        ("[" * 50_000, "bad_frame", ""),
        ('{"id": "id-1"}', "bad_frame", ""),
        (text("device.dance", {}), "unknown_type", "id-1"),
        (text("stream.start", {}), "unknown_type", "id-1"),  # control gives the orders
        (text("stream.stats", {}), "bad_frame", "id-1"),
        (text("stream.stats", 3), "bad_frame", "id-1"),
        (text("stream.ended", {"stream_id": "s\0", "reason": "eos"}), "bad_frame", "id-1"),
        (text("auth.login", {"hostname": "x" * 254}), "bad_frame", "id-1"),
        (text("device.status", {"cpu_percent": "much"}), "bad_frame", "id-1"),
        ('{"type": "device.status", "payload": {"uptime_s": 1e999}}', "bad_frame", ""),
        (text("device.status", {"x": "y" * wire.MAX_FRAME_BYTES}), "too_long", ""),
    ],
)
def test_what_cannot_be_read_is_told_with_what_is_known_of_it(
    data: str | bytes, code: str, id: str
) -> None:
    with pytest.raises(BadFrame) as raised:
        wire.decode_from_agent(data)
    bad = raised.value
    assert (bad.code, bad.id) == (code, id)
    answer = bad.answer()
    assert answer is not None
    assert (answer.id, answer.type) == (id, "error")
    assert wire.decode_from_control(wire.encode(answer, AT)) == answer


@pytest.mark.parametrize(
    ("type", "payload"),
    [("error", 3), ("device.dance.response", {}), ("stream.stop.response", {"success": "no"})],
)
def test_two_ends_do_not_correct_each_other_for_ever(type: str, payload: Any) -> None:
    with pytest.raises(BadFrame) as raised:
        wire.decode_from_agent(text(type, payload))
    assert raised.value.answer() is None


def test_what_the_other_end_would_not_take_is_not_sent() -> None:
    long = wire.StreamStop("str_1", "x" * wire.MAX_FRAME_BYTES)
    with pytest.raises(BadFrame, match=r"stream\.stop has more than"):
        wire.encode(wire.frame("id-1", long), AT)


@pytest.mark.parametrize("message", [*REPORTS[:2], *ORDERS, *ANSWERS])
def test_secrets_do_not_print(message: Any) -> None:
    shown = repr(message)
    assert "secret" not in shown
    assert "canary" not in shown


def test_words_of_the_other_end_fit_a_database() -> None:
    assert wire.plain("it\0 died\n") == "it died"
    assert len(wire.plain("x" * 10_000)) == wire.PLAIN_CHARS_MAX


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
TYPES = st.sampled_from([*wire.REPORTS.values(), *wire.ORDERS.values(), "error"]) | st.text()
FIELDS = st.sampled_from(
    sorted(
        {
            field.name
            for kind in (*wire.REPORTS, *wire.ORDERS)
            for field in msgspec.structs.fields(kind)
        }
    )
)


@given(st.binary(max_size=400) | st.text(max_size=400))
def test_anything_at_all_is_a_frame_or_a_bad_one(data: str | bytes) -> None:
    for decode in (wire.decode_from_agent, wire.decode_from_control):
        with contextlib.suppress(BadFrame):
            assert isinstance(decode(data), Frame)


@given(TYPES, st.booleans(), st.dictionaries(FIELDS | st.text(), JSON) | JSON, JSON)
def test_any_payload_of_any_type_is_a_frame_or_a_bad_one(
    type: str, is_answer: bool, payload: Any, id: Any
) -> None:
    data = json.dumps({"id": id, "type": type + ".response" * is_answer, "payload": payload})
    for decode in (wire.decode_from_agent, wire.decode_from_control):
        try:
            frame = decode(data)
        except BadFrame as bad:
            answer = bad.answer()
            if answer is not None:
                wire.encode(answer, AT)
        else:
            # What was taken can be shown: JSON, without what JSON cannot say.
            json.dumps(msgspec.to_builtins(frame.message), allow_nan=False)
