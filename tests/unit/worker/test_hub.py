from __future__ import annotations

from typing import Any, Literal, cast

import pytest

from strata.worker import hub as hub_module
from strata.worker.forward import Forward
from strata.worker.hub import Hub
from strata.worker.output import Feed
from strata.worker.units import NO_TIME, AccessUnit, Program, Track

SECOND_NS = 1_000_000_000


class FakeForward:
    """Keeps what the hub gives it."""

    def __init__(self, id: str, feed: Feed) -> None:
        self.id = id
        self.feed = feed
        self.units: list[AccessUnit] = []
        self.batches: list[bytes] = []
        self.program: Any = None
        self.prime: Any = None

    def start(self, program: Any, prime: Any) -> None:
        self.program = program
        self.prime = prime

    def push(self, unit: AccessUnit) -> None:
        self.units.append(unit)

    def push_packets(self, batch: bytes) -> None:
        self.batches.append(batch)


def add(hub: Hub, id: str, feed: Feed = "units") -> FakeForward:
    forward = FakeForward(id, feed)
    hub.add(cast(Forward, forward))
    return forward


def unit(
    track: Track, at_s: float, kind: Literal["key", "delta"] = "delta", size: int = 1000
) -> AccessUnit:
    dts_ns = int(at_s * SECOND_NS) if at_s >= 0 else NO_TIME
    return AccessUnit(track, cast(Any, None), size, kind == "key", dts_ns)


def primed(hub: Hub, forward: FakeForward) -> list[AccessUnit]:
    forward.units.clear()
    forward.prime(forward)
    return list(forward.units)


async def test_units_go_to_those_who_take_units_and_packets_to_the_others() -> None:
    hub = Hub()
    rtmp, recording = add(hub, "fwd_1"), add(hub, "fwd_2", "packets")
    assert list(hub.forwards) == ["fwd_1", "fwd_2"]
    key = unit("video", 0, "key")
    hub.push([key])
    hub.push_packets(b"batch")
    assert (rtmp.units, rtmp.batches) == ([key], [])
    assert (recording.units, recording.batches) == ([], [b"batch"])


async def test_the_program_is_what_units_wait_for_and_packets_do_not() -> None:
    hub = Hub()
    rtmp, recording = add(hub, "fwd_1"), add(hub, "fwd_2", "packets")
    assert not rtmp.program.done()
    assert not recording.program.done()
    hub.push_packets(b"batch")
    hub.push_packets(b"batch")
    assert recording.program.result() == Program(None, None)
    assert not rtmp.program.done()
    assert rtmp.program is hub.program


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


async def test_packets_are_not_kept() -> None:
    hub = Hub()
    hub.push([unit("video", 0, "key")])
    hub.push_packets(b"batch")
    recording = add(hub, "fwd_1", "packets")
    assert primed(hub, recording) == []
    assert recording.batches == []


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
