"""What is on the air, with slates made by hand, in virtual time."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from strata.errors import BadArguments, SlateUnavailable, StrataError
from strata.wire import worker as wire
from strata.worker import onair as onair_module
from strata.worker import silence
from strata.worker.config import SlateSettings
from strata.worker.formats import AudioFormat, Program, VideoFormat
from strata.worker.hub import Hub
from strata.worker.onair import OnAir
from strata.worker.slates.slate import Slate
from strata.worker.units import AccessUnit
from support.virtual_time import Clock, in_virtual_time
from unit.worker.fakes import AUDIO, H265, VIDEO

SECOND_NS = 1_000_000_000
LARGE = dataclasses.replace(VIDEO, config=VIDEO.config + b"\0", width=32)


class FakeSlates:
    """Makes one at once, or cannot."""

    error: StrataError | None = None
    asked: list[VideoFormat]

    def __init__(self, cache: Path | None, text: str, file: Path | None) -> None:
        self.file = file
        FakeSlates.asked = []

    async def make(self, format: VideoFormat) -> Slate:
        FakeSlates.asked.append(format)
        if FakeSlates.error is not None:
            raise FakeSlates.error
        return Slate(format, ((b"slate", True),))


class KeepingHub(Hub):
    def __init__(self) -> None:
        super().__init__()
        self.units: list[AccessUnit] = []

    def push(self, units: Any) -> None:
        super().push(units)
        self.units += units


class Case:
    def __init__(self, slate: SlateSettings | None = None, **settings: bool) -> None:
        self.hub = KeepingHub()
        self.told: list[wire.Program] = []
        self.errors: list[StrataError] = []
        self.on_air = OnAir(
            self.hub, slate or SlateSettings(), self.told.append, self.errors.append, **settings
        )
        self.number = 0

    async def play(
        self,
        seconds: float,
        video: VideoFormat | None = VIDEO,
        audio: AudioFormat | None = AUDIO,
    ) -> None:
        """Twenty-five pictures and as many frames of sound a second, in real time."""
        for index in range(round(seconds * 25)):
            at = (self.number + index) * SECOND_NS // 25
            units = []
            if video is not None:
                units.append(AccessUnit(video, b"picture", at, at, index % 25 == 0))
            if audio is not None:
                units.append(AccessUnit(audio, b"sound", at, at, True))
            self.on_air.push(units, Clock.monotonic())
            await asyncio.sleep(0.04)
        self.number += round(seconds * 25)

    async def close(self) -> None:
        self.on_air.stop()
        await self.on_air.close()


@pytest.fixture(autouse=True)
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onair_module, "Slates", FakeSlates)
    monkeypatch.setattr(onair_module, "time", Clock)
    monkeypatch.setattr(FakeSlates, "error", None)


@in_virtual_time
async def test_nothing_is_told_before_the_tracks_are_known() -> None:
    case = Case()
    await case.play(1.0)
    assert case.told == []
    assert not case.hub.flow.is_open
    case.on_air.begin(Program(VIDEO, AUDIO))
    assert case.told == [wire.Program("live", "live")]
    assert case.hub.flow.program == Program(VIDEO, AUDIO)
    await case.close()


@in_virtual_time
async def test_a_stream_without_sound_is_given_silence() -> None:
    case = Case()
    await case.play(0.2, audio=None)
    case.on_air.begin(Program(VIDEO, None))
    await case.play(2.0, audio=None)
    assert case.hub.flow.program == Program(VIDEO, silence.USUAL)
    assert case.told[-1] == wire.Program("live", "silence")
    assert {unit.track for unit in case.hub.units} == {"video", "audio"}
    assert case.on_air.counts().silence_s == pytest.approx(2.1, abs=0.3)
    await case.close()


@in_virtual_time
async def test_silence_that_is_switched_off_is_no_track() -> None:
    case = Case(can_silence=False)
    case.on_air.begin(Program(VIDEO, None))
    await case.play(1.0, audio=None)
    assert case.hub.flow.program == Program(VIDEO, None)
    assert case.told[-1] == wire.Program("live", "none")
    await case.close()


@in_virtual_time
async def test_a_slate_is_made_once_for_each_form_of_the_picture() -> None:
    case = Case()
    case.on_air.begin(Program(VIDEO, AUDIO))
    await case.play(2.0)
    assert FakeSlates.asked == [VIDEO]
    await case.play(2.0, LARGE)
    assert FakeSlates.asked == [VIDEO, LARGE]
    await asyncio.sleep(4.0)
    assert case.told[-1] == wire.Program("slate", "silence")
    assert case.hub.units[-1].format in (LARGE, AUDIO)
    assert any(unit.data == b"slate" for unit in case.hub.units[-20:])
    await case.close()


@in_virtual_time
async def test_a_slate_that_cannot_be_made_is_told_and_nothing_stands_in() -> None:
    FakeSlates.error = SlateUnavailable("no encoder")
    case = Case()
    case.on_air.begin(Program(VIDEO, AUDIO))
    await case.play(1.0)
    assert [error.message for error in case.errors] == ["no encoder"]
    await asyncio.sleep(4.0)
    assert case.told[-1] == wire.Program("none", "none")
    assert case.hub.flow.is_open
    with pytest.raises(BadArguments, match="no slate to show"):
        case.on_air.configure(None, holds=True)
    await case.close()


@in_virtual_time
async def test_another_size_is_followed_and_another_codec_begins_forwards_anew() -> None:
    case = Case()
    case.on_air.begin(Program(VIDEO, AUDIO))
    await case.play(1.0)
    change = case.hub.flow.change
    await case.play(1.0, LARGE)
    assert not change.done()
    assert case.hub.flow.program == Program(LARGE, AUDIO)
    FakeSlates.error = SlateUnavailable("no encoder")
    await case.play(1.0, H265)
    assert change.done()
    assert case.hub.flow.is_open
    assert case.hub.flow.program == Program(H265, AUDIO)
    await asyncio.sleep(4.0)
    assert case.told[-1].video == "none"  # not a slate in the old codec
    await case.close()


@in_virtual_time
async def test_a_new_track_begins_forwards_anew() -> None:
    case = Case(can_silence=False)
    case.on_air.begin(Program(VIDEO, None))
    await case.play(1.0, audio=None)
    change = case.hub.flow.change
    await case.play(1.0)
    assert change.done()
    assert case.hub.flow.program == Program(VIDEO, AUDIO)
    await case.close()


@in_virtual_time
async def test_forwards_end_when_the_slate_has_lasted_and_begin_again_with_the_picture() -> None:
    case = Case(SlateSettings(max_s=5.0))
    case.on_air.begin(Program(VIDEO, AUDIO))
    await case.play(1.0)
    await asyncio.sleep(5.0)
    assert case.hub.flow.is_open
    await asyncio.sleep(3.0)
    assert not case.hub.flow.is_open
    assert case.told[-1] == wire.Program("none", "none")
    case.number += 8 * 25
    await case.play(1.0)
    assert case.hub.flow.is_open
    assert case.told[-1] == wire.Program("live", "live")
    await asyncio.sleep(3.0)
    assert case.told[-1].video == "slate"
    await case.close()


@in_virtual_time
async def test_a_slate_that_the_operator_holds_may_last() -> None:
    case = Case(SlateSettings(max_s=1.0))
    case.on_air.begin(Program(VIDEO, AUDIO))
    await case.play(1.0)
    case.on_air.configure(None, holds=True)
    await case.play(5.0)
    assert case.told[-1] == wire.Program("slate", "silence")
    assert case.hub.flow.is_open
    case.on_air.configure(None, holds=False)
    await case.play(2.0)
    assert case.told[-1] == wire.Program("live", "live")
    await case.close()


@in_virtual_time
async def test_settings_that_are_refused_change_nothing(tmp_path: Path) -> None:
    case = Case()
    case.on_air.begin(Program(VIDEO, AUDIO))
    await case.play(1.0)
    with pytest.raises(BadArguments):
        case.on_air.configure(str(tmp_path / "none.png"), holds=None)
    with pytest.raises(BadArguments):
        case.on_air.configure("off", holds=True)
    await asyncio.sleep(3.0)
    assert case.told[-1].video == "slate"
    await case.close()


@in_virtual_time
async def test_another_file_is_another_slate(tmp_path: Path) -> None:
    (tmp_path / "logo.png").write_bytes(b"png")
    case = Case(SlateSettings(wanted=False))
    case.on_air.begin(Program(VIDEO, AUDIO))
    await case.play(1.0)
    assert FakeSlates.asked == []
    case.on_air.configure(str(tmp_path / "logo.png"), holds=None)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert FakeSlates.asked == [VIDEO]
    case.on_air.configure("off", holds=None)
    await asyncio.sleep(4.0)
    assert case.told[-1].video == "none"
    await case.close()


@in_virtual_time
async def test_a_slate_that_is_held_from_the_beginning_lets_no_picture_through() -> None:
    case = Case(SlateSettings(holds=True))
    await case.play(0.2)
    case.on_air.begin(Program(VIDEO, AUDIO))
    await case.play(4.0)
    assert FakeSlates.asked == [VIDEO]
    assert case.told == [wire.Program("slate", "silence")]
    shown = {unit.data for unit in case.hub.units if unit.track == "video"}
    assert shown == {b"slate"}
    assert b"sound" not in {unit.data for unit in case.hub.units}
    count = len(case.hub.units)
    case.on_air.configure(None, holds=False)
    await case.play(2.0)
    assert case.told[-1] == wire.Program("live", "live")
    assert b"picture" in {unit.data for unit in case.hub.units[count:]}
    for track in ("video", "audio"):
        stamps = [unit.dts_ns for unit in case.hub.units if unit.track == track]
        assert stamps == sorted(set(stamps))
    await case.close()


@in_virtual_time
async def test_a_slate_that_is_switched_off_is_not_held_from_the_beginning() -> None:
    case = Case(SlateSettings(wanted=False, holds=True))
    case.on_air.begin(Program(VIDEO, AUDIO))
    await case.play(1.0)
    assert case.told[-1] == wire.Program("live", "live")
    await case.close()
