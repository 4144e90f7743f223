from __future__ import annotations

import time
from dataclasses import replace
from fractions import Fraction
from typing import Any, cast

import pytest

from strata.rist import Counters, LinkCounters
from strata.wire import forward_url
from strata.wire import worker as wire
from strata.worker import stats as stats_module
from strata.worker.average import Pieces
from strata.worker.formats import AudioFormat, Program
from strata.worker.forward import Forward, Totals
from strata.worker.hub import Hub
from strata.worker.stats import StatsMeter
from unit.worker.fakes import AUDIO, H265, VIDEO


class Clock:
    """Stands in for the module ``time``; a test moves it on."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


class FakeHub:
    def __init__(self) -> None:
        self.flow = FakeFlow()
        self.keyframe_interval_s: float | None = 2.0


class FakeFlow:
    program: Program | None = None


class FakeForward:
    id = "fwd_1"
    url = forward_url.parse("rtmp://host/app/key")
    state = "live"
    pieces: Pieces | None = None
    progress_age_s: float | None = 0.256

    def __init__(self) -> None:
        self.totals = Totals(bytes=0, dropped=3, live_s=12.34, reconnects=2)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(stats_module, "time", clock)
    return clock


@pytest.fixture
def hub() -> FakeHub:
    return FakeHub()


def link(
    port: int, size: int = 0, *, at_s: float = 0.0, peer_id: int = 0, packets: int = 0
) -> LinkCounters:
    peer = "10.0.0.1" if peer_id else None
    return LinkCounters(port, peer, peer_id, packets, size, int(at_s * 1e9))


def counters(packets: int = 0, size: int = 0, lost: int = 0, *links: LinkCounters) -> Counters:
    return Counters(packets, size, lost, 0, 0, 0, 0, 0, links)


def measure(meter: StatsMeter, found: Counters, hub: FakeHub, *forwards: FakeForward) -> wire.Stats:
    return meter.measure(found, cast(Hub, hub), cast(list[Forward], forwards))


def report(**changes: Any) -> dict[str, Any]:
    stats = {
        **{"recovered_total": 5, "dropped_late": 1, "duplicates": 2},
        **{"received": 100, "avg_buffer_time": 950},
    }
    return {"stats": stats | changes, "peers": []}


def test_the_bitrate_is_what_came_since_the_last_time(clock: Clock, hub: FakeHub) -> None:
    meter = StatsMeter()
    clock.now_s += 2.0
    assert measure(meter, counters(10, 1_000_000), hub).bitrate_in_kbps == 4000.0
    clock.now_s += 1.0
    assert measure(meter, counters(10, 1_000_000), hub).bitrate_in_kbps == 0.0
    clock.now_s += 0.5
    found = measure(meter, counters(20, 1_500_000), hub)
    assert found.bitrate_in_kbps == 8000.0
    assert found.uptime_s == 3.5
    assert found.bitrate_out_kbps == 0.0


def test_two_measurements_at_once_are_no_division_by_zero(clock: Clock, hub: FakeHub) -> None:
    meter = StatsMeter()
    assert measure(meter, counters(), hub).bitrate_in_kbps == 0.0
    assert measure(meter, counters(), hub).bitrate_in_kbps == 0.0


def test_the_quality_is_the_share_that_came(clock: Clock, hub: FakeHub) -> None:
    meter = StatsMeter()
    assert measure(meter, counters(), hub).flow == wire.Flow()
    flow = measure(meter, counters(999, 0, 1), hub).flow
    assert (flow.received, flow.lost, flow.quality_percent) == (999, 1, 99.9)


def test_reports_add_up(clock: Clock, hub: FakeHub) -> None:
    meter = StatsMeter()
    assert measure(meter, counters(), hub).buffer_ms is None
    meter.add_report(report())
    meter.add_report(report(recovered_total=1, dropped_late=0, duplicates=7, avg_buffer_time=990))
    found = measure(meter, counters(), hub)
    assert (found.flow.recovered, found.flow.late, found.flow.duplicates) == (6, 1, 9)
    assert found.buffer_ms == 990.0


@pytest.mark.parametrize("changes", [{"received": 0}, {"avg_buffer_time": 0}])
def test_a_report_of_silence_leaves_the_buffer_as_it_was(
    clock: Clock, hub: FakeHub, changes: dict[str, int]
) -> None:
    meter = StatsMeter()
    meter.add_report(report())
    meter.add_report(report(**changes))
    assert measure(meter, counters(), hub).buffer_ms == 950.0


def test_links_share_what_came(clock: Clock, hub: FakeHub) -> None:
    meter = StatsMeter()
    clock.now_s += 1.0
    one, two = measure(
        meter,
        counters(
            *(0, 0, 0),
            link(20_000, 75_000, at_s=1000.9, peer_id=3, packets=60),
            link(20_002, 25_000, at_s=1000.5, peer_id=4, packets=20),
        ),
        hub,
    ).links
    assert (one.port, one.peer, one.received) == (20_000, "10.0.0.1", 60)
    assert (one.bitrate_kbps, one.share_percent) == (600.0, 75.0)
    assert (two.bitrate_kbps, two.share_percent) == (200.0, 25.0)
    assert (one.last_packet_age_s, two.last_packet_age_s) == (0.1, 0.5)
    assert one.state == two.state == "up"


@pytest.mark.parametrize(
    ("age_s", "state"),
    [(0.0, "up"), (1.0, "up"), (1.1, "silent"), (5.0, "silent"), (5.1, "down"), (99.0, "down")],
)
def test_a_link_is_up_silent_or_down(clock: Clock, hub: FakeHub, age_s: float, state: str) -> None:
    [found] = measure(
        StatsMeter(), counters(0, 0, 0, link(20_000, at_s=1000.0 - age_s, peer_id=1)), hub
    ).links
    assert found.state == state
    assert found.last_packet_age_s == pytest.approx(age_s)


def test_a_link_that_nobody_has_used_is_down(clock: Clock, hub: FakeHub) -> None:
    [found] = measure(StatsMeter(), counters(0, 0, 0, link(20_000)), hub).links
    assert (found.state, found.peer, found.last_packet_age_s) == ("down", None, None)
    assert (found.share_percent, found.rtt_ms) == (0.0, None)


def test_the_round_trip_is_that_of_the_peer_that_answers(clock: Clock, hub: FakeHub) -> None:
    meter = StatsMeter()
    quiet = {"id": 4, "stats": {"received_rtcp": 0, "avg_rtt": 999}}
    answers = {"id": 3, "stats": {"received_rtcp": 10, "avg_rtt": 42}}
    meter.add_report(report() | {"peers": [quiet, answers]})
    one, two = measure(
        meter, counters(0, 0, 0, link(20_000, peer_id=3), link(20_002, peer_id=4)), hub
    ).links
    assert (one.rtt_ms, two.rtt_ms) == (42.0, None)


def test_a_forward(clock: Clock, hub: FakeHub) -> None:
    meter = StatsMeter()
    forward = FakeForward()
    clock.now_s += 1.0
    forward.totals.bytes = 125_000
    found = measure(meter, counters(), hub, forward)
    assert found.bitrate_out_kbps == 1000.0
    assert found.forwards == [
        wire.ForwardStats("fwd_1", "rtmp", "live", 1000.0, 125_000, 3, 2, 12.3, 0.26)
    ]
    clock.now_s += 1.0
    forward.progress_age_s = None
    [later] = measure(meter, counters(), hub, forward).forwards
    assert (later.bitrate_kbps, later.bytes, later.last_progress_age_s) == (0.0, 125_000, None)


def test_a_forward_in_pieces_is_averaged_over_them(clock: Clock, hub: FakeHub) -> None:
    meter = StatsMeter()
    forward = FakeForward()
    found = []
    for _ in range(8):
        clock.now_s += 1.0
        if clock.now_s % 2.0 == 0.0:
            forward.totals.bytes += 250_000
            forward.pieces = Pieces(2.0, clock.now_s, clock.now_s - 1000.0)
        found.append(measure(meter, counters(), hub, forward).bitrate_out_kbps)
    assert found == [0.0, *[1000.0] * 7]
    assert measure(meter, counters(), hub).bitrate_out_kbps == 0.0


def test_the_forwards_add_up(clock: Clock, hub: FakeHub) -> None:
    meter = StatsMeter()
    one, two = FakeForward(), FakeForward()
    two.id = "fwd_2"
    one.totals.bytes, two.totals.bytes = 125_000, 250_000
    clock.now_s += 1.0
    found = measure(meter, counters(), hub, one, two)
    assert [each.bitrate_kbps for each in found.forwards] == [1000.0, 2000.0]
    assert found.bitrate_out_kbps == 3000.0


def test_media_is_what_the_formats_say(clock: Clock, hub: FakeHub) -> None:
    meter = StatsMeter()
    assert measure(meter, counters(), hub).media == wire.Media()
    hub.flow.program = Program(
        replace(VIDEO, width=1280, height=720, fps=Fraction(30000, 1001)), AUDIO
    )
    assert measure(meter, counters(), hub).media == wire.Media(
        wire.VideoMedia("h264", 1280, 720, 29.97, 2.0), wire.AudioMedia("aac", 48_000, 2)
    )


def test_media_of_which_little_is_known(clock: Clock, hub: FakeHub) -> None:
    meter = StatsMeter()
    hub.flow.program = Program(H265, None)
    hub.keyframe_interval_s = None
    assert measure(meter, counters(), hub).media == wire.Media(wire.VideoMedia("h265"), None)
    hub.flow.program = Program(None, AudioFormat("aac", b"", ""))
    assert measure(meter, counters(), hub).media == wire.Media(None, wire.AudioMedia("aac"))


def test_the_process_is_measured_for_real(hub: FakeHub) -> None:
    meter = StatsMeter()
    busy_until = time.process_time() + 0.05
    while time.process_time() < busy_until:
        pass
    found = measure(meter, counters(), hub)
    assert found.cpu_percent > 1.0
    assert 5.0 < found.rss_mb < 2000.0
