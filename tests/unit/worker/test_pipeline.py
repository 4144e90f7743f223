"""A pipeline between the event loop and the smallest sinks there are."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from gi.repository import GLib

from strata.media.gst import Gst, make
from strata.tasks import in_thread
from strata.worker import pipeline as pipeline_module
from strata.worker.pipeline import Feeder, Pipeline
from strata.worker.units import AccessUnit
from unit.worker.fakes import AUDIO, SECOND_NS, VIDEO, unit

DEADLINE_S = 10.0


class Ends:
    """Keeps what a pipeline says at its end."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str] | None] = []
        self.event = asyncio.Event()

    def __call__(self, failure: tuple[str, str] | None) -> None:
        self.told.append(failure)
        self.event.set()

    async def wait(self) -> None:
        await asyncio.wait_for(self.event.wait(), DEADLINE_S)


def made(ends: Ends, *feeders: Feeder) -> tuple[Pipeline, dict[Feeder, Any]]:
    """A pipeline with a sink for each feeder."""
    pipeline = Pipeline("the name", ends)
    sinks: dict[Feeder, Any] = {}
    for feeder in feeders:
        sink: Any = make("appsink", sync=False)
        sink.set_property("async", False)
        pipeline.add(sink)
        pipeline.add_source(feeder, None).link(sink)
        sinks[feeder] = sink
    return pipeline, sinks


def pulled(sink: Any) -> bytes:
    return contents(pulled_buffer(sink))


def pulled_buffer(sink: Any) -> Any:
    sample = sink.try_pull_sample(int(DEADLINE_S) * Gst.SECOND)
    assert sample is not None
    return sample.get_buffer()


def contents(buffer: Any) -> bytes:
    return bytes(buffer.extract_dup(0, buffer.get_size()))


def post(pipeline: Pipeline, make_message: Callable[..., Gst.Message], *parts: Any) -> None:
    pipeline.bin.get_bus().post(make_message(pipeline.bin, *parts))


def error(text: str) -> GLib.Error:
    return GLib.Error.new_literal(Gst.resource_error_quark(), text, 1)


async def test_it_takes_what_it_has_a_source_for() -> None:
    pipeline, _ = made(Ends(), "video", "packets")
    assert pipeline.takes("video")
    assert pipeline.takes("packets")
    assert not pipeline.takes("audio")
    await pipeline.stop()


async def test_what_is_pushed_before_the_start_waits_in_it() -> None:
    pipeline, sinks = made(Ends(), "packets")
    pipeline.push_bytes("packets", b"one")
    assert pipeline.queued_bytes("packets") == 3
    await pipeline.start()
    pipeline.push_bytes("packets", b"two")
    assert [pulled(sinks["packets"]), pulled(sinks["packets"])] == [b"one", b"two"]
    assert pipeline.queued_bytes("packets") == 0
    await pipeline.stop()


async def test_a_unit_is_passed_on_whole() -> None:
    pipeline, sinks = made(Ends(), "video", "audio")
    await pipeline.start()
    pipeline.push_unit(AccessUnit(VIDEO, b"key", 5 * SECOND_NS, 4 * SECOND_NS, True), -SECOND_NS)
    pipeline.push_unit(AccessUnit(VIDEO, b"delta", 6 * SECOND_NS, 5 * SECOND_NS, False), 0)
    pipeline.push_unit(unit(AUDIO, b"sound", SECOND_NS), 0, b"other data")
    key, delta = (pulled_buffer(sinks["video"]) for _ in range(2))
    sound = pulled_buffer(sinks["audio"])
    assert [contents(each) for each in (key, delta, sound)] == [b"key", b"delta", b"other data"]
    assert (key.pts, key.dts) == (4 * SECOND_NS, 3 * SECOND_NS)
    assert (delta.pts, delta.dts) == (6 * SECOND_NS, 5 * SECOND_NS)
    assert (key.duration, sound.duration) == (SECOND_NS // 25, AUDIO.unit_ns)
    flags = [each.has_flags(Gst.BufferFlags.DELTA_UNIT) for each in (key, delta, sound)]
    assert flags == [False, True, False]
    await pipeline.stop()


async def test_no_stamp_is_moved_below_zero() -> None:
    pipeline, sinks = made(Ends(), "video")
    await pipeline.start()
    pipeline.push_unit(AccessUnit(VIDEO, b"v", 2 * SECOND_NS, SECOND_NS, True), -3 * SECOND_NS)
    found = pulled_buffer(sinks["video"])
    assert (found.pts, found.dts) == (0, 0)
    await pipeline.stop()


async def test_pieces_have_a_time_by_which_what_waits_is_measured() -> None:
    pipeline, sinks = made(Ends(), "tags", "packets")
    for sink in sinks.values():
        pad, block = sink.get_static_pad("sink"), Gst.PadProbeType.BLOCK
        kinds = block | Gst.PadProbeType.BUFFER | Gst.PadProbeType.BUFFER_LIST
        pad.add_probe(kinds, lambda pad, info: Gst.PadProbeReturn.OK)  # the first is on its way
    await pipeline.start()
    for number in range(10):
        pipeline.push_tag(b"tag", number * SECOND_NS)
        pipeline.push_bytes("packets", b"packet")
    async with asyncio.timeout(DEADLINE_S):
        while pipeline.queued_in_all > 9 * len(b"tag" + b"packet"):
            await asyncio.sleep(0.01)
    assert pipeline.queued_in_all == 9 * len(b"tag" + b"packet")
    assert pipeline.queued_s("tags") == pytest.approx(9.0, abs=1.5)
    assert pipeline.queued_s("packets") == 0.0
    await pipeline.stop()


async def test_it_ends_when_every_track_has() -> None:
    ends = Ends()
    pipeline, sinks = made(ends, "video", "audio")
    await pipeline.start()
    pipeline.push_bytes("audio", b"last")
    pipeline.end()
    assert pulled(sinks["audio"]) == b"last"
    assert sinks["audio"].try_pull_sample(0) is None
    assert sinks["video"].try_pull_sample(0) is None
    await ends.wait()
    assert ends.told == [None]
    await pipeline.stop()


async def test_only_its_first_end_is_told() -> None:
    ends = Ends()
    pipeline, _ = made(ends, "video")
    await pipeline.start()
    post(pipeline, Gst.Message.new_error, error("it broke"), "the details")
    post(pipeline, Gst.Message.new_error, error("it broke again"), "")
    post(pipeline, Gst.Message.new_eos)
    await ends.wait()
    await asyncio.sleep(0)
    assert ends.told == [("it broke", "the details")]
    await pipeline.stop()


async def test_a_warning_is_no_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    ends = Ends()
    pipeline, _ = made(ends, "video")
    await pipeline.start()
    post(pipeline, Gst.Message.new_warning, error("it creaks"), "")
    post(pipeline, Gst.Message.new_eos)
    await ends.wait()
    assert ends.told == [None]
    assert "the name: it creaks" in caplog.text
    await pipeline.stop()


async def test_a_failure_to_start_is_told_as_its_end() -> None:
    ends = Ends()
    pipeline = Pipeline("the name", ends)
    sink = make("filesink", location="/no/such/folder/name")
    pipeline.add(sink)
    pipeline.add_source("packets", None).link(sink)
    await pipeline.start()
    await ends.wait()
    [failure] = ends.told
    assert failure is not None
    assert "/no/such/folder/name" in failure[0]
    await pipeline.stop()


async def test_after_the_stop_nothing_is_told() -> None:
    ends = Ends()
    pipeline, _ = made(ends, "video")
    await pipeline.start()
    await pipeline.stop()
    post(pipeline, Gst.Message.new_error, error("too late"), "")
    pipeline._on_bus()
    assert ends.told == []


async def test_one_that_was_never_started_can_be_stopped() -> None:
    pipeline, _ = made(Ends(), "video")
    pipeline.push_bytes("video", b"v")
    await pipeline.stop()


async def test_one_that_hangs_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pipeline_module, "STOP_DEADLINE_S", 0.05)
    pipeline, _ = made(Ends(), "video")
    await pipeline.start()
    real, release = pipeline.bin, threading.Event()

    class Hanging:
        def set_state(self, state: Any) -> None:
            release.wait(DEADLINE_S)

    pipeline.bin = Hanging()
    await pipeline.stop()
    assert "the name does not let go" in caplog.text
    release.set()
    real.set_state(Gst.State.NULL)


async def test_one_that_does_not_start_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_module, "START_DEADLINE_S", 0.05)
    release = threading.Event()

    def hang(name: str, work: Callable[[], object], deadline_s: float) -> Any:
        return in_thread(name, lambda: release.wait(DEADLINE_S), deadline_s)

    monkeypatch.setattr(pipeline_module, "in_thread", hang)
    pipeline, _ = made(Ends(), "video")
    with pytest.raises(TimeoutError):
        await pipeline.start()
    release.set()
    monkeypatch.undo()
    await pipeline.stop()
