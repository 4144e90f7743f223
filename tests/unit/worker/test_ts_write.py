"""A transport stream that we write, read packet by packet."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from strata.media.ts_tables import Tables
from strata.worker import ts_write
from strata.worker.ts_write import (
    AUDIO_PID,
    LEAD,
    PACKET,
    PAT_PID,
    PMT_PID,
    VIDEO_PID,
    WRAP,
    ZERO,
    TsWriter,
)


def packets(data: bytes) -> list[bytes]:
    found = [data[at : at + PACKET] for at in range(0, len(data), PACKET)]
    assert all(len(packet) == PACKET and packet[0] == 0x47 for packet in found)
    return found


def pid_of(packet: bytes) -> int:
    return (packet[1] & 0x1F) << 8 | packet[2]


def payload_of(packet: bytes) -> bytes:
    return packet[4 + (1 + packet[4] if packet[3] & 0x20 else 0) :]


def units(data: bytes, pid: int) -> list[bytes]:
    """The PES packets of one stream; its counters are looked at on the way."""
    found: list[bytes] = []
    count = None
    for packet in packets(data):
        if pid_of(packet) != pid:
            continue
        assert packet[3] & 0x10
        assert count is None or packet[3] & 0x0F == (count + 1) & 0x0F
        count = packet[3] & 0x0F
        if packet[1] & 0x40:
            found.append(b"")
        found[-1] += payload_of(packet)
    return found


def stamp(five: bytes) -> int:
    high, a, b, c, d = five
    assert high & b & d & 1
    return (high >> 1 & 7) << 30 | a << 22 | (b >> 1) << 15 | c << 7 | d >> 1


def test_the_tables_can_be_read() -> None:
    writer = TsWriter("h264", "aac")
    writer.tables()
    data = writer.take()
    assert [pid_of(packet) for packet in packets(data)] == [PAT_PID, PMT_PID]
    tables = Tables()
    for packet in packets(data):
        tables.look_at(packet)
    assert tables.are_known
    assert tables.video_pid == VIDEO_PID
    for packet in packets(data):
        section = payload_of(packet)[1:]
        size = 3 + ((section[1] & 0x0F) << 8 | section[2])
        assert ts_write._checksum(section[:size]) == 0, "the checksum of all is 0"


def test_the_checksum_is_the_one_of_mpeg_2() -> None:
    assert ts_write._checksum(b"123456789") == 0x0376E6E7


def test_sound_alone_has_the_clock() -> None:
    writer = TsWriter(None, "aac")
    writer.tables()
    writer.sound(b"frame", 900)
    *_, packet = packets(writer.take())
    assert packet[3] & 0x20
    assert packet[5] & 0x10


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 1200), st.integers(0, WRAP + 10**6)), max_size=12
    )
)
def test_what_is_written_is_what_is_read(made: list[tuple[bool, int, int]]) -> None:
    writer = TsWriter("h265", "aac")
    wanted: dict[int, list[tuple[bytes, int]]] = defaultdict(list)
    for is_picture, size, at in made:
        data = bytes((size & 0xFF,)) * size
        if is_picture:
            writer.picture(data, at + 3600, at, key=False)
            wanted[VIDEO_PID].append((data, at))
        else:
            writer.sound(data, at)
            wanted[AUDIO_PID].append((data, at))
    written = writer.take()
    for pid, expected in wanted.items():
        found = units(written, pid)
        assert len(found) == len(expected)
        for pes, (data, at) in zip(found, expected, strict=True):
            assert pes[:3] == b"\0\0\1"
            assert pes[9 + pes[8] :] == data
            later = 3600 if pid == VIDEO_PID else 0
            assert stamp(pes[9:14]) == (at + ZERO + later) % WRAP
            if later:
                assert stamp(pes[14:19]) == (at + ZERO) % WRAP
            assert int.from_bytes(pes[4:6], "big") == len(pes) - 6


def test_a_picture_may_be_larger_than_its_length_can_say() -> None:
    writer = TsWriter("h264", None)
    writer.picture(b"x" * 200_000, 0, 0, key=True)
    [pes] = units(writer.take(), VIDEO_PID)
    assert pes[4:6] == b"\0\0"
    assert len(pes) == 14 + 200_000


def test_a_key_frame_is_marked_and_the_clock_runs_ahead_of_it() -> None:
    writer = TsWriter("h264", None)
    writer.picture(b"x" * 1000, 90_000, 90_000, key=True)
    writer.picture(b"x" * 1000, 93_600, 93_600, key=False)
    firsts = [packet for packet in packets(writer.take()) if packet[1] & 0x40]
    assert [packet[5] for packet in firsts] == [0x50, 0x10]
    clock = int.from_bytes(firsts[0][6:11], "big") >> 7
    assert clock == 90_000 + ZERO - LEAD


def test_counters_go_on_from_one_taking_to_the_next() -> None:
    writer = TsWriter("h264", None)
    writer.picture(b"x" * 500, 0, 0, key=True)
    first = writer.take()
    writer.picture(b"x" * 500, 3600, 3600, key=False)
    assert len(units(first + writer.take(), VIDEO_PID)) == 2
    assert writer.take() == b""
