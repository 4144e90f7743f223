"""The way of media into the hub, with both ends made by hand, in virtual time."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from strata.errors import SenderError, UnsupportedMedia
from strata.worker import intake as intake_module
from strata.worker.gst import Gst
from strata.worker.hub import Hub
from strata.worker.intake import (
    INGEST_RESTARTS_S,
    PROGRAM_DEADLINE_S,
    VIDEO_DEADLINE_S,
    Intake,
)
from strata.worker.ts_end import OVER_AFTER_S
from strata.worker.units import AccessUnit, Program, Track
from support.virtual_time import Clock, in_virtual_time
from unit.worker import fakes
from unit.worker.fakes import PACKET, FakeIngest, FakeReceiver

VIDEO = Gst.Caps.from_string("video/x-h264")
AUDIO = Gst.Caps.from_string("audio/mpeg,mpegversion=4")
HELD_S = 5.0
"""More than a stream without tables is held."""


class KeepingHub(Hub):
    """Remembers what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[bytes] = []
        self.units: list[AccessUnit] = []

    def push_packets(self, batch: bytes) -> None:
        super().push_packets(batch)
        self.batches.append(batch)

    def push(self, units: Any) -> None:
        units = list(units)
        super().push(units)
        self.units.extend(units)


class Case:
    def __init__(self) -> None:
        self.receiver = FakeReceiver((20_000,), None)
        self.hub = KeepingHub()
        self.media = 0
        self.programs: list[Program] = []
        self.errors: list[SenderError] = []
        self.intake = Intake(
            cast(Any, self.receiver),
            self.hub,
            self._count,
            self.programs.append,
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


def unit(track: Track = "audio") -> AccessUnit:
    return AccessUnit(track, cast(Any, None), 100, True, 0)


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    fakes.install(monkeypatch)
    monkeypatch.setattr(intake_module, "time", Clock)


@in_virtual_time
async def test_packets_go_to_the_hub_and_the_demuxer_and_units_to_the_hub() -> None:
    case = Case()
    await case.feed(HELD_S)
    sound = unit()
    case.ingest.units.append(sound)
    case.receiver.receive()
    await asyncio.sleep(0.1)
    assert b"".join(case.hub.batches) == b"".join(case.ingest.pushed) == PACKET * 51
    assert case.hub.units == [sound]
    assert case.media == 51
    await case.end()


@in_virtual_time
async def test_the_rates_of_the_stream_are_measured() -> None:
    case = Case()
    await case.feed(HELD_S)
    assert case.hub.units_rate.kbps is None
    await case.feed(4.0, unit())
    # Ten packets of 188 bytes and ten units of 100 bytes a second.
    assert case.hub.packets_rate.kbps == pytest.approx(15.0, rel=0.2)
    assert case.hub.units_rate.kbps == pytest.approx(8.0, rel=0.2)
    await case.end()


@in_virtual_time
async def test_a_program_that_is_whole_is_known_at_once() -> None:
    case = Case()
    case.ingest.whole = Program(VIDEO, AUDIO)
    await case.feed(1.0)
    assert case.programs == [Program(VIDEO, AUDIO)]
    assert case.hub.program.result() == Program(VIDEO, AUDIO)
    case.ingest.whole = Program(VIDEO, None)
    await case.feed(1.0)
    assert len(case.programs) == 1
    await case.end()


@in_virtual_time
async def test_sound_that_does_not_come_is_done_without() -> None:
    case = Case()
    case.ingest.part = Program(VIDEO, None)
    await case.feed(HELD_S)
    await case.feed(PROGRAM_DEADLINE_S - 0.5, unit("video"))
    assert case.programs == []
    await case.feed(1.0, unit("video"))
    assert case.programs == [Program(VIDEO, None)]
    await case.end()


@in_virtual_time
async def test_video_is_waited_for_as_long_as_a_group_of_pictures_may_last() -> None:
    case = Case()
    case.ingest.part = Program(None, AUDIO)
    await case.feed(10.0, unit())
    assert case.programs == []
    case.ingest.whole = Program(VIDEO, AUDIO)
    await case.feed(0.5, unit())
    assert case.programs == [Program(VIDEO, AUDIO)]
    await case.end()


@in_virtual_time
async def test_in_the_end_sound_goes_on_the_air_alone() -> None:
    case = Case()
    case.ingest.part = Program(None, AUDIO)
    await case.feed(VIDEO_DEADLINE_S - 0.5, unit())
    assert case.programs == []
    await case.feed(1.0, unit())
    assert case.programs == [Program(None, AUDIO)]
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
async def test_what_was_received_before_the_end_reaches_the_hub() -> None:
    case = Case()
    await case.feed(HELD_S)
    case.receiver.receive()
    last = unit()
    case.ingest.units.append(last)
    await case.end()
    assert b"".join(case.hub.batches) == PACKET * 51
    assert case.hub.units == [last]
    assert not case.ingest.ended


@in_virtual_time
async def test_after_the_senders_own_end_the_demuxer_gives_out_the_rest() -> None:
    case = Case()
    await case.feed(HELD_S)
    await asyncio.sleep(OVER_AFTER_S)
    await case.end()
    assert case.ingest.ended
