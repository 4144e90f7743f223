"""The sender's clock, from packets made by hand."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.worker.pace import JUMP_S, PACKET, PCR_HZ, WRAP, Pace
from strata.worker.ts_wrap import HZ, NEAR, moved


def packet(pid: int = 0x100, pcr_s: float | None = None, field_size: int = 183) -> bytes:
    """One packet, with a PCR at ``pcr_s`` seconds where that is given."""
    head = bytes((0x47, pid >> 8, pid & 0xFF))
    if pcr_s is None:
        return head + b"\x10" + bytes(PACKET - 4)
    ticks = round(pcr_s * PCR_HZ) % WRAP
    base, extension = divmod(ticks, 300)
    clock = (base << 15 | 0x3F << 9 | extension).to_bytes(6, "big")
    return (head + b"\x20" + bytes((field_size, 0x10)) + clock).ljust(PACKET, b"\xff")


def stamps(pace: Pace, *arrivals: tuple[float, float]) -> list[float]:
    """Stamps of one PCR packet for each (pcr_s, now)."""
    return [pace.split(packet(pcr_s=pcr_s), now)[0][0] for pcr_s, now in arrivals]


def test_a_stream_without_a_clock_keeps_its_arrival() -> None:
    pace = Pace()
    batch = packet() * 3
    assert pace.split(batch, 5.0) == [(5.0, batch)]
    assert pace.split(batch, 5.5) == [(5.5, batch)]


def test_a_batch_is_cut_before_each_clock_reference() -> None:
    pace = Pace()
    first, second = packet(pcr_s=10.0), packet(pcr_s=10.04)
    pieces = pace.split(packet() + first + packet() + second, 100.0)
    assert pieces == [
        (100.0, packet()),
        (100.0, first + packet()),
        (pytest.approx(100.04), second),
    ]


def test_an_empty_batch_gives_nothing() -> None:
    assert Pace().split(b"", 1.0) == []


def test_uneven_arrival_does_not_show() -> None:
    found = stamps(Pace(), (7.0, 50.0), (7.04, 50.2), (7.08, 50.2), (7.12, 50.21))
    assert found == pytest.approx([50.0, 50.04, 50.08, 50.12])


def test_an_outage_keeps_its_length() -> None:
    assert stamps(Pace(), (7.0, 50.0), (12.0, 55.1)) == pytest.approx([50.0, 55.0])


def test_packets_that_waited_for_us_are_not_taken_for_a_jump() -> None:
    found = stamps(Pace(), (7.0, 50.0), (7.04, 56.0), (7.08, 56.0), (12.96, 56.0))
    assert found[:3] == pytest.approx([50.0, 50.04, 50.08])


@pytest.mark.parametrize("pcr_s", [0.0, 6.9, 9000.0])
def test_a_restarted_encoder_goes_on_where_the_stream_was(pcr_s: float) -> None:
    found = stamps(Pace(), (7.0, 50.0), (pcr_s, 52.0), (pcr_s + 0.04, 52.3))
    assert found == pytest.approx([50.0, 52.0, 52.04])


def test_the_clock_crosses_its_wrap() -> None:
    end = WRAP / PCR_HZ
    found = stamps(Pace(), (end - 0.02, 50.0), (end + 0.02, 50.04))
    assert found == pytest.approx([50.0, 50.04])


def changed(*pcrs_s: float) -> list[bool]:
    """Which packets with these clock references a demuxer sees moved."""
    pace, found = Pace(), []
    for number, pcr_s in enumerate(pcrs_s):
        data = packet(pcr_s=pcr_s)
        [(_, piece)] = pace.split(data, 50.0 + 0.04 * number)
        assert piece in (data, moved(data))
        found.append(piece != data)
    return found


def test_stamps_are_moved_while_the_clock_is_near_its_wrap() -> None:
    end, near_s = WRAP / PCR_HZ, NEAR / HZ
    assert changed(end - near_s - 0.02, end - near_s + 0.02) == [False, True]
    assert changed(end - 0.06, end - 0.02, end + 0.02, end + 0.06) == [False, True, True, True]


def test_stamps_are_moved_no_more_when_it_is_past_its_wrap() -> None:
    end, near_s = WRAP / PCR_HZ, NEAR / HZ
    pace, seen = Pace(), []
    for step in range(-4, 5):
        data = packet(pcr_s=end + near_s * step / 3.5)
        [(_, piece)] = pace.split(data, 50.0 + near_s * step / 3.5)
        seen.append(piece != data)
    assert seen == [False] + [True] * 7 + [False]


def test_a_clock_that_begins_is_not_moved() -> None:
    assert changed(0.0, 0.04, 0.08) == [False] * 3


def test_one_damaged_reference_moves_nothing() -> None:
    end = WRAP / PCR_HZ
    assert changed(7.0, end - 1.0, 7.08, 7.12) == [False] * 4
    assert changed(end - 1.0, end - 0.96, 7.0, end - 0.88, end - 0.84) == [False] + [True] * 4


def test_a_clock_that_was_set_anew_is_no_longer_moved() -> None:
    end = WRAP / PCR_HZ
    assert changed(end - 1.0, end - 0.96, 900.0, 900.04) == [False, True, True, False]


def test_only_the_first_clock_of_a_multiplex_counts() -> None:
    pace = Pace()
    pace.split(packet(pcr_s=1.0), 50.0)
    other = packet(pid=0x200, pcr_s=500.0)
    assert pace.split(other, 50.5) == [(50.0, other)]


def test_a_clock_that_stopped_gives_way_to_another() -> None:
    pace = Pace()
    pace.split(packet(pcr_s=1.0), 50.0)
    found = [
        pace.split(packet(pid=0x200, pcr_s=500.0 + passed_s), 50.0 + passed_s)[0][0]
        for passed_s in (0.5, 1.0, 1.5, 2.0)
    ]
    assert found == pytest.approx([50.0, 51.0, 51.5, 52.0])


def test_a_field_too_short_is_not_the_clock_to_follow() -> None:
    pace = Pace()
    pace.split(packet(pid=0x300, pcr_s=1.0, field_size=6), 50.0)
    assert stamps(pace, (7.0, 50.1), (7.04, 50.2)) == pytest.approx([50.1, 50.14])


def test_a_field_too_short_for_for_a_clock_is_left_alone() -> None:
    broken = packet(pcr_s=1.0, field_size=6)
    assert Pace().split(broken, 50.0) == [(50.0, broken)]


@given(st.lists(st.tuples(st.floats(0, WRAP / PCR_HZ), st.floats(0, 10)), min_size=2, max_size=50))
def test_stamps_never_go_back_nor_run_ahead(steps: list[tuple[float, float]]) -> None:
    pace, now = Pace(), 0.0
    arrivals = []
    for pcr_s, passed_s in steps:
        now += passed_s
        arrivals.append((pcr_s, now))
    found = stamps(pace, *arrivals)
    assert all(earlier <= later for earlier, later in pairwise(found))
    assert found[-1] - now <= JUMP_S * len(steps)


@given(st.binary(max_size=4 * PACKET))
def test_no_bytes_are_lost(noise: bytes) -> None:
    # Without the first byte of a clock that is near its wrap.
    batch = noise[: len(noise) // PACKET * PACKET].replace(b"\xff", b"\xfe")
    assert b"".join(piece for _, piece in Pace().split(batch, 1.0)) == batch
