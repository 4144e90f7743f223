"""The demuxer and its parsers with real streams, as fast as they go."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Final

import pytest
from gi.repository import GLib

from strata.media.gst import Gst
from strata.worker.formats import Program
from strata.worker.ingest import Ingest
from strata.worker.pace import Pace
from strata.worker.units import NO_TIME, AccessUnit
from support.children import output_of
from support.media import FPS, Probe, probe

BATCH: Final = 7 * 188 * 20


class Case:
    """An ingest that is fed files."""

    def __init__(self, zero_s: float | None = None, pace: Pace | None = None) -> None:
        self.failures: list[str] = []
        self.unusable: list[str] = []
        self.units: list[AccessUnit] = []
        self.ingest = Ingest(self.failures.append, self.unusable.append, zero_s)
        self.ingest.start()
        self.pace = pace or Pace()

    def of(self, track: str) -> list[AccessUnit]:
        return [unit for unit in self.units if unit.track == track]

    def feed(self, data: bytes, began_s: float = 100.0) -> None:
        for offset in range(0, len(data), BATCH):
            for stamp_s, piece in self.pace.split(data[offset : offset + BATCH], began_s):
                self.ingest.push(piece, stamp_s)
            self.units += self.ingest.pull()

    def known(self) -> Program:
        """The program, which is whole."""
        program = self.ingest.program()
        assert program is not None
        return program

    def end(self) -> None:
        """All that was fed comes out."""
        self.ingest.end()
        self.units += self.ingest.pull()
        self.ingest.stop()


async def clip(path: Path, *arguments: str) -> bytes:
    """Three seconds of small pictures and a tone, a key frame each second."""
    await output_of(
        *("ffmpeg", "-hide_banner", "-loglevel", "error", "-y"),
        *("-f", "lavfi", "-i", f"testsrc2=size=320x180:rate={FPS}"),
        *("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"),
        *("-t", "3", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"),
        *("-g", str(FPS), "-c:a", "aac", *arguments, "-f", "mpegts", str(path)),
    )
    return path.read_bytes()


def follow_one_another(units: list[AccessUnit]) -> bool:
    stamps = [unit.dts_ns for unit in units]
    return stamps == sorted(set(stamps)) and stamps[0] >= 0


async def test_every_picture_and_sound_comes_out_once_in_order(test_file: Path) -> None:
    case = Case()
    data = test_file.read_bytes()
    case.feed(data[: len(data) // 2])
    program = case.known()
    case.feed(data[len(data) // 2 :])
    case.end()
    assert program.video is not None
    assert program.audio is not None
    assert program.codecs == ("h264", "aac")
    assert (program.video.width, program.video.height) == (1280, 720)
    assert program.video.fps == FPS
    assert "stream-format=(string)avc" in program.video.caps
    assert (program.audio.rate, program.audio.frequency) == (48_000, 48_000)
    source: Probe = await probe(test_file)
    assert len(case.of("video")) == len(source.of("video"))
    assert len(case.of("audio")) == pytest.approx(len(source.of("audio")), abs=1)
    assert [unit.key for unit in case.of("video")] == [packet.key for packet in source.of("video")]
    assert all(unit.key for unit in case.of("audio"))
    assert follow_one_another(case.of("video"))
    assert follow_one_another(case.of("audio"))
    steps = [
        after.dts_ns - before.dts_ns
        for before, after in zip(case.of("video"), case.of("video")[1:], strict=False)
    ]
    assert all(step == pytest.approx(1e9 / FPS, abs=1e6) for step in steps)
    for unit in case.units:
        assert unit.size == len(unit.data) > 0
        assert unit.format == (program.video if unit.track == "video" else program.audio)
        assert unit.format.config
        assert unit.pts_ns != NO_TIME
    assert not case.failures
    assert not case.unusable


async def test_before_any_media_nothing_is_known() -> None:
    case = Case()
    assert case.ingest.program() is None
    assert case.ingest.known() == Program(None, None)
    assert list(case.ingest.pull()) == []
    case.end()
    assert case.units == []


async def test_a_stream_that_is_joined_in_the_middle_begins_with_a_key_frame(
    tmp_path: Path,
) -> None:
    data = await clip(tmp_path / "clip.ts")
    case = Case()
    case.feed(data[len(data) // 2 // 188 * 188 :])
    program = case.known()
    case.end()
    assert program.video is not None
    assert case.of("video")[0].key
    assert 20 <= len(case.of("video")) <= 1.5 * FPS
    assert follow_one_another(case.of("video"))


async def test_of_two_sounds_the_first_is_carried(tmp_path: Path) -> None:
    data = await clip(tmp_path / "clip.ts", *("-map", "0", "-map", "1", "-map", "1"))
    case = Case()
    case.feed(data)
    case.known()
    case.end()
    source = await probe(tmp_path / "clip.ts")
    assert len(case.of("video")) == len(source.of("video"))
    assert len(case.of("audio")) == pytest.approx(len(source.of("audio")) / 2, abs=2)
    assert follow_one_another(case.of("audio"))


async def test_sound_that_no_forward_carries_is_told_and_left_out(tmp_path: Path) -> None:
    data = await clip(tmp_path / "clip.ts", "-c:a", "mp2")
    case = Case()
    case.feed(data)
    program = case.known()
    case.end()
    assert program.audio is None
    assert program.video is not None
    assert case.unusable == ["MPEG-1 audio (MP1, MP2 or MP3)"]
    assert len(case.of("video")) == 3 * FPS
    assert case.of("audio") == []


async def test_sound_alone_is_a_program(tmp_path: Path) -> None:
    data = await clip(tmp_path / "clip.ts", "-vn")
    case = Case()
    case.feed(data)
    program = case.known()
    case.end()
    assert program.video is None
    assert program.audio is not None
    assert len(case.of("audio")) > 100


async def test_a_new_program_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    old = await clip(tmp_path / "old.ts")
    new = await clip(
        tmp_path / "new.ts",
        *("-mpegts_start_pid", "0x200", "-mpegts_pmt_start_pid", "0x1100"),
        *("-mpegts_service_id", "2", "-output_ts_offset", "3"),
    )
    case = Case()
    case.feed(old)

    case.feed(new)
    case.end()
    assert len(case.of("video")) >= 5 * FPS
    stamps = [unit.dts_ns for unit in case.of("video")]
    assert stamps == sorted(stamps)
    assert stamps[-1] - stamps[0] == pytest.approx(6e9, abs=0.5e9)
    assert not case.failures


async def test_one_that_takes_over_counts_on(test_file: Path) -> None:
    data = test_file.read_bytes()
    half = len(data) // 2 // 188 * 188
    first = Case()
    first.feed(data[:half])
    first.known()
    first.end()
    second = Case(first.ingest.zero_s, first.pace)
    second.feed(data[half:])
    second.known()
    second.end()
    assert second.of("video")[0].key
    assert follow_one_another(first.of("video") + second.of("video"))
    assert follow_one_another(first.of("audio") + second.of("audio"))
    stamps = [unit.dts_ns for unit in first.of("video") + second.of("video")]
    assert stamps[-1] - stamps[0] == pytest.approx(12e9, abs=0.2e9)


async def test_noise_is_survived_and_what_follows_it_is_read(tmp_path: Path) -> None:
    data = await clip(tmp_path / "clip.ts")
    chance = random.Random(3)
    noise = b"".join(b"\x47" + chance.randbytes(187) for _ in range(7 * 1000))
    case = Case()
    case.feed(noise)
    case.feed(data, began_s=110.0)
    program = case.known()
    case.end()
    assert program.video is not None
    assert len(case.of("video")) >= 2 * FPS


async def test_a_pipeline_that_fails_says_so(caplog: pytest.LogCaptureFixture) -> None:
    failed = asyncio.Event()
    told: list[str] = []

    def tell(message: str) -> None:
        told.append(message)
        failed.set()

    ingest = Ingest(tell, told.append)
    ingest.start()
    bus = ingest._pipeline.get_bus()
    gap = GLib.Error.new_literal(Gst.stream_error_quark(), "a gap", 1)
    broken = GLib.Error.new_literal(Gst.stream_error_quark(), "it broke", 1)
    bus.post(Gst.Message.new_warning(ingest._pipeline, gap, ""))
    bus.post(Gst.Message.new_error(ingest._pipeline, broken, "in the\nmiddle"))
    await asyncio.wait_for(failed.wait(), 20.0)
    ingest.stop()
    assert told == ["it broke"]
    assert "ingest failed: it broke (in the middle)" in caplog.text
