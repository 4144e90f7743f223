"""Where a transport stream ends, with packets made by hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from strata.worker.ts_end import HELD_BYTES_MAX, PACKET, TsEnd

VIDEO, AUDIO = 0x100, 0x101


def packet(pid: int, begins: bool = False, mark: int = 0) -> bytes:
    head = bytes((0x47, begins << 6 | pid >> 8, pid & 0xFF, 0x10))
    if begins:
        head += bytes((0, 0, 1, 0xE0 if pid == VIDEO else 0xC0))
    return (head + bytes((mark,))).ljust(PACKET, b"\xee")


def test_tables_and_rare_things_hold_nothing_up() -> None:
    table = bytes((0x47, 0x40, 0x11, 0x10, 0, 0x42)).ljust(PACKET, b"\xff")
    subtitle = bytes((0x47, 0x42, 0x00, 0x30, 1, 0, 0, 0, 1, 0xBD)).ljust(PACKET, b"\xff")
    short = bytes((0x47, 0x41, 0x00, 0x30, 183)).ljust(PACKET, b"\xff")
    for batch in (table, subtitle, short):
        assert TsEnd().pass_on(batch) == batch


def test_what_has_begun_is_held_until_the_next_begins() -> None:
    end = TsEnd()
    first = packet(VIDEO, begins=True, mark=1) + packet(VIDEO, mark=2)
    assert end.pass_on(first) == b""
    assert end.pass_on(packet(VIDEO, mark=3)) == b""
    assert end.pass_on(packet(VIDEO, begins=True, mark=4)) == first + packet(VIDEO, mark=3)


def test_at_the_end_what_may_not_be_whole_is_left_out() -> None:
    end = TsEnd()
    end.pass_on(packet(VIDEO, begins=True, mark=1) + packet(AUDIO, begins=True, mark=2))
    passed = end.pass_on(packet(VIDEO, begins=True, mark=3))
    passed += end.pass_on(packet(AUDIO, mark=4) + packet(VIDEO, mark=5))
    passed += end.pass_on(packet(AUDIO, begins=True, mark=6) + packet(0x1FFF, mark=7))
    whole = packet(VIDEO, begins=True, mark=1) + packet(AUDIO, begins=True, mark=2)
    assert passed + end.close(is_over=False) == (
        whole + packet(AUDIO, mark=4) + packet(0x1FFF, mark=7)
    )


def test_after_the_senders_own_end_everything_is_whole() -> None:
    end = TsEnd()
    batch = packet(VIDEO, begins=True) + packet(VIDEO)
    assert end.pass_on(batch) == b""
    assert end.close(is_over=True) == batch
    assert end.close(is_over=True) == b""


def test_a_track_that_begins_nothing_new_holds_nothing_up_for_ever() -> None:
    end = TsEnd()
    batch = packet(VIDEO, begins=True) + packet(VIDEO) * 999
    sent = passed = b""
    while len(sent) <= 2 * HELD_BYTES_MAX:
        sent += batch[PACKET:] if sent else batch
        passed += end.pass_on(batch[PACKET:] if passed or len(sent) > len(batch) else batch)
    assert sent.startswith(passed)
    assert len(sent) - len(passed) <= HELD_BYTES_MAX + len(batch)
    assert passed + end.close(is_over=False) == sent


def test_a_stream_without_any_beginning_passes_as_it_comes() -> None:
    end = TsEnd()
    assert end.pass_on(packet(VIDEO)) == packet(VIDEO)
    assert end.close(is_over=False) == b""


def test_where_another_file_begins_the_newest_picture_is_whole() -> None:
    end = TsEnd()
    picture = packet(VIDEO, begins=True, mark=1) + packet(VIDEO, mark=2)
    assert end.pass_on(picture) == b""
    assert end.cut(VIDEO) == (picture, b"")
    assert end.cut(VIDEO) == (b"", b"")


def test_a_sound_that_has_begun_goes_to_the_next_file() -> None:
    end = TsEnd()
    whole = packet(VIDEO, begins=True, mark=1) + packet(AUDIO, begins=True, mark=2)
    end.pass_on(whole)
    begun = packet(AUDIO, begins=True, mark=3), packet(AUDIO, mark=6)
    passed = end.pass_on(begun[0] + packet(VIDEO, mark=4) + packet(0, mark=5) + begun[1])
    here, there = end.cut(VIDEO)
    assert passed + here == whole + packet(VIDEO, mark=4) + packet(0, mark=5)
    assert there == b"".join(begun)


def test_without_a_picture_all_that_has_begun_goes_to_the_next_file() -> None:
    end = TsEnd()
    batch = packet(0x1FFF) + packet(AUDIO, begins=True) + packet(0x1FFF)
    passed = end.pass_on(batch)
    here, there = end.cut(None)
    assert (passed + here, there) == (packet(0x1FFF) * 2, packet(AUDIO, begins=True))


def test_after_a_cut_the_next_file_goes_on() -> None:
    end = TsEnd()
    end.pass_on(packet(VIDEO, begins=True, mark=1) + packet(AUDIO, begins=True, mark=2))
    end.cut(VIDEO)
    rest = packet(AUDIO, mark=3)
    picture = packet(VIDEO, begins=True, mark=4)
    assert end.pass_on(rest + picture) == rest
    assert end.pass_on(packet(VIDEO, begins=True, mark=5)) == picture
    assert end.close(is_over=True) == packet(VIDEO, begins=True, mark=5)


def split(packets: bytes) -> list[bytes]:
    return [packets[at : at + PACKET] for at in range(0, len(packets), PACKET)]


def of_pid(packets: bytes, pid: int) -> list[bytes]:
    return [each for each in split(packets) if (each[1] & 0x1F) << 8 | each[2] == pid]


@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from((VIDEO, AUDIO, 0)), st.booleans()), max_size=6),
        max_size=12,
    ),
    st.sampled_from((VIDEO, AUDIO, None)),
)
def test_a_cut_loses_nothing(batches: list[list[tuple[int, bool]]], video_pid: int | None) -> None:
    end, sent, passed = TsEnd(), b"", b""
    for batch in batches:
        marked = enumerate(batch, len(sent) // PACKET)
        packets = b"".join(packet(pid, begins, mark) for mark, (pid, begins) in marked)
        sent += packets
        passed += end.pass_on(packets)
    here, there = end.cut(video_pid)
    assert sorted(split(passed + here + there)) == sorted(split(sent))
    for pid in (VIDEO, AUDIO, 0):
        assert of_pid(passed + here + there, pid) == of_pid(sent, pid)
        assert not of_pid(there, pid) or (of_pid(there, pid)[0][1] & 0x40 and pid != video_pid)
    assert end.close(is_over=True) == b""


@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from((VIDEO, AUDIO, 0)), st.booleans()), max_size=6),
        max_size=12,
    )
)
def test_every_packet_passes_once_and_in_order(batches: list[list[tuple[int, bool]]]) -> None:
    end, sent, passed = TsEnd(), b"", b""
    for number, batch in enumerate(batches):
        packets = b"".join(packet(pid, begins, number) for pid, begins in batch)
        sent += packets
        passed += end.pass_on(packets)
    assert sent.startswith(passed)
    assert passed + end.close(is_over=True) == sent
