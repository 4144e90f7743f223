from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.media.ts_tables import PACKET
from strata.sender.source.packets import CHUNK, H265, Chunker, aligned
from support.packets import AAC, AUDIO, H264, VIDEO, media, pat, pmt

NULL = b"\x47\x1f\xff\x10" + b"\xff" * 184


def begin(nal: bytes, pid: int = VIDEO) -> bytes:
    """The first packet of a picture, without an adaptation field."""
    head = bytes((0x47, 0x40 | pid >> 8, pid & 0xFF, 0x10))
    pes = b"\0\0\1\xe0\0\0\x80\x80\5" + b"\x21\0\1\0\1" + b"\0\0\0\1" + nal
    return (head + pes).ljust(PACKET, b"\xaa")


def marked(pid: int = VIDEO) -> bytes:
    """The same, marked as a place to begin."""
    head = bytes((0x47, 0x40 | pid >> 8, pid & 0xFF, 0x30, 1, 0x40))
    return (head + b"\0\0\1\xe0\0\0\x80\0\0").ljust(PACKET, b"\xaa")


def rest(pid: int = VIDEO) -> bytes:
    return bytes((0x47, pid >> 8, pid & 0xFF, 0x10)).ljust(PACKET, b"\xaa")


def chunker(video: int = H264) -> Chunker:
    one = Chunker()
    one.one(pat() + pmt((video, VIDEO), (AAC, AUDIO)))
    return one


def test_all_packets_of_a_marked_picture_are_key() -> None:
    one = chunker()
    assert not one.one(rest() * 7).is_key
    assert one.one(rest() + marked()).is_key
    assert one.one(rest() * 7).is_key
    assert not one.one(rest(AUDIO) * 7).is_key
    assert one.one(NULL + rest()).is_key
    # The next picture ends it, but not for what came before in the same chunk.
    assert one.one(rest() + begin(b"\x41\x9a")).is_key
    assert not one.one(rest() * 7).is_key


@pytest.mark.parametrize(
    ("video", "nal", "is_key"),
    [
        (H264, b"\x09\xf0\0\0\0\1\x67\x42", True),
        (H264, b"\x65\x88", True),
        (H264, b"\x41\x9a", False),
        (H264, b"\x06\x05", False),
        (H265, b"\x46\x01\x50\0\0\0\1\x40\x01", True),
        (H265, b"\x26\x01", True),
        (H265, b"\x02\x01", False),
        (0x02, b"\x65\x88", False),
    ],
)
def test_one_that_is_not_marked_is_known_by_what_it_holds(
    video: int, nal: bytes, is_key: bool
) -> None:
    assert chunker(video).one(begin(nal)).is_key == is_key


def test_without_tables_nothing_is_key() -> None:
    assert not Chunker().one(marked() + rest()).is_key


@given(st.lists(st.integers(0, 20), max_size=12))
def test_nothing_is_lost_or_moved(counts: list[int]) -> None:
    one = chunker()
    data = b"".join(bytes((0x47, 0, 32, 0x10)) + bytes((at % 256,)) * 184 for at in range(300))
    at, found = 0, []
    for count in counts:
        piece = data[at : at + count * PACKET]
        at += len(piece)
        found += one.feed(piece)
        assert all(len(chunk.payload) == CHUNK for chunk in found)
    found += one.flush()
    assert one.flush() == []
    assert b"".join(chunk.payload for chunk in found) == data[:at]


def test_pieces_that_begin_within_a_packet_are_put_right() -> None:
    data = media() * 6
    assert aligned(data) == data
    assert aligned(data[5:]) == data[PACKET:]
    assert aligned(data[:-5]) == data[:-PACKET]
    assert aligned(b"noise" * 300) == b""
    assert aligned(b"") == b""
