from __future__ import annotations

from typing import Any, Literal, cast

import pytest

from strata.worker import hub as hub_module
from strata.worker.flow import Flow
from strata.worker.formats import Program, Track
from strata.worker.forward import Forward
from strata.worker.hub import AT_ONCE_S, CACHE_BYTES_MAX, Hub
from strata.worker.output import Feed
from strata.worker.ts_keys import Packets
from strata.worker.units import NO_TIME, AccessUnit
from unit.worker import fakes
from unit.worker.fakes import AUDIO, PACKET, SECOND_NS, VIDEO


class FakeForward:
    """Keeps what the hub gives it."""

    def __init__(self, id: str, feed: Feed, takes_bursts: bool) -> None:
        self.id = id
        self.feed = feed
        self.takes_bursts = takes_bursts
        self.units: list[AccessUnit] = []
        self.packets: list[Packets] = []
        self.flow: Any = None
        self.prime: Any = None

    def start(self, flow: Flow, prime: Any) -> None:
        self.flow = flow
        self.prime = prime

    def push(self, *units: AccessUnit) -> None:
        self.units += units

    def push_packets(self, packets: Packets) -> None:
        self.packets.append(packets)

    @property
    def data(self) -> list[bytes]:
        return [packets.data for packets in self.packets]


class Clock:
    """Stands in for the module ``time``; a test moves it on."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


class MarkedKeys:
    """Cuts nothing: a batch that begins with K is a key frame."""

    def split(self, batch: bytes, now: float) -> list[Packets]:
        return [Packets(batch, batch.startswith(b"K"))]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(hub_module, "time", clock)
    monkeypatch.setattr(hub_module, "TsKeys", MarkedKeys)
    return clock


def add(hub: Hub, id: str, feed: Feed = "units", *, takes_bursts: bool = True) -> FakeForward:
    forward = FakeForward(id, feed, takes_bursts)
    hub.add(cast(Forward, forward))
    return forward


def unit(
    track: Track, at_s: float, kind: Literal["key", "delta"] = "delta", size: int = 1000
) -> AccessUnit:
    dts_ns = int(at_s * SECOND_NS) if at_s >= 0 else NO_TIME
    format = VIDEO if track == "video" else AUDIO
    return fakes.unit(format, bytes(size), dts_ns, kind == "key")


def primed(hub: Hub, forward: FakeForward) -> list[AccessUnit]:
    forward.units.clear()
    forward.prime(forward)
    return list(forward.units)


async def test_units_go_to_those_who_take_units_and_packets_to_the_others() -> None:
    hub = Hub()
    rtmp, recording = add(hub, "fwd_1"), add(hub, "fwd_2", "packets")
    key = unit("video", 0, "key")
    hub.push([key])
    hub.push_packets(PACKET)
    assert (rtmp.units, rtmp.data) == ([key], [])
    assert (recording.units, recording.data) == ([], [PACKET])


async def test_one_that_is_removed_is_given_nothing_more() -> None:
    hub = Hub()
    one, two = add(hub, "fwd_1"), add(hub, "fwd_2", "packets")
    hub.remove(cast(Forward, one))
    hub.remove(cast(Forward, one))
    hub.remove(cast(Forward, two))
    hub.push([unit("video", 0, "key")])
    hub.push_packets(PACKET)
    assert (one.units, two.packets) == ([], [])


async def test_the_program_is_what_units_wait_for_and_packets_do_not() -> None:
    hub = Hub()
    rtmp, recording = add(hub, "fwd_1"), add(hub, "fwd_2", "packets")
    assert not rtmp.flow.is_open
    assert not recording.flow.is_open
    hub.push_packets(b"")
    assert not recording.flow.is_open
    hub.push_packets(PACKET)
    hub.push_packets(PACKET)
    assert recording.flow.is_open
    assert recording.flow.program == Program(None, None)
    assert not rtmp.flow.is_open
    assert rtmp.flow is hub.flow


async def test_when_nothing_is_on_the_air_any_more_all_end_until_there_is_media() -> None:
    hub = Hub()
    rtmp, recording = add(hub, "fwd_1"), add(hub, "fwd_2", "packets")
    hub.flow.open(Program(VIDEO, AUDIO))
    hub.push_packets(PACKET)
    changes = [rtmp.flow.change, recording.flow.change]
    hub.close()
    assert all(change.done() for change in changes)
    assert not rtmp.flow.is_open
    assert not recording.flow.is_open
    hub.push_packets(PACKET)
    assert recording.flow.is_open
    assert not rtmp.flow.is_open


async def test_a_forward_that_joins_begins_with_the_group_on_the_air() -> None:
    hub = Hub()
    old = [unit("video", 0, "key"), unit("video", 0.04), unit("audio", 0.02, "key")]
    group = [unit("video", 2, "key"), unit("audio", 2.01, "key"), unit("video", 2.04)]
    hub.push(old)
    hub.push(group)
    late = add(hub, "fwd_1")
    assert late.units == []
    assert primed(hub, late) == group


async def test_nothing_is_kept_before_the_first_key_frame() -> None:
    hub = Hub()
    hub.push([unit("audio", 0, "key"), unit("video", 0.04)])
    assert primed(hub, add(hub, "fwd_1")) == []


def primed_with_packets(forward: FakeForward) -> list[bytes]:
    forward.packets.clear()
    forward.prime(forward)
    return forward.data


async def test_packets_are_kept_from_the_latest_key_frame(clock: Clock) -> None:
    hub = Hub()
    recording = add(hub, "fwd_1", "packets")
    hub.push_packets(b"d0")
    assert primed_with_packets(recording) == []
    for batch in (b"K1", b"d1", b"K2", b"d2", b"d3"):
        hub.push_packets(batch)
    clock.now_s += 60.0
    assert primed_with_packets(recording) == [b"K2", b"d2", b"d3"]
    assert recording.units == []


async def test_what_takes_no_bursts_is_given_only_what_is_new(clock: Clock) -> None:
    hub = Hub()
    srt = add(hub, "fwd_1", "packets", takes_bursts=False)
    hub.push_packets(b"K1")
    clock.now_s += AT_ONCE_S - 0.1
    hub.push_packets(b"d1")
    assert primed_with_packets(srt) == [b"K1", b"d1"]
    clock.now_s += 0.2
    assert primed_with_packets(srt) == []


async def test_packets_that_outgrow_the_cache_are_dropped_up_to_the_next_key_frame(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "CACHE_BYTES_MAX", 4)
    hub = Hub()
    recording = add(hub, "fwd_1", "packets")
    for batch in (b"K1", b"d1"):
        hub.push_packets(batch)
    assert primed_with_packets(recording) == [b"K1", b"d1"]
    for batch in (b"d2", b"d3"):
        hub.push_packets(batch)
        assert primed_with_packets(recording) == []
    for batch in (b"K2", b"d4"):
        hub.push_packets(batch)
    assert primed_with_packets(recording) == [b"K2", b"d4"]


async def test_the_rates_are_known_after_a_second_of_media() -> None:
    hub = Hub()
    hub.measure(0.0, 1000, 900)
    hub.measure(0.5, 62_500, 50_000)
    assert (hub.packets_rate.kbps, hub.units_rate.kbps) == (None, None)
    hub.measure(1.0, 62_500, 50_000)
    assert (hub.packets_rate.kbps, hub.units_rate.kbps) == (1000.0, 800.0)


async def test_a_group_that_outgrows_the_cache_is_dropped_up_to_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub_module, "CACHE_BYTES_MAX", 3000)
    hub = Hub()
    late = add(hub, "fwd_1")
    group = [unit("video", 0, "key"), unit("video", 0.04), unit("video", 0.08)]
    hub.push(group)
    assert primed(hub, late) == group
    hub.push([unit("video", 0.12)])
    assert primed(hub, late) == []
    hub.push([unit("video", 0.16), unit("audio", 0.17, "key")])
    assert primed(hub, late) == []
    key = unit("video", 2, "key")
    hub.push([key])
    assert primed(hub, late) == [key]


async def test_the_size_of_the_cache_starts_anew_with_each_group(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub_module, "CACHE_BYTES_MAX", 3000)
    hub = Hub()
    late = add(hub, "fwd_1")
    for second in range(5):
        group = [unit("video", second, "key"), unit("video", second + 0.5)]
        hub.push(group)
        assert primed(hub, late) == group


async def test_the_interval_of_key_frames() -> None:
    hub = Hub()
    assert hub.keyframe_interval_s is None
    hub.push([unit("video", 0, "key"), unit("audio", 1, "key"), unit("video", 1.0)])
    assert hub.keyframe_interval_s is None
    hub.push([unit("video", 2.0, "key")])
    assert hub.keyframe_interval_s == 2.0
    hub.push([unit("video", 2.5, "key")])
    assert hub.keyframe_interval_s == 0.5


@pytest.mark.parametrize("stamp_s", [-1, 1.0, 4.0])
async def test_a_key_frame_without_a_later_stamp_tells_no_interval(stamp_s: float) -> None:
    hub = Hub()
    hub.push([unit("video", 2.0, "key"), unit("video", 4.0, "key"), unit("video", stamp_s, "key")])
    assert hub.keyframe_interval_s == 2.0


async def test_the_picture_on_the_air_is_the_last_key_frame_with_its_age(clock: Clock) -> None:
    hub = Hub()
    assert hub.key_frame is None
    hub.push([unit("video", 0), unit("audio", 0, "key")])
    assert hub.key_frame is None
    first, second = unit("video", 0, "key"), unit("video", 2, "key", CACHE_BYTES_MAX)
    hub.push([first, unit("video", 1)])
    clock.now_s += 1.5
    assert hub.key_frame == (first, 1.5)
    hub.push([second])
    clock.now_s += 0.5
    hub.push([unit("video", 3)])  # more than the cache takes, and yet what is on the air
    assert hub.key_frame == (second, 0.5)
    hub.close()
    assert hub.key_frame is None
