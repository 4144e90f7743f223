"""The words on the wire: those of librist 0.2.7, and any bytes at all."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strata.bond import packets
from strata.bond.cipher import Sealer
from strata.bond.packets import REQUESTS_MAX, Echo, EchoRequest, Missing, Word
from unit.bond.vectors import (
    RECEIVER_ECHO_REQUEST,
    RECEIVER_KEEPALIVE,
    RECEIVER_NACK,
    SECRET,
    SENDER_ECHO_REQUEST,
    SENDER_REPORT,
)
from unit.bond.world import nack

SEALER = Sealer(SECRET)
RECEIVER_REPORT = struct.pack(">BBHI", 0x80, 201, 1, 7)


def said(*parts: bytes, sequence: int = 1) -> list[Word] | None:
    """What is understood of a datagram with these parts of RTCP."""
    plain = struct.pack(">HH", 1969, 32768) + b"".join(parts)
    return packets.unwrap(SEALER, packets.wrap(SEALER, sequence, plain))


def bitmask(first: int, mask: int) -> bytes:
    return struct.pack(">BBHIIHH", 0x81, 205, 3, 7, 7, first, mask)


def echo(subtype: int, stamp: int, held_us: int = 0, ssrc: int = 9) -> bytes:
    return struct.pack(">BBHI4sQI", 0x80 | subtype, 204, 5, ssrc, b"RIST", stamp, held_us)


def test_debians_receiver_is_understood() -> None:
    assert packets.unwrap(SEALER, RECEIVER_ECHO_REQUEST.datagram) == [
        EchoRequest(0x83AB_6749_C426_F356, 0x211F_5915)
    ]
    narrow = Sealer(SECRET, RECEIVER_NACK.bits)
    assert packets.unwrap(narrow, RECEIVER_NACK.datagram) == [Missing((20, 21))]
    assert packets.unwrap(SEALER, RECEIVER_KEEPALIVE.datagram) is None


def test_a_report_is_laid_out_as_librists() -> None:
    theirs = bytes.fromhex(SENDER_REPORT.plain)
    flow_id, ntp, rtp = 0xDFF7CD16, 0xEEAE3BD0_7FDC20B4, 0x13075D3B
    echo_request = bytes.fromhex(SENDER_ECHO_REQUEST.plain)[-24:]
    stamp = int.from_bytes(echo_request[12:20], "big")
    assert packets.report(flow_id, b"vm", ntp, rtp, stamp) == theirs + echo_request


def test_an_answer_has_the_stamp_and_source_of_the_request() -> None:
    plain = packets.echo_response(2, b"name", EchoRequest(stamp=0xABCDEF, ssrc=77))
    words = said(plain[4:])
    assert words == [Echo(0xABCDEF, 0)]
    assert plain[-24:][4:8] == (77).to_bytes(4, "big")


@pytest.mark.parametrize("is_again", [False, True])
def test_media_is_rtp_with_a_bit_for_what_is_sent_again(is_again: bool) -> None:
    plain = packets.media(0xFFFF, 0xFFFF_FFFF, 8, b"payload", is_again)
    source, to, version, kind, sequence, stamp, ssrc = struct.unpack_from(">HHBBHII", plain)
    assert (source, to, version, kind) == (32768, 1968, 0x80, 33)
    assert (sequence, stamp, ssrc) == (0xFFFF, 0xFFFF_FFFF, 8 | is_again)
    assert plain[16:] == b"payload"
    assert len(packets.wrap(SEALER, 1, plain)) == len(b"payload") + packets.OVERHEAD


@pytest.mark.parametrize(("bits", "flags"), [(128, 0x08), (256, 0x48)])
def test_the_header_tells_how_it_is_sealed(bits: int, flags: int) -> None:
    sealer = Sealer(SECRET, bits)
    head = packets.wrap(sealer, 0xDEADBEEF, b"")
    assert head == bytes((0x30, flags, 0x88, 0xB6)) + sealer.nonce + b"\xde\xad\xbe\xef"


def test_all_parts_of_a_datagram_are_heard_in_turn() -> None:
    words = said(RECEIVER_REPORT, nack([1, 2, 3, 9]), echo(2, 5, ssrc=4), bitmask(20, 0b101))
    assert words == [Missing((1, 2, 3, 9)), EchoRequest(5, 4), Missing((20, 21, 23))]


def test_numbers_go_round_at_16_bits() -> None:
    assert said(RECEIVER_REPORT, nack(range(0xFFFE, 0x10002))) == [Missing((0xFFFE, 0xFFFF, 0, 1))]
    assert said(RECEIVER_REPORT, bitmask(0xFFFF, 1)) == [Missing((0xFFFF, 0))]


def test_how_long_the_receiver_had_a_request_is_known() -> None:
    assert said(RECEIVER_REPORT, echo(3, 1234, held_us=5678)) == [Echo(1234, 5678)]


@pytest.mark.parametrize(
    "part",
    [
        struct.pack(">BBHI4sQI", 0x83, 204, 5, 1, b"TSIR", 1, 0),  # an APP of somebody else
        struct.pack(">BBHI4sQI", 0x84, 204, 5, 1, b"RIST", 1, 0),  # one of RIST's that is not ours
        struct.pack(">BBHI4s", 0x83, 204, 2, 1, b"RIST"),  # an echo that is cut
        struct.pack(">BBHI", 0x83, 204, 900, 1),  # longer than the datagram
        struct.pack(">BBHI", 0x03, 204, 1, 1),  # not version 2
        b"\x80",
    ],
)
def test_what_is_not_understood_is_passed_over(part: bytes) -> None:
    assert said(RECEIVER_REPORT, part) == []


def test_one_datagram_asks_for_so_many_at_most() -> None:
    everything = struct.pack(">BBHI4sHH", 0x80, 204, 3, 7, b"RIST", 0, 0xFFFF)
    words = said(RECEIVER_REPORT, *[everything] * 60, *[bitmask(1, 0xFFFF)] * 20)
    assert words is not None
    asked = [len(word.sequences) for word in words if isinstance(word, Missing)]
    assert sum(asked) == REQUESTS_MAX


def test_who_does_not_have_the_key_says_nothing() -> None:
    plain = struct.pack(">HH", 1969, 32768) + RECEIVER_REPORT
    datagram = packets.wrap(SEALER, 1, plain)
    assert packets.unwrap(SEALER, datagram) == []
    strangers = [packets.unwrap(SEALER, packets.wrap(other, 1, plain)) for other in OTHERS]
    # One byte of 32 and one of 128 looks like a report by chance.
    assert strangers.count(None) >= len(OTHERS) - 1


OTHERS = [Sealer(SECRET, 128) for _ in range(8)]


@pytest.mark.parametrize(("at", "value"), [(0, 0x20), (0, 0x10), (0, 0xB0), (2, 0x88), (3, 0x8E)])
def test_other_headers_are_left_alone(at: int, value: int) -> None:
    datagram = bytearray(RECEIVER_ECHO_REQUEST.datagram)
    if datagram[at] == value:
        datagram[at + 1] ^= 0xFF
    datagram[at] = value
    assert packets.unwrap(SEALER, bytes(datagram)) is None


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_any_bytes_do_no_harm(junk: bytes) -> None:
    head = b"\x30\x48\x88\xb6" + SEALER.nonce
    packets.unwrap(SEALER, junk)
    packets.unwrap(SEALER, head + junk)


@given(st.lists(st.binary(max_size=60), max_size=8))
@settings(max_examples=300)
def test_any_words_in_the_right_key_do_no_harm(parts: list[bytes]) -> None:
    words = said(RECEIVER_REPORT, *parts)
    assert words is not None
    asked = sum(len(word.sequences) for word in words if isinstance(word, Missing))
    assert asked <= REQUESTS_MAX


@given(
    st.lists(
        st.tuples(st.sampled_from([200, 201, 202, 204, 205, 207]), st.integers(0, 31))
        .flatmap(lambda two: st.tuples(st.just(two), st.binary(max_size=40)))
        .map(
            lambda one: (
                struct.pack(">BBH", 0x80 | one[0][1], one[0][0], (len(one[1]) + 3) // 4)
                + one[1].ljust((len(one[1]) + 3) // 4 * 4, b"R")
            )
        ),
        max_size=8,
    )
)
def test_any_parts_that_are_well_formed_do_no_harm(parts: list[bytes]) -> None:
    assert said(RECEIVER_REPORT, *parts) is not None


@given(st.sets(st.integers(0, 0xFFFF), max_size=60))
def test_ranges_name_what_was_meant(numbers: set[int]) -> None:
    expected = tuple(sorted(numbers))
    assert said(RECEIVER_REPORT, nack(expected)) == [Missing(expected)]
