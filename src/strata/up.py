"""``strata up``: control and host as two processes, kept running.

They are separate so that a slow page can never stall a health check, and so that either
can be restarted without the other.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Final

from strata.errors import BadArguments, PartMissing
from strata.tasks import TaskGroup

log = logging.getLogger(__name__)

STEADY_S: Final = 10.0
"""A process that ends sooner may do so again."""
AGAIN_S: Final = 0.25
AGAIN_MAX_S: Final = 15.0
STOP_DEADLINE_S: Final = 30.0

NOT_FOR_HOSTS: Final = ("STRATA_ADMIN", "STRATA_DATABASE")


async def run(arguments: list[str], demo: bool) -> int:
    """Runs both until a signal comes; returns the exit status.

    SIGTERM and SIGINT (Ctrl-C) end the streams, too. SIGHUP, as from a terminal that was
    closed, leaves them on the air for the next start. So does the death of this process: the
    two others notice.

    Args:
        arguments: of ``strata up``, which both processes understand but for ``--demo``.
    """
    shared = [each for each in arguments if each != "--demo"]
    stop: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    number = signal.SIGTERM

    def finish(status: int) -> None:
        if not stop.done():
            stop.set_result(status)

    def keep() -> None:
        nonlocal number
        number = signal.SIGHUP
        finish(0)

    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, finish, 0)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, keep)
    tasks = TaskGroup(lambda name, error: finish(70))
    host = Child("host", shared)
    control = Child("control", [*shared, "--demo"] if demo else shared)
    for child in (host, control):
        tasks.spawn(child.name, child.keep_running(finish))
    status = await stop
    # The host first: it stops its workers, and control writes down how each stream ended.
    await host.stop(number)
    await control.stop(number)
    await tasks.close()
    return status


class Child:
    """One of the two processes."""

    def __init__(self, name: str, arguments: list[str]) -> None:
        self.name = name
        parent = ("--parent", str(os.getpid()))
        self._command = [sys.executable, "-I", "-m", "strata", name, *parent, *arguments]
        self._environment = environment(name, os.environ)
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False

    async def keep_running(self, give_up: Callable[[int], None]) -> None:
        """Starts it, and again when it ends.

        Gives up where it ends by itself right at its first start: then something is wrong that
        starting it again does not mend, such as a wrong setting.
        """
        again_s, is_first = AGAIN_S, True
        while not self._stopping:
            started_at = time.monotonic()
            # A session of its own: Ctrl-C reaches us alone, and we stop them in order.
            self._process = await asyncio.create_subprocess_exec(
                *self._command, start_new_session=True, env=self._environment
            )
            status = await self._process.wait()
            if self._stopping:
                return
            steady = time.monotonic() - started_at >= STEADY_S
            gives_reason = status in (BadArguments.exit_status, PartMissing.exit_status)
            if is_first and status >= 0 and (gives_reason or not steady):
                log.error("%s ended at its start with status %d", self.name, status)
                give_up(status or 70)
                return
            again_s = AGAIN_S if steady else min(2 * again_s, AGAIN_MAX_S)
            is_first = False
            log.error(
                "%s ended with status %d; starting it again in %.2f s", self.name, status, again_s
            )
            await asyncio.sleep(again_s)

    async def stop(self, number: signal.Signals) -> None:
        self._stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(number)
        try:
            await asyncio.wait_for(process.wait(), STOP_DEADLINE_S)
        except TimeoutError:
            log.error("%s did not stop in %.0f s and is killed", self.name, STOP_DEADLINE_S)
            process.kill()
            await process.wait()


def environment(name: str, own: Mapping[str, str]) -> dict[str, str]:
    """What one of the two is given: the host needs no database and no administrator, so it
    does not get their passwords."""
    if name != "host":
        return dict(own)
    return {key: value for key, value in own.items() if not key.upper().startswith(NOT_FOR_HOSTS)}
