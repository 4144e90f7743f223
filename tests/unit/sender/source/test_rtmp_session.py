"""The server's end of RTMP, against an encoder that is written here from the specification."""

from __future__ import annotations

import contextlib
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.sender.source import rtmp_session
from strata.sender.source.rtmp_session import BadRtmp, RtmpSession

HELLO = b"\x03" + bytes(rtmp_session.HANDSHAKE)
ACK = bytes(rtmp_session.HANDSHAKE)


def amf(*values: Any) -> bytes:
    out = b""
    for value in values:
        if isinstance(value, bool):
            out += b"\1" + bytes((value,))
        elif isinstance(value, float):
            out += b"\0" + struct.pack(">d", value)
        elif isinstance(value, str):
            out += b"\2" + struct.pack(">H", len(value)) + value.encode()
        elif isinstance(value, dict):
            fields = (
                struct.pack(">H", len(name)) + name.encode() + amf(each)
                for name, each in value.items()
            )
            out += b"\3" + b"".join(fields) + b"\0\0\x09"
        else:
            out += b"\5"
    return out


def message(type: int, data: bytes, *, time: int = 0, stream: int = 3, chunk: int = 128) -> bytes:
    """One message in chunks, with a full header first."""
    extended = struct.pack(">I", time) if time >= 0xFFFFFF else b""
    head = bytes((stream,)) + min(time, 0xFFFFFF).to_bytes(3, "big") + len(data).to_bytes(3, "big")
    out = head + bytes((type,)) + b"\1\0\0\0" + extended + data[:chunk]
    for at in range(chunk, len(data), chunk):
        out += bytes((0xC0 | stream,)) + extended + data[at : at + chunk]
    return out


CONNECT = message(20, amf("connect", 1.0, {"app": "live", "x": {"y": True}, "z": None}))
CREATE = message(20, amf("createStream", 4.0, None))


def publish(key: str) -> bytes:
    return message(20, amf("publish", 5.0, None, key, "live"))


def session(key: str = "key") -> RtmpSession:
    one = RtmpSession("live", "key")
    one.feed(HELLO)
    one.feed(ACK + CONNECT + CREATE + publish(key))
    return one


def tags(flv: bytes) -> list[tuple[int, int, bytes]]:
    """Type, time and media of each."""
    found, at = [], 0
    while at < len(flv):
        size = int.from_bytes(flv[at + 1 : at + 4], "big")
        time = int.from_bytes(flv[at + 4 : at + 7], "big") | flv[at + 7] << 24
        found.append((flv[at], time, flv[at + 11 : at + 11 + size]))
        assert int.from_bytes(flv[at + 11 + size : at + 15 + size], "big") == size + 11
        at += size + 15
    return found


def test_an_encoder_is_greeted_and_may_publish() -> None:
    one = RtmpSession("live", "key")
    answer, _ = one.feed(HELLO[:100])
    assert answer == b""
    answer, _ = one.feed(HELLO[100:])
    assert answer[:1] == b"\3"
    assert len(answer) == 1 + 2 * 1536
    answer, _ = one.feed(ACK + CONNECT)
    assert b"NetConnection.Connect.Success" in answer
    answer, _ = one.feed(CREATE)
    assert b"_result" in answer
    assert not one.is_publishing
    answer, _ = one.feed(publish("key"))
    assert b"NetStream.Publish.Start" in answer
    assert one.is_publishing
    assert not one.is_over


@pytest.mark.parametrize("key", ["another", "", "key2"])
def test_who_has_another_key_is_refused(key: str) -> None:
    one = RtmpSession("live", "key")
    one.feed(HELLO)
    answer, _ = one.feed(ACK + CONNECT + CREATE + publish(key))
    assert b"NetStream.Publish.BadName" in answer
    assert one.is_over
    assert not one.is_publishing
    assert "another key" in one.refused
    assert "key2" not in one.refused


def test_who_has_another_application_is_refused() -> None:
    one = RtmpSession("live", "key")
    one.feed(HELLO)
    one.feed(ACK + message(20, amf("connect", 1.0, {"app": "other"})) + publish("key"))
    assert one.is_over
    assert "another application" in one.refused
    without = RtmpSession("live", "key")
    without.feed(HELLO)
    without.feed(ACK + publish("key"))
    assert without.is_over


def test_media_comes_out_as_it_went_in() -> None:
    one = session()
    picture, sound = b"\x17\x01" + b"p" * 1000, b"\xaf\x01" + b"s" * 50
    _, flv = one.feed(
        message(9, picture, time=40, stream=6)
        + message(8, sound, time=45, stream=4)
        + message(9, picture, time=0x1234567, stream=6)
    )
    assert tags(flv) == [(9, 40, picture), (8, 45, sound), (9, 0x1234567, picture)]


def test_shorter_headers_go_on_from_the_last() -> None:
    one = session()
    data = b"\xaf\x01" + b"s" * 8
    size = len(data).to_bytes(3, "big")
    _, flv = one.feed(
        message(8, data, time=1000, stream=4)
        + b"\x44\0\0\x17" + size + b"\x08" + data  # type 1: a delta of 23
        + b"\x84\0\0\x15" + data  # type 2: a delta of 21
        + b"\xc4" + data  # type 3: the same again
    )  # fmt: skip
    assert [time for _, time, _ in tags(flv)] == [1000, 1023, 1044, 1065]


def test_messages_of_two_streams_may_be_mixed() -> None:
    one = session()
    picture, sound = b"\x17" + b"p" * 199, b"\xaf" + b"s" * 49
    whole = message(9, picture, time=1, stream=6)
    cut = 12 + 128
    _, flv = one.feed(whole[:cut] + message(8, sound, time=2, stream=4) + whole[cut:])
    assert [each[2] for each in tags(flv)] == [sound, picture]


def test_larger_chunks_are_read_as_soon_as_they_are_announced() -> None:
    one = session()
    picture = b"\x17" + b"p" * 9000
    _, flv = one.feed(
        message(1, (4096).to_bytes(4, "big"), stream=2)
        + message(9, picture, stream=6, chunk=4096)
        + message(2, (6).to_bytes(4, "big"), stream=2, chunk=4096)
    )
    assert tags(flv) == [(9, 0, picture)]


def test_chunk_streams_may_have_long_numbers() -> None:
    one = session()
    for head in (b"\x00\x05", b"\x01\x05\x00"):
        _, flv = one.feed(head + b"\0\0\x07\0\0\x03\x08\1\0\0\0abc")
        assert tags(flv) == [(8, 7, b"abc")]


@given(st.lists(st.integers(1, 400), max_size=30))
def test_it_does_not_matter_how_it_is_cut(cuts: list[int]) -> None:
    picture = b"\x17" + bytes(range(256)) * 3
    stream = HELLO + ACK + CONNECT + CREATE + publish("key")
    stream += message(9, picture, time=0xFFFFFF + 5, stream=6) + message(8, b"\xafs", stream=4)
    one, flv, at = RtmpSession("live", "key"), b"", 0
    for cut in [*cuts, len(stream)]:
        flv += one.feed(stream[at : at + cut])[1]
        at += cut
    assert tags(flv) == [(9, 0xFFFFFF + 5, picture), (8, 0, b"\xafs")]


def test_media_before_it_was_allowed_is_left_out() -> None:
    one = RtmpSession("live", "key")
    one.feed(HELLO)
    assert one.feed(ACK + message(9, b"\x17p")) == (b"", b"")


@pytest.mark.parametrize("name", ["deleteStream", "FCUnpublish", "closeStream"])
def test_who_ends_its_stream_has_ended(name: str) -> None:
    one = session()
    one.feed(message(20, amf(name, 6.0, None, 1.0)))
    assert one.is_over


def test_commands_of_the_newer_form_are_taken_too() -> None:
    one = RtmpSession("live", "key")
    one.feed(HELLO)
    one.feed(ACK + message(17, b"\0" + amf("connect", 1.0, {"app": "live/?x"})))
    answer, _ = one.feed(message(20, amf("releaseStream", 2.0, None, "key")))
    assert b"_result" in answer
    one.feed(publish("key"))
    assert one.is_publishing


def test_it_tells_how_far_it_has_come() -> None:
    one = session()
    one.feed(message(1, (1 << 20).to_bytes(4, "big"), stream=2))
    answer = b""
    for _ in range(4):
        answer += one.feed(message(9, bytes(900_000), stream=6, chunk=1 << 20))[0]
    assert answer[:8] == b"\2\0\0\0\0\0\4\3"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"GET / HTTP/1.1\r\n", "does not begin"),
        (HELLO + ACK + b"\xc3" + b"x" * 20, "no message"),
        (HELLO + ACK + b"\x03\0\0\0\xff\xff\xff\x09\0\0\0\0", "more than"),
        (HELLO + ACK + message(1, bytes(4), stream=2), "of that size"),
        (HELLO + ACK + message(20, b"\x07"), "cannot be read"),
        (HELLO + ACK + message(20, b"\3\0\1a" * 20), "too deep"),
    ],
)
def test_others_are_of_no_use(data: bytes, why: str) -> None:
    with pytest.raises(BadRtmp, match=why):
        RtmpSession("live", "key").feed(data)


def test_so_many_streams_are_too_many() -> None:
    one = session()
    many = b"".join(message(8, b"x", stream=number) for number in range(3, 40))
    with pytest.raises(BadRtmp, match="no message"):
        one.feed(many)


@given(st.binary(max_size=400))
def test_noise_is_refused_or_waited_for(noise: bytes) -> None:
    one = session()
    with contextlib.suppress(BadRtmp):
        one.feed(noise)
