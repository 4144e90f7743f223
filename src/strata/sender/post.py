"""What this machine is to send: one stream at a time, from its order to its end.

It outlives connections to control. A broadcast is ended by an order, by itself, or with the
program; never because control is away.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Literal, Protocol, TypeAlias

import msgspec

from strata.errors import StrataError
from strata.secrets import Secret
from strata.sender.settings import SenderSettings
from strata.tasks import TaskGroup
from strata.wire import agent as wire

log = logging.getLogger(__name__)

State: TypeAlias = Literal["idle", "starting", "sending", "stopping", "ended"]

TRANSITIONS: Final[dict[State, frozenset[State]]] = {
    # It has been told of no stream, or has stopped the last one as it was told to.
    "idle": frozenset(("starting",)),
    # The source is being opened.
    "starting": frozenset(("sending", "idle", "stopping")),
    # Media goes out.
    "sending": frozenset(("ended", "stopping")),
    # It has been told to stop, or the program ends.
    "stopping": frozenset(("idle", "ended")),
    # It has given up by itself; control is told until it says that it knows.
    "ended": frozenset(("idle", "starting")),
}

WORDS: Final[dict[State, str]] = {"sending": "running"}
"""What a state is called on the wire, where that is another word."""

BEGIN_DEADLINE_S: Final = 9.0
"""Control waits for the answer for 10 s, and would say that this machine hangs."""
STOP_DEADLINE_S: Final = 8.0
UNREPORTED_MAX: Final = 16


@dataclass(frozen=True, slots=True)
class Ended:
    """How a broadcast ended by itself. ``reason``: ``eos``, ``source``, ``encoder``,
    ``receiver_silent``, ``shutdown`` or ``failed``."""

    reason: str
    detail: str


class Broadcast(Protocol):
    """One stream that is sent, from its start to its end."""

    @property
    def order(self) -> wire.StreamStart:
        """What it was told; receivers and key change with :meth:`move`."""

    @property
    def total_bytes(self) -> int: ...

    @property
    def uptime_s(self) -> float: ...

    async def start(self) -> None:
        """Returns when it has begun.

        Raises:
            StrataError: why it cannot send.
        """

    async def move(self, destinations: list[str], psk: Secret) -> None:
        """The same stream, elsewhere from now on.

        Raises:
            StrataError: it goes on where it was.
        """

    async def ended(self) -> Ended:
        """Waits until it ends by itself."""

    def stats(self) -> wire.StreamStats: ...

    async def stop(self) -> None:
        """Idempotent."""


Begin: TypeAlias = Callable[[wire.StreamStart, SenderSettings], Broadcast]


class Refused(Exception):
    """An order is not carried out; ``code`` is for control, the message for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(slots=True)
class _Run:
    """One broadcast: what it was told, and how far it has come.

    Attributes:
        sending: cancelled to stop it.
        life: that, and what has to be put away afterwards.
    """

    order: wire.StreamStart
    begun: asyncio.Future[None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    broadcast: Broadcast | None = None
    problem: Refused | None = None
    end: Ended | None = None
    sending: asyncio.Task[Any] = field(init=False)
    life: asyncio.Task[Any] = field(init=False)


class Post:
    """
    Attributes:
        unreported: ends that control has not said that it knows of, the oldest first.

    Args:
        on_change: called when what it does is different.
    """

    def __init__(
        self, settings: SenderSettings, begin: Begin, on_change: Callable[[], None]
    ) -> None:
        self.state: State = "idle"
        self.unreported: dict[str, wire.StreamEnded] = {}
        self._settings = settings
        self._begin = begin
        self._on_change = on_change
        self._run: _Run | None = None
        self._tasks = TaskGroup()

    @property
    def doing(self) -> wire.StreamState | None:
        """What control is told of it."""
        if self._run is None:
            return None
        detail = f"{self._run.end.reason}: {self._run.end.detail}" if self._run.end else ""
        state = WORDS.get(self.state, self.state)
        return wire.StreamState(self._run.order.stream_id, state, detail)

    def stats(self) -> wire.StreamStats | None:
        """What it measures; None: nothing is sent."""
        if self.state != "sending" or self._run is None or self._run.broadcast is None:
            return None
        return self._run.broadcast.stats()

    def is_at(self, stream_id: str) -> bool:
        """Whether it sends this stream, or is about to."""
        at = self._run.order.stream_id if self._run is not None else None
        return at == stream_id and self.state in ("starting", "sending")

    # What control tells.

    async def start(self, order: wire.StreamStart) -> None:
        """Returns when it sends this stream, be it for long already.

        Raises:
            Refused: it sends another one, or cannot send this one.
        """
        while self._run is not None and self.state == "stopping":
            await asyncio.wait({self._run.life})
        run = self._run
        if run is None or self.state == "ended":
            run = self._launch(order)
        elif run.order.stream_id != order.stream_id:
            raise Refused(
                "busy", f"this sender sends {run.order.stream_id} already; stop that stream first"
            )
        await asyncio.shield(run.begun)

    async def stop(self, stream_id: str, reason: str) -> None:
        """Returns when it does not send this stream."""
        run = self._run
        if run is None or run.order.stream_id != stream_id:
            return
        if self.state == "ended":
            self._run = None
            self._advance("idle", stream_id, f"told to stop: {reason}")
            return
        await self._recall(run, f"told to stop: {reason}")

    async def move(self, order: wire.StreamMove) -> None:
        """Returns when it sends there.

        Raises:
            Refused: it does not, and sends where it did before.
        """
        run = self._run
        if run is not None and run.order.stream_id == order.stream_id and self.state == "starting":
            await asyncio.shield(run.begun)
        if run is None or run.order.stream_id != order.stream_id or self.state != "sending":
            raise Refused("not_sending", f"this sender does not send {order.stream_id}")
        assert run.broadcast is not None
        try:
            await run.broadcast.move(order.destinations, Secret(order.psk))
        except StrataError as error:
            raise Refused(error.code, error.message) from None
        run.order = msgspec.structs.replace(
            run.order, destinations=order.destinations, psk=order.psk
        )
        log.info("%s is sent to %s now", order.stream_id, ", ".join(order.destinations))

    def forget(self, stream_id: str) -> None:
        """Control knows that it has ended."""
        self.unreported.pop(stream_id, None)

    async def close(self, why: str) -> None:
        """The program ends: so does what it sends."""
        run = self._run
        if run is not None and self.state in ("starting", "sending"):
            if self.state == "sending":
                run.end = Ended("shutdown", why)
            await self._recall(run, why)
        await self._tasks.close()

    # What becomes of it.

    def _advance(self, state: State, stream_id: str, reason: str) -> None:
        if state not in TRANSITIONS[self.state]:
            raise AssertionError(f"{stream_id}: {self.state} -> {state}")
        log.info("%s: %s -> %s: %s", stream_id, self.state, state, reason)
        self.state = state
        self._on_change()

    def _launch(self, order: wire.StreamStart) -> _Run:
        self.unreported.pop(order.stream_id, None)  # it is sent again: that end is over
        run = self._run = _Run(order)
        self._advance("starting", order.stream_id, f"told to send: {order.source.mode}")
        run.sending = self._tasks.spawn(f"broadcast-{order.stream_id}", self._send(run))
        run.life = self._tasks.spawn(f"life-{order.stream_id}", self._live(run))
        run.life.add_done_callback(partial(self._over, run))
        return run

    async def _recall(self, run: _Run, reason: str) -> None:
        if self.state != "stopping":
            self._advance("stopping", run.order.stream_id, reason)
            run.sending.cancel()
        await asyncio.wait({run.life})
        await asyncio.sleep(0)  # what follows from its end has followed

    async def _live(self, run: _Run) -> None:
        await asyncio.wait({run.sending})
        # Not there: deadlines do not hold in a task that was cancelled (Python before 3.11.3).
        await self._put_away(run)

    async def _send(self, run: _Run) -> None:
        run.problem = await self._try_to_begin(run)
        if run.problem is None and self.state == "starting":
            self._advance("sending", run.order.stream_id, "it has begun")
            run.begun.set_result(None)
            run.end = await self._until_ended(run)

    async def _try_to_begin(self, run: _Run) -> Refused | None:
        """Why it could not, or None."""
        try:
            run.broadcast = self._begin(run.order, self._settings)
            async with asyncio.timeout(BEGIN_DEADLINE_S):
                await run.broadcast.start()
        except TimeoutError:
            return Refused(
                "late",
                f"the source gave no picture within {BEGIN_DEADLINE_S:g} s; see whether it is "
                "switched on and connected",
            )
        except StrataError as error:
            return Refused(error.code, error.message)
        except Exception:  # a border: what fails in a broadcast must not end the agent
            log.exception("%s could not begin", run.order.stream_id)
            return Refused("internal", "an internal failure of the sender; its log has the details")
        return None

    async def _until_ended(self, run: _Run) -> Ended:
        assert run.broadcast is not None
        try:
            return await run.broadcast.ended()
        except Exception:  # the same border
            log.exception("%s failed", run.order.stream_id)
            return Ended("failed", "an internal failure of the sender; its log has the details")

    async def _put_away(self, run: _Run) -> None:
        if run.broadcast is None:
            return
        try:
            async with asyncio.timeout(STOP_DEADLINE_S):
                await run.broadcast.stop()
        except TimeoutError:
            log.error(
                "%s did not stop within %g s and is left behind; should cameras stay busy, "
                "restart strata-sender",
                run.order.stream_id,
                STOP_DEADLINE_S,
            )
        except Exception:  # the same border
            log.exception("%s did not stop cleanly", run.order.stream_id)

    def _over(self, run: _Run, _: object) -> None:
        """Its task has ended, however that came."""
        stream_id = run.order.stream_id
        if run.end is not None:
            told = wire.plain(run.end.detail)
            run.end = Ended(run.end.reason, told)
            self._report(run, run.end)
            self._advance("ended", stream_id, f"{run.end.reason}: {told}")
        else:
            self._run = None
            why = run.problem or Refused("stopped", f"{stream_id} was stopped before it had begun")
            if not run.begun.done():
                run.begun.set_exception(why)
                run.begun.exception()  # there may be nobody left who waits for it
            self._advance("idle", stream_id, str(run.problem or "it has stopped"))

    def _report(self, run: _Run, end: Ended) -> None:
        broadcast = run.broadcast
        self.unreported[run.order.stream_id] = wire.StreamEnded(
            run.order.stream_id,
            end.reason,
            end.detail,
            duration_s=broadcast.uptime_s if broadcast is not None else None,
            total_bytes=broadcast.total_bytes if broadcast is not None else None,
        )
        while len(self.unreported) > UNREPORTED_MAX:
            del self.unreported[next(iter(self.unreported))]
