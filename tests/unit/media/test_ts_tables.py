"""The tables of a transport stream, with packets made by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.media.ts_tables import PACKET, VIDEO_TYPES, Tables, pid_of, starts_key_frame
from support.packets import AAC, AUDIO, H264, PMT, TABLES, VIDEO, media, pat, pmt, section


def tables_of(*packets: bytes) -> Tables:
    tables = Tables()
    for packet in packets:
        tables.look_at(packet)
    return tables


def test_nothing_is_known_at_first() -> None:
    tables = Tables()
    assert not tables.are_known
    assert not tables.is_without_video
    assert (tables.packets, tables.video_pid) == (b"", None)


def test_the_tables_are_kept_as_they_came() -> None:
    association, program = pat(), pmt((AAC, AUDIO), (H264, VIDEO))
    tables = tables_of(association, media(), program, media(AUDIO))
    assert tables.are_known
    assert tables.packets == association + program
    assert tables.video_pid == VIDEO
    assert not tables.is_without_video


def test_one_table_is_not_enough() -> None:
    tables = tables_of(pat())
    assert not tables.are_known
    assert tables.packets == pat()
    assert not tables_of(pmt((H264, VIDEO))).packets


def test_the_latest_tables_count() -> None:
    tables = tables_of(TABLES[:PACKET], TABLES[PACKET:], pmt((H264, 0x1ABC)))
    assert tables.video_pid == 0x1ABC
    assert tables.packets == pat() + pmt((H264, 0x1ABC))
    tables.look_at(pmt((AAC, AUDIO)))
    assert tables.is_without_video


@pytest.mark.parametrize("kind", sorted(VIDEO_TYPES))
def test_the_first_video_is_found(kind: int) -> None:
    assert tables_of(pat(), pmt((AAC, AUDIO), (kind, 7), (H264, 8))).video_pid == 7


@pytest.mark.parametrize("kind", [0x03, 0x04, 0x06, 0x0F, 0x11, 0x81, 0x86])
def test_what_is_no_video_is_not_taken_for_it(kind: int) -> None:
    assert tables_of(pat(), pmt((kind, VIDEO))).is_without_video


def test_descriptors_are_passed_over() -> None:
    described = bytes((0x1B, 4, 0x1B, 0xE0, 0x07, 0xF0))
    program = pmt((AAC, AUDIO), (H264, VIDEO), described=described)
    assert tables_of(pat(), program).video_pid == VIDEO


def test_the_network_is_no_program() -> None:
    assert tables_of(pat(network_first=True), pmt((H264, VIDEO))).video_pid == VIDEO


def test_tables_are_looked_for_where_they_are_announced() -> None:
    tables = Tables()
    assert tables.concerns(0)
    assert not tables.concerns(PMT)
    tables.look_at(pat())
    assert tables.concerns(0)
    assert tables.concerns(PMT)
    assert not tables.concerns(VIDEO)
    tables.look_at(pat(0x0ABC))
    assert tables.concerns(0x0ABC)
    assert not tables.concerns(PMT)


def test_a_section_may_begin_behind_a_field_and_a_pointer() -> None:
    body = pmt((H264, VIDEO))[5:40]
    head = bytes((0x47, 0x50, 0x00, 0x30, 2, 0, 0xFF, 3, 0xAA, 0xAA, 0xAA))
    assert tables_of(pat(), (head + body).ljust(PACKET, b"\xff")).video_pid == VIDEO


def test_a_section_may_fill_its_packet() -> None:
    streams = [(AAC, 0x200 + number) for number in range(32)]
    head, body = pmt()[:4], pmt(*streams, (H264, VIDEO))[5:186]
    full = head + b"\x02\xee\xee" + body
    assert len(full) == PACKET
    assert tables_of(pat(), full).video_pid == VIDEO
    cut_off = head + b"\x03\xee\xee\xee" + body[:-1]
    assert tables_of(pat(), cut_off).packets == pat()


ONLY_NETWORK = bytes((0x00, 0xB0, 13, 0, 1, 0xC1, 0, 0, 0, 0, 0xE0, 0x10))


@pytest.mark.parametrize(
    "broken",
    [
        section(0, bytes((0x00, 0xBF, 0xFF)) + bytes(8)),
        section(0, bytes((0x00, 0xB0, 8)) + bytes(8)),
        bytes((0x47, 0x40, 0, 0x20, 183)).ljust(PACKET, b"\xff"),
        bytes((0x47, 0x40, 0, 0x30, 183)).ljust(PACKET, b"\xff"),
        bytes((0x47, 0x40, 0, 0x30, 255)).ljust(PACKET, b"\xff"),
        bytes((0x47, 0x40, 0, 0x10, 183)).ljust(PACKET, b"\xff"),
        bytes((0x47, 0x40, 0, 0x10, 181)).ljust(PACKET, b"\x00"),
        bytes((0x47, 0x00, 0, 0x10)).ljust(PACKET, b"\xff"),
        section(0, bytes((0x42, 0xB0, 13, 0, 1, 0xC1, 0, 0, 0, 1, 0xF0, 0))),
    ],
    ids=[
        *("longer than its packet", "too short", "no payload", "a field to the end"),
        *("a field beyond the end", "a pointer beyond the end", "a pointer to the end"),
        *("a continuation", "another table"),
    ],
)
def test_broken_tables_are_no_tables(broken: bytes) -> None:
    assert tables_of(broken).packets == b""
    tables = tables_of(pat(), pmt((H264, VIDEO)), broken)
    assert tables.packets == pat() + pmt((H264, VIDEO))
    assert tables.video_pid == VIDEO


def test_an_association_without_a_program_leads_nowhere() -> None:
    tables = tables_of(section(0, ONLY_NETWORK), pmt((H264, VIDEO)))
    assert not tables.are_known
    assert not tables.concerns(PMT)


def test_another_table_on_the_pid_of_the_map_is_none() -> None:
    other = section(PMT, bytes((0x03, 0xB0, 13, 0, 1, 0xC1, 0, 0, 0xE1, 0, 0xF0, 0)))
    assert not tables_of(pat(), other).are_known


@pytest.mark.parametrize(
    "body",
    [
        bytes((0x02, 0xB0, 9, 0, 1, 0xC1, 0, 0)),
        bytes((0x02, 0xB0, 13, 0, 1, 0xC1, 0, 0, 0xE1, 0, 0xFF, 0xFF)),
        bytes((0x02, 0xB0, 17, 0, 1, 0xC1, 0, 0, 0xE1, 0, 0xF0, 0, H264, 0xE1, 0, 0xF0)),
    ],
    ids=["no streams", "descriptors beyond the end", "half a stream"],
)
def test_a_map_that_is_cut_short_names_no_video(body: bytes) -> None:
    assert tables_of(pat(), section(PMT, body)).is_without_video


def test_the_map_of_another_program_is_not_kept() -> None:
    assert not tables_of(pat(), pmt((H264, VIDEO)), pat(0x0ABC)).are_known


@given(st.integers(0, 0x1FFF), st.integers(0, 7))
def test_the_pid_has_thirteen_bits(pid: int, flags: int) -> None:
    assert pid_of(bytes((0x47, flags << 5 | pid >> 8, pid & 0xFF, 0x10))) == pid


@pytest.mark.parametrize(
    ("head", "starts"),
    [
        ((0x47, 0x41, 0x00, 0x30, 1, 0x40), True),
        ((0x47, 0x41, 0x00, 0x20, 183, 0x50), True),
        ((0x47, 0x61, 0x00, 0x30, 7, 0xFF), True),
        ((0x47, 0x01, 0x00, 0x30, 1, 0x40), False),
        ((0x47, 0x41, 0x00, 0x10, 1, 0x40), False),
        ((0x47, 0x41, 0x00, 0x30, 0, 0x40), False),
        ((0x47, 0x41, 0x00, 0x30, 1, 0xBF), False),
    ],
)
def test_a_key_frame_starts_where_it_is_marked(head: tuple[int, ...], starts: bool) -> None:
    assert starts_key_frame(bytes(head).ljust(PACKET, b"\xff")) is starts


@given(st.lists(st.binary(min_size=PACKET, max_size=PACKET), max_size=20))
def test_noise_never_raises(packets: list[bytes]) -> None:
    tables = tables_of(pat(), *(b"\x47" + packet[1:] for packet in packets))
    assert len(tables.packets) in (PACKET, 2 * PACKET)


@given(st.binary(max_size=PACKET - 3), st.sampled_from((0, PMT)), st.sampled_from((0x10, 0x30)))
def test_a_broken_table_never_raises(body: bytes, pid: int, control: int) -> None:
    head = bytes((0x47, 0x40 | pid >> 8, pid & 0xFF, control))
    tables = tables_of(pat(), (head + body).ljust(PACKET, b"\xff")[:PACKET])
    assert not tables.is_without_video or tables.are_known
