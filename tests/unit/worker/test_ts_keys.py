"""Where a transport stream can be joined, with packets made by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.media.ts_tables import PACKET
from strata.worker.ts_keys import UNMARKED_AFTER_S, Packets, TsKeys
from support.packets import AAC, AUDIO, H264, TABLES, VIDEO, media, pat, pmt

NEW_TABLES = pat() + pmt((AAC, AUDIO), (H264, 0x123))


def begun(now: float = 0.0) -> TsKeys:
    """One whose stream has begun, as it should: with the tables and a key frame."""
    keys = TsKeys()
    keys.split(TABLES, now)
    keys.split(media(key=True), now)
    return keys


def test_a_batch_without_a_key_frame_stays_whole() -> None:
    batch = TABLES + media() + media(AUDIO, begins=True)
    assert begun().split(batch, 0.1) == [Packets(batch, video_pid=VIDEO)]


def test_a_batch_is_cut_before_each_key_frame() -> None:
    rest, first, second = media(mark=1) * 2, media(key=True) + media(AUDIO), media(key=True)
    assert begun().split(rest + first + second, 1.0) == [
        Packets(rest, False, b"", VIDEO),
        Packets(first, True, TABLES, VIDEO),
        Packets(second, True, TABLES, VIDEO),
    ]


def test_a_batch_that_begins_with_a_key_frame_is_one_piece() -> None:
    batch = media(key=True) + media()
    assert begun().split(batch, 1.0) == [Packets(batch, True, TABLES, VIDEO)]


def test_tables_and_key_frame_may_come_at_once() -> None:
    assert TsKeys().split(TABLES + media(key=True), 0.0) == [
        Packets(TABLES, False, b"", VIDEO),
        Packets(media(key=True), True, TABLES, VIDEO),
    ]


def test_nobody_can_join_before_the_tables_are_over() -> None:
    keys = TsKeys()
    assert keys.split(TABLES, 0.0) == [Packets(TABLES, video_pid=VIDEO)]
    assert keys.split(TABLES[:PACKET], 0.1) == [Packets(TABLES[:PACKET], video_pid=VIDEO)]


def test_what_begins_without_tables_or_a_key_frame_is_taken_as_it_is() -> None:
    batch = media() + media(AUDIO)
    assert TsKeys().split(batch, 0.0) == [Packets(batch, True)]
    keys = TsKeys()
    keys.split(TABLES, 0.0)
    assert keys.split(batch, 0.1) == [Packets(batch, True, TABLES, VIDEO)]


@pytest.mark.parametrize("other", [media(AUDIO, key=True), media(begins=True), media(0x1FFF)])
def test_only_a_key_frame_of_the_picture_counts(other: bytes) -> None:
    assert [piece.key for piece in begun().split(media() + other, 1.0)] == [False]


def test_new_tables_are_followed() -> None:
    keys = begun()
    keys.split(NEW_TABLES, 1.0)
    assert [each.key for each in keys.split(media(key=True), 1.1)] == [False]
    batch = media(0x123, key=True)
    assert keys.split(batch, 1.2) == [Packets(batch, True, NEW_TABLES, 0x123)]


def test_without_a_picture_any_place_is_good() -> None:
    tables = pat() + pmt((AAC, AUDIO))
    keys = TsKeys()
    keys.split(tables, 0.0)
    assert keys.split(media(AUDIO), 0.1) == [Packets(media(AUDIO), True, tables)]


def test_where_key_frames_are_not_marked_any_place_is_good_after_a_while() -> None:
    keys = begun(now=100.0)
    assert not keys.split(media(), 100.0 + UNMARKED_AFTER_S)[0].key
    batch = media(begins=True)
    assert keys.split(batch, 100.1 + UNMARKED_AFTER_S) == [Packets(batch, True, TABLES, VIDEO)]


def test_a_marked_key_frame_ends_the_guessing() -> None:
    keys = begun()
    assert keys.split(media(), 20.0)[0].key
    assert [each.key for each in keys.split(media() + media(key=True), 21.0)] == [False, True]
    assert not keys.split(media(), 21.0 + UNMARKED_AFTER_S)[0].key
    assert keys.split(media(), 21.1 + UNMARKED_AFTER_S)[0].key


def test_an_empty_batch_gives_nothing() -> None:
    assert begun().split(b"", 1.0) == []


def test_pictures_are_counted_where_they_begin() -> None:
    data = media(key=True) + media() + media(begins=True) + media(AUDIO, begins=True)
    assert Packets(data, video_pid=VIDEO).pictures == 2
    assert Packets(data, video_pid=AUDIO).pictures == 1
    assert Packets(data).pictures == 0
    assert Packets(b"", video_pid=VIDEO).pictures == 0


@given(st.integers(0, 0x1FFF), st.integers(0, 0x1FFF), st.integers(0, 7))
def test_a_picture_begins_whatever_else_its_packet_says(pid: int, other: int, flags: int) -> None:
    packet = bytes((0x47, flags << 5 | pid >> 8, pid & 0xFF, 0x10)).ljust(PACKET, b"\xee")
    begins = bool(flags & 2)
    assert Packets(packet, video_pid=pid).pictures == begins
    assert Packets(packet, video_pid=other).pictures == (begins and pid == other)


SAMPLES = [
    *(TABLES[:PACKET], TABLES[PACKET:], NEW_TABLES[PACKET:], pmt((AAC, AUDIO))),
    *(media(), media(begins=True), media(key=True), media(0x123, key=True), media(AUDIO)),
]


@given(
    st.lists(
        st.tuples(st.lists(st.sampled_from(SAMPLES), max_size=8), st.floats(0.0, 20.0)), max_size=8
    )
)
def test_the_pieces_are_the_batch(batches: list[tuple[list[bytes], float]]) -> None:
    keys, now = TsKeys(), 0.0
    for packets, passed_s in batches:
        now += passed_s
        batch = b"".join(packets)
        pieces = keys.split(batch, now)
        assert b"".join(piece.data for piece in pieces) == batch
        assert all(piece.data for piece in pieces) or not batch
        assert all(piece.key for piece in pieces[1:])
        assert not any(piece.tables for piece in pieces if not piece.key)
        assert sum(piece.pictures for piece in pieces) <= len(packets)
