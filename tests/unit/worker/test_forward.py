"""The life of a forward with destinations made by hand, in virtual time."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from dataclasses import replace
from typing import ClassVar, get_args

import pytest

from strata.backoff import STEADY_S
from strata.errors import (
    BadUrl,
    DestinationError,
    DestinationRefused,
    DestinationUnreachable,
    OverCap,
    StrataError,
    UnsupportedMedia,
)
from strata.wire import forward_url
from strata.wire.worker import ForwardState
from strata.worker import forward as forward_module
from strata.worker.average import Pieces
from strata.worker.egress import Claim
from strata.worker.flow import Flow
from strata.worker.formats import Program
from strata.worker.forward import (
    FLUSH_DEADLINE_S,
    LIVE_POLL_S,
    SLOW_TELL_S,
    TRANSITIONS,
    Forward,
    Totals,
)
from strata.worker.output import Feed
from strata.worker.pipeline import STOP_DEADLINE_S
from strata.worker.ts_keys import Packets
from support.virtual_time import Clock, in_virtual_time
from unit.worker import fakes
from unit.worker.fakes import AUDIO, VIDEO, FakeOutput, unit

KEY = "abcd-efgh-1234"
PROGRAM = Program(None, None)
UNREACHABLE = DestinationUnreachable("nothing listens there")
UNIT = unit(VIDEO)
PACKETS = Packets(bytes(188), True)

STATES: tuple[ForwardState, ...] = get_args(ForwardState)


class Bursts(FakeOutput):
    """Another kind, of which everything is different."""

    FEED: ClassVar[Feed] = "packets"
    NETWORKED: ClassVar[bool] = True
    RIGID: ClassVar[bool] = True
    OVERHEAD: ClassVar[float] = 1.25
    TAKES_BURSTS: ClassVar[bool] = False
    FIRST_PROGRESS_S: ClassVar[float] = 5.0
    PROGRESS_S: ClassVar[float] = 7.0


class Local(FakeOutput):
    NETWORKED: ClassVar[bool] = False


KINDS: dict[str, type[FakeOutput]] = {"rtmp": FakeOutput, "srt": Bursts, "file": Local}
RTMP = f"rtmp://host/app/{KEY}"
SRT = "srt://host:9000"
FILE = "file:///media/name.ts"


class Case:
    """One forward and what it told."""

    def __init__(self, url: str = RTMP, *, starts: bool = True) -> None:
        self.told: list[tuple[ForwardState, str]] = []
        self.errors: list[StrataError] = []
        self.primed = 0
        self.flow = Flow()
        self.forward = Forward(
            "fwd_1",
            forward_url.parse(url),
            lambda forward: self.told.append((forward.state, forward.message)),
            lambda forward, error: self.errors.append(error),
        )
        if starts:
            self.forward.start(self.flow, self._prime)

    def _prime(self, forward: Forward) -> None:
        self.primed += 1
        self._offer()

    def _offer(self) -> None:
        if self.forward.feed == "units":
            self.forward.push(UNIT)
        else:
            self.forward.push_packets(PACKETS)

    @property
    def states(self) -> list[ForwardState]:
        return [state for state, _ in self.told]

    async def outputs(self, count: int, deadline_s: float = 100.0) -> FakeOutput:
        """The latest output, once there have been that many and it has started."""
        async with asyncio.timeout(deadline_s):
            while len(FakeOutput.made) < count:
                await asyncio.sleep(0.01)
            await FakeOutput.made[count - 1].started.wait()
        return FakeOutput.made[count - 1]

    async def state(self, wanted: ForwardState, deadline_s: float = 100.0) -> None:
        async with asyncio.timeout(deadline_s):
            while self.forward.state != wanted:
                await asyncio.sleep(0.01)

    async def live(self) -> FakeOutput:
        """On the air for the first time."""
        self.flow.open(PROGRAM)
        output = await self.outputs(1)
        output.taken = 1000
        await self.state("live")
        return output

    async def feed(self, seconds: float) -> None:
        """Offers media for so long."""
        for _ in range(int(seconds / 0.5)):
            self._prime(self.forward)
            await asyncio.sleep(0.5)


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    fakes.install_output(monkeypatch, lambda url: KINDS[url.kind])
    monkeypatch.setattr(forward_module, "time", Clock)
    monkeypatch.setattr(random, "random", lambda: 0.0)


def test_the_table_names_every_state_and_ends_in_stopped() -> None:
    assert set(TRANSITIONS) == set(STATES)
    assert not TRANSITIONS["stopped"]
    for state in STATES:
        if state != "stopped":
            assert "stopped" in TRANSITIONS[state]


@pytest.mark.parametrize(("before", "after"), list(itertools.product(STATES, STATES)))
@in_virtual_time
async def test_only_what_the_table_allows_happens(
    before: ForwardState, after: ForwardState
) -> None:
    case = Case()
    forward = case.forward
    forward.state = before
    if after == before:
        forward._advance(after, "the reason")
        assert case.told == []
    elif after in TRANSITIONS[before]:
        forward._advance(after, "the reason")
        assert case.told == [(after, "the reason")]
    else:
        with pytest.raises(AssertionError, match=f"{before} -> {after}"):
            forward._advance(after, "the reason")
        assert forward.state == before
    await case.forward._tasks.close()


@in_virtual_time
async def test_it_waits_for_media() -> None:
    case = Case()
    event = case.forward.event()
    assert (event.forward, event.kind, event.state) == ("fwd_1", "rtmp", "connecting")
    assert event.url == "rtmp://host/app/****"
    assert event.message == "waiting for media"
    await asyncio.sleep(3600)
    assert case.told == []
    assert FakeOutput.made == []
    await case.forward.stop()
    assert case.states == ["stopped"]


@in_virtual_time
async def test_it_is_live_when_the_destination_takes_media() -> None:
    case = Case()
    case.flow.open(PROGRAM)
    output = await case.outputs(1)
    await asyncio.sleep(1.0)
    assert case.forward.state == "connecting"
    assert output.share_kbps == 0
    assert output.units == [UNIT]
    assert case.primed == 1
    assert case.forward.progress_age_s is None
    output.taken = 1000
    await case.state("live")
    assert case.told == [("live", "")]
    assert case.forward.totals.bytes == 1000
    await asyncio.sleep(2.0)
    assert case.forward.totals.live_s == pytest.approx(2.0, abs=1.1)
    assert case.forward.progress_age_s == pytest.approx(2.0, abs=1.1)
    assert case.forward.totals.reconnects == 0
    await case.forward.stop()
    assert case.states == ["live", "stopped"]
    assert output.asked_to_end
    assert output.stops == 1
    assert case.errors == []


@in_virtual_time
async def test_media_goes_to_the_output_while_there_is_one() -> None:
    case = Case()
    case.forward.push(UNIT)
    output = await case.live()
    case.forward.push(UNIT)
    assert output.units == [UNIT, UNIT]
    await case.forward.stop()
    case.forward.push(UNIT)
    assert output.units == [UNIT, UNIT]


@in_virtual_time
async def test_what_is_on_the_air_is_given_before_the_start_and_media_while_it_starts() -> None:
    case = Case(SRT)
    case.forward.push_packets(Packets(b"before"))
    case.flow.open(PROGRAM)
    await asyncio.sleep(0.05)
    [output] = FakeOutput.made
    assert output.given_at_start == 1
    assert not output.started.is_set()
    case.forward.push_packets(Packets(b"1"))
    await output.started.wait()
    case.forward.push_packets(Packets(b"2"))
    assert output.packets == [PACKETS, Packets(b"1"), Packets(b"2")]
    await case.forward.stop()
    case.forward.push_packets(Packets(b"late"))
    assert len(output.packets) == 3


@in_virtual_time
async def test_what_it_is_fed_with_depends_on_the_kind() -> None:
    rtmp, srt = Case(RTMP), Case(SRT)
    assert (rtmp.forward.feed, rtmp.forward.takes_bursts) == ("units", True)
    assert (srt.forward.feed, srt.forward.takes_bursts) == ("packets", False)
    await asyncio.gather(rtmp.forward.stop(), srt.forward.stop())


@in_virtual_time
async def test_a_destination_that_fails_is_tried_again_after_longer_and_longer_waits() -> None:
    case = Case()
    case.flow.open(PROGRAM)
    waits = []
    for number, wait_s in enumerate([1, 2, 4, 8, 16, 30, 30], 1):
        output = await case.outputs(number)
        output.on_end(UNREACHABLE)
        await case.state("retrying")
        failed_at = asyncio.get_running_loop().time()
        assert case.forward.message == f"nothing listens there; next try in {wait_s} s"
        assert output.stops == 1
        await case.state("connecting")
        waits.append(asyncio.get_running_loop().time() - failed_at)
    assert waits == pytest.approx([1, 2, 4, 8, 16, 30, 30], abs=0.1)
    assert case.errors == [UNREACHABLE] * 7
    assert case.forward.totals.reconnects == 7
    output = await case.outputs(8)
    assert case.primed == 8
    output.taken = 5
    await case.state("live")
    await case.forward.stop()
    assert case.states == [*["retrying", "connecting"] * 7, "live", "stopped"]


@in_virtual_time
async def test_the_wait_has_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "random", lambda: 1.0)
    case = Case()
    case.flow.open(PROGRAM)
    (await case.outputs(1)).on_end(UNREACHABLE)
    await case.state("retrying")
    failed_at = asyncio.get_running_loop().time()
    await case.state("connecting")
    assert asyncio.get_running_loop().time() - failed_at == pytest.approx(1.25, abs=0.05)
    await case.forward.stop()


@in_virtual_time
async def test_after_a_steady_time_on_the_air_it_is_tried_soon_again() -> None:
    case = Case()
    case.flow.open(PROGRAM)
    for number in range(1, 4):
        (await case.outputs(number)).on_end(UNREACHABLE)
        await case.state("retrying")
        await case.state("connecting")
    output = await case.outputs(4)
    output.taken = 5
    await case.state("live")
    await asyncio.sleep(STEADY_S + 1)
    output.on_end(UNREACHABLE)
    await case.state("retrying")
    assert "next try in 1 s" in case.forward.message
    await case.forward.stop()


@in_virtual_time
async def test_one_that_accepts_and_drops_is_not_tried_in_a_tight_loop() -> None:
    case = Case()
    case.flow.open(PROGRAM)
    for number, wait_s in enumerate([1, 2, 4], 1):
        output = await case.outputs(number)
        output.taken = 5
        await case.state("live")
        await asyncio.sleep(5.0)
        output.on_end(UNREACHABLE)
        await case.state("retrying")
        assert f"next try in {wait_s} s" in case.forward.message
    await case.forward.stop()


@in_virtual_time
async def test_the_numbers_go_on_over_a_reconnection() -> None:
    case = Case()
    first = await case.live()
    first.dropped = 3
    assert case.forward.pieces is None
    first.cut = Pieces(2.0, 1000.0, 2.0)
    assert case.forward.pieces is first.cut
    await asyncio.sleep(10)
    first.taken = 2000
    first.on_end(UNREACHABLE)
    await case.state("retrying")
    assert case.forward.pieces is None
    assert case.forward.totals.bytes == 2000
    assert case.forward.totals.dropped == 3
    assert case.forward.totals.live_s == pytest.approx(10, abs=1.1)
    second = await case.outputs(2)
    second.taken = 500
    second.dropped = 1
    await case.state("live")
    await asyncio.sleep(5)
    assert case.forward.totals.bytes == 2500
    assert case.forward.totals.dropped == 4
    assert case.forward.totals.live_s == pytest.approx(15, abs=0.7)
    await case.forward.stop()
    assert case.forward.totals.bytes == 2500
    assert case.forward.totals.dropped == 4


@pytest.mark.parametrize(
    ("error", "where"),
    [
        (UnsupportedMedia("send H.264"), "check"),
        (BadUrl("no such folder"), "start"),
        (BadUrl("no such folder"), "end"),
    ],
)
@in_virtual_time
async def test_where_a_retry_cannot_help_it_has_failed(error: StrataError, where: str) -> None:
    case = Case()
    if where == "check":
        FakeOutput.check_error = error
    if where == "start":
        FakeOutput.start_error = error
    case.flow.open(PROGRAM)
    if where == "end":
        (await case.outputs(1)).on_end(error)
    await case.state("failed")
    assert case.told == [("failed", error.message)]
    assert case.errors == [error]
    await asyncio.sleep(3600)
    await asyncio.wait_for(case.forward.stop(), 1.0)
    assert case.states == ["failed"]
    assert all(output.stops == 1 for output in FakeOutput.made)
    assert case.forward.totals.bytes == 0


@in_virtual_time
async def test_one_that_cannot_be_started_in_time_is_tried_again() -> None:
    FakeOutput.start_error = TimeoutError()
    case = Case()
    case.flow.open(PROGRAM)
    await case.state("retrying")
    assert "rtmp://host/app/**** could not be started in time" in case.forward.message
    FakeOutput.start_error = None
    output = await case.outputs(2)
    output.taken = 5
    await case.state("live")
    await case.forward.stop()


@in_virtual_time
async def test_one_that_closes_without_an_error_is_tried_again() -> None:
    case = Case()
    output = await case.live()
    output.on_end(None)
    await case.state("retrying")
    assert "rtmp://host/app/**** closed; next try" in case.forward.message
    await case.forward.stop()


@in_virtual_time
async def test_only_the_first_end_counts() -> None:
    case = Case()
    output = await case.live()
    output.on_end(DestinationRefused("refused"))
    output.on_end(UNREACHABLE)
    output.on_end(None)
    await case.state("retrying")
    assert case.forward.message.startswith("refused; ")
    await case.forward.stop()


@in_virtual_time
async def test_one_that_never_takes_anything_is_tried_anew() -> None:
    case = Case()
    case.flow.open(PROGRAM)
    await case.outputs(1)
    began = asyncio.get_running_loop().time()
    feeding = asyncio.create_task(case.feed(100))
    await case.state("retrying")
    took_s = asyncio.get_running_loop().time() - began
    assert took_s == pytest.approx(FakeOutput.FIRST_PROGRESS_S, abs=1.1)
    assert "has taken nothing for 15 s although media is offered" in case.forward.message
    assert isinstance(case.errors[0], DestinationError)
    feeding.cancel()
    await case.forward.stop()


@in_virtual_time
async def test_one_that_takes_nothing_any_more_has_stalled() -> None:
    case = Case()
    await case.live()
    began = asyncio.get_running_loop().time()
    feeding = asyncio.create_task(case.feed(100))
    await case.state("retrying")
    took_s = asyncio.get_running_loop().time() - began
    assert took_s == pytest.approx(FakeOutput.PROGRESS_S, abs=1.1)
    assert "has taken nothing for 2" in case.forward.message
    feeding.cancel()
    await case.forward.stop()


@in_virtual_time
async def test_one_that_is_offered_nothing_has_not_stalled() -> None:
    case = Case()
    output = await case.live()
    await asyncio.sleep(3600)
    assert case.forward.state == "live"
    output.taken = 2000
    await case.feed(FakeOutput.PROGRESS_S / 2)
    assert case.forward.state == "live"
    await case.forward.stop()


@in_virtual_time
async def test_after_a_pause_of_the_sender_the_destination_gets_its_time_anew() -> None:
    case = Case()
    await case.live()
    await asyncio.sleep(60)
    await case.feed(FakeOutput.PROGRESS_S / 2)
    assert case.states == ["live"]


@in_virtual_time
async def test_each_kind_has_its_own_patience() -> None:
    case = Case(SRT)
    case.flow.open(PROGRAM)
    await case.outputs(1)
    began = asyncio.get_running_loop().time()
    feeding = asyncio.create_task(case.feed(100))
    await case.state("retrying")
    first_s = asyncio.get_running_loop().time() - began
    assert first_s == pytest.approx(Bursts.FIRST_PROGRESS_S, abs=1.1)
    output = await case.outputs(2)
    output.taken = 5
    await case.state("live")
    began = asyncio.get_running_loop().time()
    await case.state("retrying")
    later_s = asyncio.get_running_loop().time() - began
    assert later_s == pytest.approx(Bursts.PROGRESS_S, abs=1.1)
    feeding.cancel()
    await case.forward.stop()


@in_virtual_time
async def test_one_that_makes_progress_now_and_then_stays() -> None:
    case = Case()
    output = await case.live()
    for _ in range(20):
        output.taken += 1
        await case.feed(FakeOutput.PROGRESS_S - 2)
    assert case.states == ["live"]
    await case.forward.stop()


@in_virtual_time
async def test_a_stop_ends_the_wait_for_the_next_try() -> None:
    case = Case()
    case.flow.open(PROGRAM)
    for number in range(1, 7):
        (await case.outputs(number)).on_end(UNREACHABLE)
        await case.state("retrying")
    await asyncio.wait_for(case.forward.stop(), 1.0)
    assert case.states[-1] == "stopped"
    assert len(FakeOutput.made) == 6
    assert case.forward.totals.reconnects == 5


@in_virtual_time
async def test_a_stop_lets_the_destination_take_what_is_queued() -> None:
    case = Case()
    output = await case.live()
    output.ends_when_asked = False
    stopping = asyncio.create_task(case.forward.stop())
    await asyncio.sleep(FLUSH_DEADLINE_S - 1)
    assert output.asked_to_end
    assert output.stops == 0
    output.taken = 9000
    output.on_end(None)
    await asyncio.wait_for(stopping, 1.0)
    assert case.forward.totals.bytes == 9000
    assert case.states == ["live", "stopped"]


@in_virtual_time
async def test_a_stop_does_not_wait_for_ever_for_the_end() -> None:
    case = Case()
    output = await case.live()
    output.ends_when_asked = False
    began = asyncio.get_running_loop().time()
    await case.forward.stop()
    assert asyncio.get_running_loop().time() - began == pytest.approx(FLUSH_DEADLINE_S, abs=1.1)
    assert output.stops == 1
    assert case.states == ["live", "stopped"]


@in_virtual_time
async def test_an_output_that_does_not_stop_is_left_behind() -> None:
    case = Case()
    output = await case.live()
    output.ends_when_asked = False
    forever = asyncio.Event()
    output.stop = forever.wait  # type: ignore[method-assign, assignment]
    began = asyncio.get_running_loop().time()
    await case.forward.stop()
    took_s = asyncio.get_running_loop().time() - began
    assert took_s == pytest.approx(forward_module.STOP_DEADLINE_S, abs=0.1)
    assert case.forward.state == "live"
    forever.set()


@in_virtual_time
async def test_it_can_be_stopped_twice() -> None:
    case = Case()
    await case.live()
    await asyncio.gather(case.forward.stop(), case.forward.stop())
    await case.forward.stop()
    assert case.states == ["live", "stopped"]


@in_virtual_time
async def test_nothing_shows_the_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    case = Case()
    output = await case.live()
    output.on_end(None)
    await case.state("retrying")
    await case.forward.stop()
    assert not any(KEY in message for _, message in case.told)
    assert KEY not in f"{case.forward.event()}"
    assert "rtmp://host/app/****: live -> retrying" in caplog.text
    assert KEY not in caplog.text


@in_virtual_time
async def test_what_nobody_foresaw_fails_the_forward_and_is_told() -> None:
    case = Case()
    FakeOutput.start_error = ZeroDivisionError("never foreseen")
    case.flow.open(PROGRAM)
    await case.state("failed")
    assert [error.code for error in case.errors] == ["internal"]
    assert "ZeroDivisionError" in case.errors[0].message
    assert "the others go on" in case.errors[0].message
    await case.forward.stop()


@in_virtual_time
async def test_one_that_nobody_calls_waits_and_says_so() -> None:
    case = Case(SRT)
    case.flow.open(PROGRAM)
    output = await case.outputs(1)
    output.waits = "waiting for a caller"
    await case.feed(60.0)
    assert case.told == [("connecting", "waiting for a caller")]
    assert case.errors == []
    output.waits = "waiting for another caller"
    await case.feed(1.0)
    assert case.told[-1] == ("connecting", "waiting for another caller")
    await case.forward.stop()


@in_virtual_time
async def test_one_whose_callers_have_hung_up_is_connecting_again() -> None:
    case = Case(SRT)
    output = await case.live()
    await asyncio.sleep(10.0)
    output.waits = "waiting for a caller"
    await case.feed(60.0)
    assert case.told == [("live", ""), ("connecting", "waiting for a caller")]
    assert case.forward.totals.live_s == pytest.approx(10.0, abs=1.1)
    output.waits = None
    output.taken += 1000
    await case.state("live")
    await asyncio.sleep(5.0)
    assert case.forward.totals.live_s == pytest.approx(15.0, abs=1.1)
    assert case.forward.totals.reconnects == 0
    assert len(FakeOutput.made) == 1
    assert case.errors == []
    await case.forward.stop()


@in_virtual_time
async def test_a_caller_that_takes_nothing_has_a_whole_deadline() -> None:
    case = Case(SRT)
    case.flow.open(PROGRAM)
    output = await case.outputs(1)
    output.waits = "waiting for a caller"
    await case.feed(60.0)
    output.waits = None
    await case.feed(Bursts.FIRST_PROGRESS_S - 1.0)
    assert case.forward.state == "connecting"
    await case.feed(2.0)
    assert "retrying" in case.states
    await case.forward.stop()


@in_virtual_time
async def test_one_that_is_too_slow_is_told_now_and_then_while_it_is() -> None:
    case = Case()
    output = await case.live()
    output.dropped = 7
    await asyncio.sleep(2 * LIVE_POLL_S)
    [error] = case.errors
    assert error.code == "too_slow"
    assert "takes less than the stream brings: 7 frames were left out" in error.message
    assert KEY not in error.message
    output.dropped = 8
    await asyncio.sleep(SLOW_TELL_S - 2.0 * LIVE_POLL_S)
    assert len(case.errors) == 1
    output.dropped = 9
    await asyncio.sleep(3.0 * LIVE_POLL_S)
    assert len(case.errors) == 2
    assert "2 frames" in case.errors[1].message
    await asyncio.sleep(60.0)
    assert len(case.errors) == 2
    assert case.states == ["live"]
    await case.forward.stop()


@in_virtual_time
async def test_what_is_left_out_before_it_is_live_is_told_when_it_is() -> None:
    case = Case()
    case.flow.open(PROGRAM)
    output = await case.outputs(1)
    output.dropped = 3
    await asyncio.sleep(2.0)
    assert case.errors == []
    output.taken = 1000
    await case.state("live")
    await asyncio.sleep(1.0)
    assert [error.code for error in case.errors] == ["too_slow"]
    await case.forward.stop()


@in_virtual_time
async def test_each_connection_counts_its_losses_anew() -> None:
    case = Case()
    first = await case.live()
    first.dropped = 5
    await asyncio.sleep(SLOW_TELL_S + 1.0)
    first.on_end(UNREACHABLE)
    second = await case.outputs(2)
    second.dropped = 1
    second.taken = 5
    await case.state("live")
    await asyncio.sleep(1.0)
    assert "1 frames were left out" in case.errors[-1].message
    assert case.forward.totals.dropped == 6
    await case.forward.stop()


@in_virtual_time
async def test_it_is_proven_once_the_destination_has_taken_media() -> None:
    case = Case()
    waiting = asyncio.create_task(case.forward.proven(30.0))
    case.flow.open(PROGRAM)
    output = await case.outputs(1)
    await asyncio.sleep(5.0)
    assert not waiting.done()
    output.taken = 1
    await asyncio.wait_for(waiting, 1.0)
    output.on_end(UNREACHABLE)
    await case.state("retrying")
    await asyncio.wait_for(case.forward.proven(1.0), 1.0)
    await case.forward.stop()


@in_virtual_time
async def test_it_is_proven_when_it_waits_to_be_called() -> None:
    case = Case(SRT)
    case.flow.open(PROGRAM)
    output = await case.outputs(1)
    output.waits = "waiting for a caller"
    await asyncio.wait_for(case.forward.proven(30.0), 1.0)
    await case.forward.stop()


@in_virtual_time
async def test_it_is_disproven_by_its_first_failure() -> None:
    case = Case()
    case.flow.open(PROGRAM)
    (await case.outputs(1)).on_end(UNREACHABLE)
    with pytest.raises(DestinationUnreachable, match="nothing listens there"):
        await case.forward.proven(30.0)
    output = await case.outputs(2)
    output.taken = 5
    await case.state("live")
    with pytest.raises(DestinationUnreachable):
        await case.forward.proven(30.0)
    await case.forward.stop()


@in_virtual_time
async def test_it_is_disproven_where_a_retry_cannot_help() -> None:
    FakeOutput.check_error = UnsupportedMedia("send H.264")
    case = Case()
    case.flow.open(PROGRAM)
    with pytest.raises(UnsupportedMedia):
        await case.forward.proven(30.0)


@in_virtual_time
async def test_it_is_not_proven_in_time() -> None:
    case = Case()
    case.flow.open(PROGRAM)
    began = asyncio.get_running_loop().time()
    with pytest.raises(DestinationError, match=r"app/\*\*\*\* has taken nothing in 8 s"):
        await case.forward.proven(8.0)
    assert asyncio.get_running_loop().time() - began == pytest.approx(8.0, abs=0.01)
    await case.forward.stop()


@in_virtual_time
async def test_who_waits_for_the_proof_hears_of_the_stop() -> None:
    case = Case()
    waiting = asyncio.create_task(case.forward.proven(30.0))
    await asyncio.sleep(1.0)
    await case.forward.stop()
    with pytest.raises(DestinationError, match="was stopped"):
        await waiting


@in_virtual_time
async def test_it_can_be_given_up_for_a_reason_that_is_not_its_own() -> None:
    case = Case()
    output = await case.live()
    reason = OverCap("it does not fit")
    case.forward.fail(reason)
    case.forward.fail(DestinationError("another"))
    await case.state("failed")
    assert case.told == [("live", ""), ("failed", "it does not fit")]
    assert case.errors == [reason]
    assert not output.asked_to_end
    assert output.stops == 1


@in_virtual_time
async def test_one_that_waits_for_the_next_try_is_given_up_at_once() -> None:
    case = Case()
    case.flow.open(PROGRAM)
    (await case.outputs(1)).on_end(UNREACHABLE)
    await case.state("retrying")
    case.forward.fail(OverCap("it does not fit"))
    await case.state("failed", deadline_s=0.1)
    assert len(FakeOutput.made) == 1


@in_virtual_time
async def test_one_that_is_to_end_is_leaving_until_it_has() -> None:
    case = Case()
    output = await case.live()
    output.ends_when_asked = False
    assert not case.forward.is_leaving
    ending = asyncio.create_task(case.forward.stop())
    await asyncio.sleep(1.0)
    assert case.forward.is_leaving
    assert case.forward.claim(4000.0, 4000.0) is not None
    output.on_end(None)
    await ending
    assert case.forward.claim(4000.0, 4000.0) is None


@in_virtual_time
async def test_one_that_was_never_started_can_be_given_up() -> None:
    case = Case(starts=False)
    case.forward.fail(OverCap("it does not fit"))
    assert case.told == [("failed", "it does not fit")]
    assert [error.code for error in case.errors] == ["over_cap"]
    with pytest.raises(OverCap):
        await case.forward.proven(1.0)
    await case.forward.stop()
    assert case.states == ["failed"]


@in_virtual_time
async def test_one_that_was_never_started_can_be_stopped() -> None:
    case = Case(starts=False)
    await asyncio.wait_for(case.forward.stop(), 0.1)
    assert case.states == ["stopped"]
    assert case.errors == []


@in_virtual_time
async def test_one_that_is_discarded_delivers_nothing_more() -> None:
    case = Case()
    output = await case.live()
    output.ends_when_asked = False
    began = asyncio.get_running_loop().time()
    await case.forward.discard()
    assert asyncio.get_running_loop().time() - began < 0.5
    assert not output.asked_to_end
    assert output.stops == 1
    assert case.states == ["live", "failed"]


@in_virtual_time
async def test_one_that_hangs_is_discarded_all_the_same() -> None:
    case = Case()
    output = await case.live()
    forever = asyncio.Event()
    output.stop = forever.wait  # type: ignore[method-assign, assignment]
    began = asyncio.get_running_loop().time()
    await case.forward.discard()
    took_s = asyncio.get_running_loop().time() - began
    assert took_s == pytest.approx(STOP_DEADLINE_S + 0.5, abs=0.1)
    forever.set()


@in_virtual_time
async def test_one_that_is_removed_closes_cleanly() -> None:
    case = Case()
    output = await case.live()
    await case.forward.stop()
    case.forward.forget()
    assert output.asked_to_end
    assert case.states == ["live", "stopped"]


@in_virtual_time
async def test_the_failure_of_one_that_is_removed_is_forgotten() -> None:
    case = Case()
    output = await case.live()
    output.on_end(BadUrl("no such folder"))
    await case.state("failed")
    await case.forward.stop()
    case.forward.forget()
    assert case.told[-1] == ("stopped", "")
    assert case.forward.message == ""


@in_virtual_time
async def test_it_claims_what_its_kind_sends() -> None:
    rtmp, srt = Case(RTMP), Case(SRT)
    assert rtmp.forward.claim(4000.0, 5000.0) == Claim(4000.0, can_wait=True)
    assert srt.forward.claim(4000.0, 5000.0) == Claim(6250.0, can_wait=False)
    assert rtmp.forward.claim(0.0, 0.0) == Claim(0.0, can_wait=True)
    assert Case(FILE).forward.claim(4000.0, 5000.0) is None


@in_virtual_time
async def test_it_claims_a_share_for_each_copy() -> None:
    case = Case(SRT)
    output = await case.live()
    output.copied = 3
    assert case.forward.claim(0.0, 1000.0) == Claim(3750.0, can_wait=False)
    await case.forward.stop()


@in_virtual_time
async def test_one_that_sends_nothing_any_more_claims_nothing() -> None:
    stopped, failed, retrying = Case(), Case(), Case()
    await stopped.forward.stop()
    assert stopped.forward.claim(4000.0, 4000.0) is None
    failed.forward.fail(OverCap("it does not fit"))
    await failed.state("failed")
    assert failed.forward.claim(4000.0, 4000.0) is None
    retrying.flow.open(PROGRAM)
    (await retrying.outputs(1)).on_end(UNREACHABLE)
    await retrying.state("retrying")
    assert retrying.forward.claim(4000.0, 4000.0) is not None
    await retrying.forward.stop()


@in_virtual_time
async def test_a_share_holds_for_this_connection_and_the_next() -> None:
    case = Case()
    case.forward.set_share(5000)
    output = await case.live()
    assert output.share_kbps == 5000
    case.forward.set_share(3000)
    assert output.share_kbps == 3000
    output.on_end(UNREACHABLE)
    await case.state("retrying")
    case.forward.set_share(2000)
    assert (await case.outputs(2)).share_kbps == 2000
    await case.forward.stop()


@in_virtual_time
async def test_the_one_that_takes_over_counts_on() -> None:
    old, new = Case(), Case()
    output = await old.live()
    output.dropped = 3
    await asyncio.sleep(10.0)
    output.on_end(UNREACHABLE)
    await old.state("retrying")
    await old.state("connecting")
    new.forward.takes_over(old.forward)
    assert new.forward.totals == old.forward.totals
    new.flow.open(PROGRAM)
    await asyncio.sleep(1.0)
    later = FakeOutput.made[-1]
    later.taken = 500
    await new.state("live")
    await asyncio.sleep(5.0)
    found = new.forward.totals
    assert found.live_s == pytest.approx(15.0, abs=1.1)
    assert found == Totals(bytes=1500, dropped=3, live_s=found.live_s, reconnects=1)
    await asyncio.gather(old.forward.stop(), new.forward.stop())


@in_virtual_time
async def test_when_nothing_is_on_the_air_any_more_it_ends_and_waits_for_media() -> None:
    case = Case()
    output = await case.live()
    case.flow.close()
    await case.state("connecting")
    assert case.told[-1] == ("connecting", "waiting for media")
    assert (output.asked_to_end, output.is_over, output.stops) == (True, True, 1)
    await asyncio.sleep(3600)
    assert len(FakeOutput.made) == 1
    assert case.errors == []
    case.flow.open(PROGRAM)
    again = await case.outputs(2)
    assert again.units == [UNIT]
    again.taken = 5
    await case.state("live")
    assert case.forward.totals == Totals(1005, 0, case.forward.totals.live_s, 0)
    await case.forward.stop()


@in_virtual_time
async def test_what_is_on_the_air_no_more_before_the_destination_took_any_is_no_failure() -> None:
    case = Case()
    case.flow.open(PROGRAM)
    output = await case.outputs(1)
    case.flow.close()
    await asyncio.sleep(60)
    assert (output.asked_to_end, output.stops) == (True, 1)
    assert (case.told, case.errors) == ([], [])
    await case.forward.stop()
    assert case.states == ["stopped"]


@in_virtual_time
async def test_other_tracks_need_another_connection() -> None:
    case = Case()
    first = await case.live()
    case.flow.open(Program(VIDEO, AUDIO))
    case.forward.push(UNIT)  # for the next one, which gets it from the hub
    await case.state("retrying")
    assert first.units == [UNIT]
    assert not first.asked_to_end
    assert "has other tracks or codecs now" in case.forward.message
    assert KEY not in case.forward.message
    second = await case.outputs(2)
    assert second.program == Program(VIDEO, AUDIO)
    case.forward.push(UNIT)
    assert second.units == [UNIT, UNIT]
    await case.forward.stop()


@in_virtual_time
async def test_other_formats_of_the_same_tracks_need_none() -> None:
    case = Case()
    case.flow.open(Program(VIDEO, AUDIO))
    output = await case.outputs(1)
    output.taken = 5
    await case.state("live")
    case.flow.update(Program(replace(VIDEO, width=32), AUDIO))
    await asyncio.sleep(60)
    assert (case.states, len(FakeOutput.made)) == (["live"], 1)
    output.on_end(UNREACHABLE)
    assert (await case.outputs(2)).program == case.flow.program
    await case.forward.stop()


@in_virtual_time
async def test_other_tracks_while_it_waits_for_the_next_try_change_nothing() -> None:
    case = Case()
    case.flow.open(PROGRAM)
    (await case.outputs(1)).on_end(UNREACHABLE)
    await case.state("retrying")
    case.flow.open(Program(VIDEO, AUDIO))
    second = await case.outputs(2)
    assert second.program == Program(VIDEO, AUDIO)
    assert case.states == ["retrying", "connecting"]
    await case.forward.stop()


@pytest.mark.parametrize("is_over", [True, False])
@in_virtual_time
async def test_the_destination_is_told_whether_the_broadcast_is_over(is_over: bool) -> None:
    case = Case()
    output = await case.live()
    await case.forward.stop(is_over=is_over)
    assert output.is_over is is_over
