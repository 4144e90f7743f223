"""Stamps moved away from their wrap, in packets made by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.worker.ts_wrap import NEAR, PACKET, WRAP, is_near, moved
from support.ts import NULL, restamped, stamps

QUARTER = WRAP // 4
PCR, STEP = b"\x10" + bytes(6), b"\0"
"""What an adaptation field holds: a clock reference, or nothing but its flags."""
PTS, BOTH = b"\x80\x05" + b"\x21\0\1\0\1", b"\xc0\x0a" + b"\x31\0\1\0\1" + b"\x11\0\1\0\1"
"""What a header holds of stamps."""


def packet(
    field: bytes | None = None,
    stamped: bytes = b"",
    *,
    prefix: bytes = b"\0\0\1\xe0\0\0\x80",
    begins: bool = True,
    room: int = 0,
) -> bytes:
    """Of the picture.

    Args:
        field: the adaptation field.
        stamped: what the header of a packetized elementary stream holds after ``prefix``.
        room: of the payload; 0 for what is left.
    """
    if room:
        field = (field or STEP).ljust(PACKET - 5 - room, b"\xff")
    head = bytes((0x47, begins << 6 | 1, 0, 0x10 if field is None else 0x30))
    if field is not None:
        head += bytes((len(field),)) + field
    return (head + (prefix + stamped if stamped else b"")).ljust(PACKET, b"\xee")[:PACKET]


@pytest.mark.parametrize(
    ("base", "was", "near"),
    [
        (0, False, False),
        (NEAR - 1, False, False),
        (NEAR - 1, True, True),
        (NEAR, True, False),
        (WRAP // 2, True, False),
        (WRAP - NEAR - 1, False, False),
        (WRAP - NEAR, False, True),
        (WRAP - 1, True, True),
    ],
)
def test_what_is_near_the_wrap(base: int, was: bool, near: bool) -> None:
    assert is_near(base, was) is near


@given(st.integers(0, WRAP - 1), st.integers(0, WRAP - 1), st.integers(0, WRAP - 1))
def test_all_three_move_by_a_quarter(pcr: int, pts: int, dts: int) -> None:
    wanted = {"pcr": pcr, "pts": pts, "dts": dts}
    data = restamped(packet(PCR, BOTH), lambda stamp: wanted[stamp.kind])
    found = moved(data)
    for kind in ("pcr", "pts", "dts"):
        assert stamps(found, kind, "video") == [(wanted[kind] + QUARTER) % WRAP]
    assert restamped(found, lambda stamp: wanted[stamp.kind]) == data, "and nothing else"


def test_four_quarters_are_the_whole() -> None:
    data = packet(PCR, BOTH) + NULL + packet(None, PTS)
    assert moved(moved(moved(moved(data)))) == data


def test_a_time_of_showing_alone_moves() -> None:
    data = restamped(packet(None, PTS), lambda stamp: 5)
    assert stamps(moved(data), "pts", "video") == [5 + QUARTER]
    assert stamps(moved(data), "dts", "video") == []


def test_each_packet_is_looked_at() -> None:
    media = packet(begins=False)
    data = NULL + packet(PCR, begins=False) + packet(STEP, PTS) + media + packet(None, BOTH)
    found = moved(data)
    assert stamps(found, "pcr", "video") == [QUARTER]
    assert stamps(found, "pts", "video") == [QUARTER, QUARTER]
    assert stamps(found, "dts", "video") == [QUARTER]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        NULL,
        packet(STEP),
        packet(b"\x10" + bytes(5)),  # too short for a clock reference
        packet(None, BOTH, begins=False),
        packet(None, BOTH, prefix=b"\0\2\xb0\x17\0\0\x80"),  # a table
        packet(None, BOTH, prefix=b"\0\0\1\xbe\0\0\x40"),  # padding
        packet(None, b"\0\0"),
        packet(STEP, PTS, room=9),
    ],
)
def test_what_has_no_stamps_stays(data: bytes) -> None:
    assert moved(data) == data


def test_a_header_that_is_cut_moves_as_far_as_it_goes() -> None:
    whole, cut = packet(STEP, BOTH, room=15), packet(STEP, BOTH, room=14)
    assert sum(a != b for a, b in zip(moved(whole), whole, strict=True)) == 2
    assert sum(a != b for a, b in zip(moved(cut), cut, strict=True)) == 1


@given(st.binary(max_size=4 * PACKET))
def test_noise_keeps_its_size(noise: bytes) -> None:
    data = noise[: len(noise) // PACKET * PACKET]
    assert len(moved(data)) == len(data)
