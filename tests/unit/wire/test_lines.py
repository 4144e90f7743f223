from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.wire.lines import MAX_LINE_BYTES, LineSplitter, LineTooLong


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(places)]


@given(
    lines=st.lists(st.binary(max_size=50).filter(lambda line: b"\n" not in line)),
    cuts=st.lists(st.integers(min_value=0)),
)
def test_the_lines_are_the_same_whatever_the_pieces(lines: list[bytes], cuts: list[int]) -> None:
    data = b"".join(line + b"\n" for line in lines)
    splitter = LineSplitter()
    found = [line for piece in pieces_of(data, cuts) for line in splitter.feed(piece)]
    assert found == [line.strip() for line in lines if line.strip()]


@given(
    lines=st.lists(st.binary(max_size=12).filter(lambda line: b"\n" not in line), min_size=1),
    cuts=st.lists(st.integers(min_value=0)),
)
def test_the_limit_is_the_same_whatever_the_pieces(lines: list[bytes], cuts: list[int]) -> None:
    data = b"".join(line + b"\n" for line in lines)
    splitter = LineSplitter(max_bytes=8)
    refused = False
    try:
        for piece in pieces_of(data, cuts):
            splitter.feed(piece)
    except LineTooLong:
        refused = True
    assert refused == any(len(line) > 8 for line in lines)


def test_a_line_without_its_end_waits() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b'{"cmd":') == []
    assert splitter.feed(b"") == []
    assert splitter.feed(b'"stop"}\n{"cm') == [b'{"cmd":"stop"}']
    assert splitter.feed(b'd":"stats"}\n') == [b'{"cmd":"stats"}']


def test_blank_lines_and_carriage_returns_are_nothing() -> None:
    assert LineSplitter().feed(b"\n  \r\none\r\n\n two \n") == [b"one", b"two"]


def test_the_longest_line_is_64_kib_without_its_break() -> None:
    longest = b"x" * MAX_LINE_BYTES
    assert MAX_LINE_BYTES == 64 * 1024
    assert LineSplitter().feed(longest + b"\n") == [longest]
    splitter = LineSplitter()
    assert splitter.feed(longest) == []
    assert splitter.feed(b"\n") == [longest]


@pytest.mark.parametrize("end", [b"", b"\n", b"\nmore\n"])
def test_a_longer_line_is_refused_ended_or_not(end: bytes) -> None:
    with pytest.raises(LineTooLong, match="more than 65536 bytes"):
        LineSplitter().feed(b"x" * (MAX_LINE_BYTES + 1) + end)


def test_a_line_that_grows_too_long_in_pieces_is_refused() -> None:
    splitter = LineSplitter(max_bytes=10)
    assert splitter.feed(b"short\n123456789") == [b"short"]
    assert splitter.feed(b"0") == []
    with pytest.raises(LineTooLong):
        splitter.feed(b"1")
