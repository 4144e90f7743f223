"""Passes through a file that is made by hand: a clock reference and a picture each 40 ms, sound
each 20 ms."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strata.sender.source import timeline
from strata.sender.source.timeline import HZ, PACKET, WRAP, Timeline, signed

VIDEO, AUDIO = 0x100, 0x101
FRAME = HZ // 25
SOUND = HZ // 50
LEAD = HZ // 2
"""How far the clock is behind the stamps."""


def stamp(prefix: int, value: int) -> bytes:
    value %= WRAP
    return bytes(
        (
            prefix << 4 | value >> 30 << 1 | 1,
            value >> 22 & 0xFF,
            (value >> 15 & 0x7F) << 1 | 1,
            value >> 7 & 0xFF,
            (value & 0x7F) << 1 | 1,
        )
    )


@dataclass(slots=True)
class File:
    """A file, written packet by packet."""

    counters: dict[int, int] = field(default_factory=dict)
    data: bytearray = field(default_factory=bytearray)

    def packet(self, pid: int, payload: bytes, *, begins: bool = False, pcr: int = -1) -> None:
        count = self.counters[pid] = self.counters.get(pid, -1) + 1 & 15
        field_ = b""
        if pcr >= 0:
            field_ = b"\x07\x10" + (pcr % WRAP << 15 | 0x7E00).to_bytes(6, "big")
        control = 0x10 | (0x20 if field_ else 0) | count
        head = bytes((0x47, begins << 6 | pid >> 8, pid & 0xFF, control))
        self.data += (head + field_ + payload).ljust(PACKET, b"\xff")

    def picture(self, dts: int, pts: int, packets: int, pcr: int) -> None:
        pes = b"\0\0\1\xe0\0\0\x80\xc0\x0a" + stamp(3, pts) + stamp(1, dts)
        self.packet(VIDEO, pes, begins=True, pcr=pcr)
        for _ in range(packets - 1):
            self.packet(VIDEO, b"\xaa")

    def sound(self, pts: int, size: int = 100) -> None:
        pes = b"\0\0\1\xc0" + size.to_bytes(2, "big") + b"\x80\x80\5" + stamp(2, pts)
        self.packet(AUDIO, pes, begins=True)


def a_file(pictures: int = 50, begin: int = HZ, packets: int = 5) -> bytes:
    file = File()
    for number in range(pictures):
        dts = begin + number * FRAME
        file.picture(dts, dts + FRAME, packets, dts - LEAD)
        for each in range(FRAME // SOUND):
            file.sound(begin + number * FRAME + each * SOUND)
    return bytes(file.data)


def play(one: Timeline, until_s: float, from_s: float = 100.0, step_s: float = 0.01) -> bytes:
    parts, at = [], 0
    while at * step_s <= until_s:
        parts.append(one.due(from_s + at * step_s))
        at += 1
    return b"".join(parts)


@dataclass(slots=True)
class Found:
    clocks: list[int]
    dts: dict[int, list[int]]
    is_continuous: bool


def look(data: bytes) -> Found:
    found = Found([], {VIDEO: [], AUDIO: []}, True)
    last: dict[int, int] = {}
    for at in range(0, len(data), PACKET):
        packet = data[at : at + PACKET]
        pid, count = (packet[1] & 0x1F) << 8 | packet[2], packet[3] & 15
        found.is_continuous &= last.get(pid, count - 1 & 15) == count - 1 & 15
        last[pid] = count
        payload = 4
        if packet[3] & 0x20:
            found.clocks.append(int.from_bytes(packet[6:12], "big") >> 15)
            payload += 1 + packet[4]
        if packet[1] & 0x40:
            both = packet[payload + 7] & 0xC0 == 0xC0
            a, b, c, d, e = packet[payload + (14 if both else 9) :][:5]
            found.dts[pid].append((a & 0xE) << 29 | b << 22 | (c & 0xFE) << 14 | d << 7 | e >> 1)
    return found


def steps(values: list[int]) -> set[int]:
    return {signed(after - before) for before, after in pairwise(values)}


def test_one_pass_is_what_the_file_is() -> None:
    data, one = a_file(), Timeline()
    one.put(data)
    one.finish()
    assert play(one, 3.0) == data
    assert one.is_empty


def test_it_is_sent_at_the_pace_of_its_clock() -> None:
    data, one = a_file(), Timeline()
    one.put(data)
    one.finish()
    assert one.waiting_s == pytest.approx(2.0, abs=0.05)
    for until_s in (0.5, 1.0, 1.5):
        sent = len(play(one, 0.5, 100.0 + until_s - 0.5))
        assert sent == pytest.approx(len(data) / 4, rel=0.1)


@pytest.mark.parametrize("begin", [HZ, WRAP - 3 * HZ, WRAP - HZ // 2])
def test_passes_are_one_timeline(begin: int) -> None:
    data, one = a_file(begin=begin), Timeline()
    for _ in range(3):
        one.put(data)
        one.next_pass()
    out = play(one, 7.0)
    assert len(out) == 3 * len(data)
    found = look(out)
    assert steps(found.dts[VIDEO]) == {FRAME}
    assert steps(found.dts[AUDIO]) == {SOUND}
    assert steps(found.clocks) == {FRAME}
    assert found.is_continuous
    # Nothing but stamps and counters is different.
    assert out[: len(data)] == data
    assert play(one, 1.0) == b""


def test_sound_that_is_longer_than_the_picture_is_not_cut_into() -> None:
    file = File(data=bytearray(a_file(pictures=10)))
    file.counters = {VIDEO: 50 - 1, AUDIO: 20 - 1}
    for number in range(5):
        file.sound(HZ + 10 * FRAME + number * SOUND)
    one = Timeline()
    for _ in range(2):
        one.put(bytes(file.data))
        one.next_pass()
    found = look(play(one, 4.0))
    assert steps(found.dts[AUDIO]) == {SOUND}
    assert steps(found.dts[VIDEO]) == {FRAME, FRAME + 5 * SOUND}


def test_a_last_unit_that_is_shorter_than_others_takes_less_time() -> None:
    file = File()
    for number in range(10):
        file.picture(HZ + number * FRAME, HZ + number * FRAME, 2, HZ + number * FRAME - LEAD)
    for number in range(4):
        file.sound(HZ + number * 5 * SOUND, size=500 if number < 3 else 100)
    one = Timeline()
    for _ in range(2):
        one.put(bytes(file.data))
        one.next_pass()
    # Three units of five frames, and one of one; the picture is longer, by as much.
    assert steps(look(play(one, 4.0)).dts[AUDIO]) == {5 * SOUND, 10 * FRAME - 15 * SOUND}


def test_a_clock_that_ends_ahead_of_where_it_began_waits() -> None:
    file = File()
    for number in range(25):
        dts = HZ + number * FRAME
        # Its lead shrinks from half a second to nothing.
        file.picture(dts, dts, 2, dts - LEAD + number * LEAD // 25)
    one = Timeline()
    for _ in range(3):
        one.put(bytes(file.data))
        one.next_pass()
    found = look(play(one, 6.0))
    assert min(steps(found.clocks)) >= 0
    assert steps(found.dts[VIDEO]) == {FRAME}


def test_who_was_late_does_not_make_up_for_it() -> None:
    data, one = a_file(pictures=100), Timeline()
    one.put(data)
    one.finish()
    play(one, 0.5)
    # Nobody came for three seconds.
    assert len(one.due(104.0)) < len(data) / 20
    sent = len(play(one, 1.0, 104.0))
    assert sent == pytest.approx(len(data) / 4, rel=0.1)


def test_a_file_that_was_pieced_together_goes_on() -> None:
    one = Timeline()
    one.put(a_file(pictures=25, begin=1000 * HZ) + a_file(pictures=25, begin=HZ))
    one.finish()
    assert one.waiting_s == pytest.approx(2.0, abs=0.1)


def test_without_a_clock_all_is_due_at_once() -> None:
    file = File()
    for number in range(10):
        file.sound(number * SOUND)
    one = Timeline()
    one.put(bytes(file.data))
    assert one.due(0.0) == b""
    one.finish()
    assert one.due(1.0) + one.due(1.0) == bytes(file.data)
    assert timeline.Timeline().due(0.0) == b""


@settings(max_examples=50)
@given(st.lists(st.binary(min_size=184, max_size=184), max_size=30), st.integers(0, 3))
def test_whatever_is_in_the_packets_comes_out(bodies: list[bytes], passes: int) -> None:
    data = b"".join(b"\x47" + body + b"\0\0\0" for body in bodies)
    one = Timeline()
    for _ in range(passes):
        one.put(data)
        one.next_pass()
    assert len(play(one, 40.0, step_s=0.5)) == passes * len(data)
