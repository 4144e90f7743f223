"""The life of one forward: try, stay on the air, and when that ends try again."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from strata.backoff import Backoff
from strata.errors import DestinationError, StrataError, TooSlow
from strata.media import debug_log
from strata.tasks import TaskGroup
from strata.wire import worker as wire
from strata.wire.forward_url import ForwardUrl
from strata.wire.worker import ForwardState
from strata.worker import kinds
from strata.worker.average import Pieces
from strata.worker.egress import Claim
from strata.worker.flow import Flow
from strata.worker.output import Feed, Output
from strata.worker.pipeline import STOP_DEADLINE_S as STOP_OUTPUT_DEADLINE_S
from strata.worker.progress import Progress
from strata.worker.ts_keys import Packets
from strata.worker.units import AccessUnit

log = logging.getLogger(__name__)

TRANSITIONS: Final[dict[ForwardState, frozenset[ForwardState]]] = {
    "connecting": frozenset(("live", "retrying", "failed", "stopped")),
    # Back to connecting: those who call us have all hung up, which is no failure.
    "live": frozenset(("connecting", "retrying", "failed", "stopped")),
    "retrying": frozenset(("connecting", "failed", "stopped")),
    "failed": frozenset(("stopped",)),
    "stopped": frozenset(),
}

PROGRESS_POLL_S: Final = 0.25
LIVE_POLL_S: Final = 1.0
SLOW_TELL_S: Final = 10.0
"""A destination that is too slow is told of this often at most."""
FLUSH_DEADLINE_S: Final = 5.0
STOP_DEADLINE_S: Final = FLUSH_DEADLINE_S + STOP_OUTPUT_DEADLINE_S + 1.0


@dataclass(slots=True)
class Totals:
    """What a forward has done since the worker started, over all its connections."""

    bytes: int = 0
    dropped: int = 0
    live_s: float = 0.0
    reconnects: int = 0


class Forward:
    """One destination of the stream.

    Args:
        id: ``fwd_1`` and so on.
        on_change: called with the event at each change of state.
        on_error: called when the forward fails or starts retrying.
    """

    def __init__(
        self,
        id: str,
        url: ForwardUrl,
        on_change: Callable[[Forward], None],
        on_error: Callable[[Forward, StrataError], None],
    ) -> None:
        self.id = id
        self.url = url
        debug_log.conceal(url.url)
        self.state: ForwardState = "connecting"
        self.is_patient = False
        """Whether :meth:`proven` waits for more attempts than the first."""
        self.message = "waiting for media"
        self._kind = kinds.of(url)
        self.share_kbps = 0
        self._on_change = on_change
        self._on_error = on_error
        self._output: Output | None = None
        self._tasks = TaskGroup()
        loop = asyncio.get_running_loop()
        self._stop: asyncio.Future[StrataError | None] = loop.create_future()
        self._done: asyncio.Future[None] = loop.create_future()
        self._proven: asyncio.Future[StrataError | None] = loop.create_future()
        self._is_started = False
        self._is_over = True
        self._change: asyncio.Future[None] | None = None
        self._progress = Progress()
        self._live_since: float | None = None
        self._before = Totals()
        self._slow_at = -SLOW_TELL_S
        self._dropped_seen = 0

    def event(self) -> wire.Forward:
        return wire.Forward(self.id, self.url.kind, self.state, self.url.shown, self.message)

    @property
    def feed(self) -> Feed:
        return self._kind.FEED

    @property
    def takes_bursts(self) -> bool:
        return self._kind.TAKES_BURSTS

    @property
    def totals(self) -> Totals:
        before, output = self._before, self._output
        return Totals(
            before.bytes + (output.bytes_out() if output is not None else 0),
            before.dropped + (output.dropped if output is not None else 0),
            before.live_s + self._live_now_s(),
            before.reconnects,
        )

    @property
    def pieces(self) -> Pieces | None:
        """How its connection hands media over in pieces, where it does."""
        return self._output.pieces() if self._output is not None else None

    @property
    def progress_age_s(self) -> float | None:
        at = self._progress.at
        return None if at is None else time.monotonic() - at

    def takes_over(self, old: Forward) -> None:
        """Counts on from the one that this replaces."""
        totals = old.totals
        self._before.bytes += totals.bytes
        self._before.dropped += totals.dropped
        self._before.live_s += totals.live_s
        self._before.reconnects += totals.reconnects

    # What it may send.

    def claim(self, units_kbps: float, packets_kbps: float) -> Claim | None:
        """What it needs of the egress cap, given the stream's rates; None where it sends
        nothing over the network, now or ever."""
        if not self._kind.NETWORKED or self._done.done():
            return None
        rate_kbps = units_kbps if self.feed == "units" else packets_kbps
        copies = self._output.copies() if self._output is not None else 1
        return Claim(rate_kbps * copies * self._kind.OVERHEAD, not self._kind.RIGID)

    @property
    def is_leaving(self) -> bool:
        """Whether it has been asked to end; it may still send what is queued."""
        return self._stop.done()

    def set_share(self, kbps: int) -> None:
        """What it may send at most; 0 for no limit."""
        if kbps != self.share_kbps:
            self.share_kbps = kbps
            if self._output is not None:
                self._output.set_share(kbps)

    # Media, from the hub.

    @property
    def _is_changing(self) -> bool:
        """Whether what comes now is for the next connection."""
        return self._change is not None and self._change.done()

    def push(self, *units: AccessUnit) -> None:
        if self._output is not None and not self._is_changing:
            self._progress.offer(time.monotonic())
            self._output.push(*units)

    def push_packets(self, packets: Packets) -> None:
        if self._output is not None:
            self._progress.offer(time.monotonic())
            self._output.push_packets(packets)

    # Life.

    def start(self, flow: Flow, prime: Callable[[Forward], None]) -> None:
        """Begins to :meth:`_run`; ends with :meth:`stop`.

        Args:
            flow: the tracks to forward, while there is media for it.
            prime: gives this forward what there is since the last key frame.
        """
        self._is_started = True
        self._tasks.spawn(f"forward-{self.id}", self._run(flow, prime))

    async def proven(self, deadline_s: float) -> None:
        """Returns when the destination has taken media, or waits for those who call it.

        Raises:
            StrataError: the first attempt failed, or did not get there in time.
        """
        await asyncio.wait({self._proven}, timeout=deadline_s)
        if not self._proven.done():
            said = f"; {self.message}" if self.state == "retrying" else ""
            raise DestinationError(
                f"{self.url.shown} has taken nothing in {deadline_s:.0f} s{said}"
            )
        error = self._proven.result()
        if error is not None:
            raise error

    def fail(self, error: StrataError) -> None:
        """Gives it up for a reason that is not its own."""
        if not self._stop.done():
            self._stop.set_result(error)
        if not self._is_started:
            self._conclude(error)

    async def stop(self, *, is_over: bool = True) -> None:
        """Delivers what is queued, closes and ends, within a deadline.

        Args:
            is_over: the destination is told that the broadcast is over. Otherwise it may hold
                the session open for the sender to come back.
        """
        self._is_over = is_over
        if not self._stop.done():
            self._stop.set_result(None)
        if not self._is_started:
            self._conclude(None)
        if self.state in ("failed", "stopped"):
            return
        try:
            await asyncio.wait_for(asyncio.shield(self._done), STOP_DEADLINE_S)
        except TimeoutError:
            log.error("%s %s did not end in %.0f s", self.id, self.url, STOP_DEADLINE_S)

    async def discard(self) -> None:
        """Ends it at once, whatever is queued."""
        self.fail(DestinationError("given up"))
        await asyncio.wait({self._done}, timeout=STOP_OUTPUT_DEADLINE_S + 0.5)

    def forget(self) -> None:
        """One that has failed and is not wanted any more counts as stopped."""
        self._advance("stopped", "")

    async def _run(self, flow: Flow, prime: Callable[[Forward], None]) -> None:
        error: StrataError | None = None
        try:
            await self._live_until_stopped(flow, prime)
            error = self._stop.result()
        except StrataError as caught:
            error = caught
        except Exception as caught:  # a border: the other forwards go on
            error = _internal(caught)
        self._conclude(error)

    def _conclude(self, error: StrataError | None) -> None:
        if self._done.done():
            return
        if error is not None:
            self._advance("failed", error.message)
            self._on_error(self, error)
        else:
            self._advance("stopped", "")
        self._prove(error or DestinationError(f"{self.url.shown} was stopped"))
        self._done.set_result(None)

    async def _live_until_stopped(self, flow: Flow, prime: Callable[[Forward], None]) -> None:
        backoff = Backoff()
        while not self._stop.done():
            if not flow.is_open:
                await _first(flow.change, self._stop)
                continue
            live_before_s = self.totals.live_s
            try:
                await self._attempt(flow, prime)
            except StrataError as error:
                if not error.can_retry:
                    raise
                backoff = backoff.after_failure(self.totals.live_s - live_before_s)
                wait_s = backoff.wait_s(random.random())
                self._advance("retrying", f"{error.message}; next try in {wait_s:.0f} s")
                self._on_error(self, error)
                if not self.is_patient:
                    self._prove(error)
                await asyncio.wait({self._stop}, timeout=wait_s)
                if not self._stop.done():
                    self._before.reconnects += 1
                    self._advance("connecting", "")

    async def _attempt(self, flow: Flow, prime: Callable[[Forward], None]) -> None:
        """One connection. Returns when it was asked to stop, or nothing is on the air any
        more, after a clean end.

        Raises:
            StrataError: it ended in any other way.
        """
        program, change = flow.program, flow.change
        assert program is not None
        self._change = change
        self._kind.check(program, self.url)
        ended: asyncio.Future[StrataError | None] = asyncio.get_running_loop().create_future()
        output = self._kind(self.url, program, self.share_kbps, lambda e: _settle(ended, e))
        self._output = output
        self._dropped_seen = 0
        try:
            prime(self)
            await output.start()
            await self._watch(output, ended, change)
            if not self._stop.done() and flow.is_open:
                raise DestinationError(
                    f"the sender's stream has other tracks or codecs now, which one session of "
                    f"{self.url.shown} cannot hold; beginning anew"
                )
            if not self._stop.done() or self._stop.result() is None:
                await self._finish(output, ended)
            if not self._stop.done():
                self._advance("connecting", "waiting for media")
        except TimeoutError:
            raise DestinationError(f"{self.url.shown} could not be started in time") from None
        finally:
            await self._retire(output)

    async def _finish(self, output: Output, ended: asyncio.Future[StrataError | None]) -> None:
        output.end(is_over=self._is_over)
        await asyncio.wait({ended}, timeout=FLUSH_DEADLINE_S)
        if not ended.done():
            log.warning("%s %s did not take the end of the stream", self.id, self.url)

    async def _watch(
        self,
        output: Output,
        ended: asyncio.Future[StrataError | None],
        change: asyncio.Future[None],
    ) -> None:
        """Returns when asked to stop, or the flow changes; raises when the destination stops
        taking media."""
        self._progress.begin(time.monotonic())
        while not (self._stop.done() or change.done()):
            poll_s = LIVE_POLL_S if self.state == "live" else PROGRESS_POLL_S
            await _first(ended, self._stop, change, timeout_s=poll_s)
            if ended.done():
                raise ended.result() or DestinationError(f"{self.url.shown} closed")
            self._look_at_progress(output)
            self._look_at_losses(output)

    def _look_at_progress(self, output: Output) -> None:
        now = time.monotonic()
        idle = output.idle()
        if self._progress.take(output.bytes_out(), now):
            if self.state != "live" and idle is None:
                self._live_since = now
                self._advance("live", "")
                self._prove(None)
        elif idle is not None:
            self._progress.wait(now)
            self._pause(idle)
        else:
            self._check_deadline(now)

    def _pause(self, why: str) -> None:
        """Nobody takes media, and that is in order."""
        if self.state == "live":
            self._before.live_s += self._live_now_s()
            self._live_since = None
            self._advance("connecting", why)
        elif self.message != why:
            self.message = why
            self._on_change(self)
        self._prove(None)

    def _check_deadline(self, now: float) -> None:
        is_live = self.state == "live"
        deadline_s = self._kind.PROGRESS_S if is_live else self._kind.FIRST_PROGRESS_S
        stalled_s = self._progress.stalled_s(deadline_s, now, is_live=is_live)
        if stalled_s is not None:
            raise DestinationError(
                f"{self.url.shown} has taken nothing for {stalled_s:.0f} s although media is "
                "offered; connecting anew"
            )

    def _look_at_losses(self, output: Output) -> None:
        """Says that a destination is too slow, while it is."""
        dropped = output.dropped - self._dropped_seen
        if dropped and self.state == "live" and time.monotonic() - self._slow_at >= SLOW_TELL_S:
            self._slow_at = time.monotonic()
            self._dropped_seen = output.dropped
            self._on_error(
                self,
                TooSlow(
                    f"{self.url.shown} takes less than the stream brings: {dropped} frames were "
                    "left out; lower the encoder's bitrate, or look at the way there"
                ),
            )

    async def _retire(self, output: Output) -> None:
        self._before = self.totals
        self._output = None
        self._live_since = None
        await output.stop()

    def _live_now_s(self) -> float:
        return 0.0 if self._live_since is None else time.monotonic() - self._live_since

    def _prove(self, error: StrataError | None) -> None:
        if not self._proven.done():
            self._proven.set_result(error)

    def _advance(self, state: ForwardState, message: str) -> None:
        if state == self.state:
            return
        if state not in TRANSITIONS[self.state]:
            raise AssertionError(f"{self.id}: {self.state} -> {state}")
        level = logging.WARNING if state in ("retrying", "failed") else logging.INFO
        log.log(
            level,
            "%s %s: %s -> %s%s",
            self.id,
            self.url,
            self.state,
            state,
            f": {message}" if message else "",
        )
        self.state = state
        self.message = message
        self._on_change(self)


def _settle(ended: asyncio.Future[StrataError | None], error: StrataError | None) -> None:
    if not ended.done():
        ended.set_result(error)


def _internal(error: Exception) -> StrataError:
    log.error("a forward failed internally", exc_info=error)
    return StrataError(
        f"an internal failure ended this forward ({type(error).__name__}); the others go on. "
        "The worker's log has the details; stop the stream and start it again"
    )


async def _first(*futures: asyncio.Future[Any], timeout_s: float | None = None) -> None:
    """Waits until one of them is done, without cancelling any."""
    await asyncio.wait(futures, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
