"""Test pushes: colour bars to a destination before a broadcast goes there.

Each is a process of its own (:mod:`strata.worker.trial`), limited like a worker, so that what is
on the air does not notice.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import signal
import sys
from collections.abc import Sequence
from typing import Any, Final

from strata import helpers
from strata.errors import BadArguments, HostError, NoCapacity, WorkerFailed
from strata.host.admission import Cost
from strata.host.limits import Allowance, Group, Limits
from strata.settings import Limits as LimitSettings
from strata.wire import forward_url
from strata.wire import helpers as helper_wire
from strata.wire import host as wire

log = logging.getLogger(__name__)

COMMAND: Final = (sys.executable, "-I", "-m", "strata.worker.trial.main")
AT_ONCE: Final = 2
DEADLINE_S: Final = 30.0
SECONDS_MIN: Final = 1.0
SECONDS_MAX: Final = 10.0
ANSWER_BYTES_MAX: Final = 64 * 1024
COST: Final = Cost(cpu_cores=0.4, memory_mb=100.0, egress_kbps=2000.0)
"""Measured: a quarter of a core, 85 MB, 1.7 Mbit/s."""


class TestPushes:
    """Those of one host.

    Args:
        command: makes one.
    """

    def __init__(
        self,
        limits: Limits,
        settings: LimitSettings,
        command: Sequence[str] = COMMAND,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._limits = limits
        self._allowance = Allowance(settings.cpu_cores, settings.memory_mb, settings.tasks)
        self._command = command
        self._deadline_s = deadline_s
        self._running: set[asyncio.Task[Any]] = set()

    async def run(self, request: wire.TestPush) -> wire.Tested:
        """Sends colour bars and says what came of it.

        Raises:
            BadArguments, BadUrl: there is no such push.
            NoCapacity: as many as may be are under way.
            HostError: it could not be made; nothing is known of the destination.
        """
        if not SECONDS_MIN <= request.seconds <= SECONDS_MAX:
            raise BadArguments(
                f"a test push takes {SECONDS_MIN:.0f} to {SECONDS_MAX:.0f} seconds, not "
                f"{request.seconds:g}"
            )
        shown = forward_url.parse(request.url).shown
        if len(self._running) >= AT_ONCE:
            raise NoCapacity(
                f"{AT_ONCE} test pushes are under way on this host, and more would take room from "
                "what is on the air; try again in half a minute"
            )
        mine = asyncio.current_task()
        assert mine is not None
        self._running.add(mine)
        try:
            found = await self._push(helper_wire.Push(request.url, request.seconds))
        finally:
            self._running.discard(mine)
        log.info("test push to %s: %s: %s", shown, found.code, found.message)
        return wire.Tested(found.ok, found.message, found.code, found.live_s, found.bytes)

    async def close(self) -> None:
        """Ends those that are under way; who asked for them gets no answer."""
        running = tuple(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _push(self, push: helper_wire.Push) -> helper_wire.Pushed:
        group = await self._limits.make(f"test_{secrets.token_hex(6)}", self._allowance)
        try:
            return await self._ask(group, push)
        finally:
            await asyncio.shield(group.remove())

    async def _ask(self, group: Group, push: helper_wire.Push) -> helper_wire.Pushed:
        try:
            answer = await helpers.ask(
                group.enter(list(self._command)),
                helper_wire.encode(push),
                self._deadline_s,
                ANSWER_BYTES_MAX,
                on_begun=group.slow_down,
            )
        except (TimeoutError, helpers.TooLong):
            raise WorkerFailed(
                f"the test push had not ended after {self._deadline_s:.0f} s and was killed; "
                "nothing is known of the destination. See whether this machine is overloaded"
            ) from None
        except OSError as error:
            raise WorkerFailed(
                f"the test push could not be started: {error.strerror}; see the limits on "
                "processes and memory of this machine"
            ) from None
        try:
            return helper_wire.decode(answer.output, helper_wire.Pushed)
        except ValueError:
            raise HostError(
                f"the test push ended without a word of the destination: {_why(answer)}"
            ) from None


def _why(answer: helpers.Answer) -> str:
    if answer.status >= 0:
        return answer.words or f"exit status {answer.status}"
    return f"signal {-answer.status}, {signal.strsignal(-answer.status)}"
