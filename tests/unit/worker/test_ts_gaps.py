from __future__ import annotations

import random

import pytest

from strata.worker.ts_gaps import LOOK, PACKET, TsGaps

VIDEO, SOUND, OTHER = 0x100, 0x101, 0x102


def packet(pid: int, counter: int, *, begins: bool = False, payload: bool = True) -> bytes:
    high = (0x40 if begins else 0) | pid >> 8
    control = (0x10 if payload else 0x20) | counter % 16
    return bytes((0x47, high, pid & 0xFF, control)).ljust(PACKET, b"\0")


def split(data: bytes) -> list[bytes]:
    return [data[at : at + PACKET] for at in range(0, len(data), PACKET)]


def added(batch: bytes, mended: bytes) -> list[tuple[int, bytes]]:
    """What was put in, and before which packet of the batch."""
    found, rest = [], split(batch)
    for each in split(mended):
        if rest and each == rest[0]:
            rest.pop(0)
        else:
            found.append((len(split(batch)) - len(rest), each))
    assert not rest
    return found


def counter_of(one: bytes) -> int:
    return one[3] & 0x0F


def test_a_stream_without_holes_passes_as_it_is() -> None:
    gaps = TsGaps()
    batch = b"".join(packet(VIDEO, n) for n in range(40))
    assert gaps.mend(batch) is batch


@pytest.mark.parametrize("missing", range(1, 15))
def test_a_counter_that_does_not_follow_is_broken_for_certain(missing: int) -> None:
    gaps = TsGaps()
    gaps.mend(packet(VIDEO, 4))
    gaps.note(2)
    batch = packet(VIDEO, 5 + missing, begins=True) + packet(VIDEO, 6 + missing)
    [(at, breaker)] = added(batch, gaps.mend(batch))
    assert at == 0
    assert breaker[:1] == b"\x47"
    assert (breaker[1] & 0x1F) << 8 | breaker[2] == VIDEO
    assert not breaker[1] & 0x40
    assert breaker[3] & 0x30 == 0x10
    assert counter_of(breaker) not in (4, 5)


def test_a_track_of_which_nothing_is_missing_is_left_alone() -> None:
    gaps = TsGaps()
    gaps.mend(packet(VIDEO, 4) + packet(SOUND, 9))
    gaps.note(1)
    batch = packet(SOUND, 10) + packet(VIDEO, 7, begins=True)
    [(at, breaker)] = added(batch, gaps.mend(batch))
    assert at == 1
    assert breaker[2] == VIDEO & 0xFF


@pytest.mark.parametrize("missing", [0, 3, 500])
def test_a_hole_that_may_hide_a_whole_cycle_is_one(missing: int) -> None:
    gaps = TsGaps()
    gaps.mend(packet(VIDEO, 4))
    gaps.note(missing)
    assert len(added(packet(VIDEO, 5), gaps.mend(packet(VIDEO, 5)))) == 1


def test_two_holes_before_a_track_comes_again_may_hide_a_cycle() -> None:
    gaps = TsGaps()
    gaps.mend(packet(SOUND, 4))
    gaps.note(2)
    gaps.mend(packet(VIDEO, 0))
    gaps.note(2)
    assert len(added(packet(SOUND, 5), gaps.mend(packet(SOUND, 5)))) == 1


def test_packets_without_a_payload_and_tables_and_stuffing_do_not_count() -> None:
    gaps = TsGaps()
    gaps.mend(packet(VIDEO, 4) + packet(0, 1) + packet(0x1FFF, 2) + packet(VIDEO, 9, payload=False))
    gaps.note(1)
    batch = packet(0, 9) + packet(0x1FFF, 9) + packet(VIDEO, 3, payload=False) + packet(VIDEO, 5)
    assert gaps.mend(batch) == batch


def test_a_track_that_does_not_come_again_is_not_waited_for() -> None:
    gaps = TsGaps()
    gaps.mend(packet(OTHER, 4))
    gaps.note(0)
    long = b"".join(packet(VIDEO, n) for n in range(LOOK // PACKET + 2))
    assert gaps.mend(long) == long
    late = packet(OTHER, 9)
    assert gaps.mend(late) is late


def test_the_past_is_kept_as_far_as_it_is_looked_at() -> None:
    gaps = TsGaps()
    gaps.mend(packet(SOUND, 4))
    batch = b"".join(packet(VIDEO, n) for n in range(100))
    for _ in range(LOOK // len(batch) + 3):
        gaps.mend(batch)
    assert gaps._past_size <= LOOK + len(batch)
    gaps.note(1)
    assert gaps.mend(packet(SOUND, 9)) == packet(SOUND, 9)


def test_whatever_is_missing_each_hole_of_a_track_is_seen() -> None:
    chance = random.Random(5)
    counters = {VIDEO: 0, SOUND: 0}

    def datagram() -> bytes:
        made = b""
        for _ in range(7):
            pid = SOUND if chance.random() < 0.1 else VIDEO
            made += packet(pid, counters[pid])
            counters[pid] += 1
        return made

    gaps = TsGaps()
    for _ in range(300):
        gaps.mend(b"".join(datagram() for _ in range(20)))
        before = dict(counters)
        missing = chance.randrange(1, 30)
        for _ in range(missing):
            datagram()
        hit = {pid for pid in counters if counters[pid] != before[pid]}
        gaps.note(missing)
        batch = b"".join(datagram() for _ in range(40))
        broken = {(b[1] & 0x1F) << 8 | b[2] for _, b in added(batch, gaps.mend(batch))}
        came = {(p[1] & 0x1F) << 8 | p[2] for p in split(batch)}
        assert broken >= hit & came
