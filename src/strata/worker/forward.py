"""The life of one forward: try, stay on the air, and when that ends try again."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import Any, Final

from strata.errors import DestinationError, StrataError
from strata.tasks import TaskGroup
from strata.wire import worker as wire
from strata.wire.forward_url import ForwardUrl
from strata.wire.worker import ForwardState
from strata.worker.backoff import Backoff
from strata.worker.kinds import BY_KIND
from strata.worker.output import STOP_DEADLINE_S as STOP_OUTPUT_DEADLINE_S
from strata.worker.output import Output
from strata.worker.units import AccessUnit, Program

log = logging.getLogger(__name__)

TRANSITIONS: Final[dict[ForwardState, frozenset[ForwardState]]] = {
    "connecting": frozenset(("live", "retrying", "failed", "stopped")),
    "live": frozenset(("retrying", "failed", "stopped")),
    "retrying": frozenset(("connecting", "failed", "stopped")),
    "failed": frozenset(("stopped",)),
    "stopped": frozenset(),
}

PROGRESS_POLL_S: Final = 0.25
FIRST_PROGRESS_DEADLINE_S: Final = 15.0
"""From the first media to the first byte taken: name, connection, handshake, publish."""
PROGRESS_DEADLINE_S: Final = 20.0
"""A destination that takes nothing for this long, while media is offered, has stalled."""
EARLY_BATCHES_MAX: Final = 250
"""Batches of packets kept while an output starts: ten seconds, twice its deadline."""
FLUSH_DEADLINE_S: Final = 5.0
STOP_DEADLINE_S: Final = FLUSH_DEADLINE_S + STOP_OUTPUT_DEADLINE_S + 1.0


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
        peak_kbps: int,
        on_change: Callable[[Forward], None],
        on_error: Callable[[Forward, StrataError], None],
    ) -> None:
        self.id = id
        self.url = url
        self.state: ForwardState = "connecting"
        self.message = "waiting for media"
        self.reconnects = 0
        self.feed = BY_KIND[url.kind].FEED
        self._peak_kbps = peak_kbps
        self._on_change = on_change
        self._on_error = on_error
        self._output: Output | None = None
        self._early: list[bytes] = []
        self._tasks = TaskGroup()
        loop = asyncio.get_running_loop()
        self._stop: asyncio.Future[None] = loop.create_future()
        self._done: asyncio.Future[None] = loop.create_future()
        self._offered_at = 0.0
        self._progress_at: float | None = None
        self._live_since: float | None = None
        self._live_before_s = 0.0
        self._bytes_before = 0
        self._bytes_now = 0
        self._dropped_before = 0

    def event(self) -> wire.Forward:
        return wire.Forward(self.id, self.url.kind, self.state, self.url.shown, self.message)

    @property
    def bytes_out(self) -> int:
        """Bytes that the destination took since the worker started."""
        return self._bytes_before + self._bytes_now

    @property
    def dropped_frames(self) -> int:
        return self._dropped_before + (self._output.dropped if self._output else 0)

    @property
    def live_s(self) -> float:
        """Seconds on the air since the worker started."""
        return self._live_before_s + self._live_now_s()

    @property
    def progress_age_s(self) -> float | None:
        return None if self._progress_at is None else time.monotonic() - self._progress_at

    # Media, from the hub.

    def push(self, unit: AccessUnit) -> None:
        if self._output is not None:
            self._offered_at = time.monotonic()
            self._output.push(unit)

    def push_packets(self, batch: bytes) -> None:
        if self._output is not None:
            self._offered_at = time.monotonic()
            self._output.push_packets(batch)
        elif self.state == "connecting" and len(self._early) < EARLY_BATCHES_MAX:
            self._early.append(batch)

    # Life.

    def start(self, program: asyncio.Future[Program], prime: Callable[[Forward], None]) -> None:
        """Begins to :meth:`_run`; ends with :meth:`stop`.

        Args:
            program: the tracks to forward, once they are known.
            prime: gives this forward the cached group of pictures to begin with.
        """
        self._tasks.spawn(f"forward-{self.id}", self._run(program, prime))

    async def stop(self) -> None:
        """Delivers what is queued, closes cleanly and ends, within a deadline."""
        if not self._stop.done():
            self._stop.set_result(None)
        if self.state in ("failed", "stopped"):
            return
        try:
            await asyncio.wait_for(asyncio.shield(self._done), STOP_DEADLINE_S)
        except TimeoutError:
            log.error("%s %s did not end in %.0f s", self.id, self.url, STOP_DEADLINE_S)

    async def _run(
        self, program: asyncio.Future[Program], prime: Callable[[Forward], None]
    ) -> None:
        try:
            await self._live_until_stopped(program, prime)
        except Exception as error:  # a border: the other forwards go on
            known = error if isinstance(error, StrataError) else _internal(error)
            self._advance("failed", known.message)
            self._on_error(self, known)
        finally:
            if self.state != "failed":
                self._advance("stopped", "")
            self._done.set_result(None)

    async def _live_until_stopped(
        self, program: asyncio.Future[Program], prime: Callable[[Forward], None]
    ) -> None:
        backoff = Backoff()
        await _first(program, self._stop)
        while not self._stop.done():
            live_before = self.live_s
            try:
                await self._attempt(program.result(), prime)
            except StrataError as error:
                if not error.can_retry:
                    raise
                backoff = backoff.after_failure(self.live_s - live_before)
                wait_s = backoff.wait_s(random.random())
                self._advance("retrying", f"{error.message}; next try in {wait_s:.0f} s")
                self._on_error(self, error)
                await asyncio.wait({self._stop}, timeout=wait_s)
                if not self._stop.done():
                    self.reconnects += 1
                    self._advance("connecting", "")

    async def _attempt(self, program: Program, prime: Callable[[Forward], None]) -> None:
        """One connection. Returns after a clean end that was asked for.

        Raises:
            StrataError: it ended in any other way.
        """
        kind = BY_KIND[self.url.kind]
        kind.check(program)
        ended: asyncio.Future[StrataError | None] = asyncio.get_running_loop().create_future()
        output = kind(self.url, program, self._peak_kbps, lambda e: _settle(ended, e))
        try:
            await output.start()
            self._output = output
            early, self._early = self._early, []
            for batch in early:
                output.push_packets(batch)
            prime(self)
            await self._watch(output, ended)
            output.end()
            await asyncio.wait({ended}, timeout=FLUSH_DEADLINE_S)
            if not ended.done():
                log.warning("%s %s did not take the end of the stream", self.id, self.url)
        except TimeoutError:
            raise DestinationError(f"{self.url.shown} could not be started in time") from None
        finally:
            await self._retire(output)

    async def _watch(self, output: Output, ended: asyncio.Future[StrataError | None]) -> None:
        """Returns when asked to stop; raises when the destination stops taking media."""
        started_at = time.monotonic()
        while not self._stop.done():
            await _first(ended, self._stop, timeout_s=PROGRESS_POLL_S)
            if ended.done():
                raise ended.result() or DestinationError(f"{self.url.shown} closed")
            self._look_at_progress(output, started_at)

    def _look_at_progress(self, output: Output, started_at: float) -> None:
        now = time.monotonic()
        taken = output.bytes_out()
        if taken > self._bytes_now:
            self._bytes_now = taken
            self._progress_at = now
            if self.state != "live":
                self._live_since = now
                self._advance("live", "")
            return
        live = self.state == "live"
        since = self._progress_at if live and self._progress_at is not None else started_at
        deadline_s = PROGRESS_DEADLINE_S if live else FIRST_PROGRESS_DEADLINE_S
        if now - since > deadline_s and now - self._offered_at < deadline_s:
            raise DestinationError(
                f"{self.url.shown} has taken nothing for {now - since:.0f} s although media "
                "is offered; connecting anew"
            )

    async def _retire(self, output: Output) -> None:
        if self._output is not None:  # else it never started, and has no numbers
            self._bytes_before += max(self._bytes_now, output.bytes_out())
        self._output = None
        self._bytes_now = 0
        self._dropped_before += output.dropped
        self._live_before_s += self._live_now_s()
        self._live_since = None
        await output.stop()

    def _live_now_s(self) -> float:
        return 0.0 if self._live_since is None else time.monotonic() - self._live_since

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
