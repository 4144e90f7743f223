from __future__ import annotations

import time

import msgspec
import pytest

from strata import settings
from strata.host.admission import Cost, Share
from strata.host.vitals import Vitals
from strata.wire import worker as wire

STATS = wire.Stats(
    *(5000.0, 4900.0, 1000.0, 1.0, 20.0, 60.0),
    *(wire.Media(), wire.Flow(), [], []),
)
SILENT = msgspec.structs.replace(STATS, bitrate_in_kbps=0.0)


@pytest.fixture
def vitals() -> Vitals:
    share = Share(Cost(0.1, 64.0, 8000.0))
    return Vitals(share, settings.load(), had_media=False, first_media_s=300.0)


def quiet_s(vitals: Vitals) -> float:
    return time.monotonic() - vitals.media_at


def test_media_is_noticed_by_what_is_said_of_it_and_by_its_rate(vitals: Vitals) -> None:
    vitals.media_at -= 100.0
    vitals.hear(SILENT)
    assert (vitals.had_media, vitals.measured_from) == (False, None)
    assert quiet_s(vitals) >= 100.0
    vitals.hear(STATS)
    assert vitals.had_media
    assert quiet_s(vitals) < 10.0
    vitals.media_at -= 100.0
    vitals.hear(wire.Input("receiving", 0.0))
    assert quiet_s(vitals) < 10.0


def test_a_worker_that_waits_has_not_forgotten_what_came_to_the_one_before(
    vitals: Vitals,
) -> None:
    vitals.hear(wire.Input("waiting", 40.0))
    assert quiet_s(vitals) == pytest.approx(40.0, abs=5.0)
    vitals.hear(STATS)
    vitals.media_at -= 70.0
    vitals.hear(wire.Input("waiting", 0.0))
    assert quiet_s(vitals) >= 70.0


def test_a_stall_counts_from_its_beginning(vitals: Vitals) -> None:
    vitals.hear(wire.Input("stalled", 5.0))
    assert vitals.had_media
    assert quiet_s(vitals) == pytest.approx(35.0, abs=5.0)
    verdict = vitals.judge([], time.monotonic())
    assert [alarm.kind for alarm in verdict.alarms] == ["stalled"]


def test_other_forwards_are_expected_anew_and_measured_anew(vitals: Vitals) -> None:
    vitals.expect(2)
    assert vitals.measured_from is None  # there is no media yet
    assert vitals.share.cost == Cost(0.1, 64.0, 16_000.0)
    vitals.hear(STATS)
    assert vitals.measured_from is not None
    vitals.measured_from -= 60.0
    vitals.hear(STATS)
    assert vitals.share.is_settled
    assert vitals.share.cost == Cost(0.2, 60.0, 4900.0)
    vitals.expect(3)
    assert vitals.share.cost == Cost(0.2, 64.0, 24_000.0)
    vitals.hear(STATS)
    assert not vitals.share.is_settled


def test_what_a_look_finds_is_judged_by_the_latest_that_was_said(vitals: Vitals) -> None:
    refused = wire.Forward("fwd_1", "rtmp", "retrying", "rtmp://x/****", message="refused")
    verdict = vitals.judge([STATS, refused], time.monotonic())
    assert [(each.kind, each.forward) for each in verdict.alarms] == [("forward", "fwd_1")]
    assert vitals.judge([STATS], time.monotonic() - 60.0).action == "kill"
    vitals.media_at -= 301.0
    assert vitals.judge([], time.monotonic()).action == "reclaim"
