"""Segments made of the smallest pictures there are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from strata.errors import StrataError
from strata.worker import elementary
from strata.worker.elementary import START
from strata.worker.formats import Program
from strata.worker.ts_mux import TsMuxer
from strata.worker.ts_write import PACKET
from strata.worker.units import AccessUnit
from unit.worker.fakes import (
    AUDIO,
    AVCC,
    H265,
    KEY_FRAME,
    PPS,
    SILENCE,
    SPS,
    VIDEO,
    picture,
    sound,
    unit,
)

PROGRAM = Program(VIDEO, AUDIO)


def segment(first: int, count: int) -> list[AccessUnit]:
    return [each(number) for number in range(first, first + count) for each in (picture, sound)]


def packets(data: bytes) -> list[bytes]:
    found = [data[at : at + PACKET] for at in range(0, len(data), PACKET)]
    assert all(len(packet) == PACKET and packet[0] == 0x47 for packet in found)
    return found


def pid_of(packet: bytes) -> int:
    return (packet[1] & 0x1F) << 8 | packet[2]


def gaps(data: bytes) -> Iterator[tuple[int, int]]:
    """Where the continuity counters do not go on (ISO/IEC 13818-1 section 2.4.3.3)."""
    latest: dict[int, int] = {}
    for index, packet in enumerate(packets(data)):
        pid, counter = pid_of(packet), packet[3] & 0x0F
        step = 1 if packet[3] & 0x10 else 0
        if pid in latest and counter != (latest[pid] + step) & 0x0F:
            yield index, pid
        latest[pid] = counter


def test_a_segment_holds_both_tracks_and_begins_with_the_tables() -> None:
    found = packets(TsMuxer(PROGRAM).mux(segment(0, 6)))
    assert pid_of(found[0]) == 0
    pids = {pid_of(packet) for packet in found}
    assert len(pids) == 4  # two tables, a picture, sound
    assert list(gaps(b"".join(found))) == []


def test_a_picture_can_be_decoded_from_each_key_frame_on() -> None:
    data = TsMuxer(Program(VIDEO, None)).mux([picture(number) for number in range(6)])
    assert data.count(b"\0\0\1" + SPS) == 2
    assert data.count(b"\0\0\1" + PPS) == 2
    assert data.count(KEY_FRAME) == 2


def test_segments_follow_one_another_without_a_seam() -> None:
    muxer = TsMuxer(PROGRAM)
    whole = b"".join(muxer.mux(segment(first, 6)) for first in range(0, 60, 6))
    assert list(gaps(whole)) == []


def test_a_segment_begins_with_the_tables_wherever_it_is() -> None:
    muxer = TsMuxer(PROGRAM)
    for first in range(0, 18, 6):
        assert pid_of(packets(muxer.mux(segment(first, 6)))[0]) == 0


def test_sound_alone() -> None:
    data = TsMuxer(Program(None, AUDIO)).mux([sound(number) for number in range(6)])
    assert data.count(SILENCE) == 6


def test_a_track_that_was_not_announced_is_left_out() -> None:
    data = TsMuxer(Program(VIDEO, None)).mux(segment(0, 3))
    assert SILENCE not in data
    assert KEY_FRAME in data


def test_a_track_without_media_in_a_segment_holds_nothing_up() -> None:
    muxer = TsMuxer(PROGRAM)
    pictures = muxer.mux([picture(number) for number in range(6)])
    assert KEY_FRAME in pictures
    both = muxer.mux(segment(6, 6))
    assert SILENCE in both
    assert list(gaps(pictures + both)) == []


def test_stamps_are_those_of_the_stream() -> None:
    muxer = TsMuxer(Program(VIDEO, None))
    stamps = [
        first_stamp(muxer.mux([picture(number) for number in range(first, first + 3)]))
        for first in (0, 3, 6)
    ]
    assert stamps[1] - stamps[0] == stamps[2] - stamps[1] == 3 * 90_000 // 25


def first_stamp(data: bytes) -> int:
    """The first presentation time in it, in units of 1/90000 s (section 2.4.3.7)."""
    payloads = (packet[5 + packet[4] if packet[3] & 0x20 else 4 :] for packet in packets(data))
    pes = next(each for each in payloads if each.startswith(b"\0\0\1\xe0"))
    high, *rest = pes[9:14]
    return (
        (high >> 1 & 0x07) << 30
        | rest[0] << 22
        | (rest[1] >> 1) << 15
        | rest[2] << 7
        | rest[3] >> 1
    )


def test_what_cannot_be_written_is_told() -> None:
    with pytest.raises(StrataError, match="a segment could not be made: a track came without"):
        TsMuxer(Program(H265, None)).mux([unit(H265, b"abc")])
    short = unit(VIDEO, b"\0\0\0\x09abc")
    with pytest.raises(StrataError, match="a picture is shorter than it says"):
        TsMuxer(PROGRAM).mux([short])


def test_after_what_cannot_be_written_the_next_segment_is_whole() -> None:
    muxer = TsMuxer(PROGRAM)
    with pytest.raises(StrataError):
        muxer.mux([picture(0), unit(VIDEO, b"\0\0\0\x09abc")])
    data = muxer.mux(segment(3, 3))
    assert pid_of(packets(data)[0]) == 0
    assert data.count(KEY_FRAME) == 1
    assert list(gaps(data)) == []


def test_each_unit_is_written_as_its_own_format_says() -> None:
    other_sps = SPS[:-1] + b"\x6b"
    other = replace(VIDEO, config=AVCC.replace(SPS, other_sps))
    changed = replace(picture(3), format=other)
    mono = replace(sound(3), format=replace(AUDIO, config=bytes.fromhex("1188"), channels=1))
    muxer = TsMuxer(PROGRAM)
    data = muxer.mux([picture(0), sound(0), changed, mono, picture(6), sound(6)])
    assert [data.count(START + each) for each in (SPS, other_sps)] == [2, 1]
    assert data.index(START + SPS) < data.index(START + other_sps) < data.rindex(START + SPS)
    wanted = [elementary.aac(config).convert(SILENCE) for config in (b"\x11\x90", b"\x11\x88")]
    assert [data.count(each) for each in wanted] == [2, 1]
    assert START + other_sps not in muxer.mux([picture(9)])


def test_a_picture_has_the_time_of_its_decoding_and_of_its_showing() -> None:
    shown_later = replace(picture(0), pts_ns=picture(2).pts_ns)
    data = TsMuxer(Program(VIDEO, None)).mux([shown_later])
    assert first_stamp(data) - first_stamp(TsMuxer(PROGRAM).mux([picture(0)])) == 2 * 90_000 // 25
