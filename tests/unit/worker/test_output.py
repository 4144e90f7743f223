"""What all kinds of output share, over the smallest pipeline there is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from gi.repository import GLib

from strata.errors import DestinationError, StrataError, UnsupportedMedia
from strata.media.gst import Gst, make
from strata.wire import forward_url
from strata.worker import output as output_module
from strata.worker.formats import Program, Track
from strata.worker.output import Gate, Output, PacketGate, PipelineOutput
from strata.worker.pipeline import Feeder
from strata.worker.ts_keys import Packets
from strata.worker.units import AccessUnit
from unit.worker import fakes
from unit.worker.fakes import AUDIO, OTHER_AUDIO, OTHER_VIDEO, VIDEO

KEY = "abcd-efgh-1234"
DEADLINE_S = 10.0


class ToSinks(PipelineOutput):
    """A sink for each track, from which a test pulls what has arrived."""

    def push(self, *units: AccessUnit) -> None:
        for unit in units:
            if not self.pipeline.takes(unit.track):
                continue
            if self.gate.passes(unit, self.has_room(unit.track)):
                self.pipeline.push_unit(unit, 0)
            elif unit.track == "video" and self.gate.was_open:
                self.dropped += 1

    def bytes_out(self) -> int:
        return 0

    def build(self) -> None:
        self.gate = Gate(self.program)
        self.sinks: dict[str, Any] = {}
        feeders: list[Feeder] = [format.track for format in self.program.tracks()] or ["packets"]
        for feeder in feeders:
            sink: Any = make("appsink", sync=False)
            sink.set_property("async", False)
            self.pipeline.add(sink)
            self.pipeline.add_source(feeder, None).link(sink)
            self.sinks[feeder] = sink

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
    return fakes.unit(VIDEO if track == "video" else AUDIO, data, key=key or track == "audio")


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


def made(
    program: Program, ends: Callable[[StrataError | None], None] = lambda error: None
) -> ToSinks:
    return ToSinks(forward_url.parse(f"rtmp://host/app/{KEY}"), program, 0, ends)


async def started(
    program: Program, ends: Callable[[StrataError | None], None] = lambda error: None
) -> ToSinks:
    output = made(program, ends)
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
    assert output.dropped == 0  # what came before the key frame was never due
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
    full: set[Feeder] = set()
    monkeypatch.setattr(output, "has_room", lambda feeder: feeder not in full)
    output.push(unit("video", b"v0", key=True))
    full.add("video")
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


async def test_media_that_comes_before_the_start_is_kept() -> None:
    output = made(Program(VIDEO, None))
    output.push(unit("video", b"v0", key=True))
    output.push(unit("video", b"v1"))
    await output.start()
    output.push(unit("video", b"v2"))
    assert output.arrived("video", 3) == [b"v0", b"v1", b"v2"]
    await output.stop()


async def test_the_queue_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_module, "QUEUE_BYTES_MAX", 3000)
    output = made(Program(VIDEO, None))  # and never started: nobody takes anything
    output.push(unit("video", b"v", key=True))
    for _ in range(10):
        output.push(unit("video", bytes(1000)))
    assert 3000 <= output.pipeline.queued_bytes("video") <= 4000
    assert output.dropped == 10 - 3
    await output.stop()


async def test_packets_begin_with_the_tables_at_a_key_frame() -> None:
    output = await started(Program(None, None))
    output.push_packets(Packets(b"before"))
    output.push_packets(Packets(b"k1", True, b"tables-"))
    output.push_packets(Packets(b"d1"))
    output.push_packets(Packets(b"k2", True, b"tables-"))
    assert output.arrived("packets", 3) == [b"tables-k1", b"d1", b"k2"]
    assert output.dropped == 0
    await output.stop()


async def test_where_there_is_no_room_packets_are_dropped_up_to_a_key_frame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = await started(Program(None, None))
    room = True
    monkeypatch.setattr(output, "has_room", lambda feeder: room)
    output.push_packets(Packets(b"k1", True, b"tables-"))
    room = False
    output.push_packets(pictures(3))
    room = True
    output.push_packets(pictures(1))
    output.push_packets(Packets(b"k2", True, b"tables-"))
    assert output.arrived("packets", 2) == [b"tables-k1", b"tables-k2"]
    assert output.dropped == 4
    await output.stop()


def pictures(count: int) -> Packets:
    """Packets in which that many pictures begin, and some sound."""
    sound = b"\x47\x41\x01\x10" + bytes(184)
    picture = b"\x47\x41\x00\x10" + bytes(184)
    return Packets((picture + sound) * count, video_pid=0x100)


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


def fail(output: PipelineOutput, text: str, details: str) -> None:
    pipeline = output.pipeline.bin
    error = GLib.Error.new_literal(Gst.resource_error_quark(), text, 1)
    pipeline.get_bus().post(Gst.Message.new_error(pipeline, error, details))


async def test_an_error_of_the_pipeline_is_told_once_and_without_the_key(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    ends = Ends()
    output = await started(Program(VIDEO, None), ends)
    fail(output, f"no stream {KEY}", f"details of {KEY}")
    fail(output, "another", "")
    output.pipeline.bin.get_bus().post(Gst.Message.new_eos(output.pipeline.bin))
    await ends.wait()
    await asyncio.sleep(0)
    [error] = ends.told
    assert isinstance(error, DestinationError)
    assert error.message == "rtmp://host/app/****: no stream ****"
    assert "details of ****" in caplog.text
    assert KEY not in caplog.text
    await output.stop()


async def test_after_the_stop_nothing_is_told() -> None:
    ends = Ends()
    output = await started(Program(VIDEO, None), ends)
    await output.stop()
    fail(output, "too late", "")
    output.pipeline._on_bus()
    assert ends.told == []


async def test_another_share_is_kept() -> None:
    output = made(Program(VIDEO, None))
    assert output.share_kbps == 0
    output.set_share(3000)
    assert output.share_kbps == 3000
    await output.stop()


def test_the_gate_opens_with_a_key_frame_of_the_picture() -> None:
    gate = Gate(Program(VIDEO, AUDIO))

    room = True
    assert not gate.passes(unit("audio", b""), room)
    assert not gate.passes(unit("video", b""), room)
    assert not gate.was_open
    assert gate.passes(unit("video", b"", key=True), room)
    assert gate.passes(unit("audio", b""), room)
    assert gate.passes(unit("video", b""), room)
    assert gate.was_open


def test_a_gate_without_pictures_opens_with_sound() -> None:
    assert Gate(Program(None, AUDIO)).passes(unit("audio", b""), has_room=True)


def test_a_gate_that_closes_opens_at_the_next_key_frame_with_room() -> None:
    gate = Gate(Program(VIDEO, AUDIO))
    assert gate.passes(unit("video", b"", key=True), has_room=True)
    assert not gate.passes(unit("audio", b""), has_room=False)
    assert not gate.passes(unit("video", b"", key=True), has_room=False)
    assert not gate.passes(unit("video", b""), has_room=True)
    assert gate.was_open
    assert gate.passes(unit("video", b"", key=True), has_room=True)


def test_the_gate_of_packets_opens_with_a_key_frame_that_has_room() -> None:
    gate = PacketGate()
    assert not gate.passes(Packets(b""), True)
    assert not gate.passes(Packets(b"", True), False)
    assert not gate.was_open
    assert gate.passes(Packets(b"", True), True)
    assert gate.passes(Packets(b""), True)
    assert not gate.passes(Packets(b""), False)
    assert not gate.passes(Packets(b""), True)
    assert (gate.is_open, gate.was_open) == (False, True)
    assert gate.passes(Packets(b"", True), True)


async def test_a_kind_must_say_what_it_is_made_of() -> None:
    url = forward_url.parse("rtmp://host/app/key")
    for unfinished in (Output, PipelineOutput):
        with pytest.raises(TypeError, match="abstract"):
            unfinished(url, Program(None, None), 0, lambda error: None)  # type: ignore[abstract]
    output = ToSinks(url, Program(None, None), 0, lambda error: None)
    assert (output.idle(), output.copies()) == (None, 1)
    Output.check(Program(None, None), url)
    Output.prepare(url)


@pytest.mark.parametrize(
    ("program", "says"),
    [
        (Program(OTHER_VIDEO, None), "holds mpeg2.*H264 or H265"),
        (Program(VIDEO, OTHER_AUDIO), "holds mp2.*AAC"),
    ],
)
def test_codecs_that_no_container_holds_are_refused(program: Program, says: str) -> None:
    with pytest.raises(UnsupportedMedia, match=says) as caught:
        Output.check(program, forward_url.parse(f"rtmp://host/app/{KEY}"))
    assert KEY not in caught.value.message
    assert not caught.value.can_retry
