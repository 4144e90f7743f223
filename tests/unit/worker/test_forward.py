"""The life of a forward with destinations made by hand, in virtual time."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections.abc import Callable
from typing import Any, ClassVar, cast, get_args

import pytest

from strata.errors import (
    BadUrl,
    DestinationError,
    DestinationRefused,
    DestinationUnreachable,
    StrataError,
    UnsupportedMedia,
)
from strata.wire import forward_url
from strata.wire.worker import ForwardState
from strata.worker import forward as forward_module
from strata.worker.backoff import STEADY_S
from strata.worker.forward import (
    EARLY_BATCHES_MAX,
    FIRST_PROGRESS_DEADLINE_S,
    FLUSH_DEADLINE_S,
    PROGRESS_DEADLINE_S,
    TRANSITIONS,
    Forward,
)
from strata.worker.kinds import BY_KIND
from strata.worker.output import Feed
from strata.worker.units import AccessUnit, Program
from support.virtual_time import Clock, in_virtual_time

KEY = "abcd-efgh-1234"
PROGRAM = Program(None, None)
UNREACHABLE = DestinationUnreachable("nothing listens there")
UNIT = AccessUnit("video", cast(Any, None), 1000, True, 0)

STATES: tuple[ForwardState, ...] = get_args(ForwardState)


class FakeOutput:
    """A destination that does what its test says."""

    FEED: ClassVar[Feed] = "units"
    made: ClassVar[list[FakeOutput]] = []
    check_error: ClassVar[StrataError | None] = None
    start_error: ClassVar[BaseException | None] = None

    def __init__(
        self,
        url: Any,
        program: Program,
        peak_kbps: int,
        on_end: Callable[[StrataError | None], None],
    ) -> None:
        self.peak_kbps = peak_kbps
        self.on_end = on_end
        self.dropped = 0
        self.taken = 0
        self.units: list[AccessUnit] = []
        self.batches: list[bytes] = []
        self.started = asyncio.Event()
        self.asked_to_end = False
        self.ends_when_asked = True
        self.stops = 0
        self.made_at = asyncio.get_running_loop().time()
        self.made.append(self)

    @classmethod
    def check(cls, program: Program) -> None:
        if cls.check_error is not None:
            raise cls.check_error

    async def start(self) -> None:
        if self.start_error is not None:
            raise self.start_error
        await asyncio.sleep(0.1)
        self.started.set()

    def push(self, unit: AccessUnit) -> None:
        self.units.append(unit)

    def push_packets(self, batch: bytes) -> None:
        self.batches.append(batch)

    def bytes_out(self) -> int:
        assert self.started.is_set(), "an output that never started has no numbers"
        return self.taken

    def end(self) -> None:
        self.asked_to_end = True
        if self.ends_when_asked:
            self.on_end(None)

    async def stop(self) -> None:
        self.stops += 1


class Case:
    """One forward and what it told."""

    def __init__(self) -> None:
        self.told: list[tuple[ForwardState, str]] = []
        self.errors: list[StrataError] = []
        self.primed = 0
        self.program: asyncio.Future[Program] = asyncio.get_running_loop().create_future()
        self.forward = Forward(
            "fwd_1",
            forward_url.parse(f"rtmp://host/app/{KEY}"),
            5_000,
            lambda forward: self.told.append((forward.state, forward.message)),
            lambda forward, error: self.errors.append(error),
        )
        self.forward.start(self.program, self._prime)

    def _prime(self, forward: Forward) -> None:
        self.primed += 1
        forward.push(UNIT)

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
        self.program.set_result(PROGRAM)
        output = await self.outputs(1)
        output.taken = 1000
        await self.state("live")
        return output

    async def feed(self, seconds: float) -> None:
        """Offers media for so long."""
        for _ in range(int(seconds / 0.5)):
            self.forward.push(UNIT)
            await asyncio.sleep(0.5)


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeOutput, "made", [])
    monkeypatch.setattr(FakeOutput, "check_error", None)
    monkeypatch.setattr(FakeOutput, "start_error", None)
    monkeypatch.setattr(FakeOutput, "FEED", "units")
    monkeypatch.setitem(cast(dict[str, Any], BY_KIND), "rtmp", FakeOutput)
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
    case.program.set_result(PROGRAM)
    output = await case.outputs(1)
    await asyncio.sleep(1.0)
    assert case.forward.state == "connecting"
    assert output.peak_kbps == 5_000
    assert output.units == [UNIT]
    assert case.primed == 1
    assert case.forward.progress_age_s is None
    output.taken = 1000
    await case.state("live")
    assert case.told == [("live", "")]
    assert case.forward.bytes_out == 1000
    await asyncio.sleep(2.0)
    assert case.forward.live_s == pytest.approx(2.0, abs=0.5)
    assert case.forward.progress_age_s == pytest.approx(2.0, abs=0.5)
    assert case.forward.reconnects == 0
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
async def test_packets_that_come_while_it_starts_are_kept() -> None:
    FakeOutput.FEED = "packets"
    case = Case()
    assert case.forward.feed == "packets"
    case.forward.push_packets(b"1")
    case.program.set_result(PROGRAM)
    await asyncio.sleep(0.05)
    case.forward.push_packets(b"2")
    output = await case.outputs(1)
    await asyncio.sleep(0)
    case.forward.push_packets(b"3")
    assert output.batches == [b"1", b"2", b"3"]
    await case.forward.stop()


@in_virtual_time
async def test_no_more_packets_are_kept_than_fit_the_start() -> None:
    FakeOutput.FEED = "packets"
    case = Case()
    for number in range(EARLY_BATCHES_MAX + 10):
        case.forward.push_packets(b"%d" % number)
    case.program.set_result(PROGRAM)
    output = await case.outputs(1)
    await asyncio.sleep(0)
    assert output.batches == [b"%d" % number for number in range(EARLY_BATCHES_MAX)]
    await case.forward.stop()
    case.forward.push_packets(b"late")
    assert len(output.batches) == EARLY_BATCHES_MAX


@in_virtual_time
async def test_a_destination_that_fails_is_tried_again_after_longer_and_longer_waits() -> None:
    case = Case()
    case.program.set_result(PROGRAM)
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
    assert case.forward.reconnects == 7
    assert case.primed == 7
    output = await case.outputs(8)
    output.taken = 5
    await case.state("live")
    await case.forward.stop()
    assert case.states == [*["retrying", "connecting"] * 7, "live", "stopped"]


@in_virtual_time
async def test_the_wait_has_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "random", lambda: 1.0)
    case = Case()
    case.program.set_result(PROGRAM)
    (await case.outputs(1)).on_end(UNREACHABLE)
    await case.state("retrying")
    failed_at = asyncio.get_running_loop().time()
    await case.state("connecting")
    assert asyncio.get_running_loop().time() - failed_at == pytest.approx(1.25, abs=0.05)
    await case.forward.stop()


@in_virtual_time
async def test_after_a_steady_time_on_the_air_it_is_tried_soon_again() -> None:
    case = Case()
    case.program.set_result(PROGRAM)
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
    case.program.set_result(PROGRAM)
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
    await asyncio.sleep(10)
    first.taken = 2000
    first.on_end(UNREACHABLE)
    await case.state("retrying")
    assert case.forward.bytes_out == 2000
    assert case.forward.dropped_frames == 3
    assert case.forward.live_s == pytest.approx(10, abs=0.5)
    second = await case.outputs(2)
    second.taken = 500
    second.dropped = 1
    await case.state("live")
    await asyncio.sleep(5)
    assert case.forward.bytes_out == 2500
    assert case.forward.dropped_frames == 4
    assert case.forward.live_s == pytest.approx(15, abs=0.7)
    await case.forward.stop()
    assert case.forward.bytes_out == 2500
    assert case.forward.dropped_frames == 4


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
    case.program.set_result(PROGRAM)
    if where == "end":
        (await case.outputs(1)).on_end(error)
    await case.state("failed")
    assert case.told == [("failed", error.message)]
    assert case.errors == [error]
    await asyncio.sleep(3600)
    await asyncio.wait_for(case.forward.stop(), 1.0)
    assert case.states == ["failed"]
    assert all(output.stops == 1 for output in FakeOutput.made)
    assert case.forward.bytes_out == 0


@in_virtual_time
async def test_one_that_cannot_be_started_in_time_is_tried_again() -> None:
    FakeOutput.start_error = TimeoutError()
    case = Case()
    case.program.set_result(PROGRAM)
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
    case.program.set_result(PROGRAM)
    await case.outputs(1)
    began = asyncio.get_running_loop().time()
    feeding = asyncio.create_task(case.feed(100))
    await case.state("retrying")
    took_s = asyncio.get_running_loop().time() - began
    assert took_s == pytest.approx(FIRST_PROGRESS_DEADLINE_S, abs=0.6)
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
    assert took_s == pytest.approx(PROGRESS_DEADLINE_S, abs=0.6)
    assert "has taken nothing for 20 s" in case.forward.message
    feeding.cancel()
    await case.forward.stop()


@in_virtual_time
async def test_one_that_is_offered_nothing_has_not_stalled() -> None:
    case = Case()
    output = await case.live()
    await asyncio.sleep(3600)
    assert case.forward.state == "live"
    output.taken = 2000
    await case.feed(PROGRESS_DEADLINE_S / 2)
    assert case.forward.state == "live"
    await case.forward.stop()


@in_virtual_time
async def test_one_that_makes_progress_now_and_then_stays() -> None:
    case = Case()
    output = await case.live()
    for _ in range(20):
        output.taken += 1
        await case.feed(PROGRESS_DEADLINE_S - 2)
    assert case.states == ["live"]
    await case.forward.stop()


@in_virtual_time
async def test_a_stop_ends_the_wait_for_the_next_try() -> None:
    case = Case()
    case.program.set_result(PROGRAM)
    for number in range(1, 7):
        (await case.outputs(number)).on_end(UNREACHABLE)
        await case.state("retrying")
    await asyncio.wait_for(case.forward.stop(), 1.0)
    assert case.states[-1] == "stopped"
    assert len(FakeOutput.made) == 6
    assert case.forward.reconnects == 5


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
    assert case.forward.bytes_out == 9000
    assert case.states == ["live", "stopped"]


@in_virtual_time
async def test_a_stop_does_not_wait_for_ever_for_the_end() -> None:
    case = Case()
    output = await case.live()
    output.ends_when_asked = False
    began = asyncio.get_running_loop().time()
    await case.forward.stop()
    assert asyncio.get_running_loop().time() - began == pytest.approx(FLUSH_DEADLINE_S, abs=0.6)
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
    case.program.set_result(PROGRAM)
    await case.state("failed")
    assert [error.code for error in case.errors] == ["internal"]
    assert "ZeroDivisionError" in case.errors[0].message
    assert "the others go on" in case.errors[0].message
    await case.forward.stop()
