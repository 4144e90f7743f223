from __future__ import annotations

import pytest

from strata.worker.progress import PAUSE_S, Progress

DEADLINE_S = 20.0


def offered(progress: Progress, begin: float, end: float) -> None:
    at = begin
    while at <= end:
        progress.offer(at)
        at += 0.5


def test_what_is_taken_is_progress_once() -> None:
    progress = Progress()
    progress.begin(100.0)
    assert progress.at is None
    assert progress.take(10, 101.0)
    assert not progress.take(10, 102.0)
    assert not progress.take(9, 103.0)
    assert progress.at == 101.0


def test_another_connection_counts_from_zero() -> None:
    progress = Progress()
    progress.begin(100.0)
    progress.take(1000, 101.0)
    progress.begin(110.0)
    assert progress.take(1, 111.0)
    assert progress.at == 111.0


@pytest.mark.parametrize("is_live", [False, True])
def test_one_that_takes_nothing_has_stalled_after_the_deadline(is_live: bool) -> None:
    progress = Progress()
    progress.begin(100.0)
    offered(progress, 100.0, 121.0)
    assert progress.stalled_s(DEADLINE_S, 120.0, is_live=is_live) is None
    assert progress.stalled_s(DEADLINE_S, 121.0, is_live=is_live) == pytest.approx(21.0)


def test_one_that_is_live_has_the_deadline_from_what_it_took_last() -> None:
    progress = Progress()
    progress.begin(100.0)
    progress.take(1, 110.0)
    offered(progress, 100.0, 131.0)
    assert progress.stalled_s(DEADLINE_S, 130.0, is_live=True) is None
    assert progress.stalled_s(DEADLINE_S, 131.0, is_live=True) == pytest.approx(21.0)
    assert progress.stalled_s(DEADLINE_S, 130.0, is_live=False) == pytest.approx(30.0)


def test_one_that_is_offered_nothing_has_not_stalled() -> None:
    progress = Progress()
    progress.begin(100.0)
    offered(progress, 100.0, 101.0)
    assert progress.stalled_s(DEADLINE_S, 150.0, is_live=True) is None


def test_after_a_pause_the_time_begins_anew() -> None:
    progress = Progress()
    progress.begin(100.0)
    progress.offer(100.0)
    offered(progress, 160.0 + PAUSE_S, 170.0)
    assert progress.stalled_s(DEADLINE_S, 170.0, is_live=True) is None


def test_one_that_may_wait_has_not_stalled() -> None:
    progress = Progress()
    progress.begin(100.0)
    offered(progress, 100.0, 130.0)
    progress.wait(125.0)
    assert progress.stalled_s(DEADLINE_S, 130.0, is_live=False) is None
