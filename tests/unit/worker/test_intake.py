"""The way of media into the hub, with both ends made by hand, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, cast

import pytest

from strata.errors import SenderError, UnsupportedMedia
from strata.worker import intake as intake_module
from strata.worker import onair as onair_module
from strata.worker.config import SlateSettings
from strata.worker.flow import Flow
from strata.worker.formats import Program
from strata.worker.hub import Hub
from strata.worker.intake import (
    INGEST_RESTARTS_S,
    PROGRAM_DEADLINE_S,
    VIDEO_DEADLINE_S,
    Intake,
)
from strata.worker.onair import OnAir
from strata.worker.ts_end import OVER_AFTER_S
from strata.worker.units import AccessUnit
from support.virtual_time import Clock, in_virtual_time
from unit.worker import fakes
from unit.worker.fakes import AUDIO, PACKET, VIDEO, FakeIngest, FakeReceiver

SOUND = fakes.unit(AUDIO, bytes(100))
PICTURE = fakes.unit(VIDEO, bytes(100))
HELD_S = 5.0
"""More than a stream without tables is held."""


class KeepingHub(Hub):
    """Remembers what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[bytes] = []

    def push_packets(self, batch: bytes) -> None:
        super().push_packets(batch)
        self.batches.append(batch)


class KeepingOnAir:
    """Takes whatever comes, and remembers it."""

    def __init__(self) -> None:
        self.programs: list[Program] = []
        self.units: list[AccessUnit] = []
        self.at_s: list[float] = []
        self.marks: list[tuple[str, int]] = []
        """What was told of the stream, and after how many units."""

    @property
    def has_begun(self) -> bool:
        return bool(self.programs)

    def begin(self, program: Program) -> None:
        self.programs.append(program)

    def push(self, units: Iterable[AccessUnit], at_s: float) -> int:
        found = list(units)
        self.units += found
        self.at_s.append(at_s)
        return sum(unit.size for unit in found)

    def missed(self) -> None:
        self.marks.append(("missed", len(self.units)))

    def restarted(self) -> None:
        self.marks.append(("restarted", len(self.units)))


class Case:
    def __init__(self) -> None:
        self.receiver = FakeReceiver((20_000,), None)
        self.hub = KeepingHub()
        self.on_air = KeepingOnAir()
        self.media = 0
        self.errors: list[SenderError] = []
        self.intake = Intake(
            cast(Any, self.receiver),
            self.hub,
            cast(Any, self.on_air),
            self._count,
            self.errors.append,
        )
        self.intake.start()

    def _count(self) -> None:
        self.media += 1

    @property
    def ingest(self) -> FakeIngest:
        return FakeIngest.made[-1]

    async def feed(self, seconds: float, *units: AccessUnit) -> None:
        """Media, ten times a second."""
        for _ in range(round(seconds * 10)):
            self.ingest.units.extend(units)
            self.receiver.receive()
            await asyncio.sleep(0.1)

    async def end(self) -> None:
        self.intake.stop()
        self.receiver.close()


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    fakes.install(monkeypatch)
    monkeypatch.setattr(intake_module, "time", Clock)
    monkeypatch.setattr(onair_module, "time", Clock)


@in_virtual_time
async def test_packets_go_to_the_hub_and_the_demuxer_and_units_on_the_air() -> None:
    case = Case()
    await case.feed(HELD_S)
    case.ingest.units.append(SOUND)
    case.receiver.receive()
    await asyncio.sleep(0.1)
    assert b"".join(case.hub.batches) == b"".join(case.ingest.pushed) == PACKET * 51
    assert case.on_air.units == [SOUND]
    assert case.on_air.at_s[-1] == pytest.approx(Clock.monotonic(), abs=0.2)
    assert case.media == 51
    await case.end()


@in_virtual_time
async def test_the_rates_of_the_stream_are_measured() -> None:
    case = Case()
    await case.feed(1.5)
    assert case.hub.units_rate.kbps is None  # it is held
    await case.feed(HELD_S - 1.5)
    await case.feed(4.0, SOUND)
    # Ten packets of 188 bytes and ten units of 100 bytes a second.
    assert case.hub.packets_rate.kbps == pytest.approx(15.0, rel=0.2)
    assert case.hub.units_rate.kbps == pytest.approx(8.0, rel=0.2)
    await case.end()


@in_virtual_time
async def test_a_program_that_is_whole_is_known_at_once() -> None:
    case = Case()
    case.ingest.whole = Program(VIDEO, AUDIO)
    await case.feed(1.0)
    assert case.on_air.programs == [Program(VIDEO, AUDIO)]
    case.ingest.whole = Program(VIDEO, None)
    await case.feed(1.0)
    assert len(case.on_air.programs) == 1
    await case.end()


@in_virtual_time
async def test_sound_that_does_not_come_is_done_without() -> None:
    case = Case()
    case.ingest.part = Program(VIDEO, None)
    await case.feed(HELD_S)
    await case.feed(PROGRAM_DEADLINE_S - 0.5, PICTURE)
    assert case.on_air.programs == []
    await case.feed(1.0, PICTURE)
    assert case.on_air.programs == [Program(VIDEO, None)]
    await case.end()


@in_virtual_time
async def test_video_is_waited_for_as_long_as_a_group_of_pictures_may_last() -> None:
    case = Case()
    case.ingest.part = Program(None, AUDIO)
    await case.feed(HELD_S)
    await case.feed(10.0, SOUND)
    assert case.on_air.programs == []
    case.ingest.whole = Program(VIDEO, AUDIO)
    await case.feed(0.5, SOUND)
    assert case.on_air.programs == [Program(VIDEO, AUDIO)]
    await case.end()


@in_virtual_time
async def test_in_the_end_sound_goes_on_the_air_alone() -> None:
    case = Case()
    case.ingest.part = Program(None, AUDIO)
    await case.feed(HELD_S)
    await case.feed(VIDEO_DEADLINE_S - 0.5, SOUND)
    assert case.on_air.programs == []
    await case.feed(1.0, SOUND)
    assert case.on_air.programs == [Program(None, AUDIO)]
    await case.end()


@in_virtual_time
async def test_what_no_forward_can_use_is_told_once() -> None:
    case = Case()
    for name in ("video/mpeg", "video/mpeg", "audio/x-ac3"):
        case.ingest.on_unusable(name)
    await asyncio.sleep(0.1)
    assert [type(error) for error in case.errors] == [UnsupportedMedia] * 2
    assert "holds video/mpeg, which no forward can carry" in case.errors[0].message
    assert "Send H.264" in case.errors[0].message
    assert "audio/x-ac3" in case.errors[1].message
    await case.end()


@in_virtual_time
async def test_a_stream_that_breaks_the_demuxer_gets_another_one() -> None:
    case = Case()
    await case.feed(HELD_S)
    broken = case.ingest
    broken.pushed.clear()
    broken.on_failure("it broke")
    broken.on_failure("it broke again")
    assert len(case.errors) == 1
    assert "cannot be read (it broke); reading it anew" in case.errors[0].message
    await asyncio.sleep(INGEST_RESTARTS_S - 0.1)
    assert case.ingest is broken
    await asyncio.sleep(0.2)
    assert case.ingest is not broken
    assert broken.stopped
    assert case.ingest.zero_s == broken.zero_s is not None
    await case.feed(1.0)
    assert case.ingest.pushed
    assert not broken.pushed
    case.ingest.on_failure("the next one too")
    await asyncio.sleep(INGEST_RESTARTS_S + 0.1)
    assert len(FakeIngest.made) == 3
    assert len(case.errors) == 2
    await case.end()


@in_virtual_time
async def test_a_demuxer_that_breaks_at_the_end_is_not_replaced() -> None:
    case = Case()
    case.ingest.on_failure("it broke")
    await case.end()
    await asyncio.sleep(INGEST_RESTARTS_S + 1.0)
    assert len(FakeIngest.made) == 1
    assert case.ingest.stopped


@in_virtual_time
async def test_what_was_received_before_the_end_goes_on_the_air() -> None:
    case = Case()
    await case.feed(HELD_S)
    case.receiver.receive()
    case.ingest.units.append(SOUND)
    await case.end()
    assert b"".join(case.hub.batches) == PACKET * 51
    assert case.on_air.units == [SOUND]
    assert not case.ingest.ended


@in_virtual_time
async def test_after_the_senders_own_end_the_demuxer_gives_out_the_rest() -> None:
    case = Case()
    await case.feed(HELD_S)
    await asyncio.sleep(OVER_AFTER_S)
    await case.end()
    assert case.ingest.ended


@in_virtual_time
async def test_where_packets_are_missing_the_line_is_told_before_what_comes_next() -> None:
    case = Case()
    await case.feed(HELD_S)
    case.receiver.receive()
    case.receiver.lose(3)
    case.receiver.receive()
    case.ingest.units.append(SOUND)  # which came of what was there before the hole
    await asyncio.sleep(0.1)
    assert case.on_air.marks == [("missed", 1)]
    assert b"".join(case.hub.batches) == PACKET * 52
    case.receiver.lose(0)
    case.receiver.receive()
    await asyncio.sleep(0.1)
    assert case.on_air.marks == [("missed", 1), ("missed", 1)]
    await case.end()


@in_virtual_time
async def test_another_sender_sets_the_clock_again() -> None:
    case = Case()
    await case.feed(HELD_S)
    case.receiver.lose(0, new_flow=True)
    case.receiver.receive()
    await asyncio.sleep(0.1)
    assert case.on_air.marks == [("restarted", 0)]
    assert case.errors == []
    await case.end()


@in_virtual_time
async def test_a_hole_at_the_end_of_a_batch_is_told_too() -> None:
    case = Case()
    await case.feed(HELD_S)
    case.receiver.receive()
    case.receiver.lose(0)
    await asyncio.sleep(0.1)
    assert case.on_air.marks == [("missed", 0)]
    assert b"".join(case.hub.batches) == PACKET * 51
    await case.end()


@in_virtual_time
async def test_the_demuxer_is_shown_a_hole_that_it_might_not_see_and_packets_stay_as_they_are() -> (
    None
):
    case = Case()
    await case.feed(HELD_S)
    case.receiver.receive(b"".join(media(counter) for counter in range(3)))
    await asyncio.sleep(0.1)
    case.ingest.pushed.clear()
    case.hub.batches.clear()
    case.receiver.lose(1)
    case.receiver.receive(media(9))
    await asyncio.sleep(0.1)
    assert case.hub.batches == [media(9)]
    assert len(b"".join(case.ingest.pushed)) == 2 * len(PACKET)
    assert case.ingest.pushed[-1].endswith(media(9))
    await case.end()


def media(counter: int) -> bytes:
    """A packet of a picture."""
    return bytes((0x47, 0x01, 0x00, 0x10 | counter)) + bytes(184)


@in_virtual_time
async def test_on_the_real_air_forwards_begin_and_are_given_what_comes() -> None:
    fake, hub = FakeReceiver((20_000,), None), Hub()
    told: list[object] = []
    on_air = OnAir(hub, SlateSettings(wanted=False), told.append, told.append, can_silence=False)
    intake = Intake(cast(Any, fake), hub, on_air, lambda: None, told.append)
    intake.start()
    taker = Taker()
    hub.add(cast(Any, taker))
    assert not taker.flow.is_open
    ingest = FakeIngest.made[-1]
    ingest.whole = Program(VIDEO, AUDIO)
    for number in range(25):
        ingest.units += [fakes.picture(number), fakes.sound(number)]
        fake.receive()
        await asyncio.sleep(0.04)
    for _ in range(50):  # until the hold of a stream without tables is over
        fake.receive()
        await asyncio.sleep(0.1)
    assert taker.flow.is_open
    assert taker.flow.program == Program(VIDEO, AUDIO)
    assert taker.units == [
        each(number) for number in range(25) for each in (fakes.sound, fakes.picture)
    ]
    intake.stop()
    on_air.stop()
    await on_air.close()
    fake.close()


class Taker:
    """A forward that keeps what it is given."""

    feed = "units"
    flow: Flow

    def __init__(self) -> None:
        self.units: list[AccessUnit] = []

    def start(self, flow: Flow, prime: object) -> None:
        self.flow = flow

    def push(self, *units: AccessUnit) -> None:
        self.units += units
