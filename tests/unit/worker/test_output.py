"""What all kinds of output share, over the smallest pipeline there is."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from gi.repository import GLib

from strata.errors import DestinationError, StrataError
from strata.tasks import in_thread
from strata.wire import forward_url
from strata.wire.forward_url import Kind
from strata.worker import output as output_module
from strata.worker.gst import Gst, make
from strata.worker.output import Output
from strata.worker.units import AccessUnit, Program, Track

KEY = "abcd-efgh-1234"
DEADLINE_S = 10.0
VIDEO = Gst.Caps.from_string("video/x-h264")
AUDIO = Gst.Caps.from_string("audio/mpeg,mpegversion=4")


class ToSinks(Output):
    """A sink for each track, from which a test pulls what has arrived."""

    KIND: ClassVar[Kind] = "rtmp"

    def build(self, pipeline: Gst.Pipeline) -> None:
        self.sinks: dict[str, Any] = {}
        tracks: list[tuple[Any, Any]] = list(self.program.tracks()) or [("packets", None)]
        for track, caps in tracks:
            sink: Any = make("appsink", sync=False)
            sink.set_property("async", False)
            pipeline.add(sink)
            self.add_source(track, caps).link(sink)
            self.sinks[track] = sink

    def arrived(self, track: str, count: int) -> list[bytes]:
        """What that many buffers hold; waits for each."""
        found: list[bytes] = []
        for _ in range(count):
            sample = self.sinks[track].try_pull_sample(int(DEADLINE_S) * Gst.SECOND)
            assert sample is not None, f"only {len(found)} of {count} arrived"
            found.append(contents(sample))
        return found

    def nothing_more(self, track: str) -> bool:
        return self.sinks[track].try_pull_sample(0) is None


def contents(sample: Any) -> bytes:
    buffer = sample.get_buffer()
    return bytes(buffer.extract_dup(0, buffer.get_size()))


def unit(track: Track, data: bytes, *, key: bool = False) -> AccessUnit:
    buffer = Gst.Buffer.new_wrapped(data)
    sample = Gst.Sample.new(buffer, VIDEO if track == "video" else AUDIO, None, None)
    return AccessUnit(track, sample, len(data), key or track == "audio", 0)


class Ends:
    """Keeps what an output says at its end."""

    def __init__(self) -> None:
        self.told: list[StrataError | None] = []
        self.event = asyncio.Event()

    def __call__(self, error: StrataError | None) -> None:
        self.told.append(error)
        self.event.set()

    async def wait(self) -> None:
        await asyncio.wait_for(self.event.wait(), DEADLINE_S)


async def started(
    program: Program, ends: Callable[[StrataError | None], None] = lambda error: None
) -> ToSinks:
    url = forward_url.parse(f"rtmp://host/app/{KEY}")
    output = ToSinks(url, program, 0, ends)
    await output.start()
    return output


async def test_it_begins_with_a_key_frame() -> None:
    output = await started(Program(VIDEO, AUDIO))
    output.push(unit("audio", b"a0"))
    output.push(unit("video", b"v0"))
    output.push(unit("video", b"v1", key=True))
    output.push(unit("audio", b"a1"))
    output.push(unit("video", b"v2"))
    assert output.arrived("video", 2) == [b"v1", b"v2"]
    assert output.arrived("audio", 1) == [b"a1"]
    assert output.dropped == 1
    await output.stop()


async def test_sound_alone_begins_at_once() -> None:
    output = await started(Program(None, AUDIO))
    output.push(unit("audio", b"a0"))
    output.push(unit("video", b"v0", key=True))
    assert output.arrived("audio", 1) == [b"a0"]
    assert output.dropped == 0
    await output.stop()


async def test_where_there_is_no_room_whole_groups_are_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = await started(Program(VIDEO, AUDIO))
    full: set[object] = set()
    monkeypatch.setattr(output, "_has_room", lambda source: source not in full)
    output.push(unit("video", b"v0", key=True))
    full.add(output._sources["video"])
    output.push(unit("video", b"v1"))
    output.push(unit("audio", b"a1"))
    output.push(unit("video", b"v2", key=True))
    full.clear()
    output.push(unit("video", b"v3"))
    output.push(unit("video", b"v4", key=True))
    output.push(unit("audio", b"a4"))
    assert output.arrived("video", 2) == [b"v0", b"v4"]
    assert output.arrived("audio", 1) == [b"a4"]
    assert output.nothing_more("video")
    assert output.dropped == 3
    await output.stop()


async def test_the_queue_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_module, "QUEUE_BYTES_MAX", 3000)
    output = ToSinks(
        forward_url.parse("rtmp://host/app/key"), Program(VIDEO, None), 0, lambda error: None
    )
    output.build(output._pipeline)  # and never started: nobody takes anything
    output.push(unit("video", b"v", key=True))
    for _ in range(10):
        output.push(unit("video", bytes(1000)))
    source = output._sources["video"]
    assert 3000 <= source.get_current_level_bytes() <= 4000
    assert output.dropped == 10 - 3
    await output.stop()


async def test_packets_pass_or_are_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    output = await started(Program(None, None))
    output.push_packets(bytes(188))
    assert output.arrived("packets", 1) == [bytes(188)]
    monkeypatch.setattr(output_module, "QUEUE_BYTES_MAX", 0)
    output.push_packets(bytes(188 * 3))
    assert output.dropped == 3
    await output.stop()


async def test_the_end_comes_after_what_was_queued() -> None:
    ends = Ends()
    output = await started(Program(VIDEO, AUDIO), ends)
    output.push(unit("video", b"v0", key=True))
    output.end()
    assert ends.told == []
    assert output.arrived("video", 1) == [b"v0"]
    assert output.nothing_more("audio")
    await ends.wait()
    assert ends.told == [None]
    await output.stop()
    assert ends.told == [None]


def fail(output: Output, text: str, details: str) -> None:
    error = GLib.Error.new_literal(Gst.resource_error_quark(), text, 1)
    output._pipeline.get_bus().post(Gst.Message.new_error(output._pipeline, error, details))


async def test_an_error_of_the_pipeline_is_told_once_and_without_the_key(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    ends = Ends()
    output = await started(Program(VIDEO, None), ends)
    fail(output, f"no stream {KEY}", f"details of {KEY}")
    fail(output, "another", "")
    output._pipeline.get_bus().post(Gst.Message.new_eos(output._pipeline))
    await ends.wait()
    await asyncio.sleep(0)
    [error] = ends.told
    assert isinstance(error, DestinationError)
    assert error.message == "rtmp://host/app/****: no stream ****"
    assert "details of ****" in caplog.text
    assert KEY not in caplog.text
    await output.stop()


async def test_a_warning_is_logged_without_the_key(caplog: pytest.LogCaptureFixture) -> None:
    ends = Ends()
    output = await started(Program(VIDEO, None), ends)
    warning = GLib.Error.new_literal(Gst.resource_error_quark(), f"odd {KEY}", 1)
    bus = output._pipeline.get_bus()
    bus.post(Gst.Message.new_warning(output._pipeline, warning, ""))
    bus.post(Gst.Message.new_eos(output._pipeline))
    await ends.wait()
    assert ends.told == [None]
    assert "odd ****" in caplog.text
    assert KEY not in caplog.text
    await output.stop()


async def test_after_the_stop_nothing_is_told() -> None:
    ends = Ends()
    output = await started(Program(VIDEO, None), ends)
    await output.stop()
    fail(output, "too late", "")
    output._on_bus()
    assert ends.told == []


async def test_a_pipeline_that_hangs_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(output_module, "STOP_DEADLINE_S", 0.05)
    output = await started(Program(VIDEO, None))
    real, release = output._pipeline, threading.Event()

    class Hanging:
        def set_state(self, state: Any) -> None:
            release.wait(DEADLINE_S)

    monkeypatch.setattr(output, "_pipeline", Hanging())
    await output.stop()
    assert "does not let go" in caplog.text
    release.set()
    real.set_state(Gst.State.NULL)


async def test_a_pipeline_that_does_not_start_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_module, "START_DEADLINE_S", 0.05)
    release = threading.Event()

    def hang(name: str, work: Callable[[], object], deadline_s: float) -> Any:
        return real(name, lambda: release.wait(DEADLINE_S), deadline_s)

    real = in_thread
    monkeypatch.setattr(output_module, "in_thread", hang)
    output = ToSinks(
        forward_url.parse("rtmp://host/app/key"), Program(VIDEO, None), 0, lambda error: None
    )
    with pytest.raises(TimeoutError):
        await output.start()
    release.set()
    monkeypatch.undo()
    await output.stop()


def test_a_kind_must_say_what_it_is_made_of() -> None:
    output = Output(
        forward_url.parse("rtmp://host/app/key"), Program(None, None), 0, lambda error: None
    )
    with pytest.raises(NotImplementedError):
        output.build(output._pipeline)
    with pytest.raises(NotImplementedError):
        output.bytes_out()
    Output.check(Program(None, None))
    Output.prepare(output.url)
