"""Where a transport stream begins, with packets made by hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from strata.media.ts_tables import PACKET
from strata.worker.ts_start import HELD_BYTES_MAX, HELD_S_MAX, TsStart
from support.packets import AAC, AUDIO, PMT, TABLES, media, pat, pmt, section


def joined(passed: list[tuple[float, bytes]]) -> bytes:
    return b"".join(packets for _, packets in passed)


def test_what_came_before_the_first_key_frame_is_left_out() -> None:
    start = TsStart()
    assert start.pass_on(media(mark=1) + TABLES + media(mark=2), 1.0) == []
    passed = start.pass_on(media(key=True) + media(mark=3), 1.1)
    assert joined(passed) == TABLES + media(key=True) + media(mark=3)
    assert start.started


def test_a_key_frame_that_came_before_its_tables_is_kept() -> None:
    start = TsStart()
    assert start.pass_on(media(key=True) + media(mark=1), 1.0) == []
    passed = start.pass_on(TABLES, 1.2)
    assert joined(passed) == TABLES + media(key=True) + media(mark=1) + TABLES


def test_held_packets_keep_their_time() -> None:
    start = TsStart()
    start.pass_on(media(key=True), 1.0)
    start.pass_on(media(mark=1), 1.1)
    passed = start.pass_on(TABLES, 1.2)
    assert passed == [
        (1.0, TABLES),
        (1.0, media(key=True)),
        (1.1, media(mark=1)),
        (1.2, TABLES),
    ]


def test_after_the_start_everything_passes_as_it_came() -> None:
    start = TsStart()
    start.pass_on(TABLES + media(key=True), 1.0)
    assert start.pass_on(media(mark=9), 2.0) == [(2.0, media(mark=9))]
    assert start.pass_on(b"", 2.1) == [(2.1, b"")]


def test_a_program_without_video_begins_with_its_tables() -> None:
    start = TsStart()
    tables = pat(network_first=True) + pmt((AAC, AUDIO))
    passed = start.pass_on(tables + media(AUDIO), 1.0)
    assert joined(passed) == tables + tables + media(AUDIO)


def test_an_encoder_that_marks_nothing_passes_after_a_while() -> None:
    start = TsStart()
    assert start.pass_on(TABLES + media(), 1.0) == []
    passed = start.pass_on(media(mark=1), 1.1 + HELD_S_MAX)
    assert joined(passed) == TABLES + TABLES + media() + media(mark=1)


def test_a_stream_without_tables_passes_when_too_much_is_held() -> None:
    start = TsStart()
    batch = media() * 1000
    held = 0
    while not (passed := start.pass_on(batch, 1.0)):
        held += len(batch)
        assert held <= HELD_BYTES_MAX
    assert joined(passed) == batch * (len(joined(passed)) // len(batch))


def test_broken_tables_are_waited_out() -> None:
    long_section = section(0, bytes((0x00, 0xBF, 0xFF)) + bytes(8))
    wrong_map = section(PMT, bytes((0x03, 0xB0, 13, 0, 1, 0xC1, 0, 0, 0xE1, 0, 0xF0, 0)))
    for broken in (long_section, pat() + wrong_map):
        start = TsStart()
        assert start.pass_on(broken + media(key=True), 1.0) == []
        assert joined(start.pass_on(TABLES, 1.1)) == TABLES + media(key=True) + TABLES


def test_a_map_without_streams_is_one_without_video() -> None:
    short_map = section(PMT, bytes((0x02, 0xB0, 9, 0, 1, 0xC1, 0, 0)))
    assert joined(TsStart().pass_on(pat() + short_map + media(AUDIO), 1.0)) != b""


@given(st.lists(st.binary(min_size=PACKET, max_size=PACKET), max_size=20))
def test_noise_never_raises_and_passes_in_the_end(packets: list[bytes]) -> None:
    start = TsStart()
    for now, packet in enumerate(packets):
        start.pass_on(b"\x47" + packet[1:], float(now) / 100)
    assert start.pass_on(media(), 100.0) == [(100.0, media())] or start.started or not packets
