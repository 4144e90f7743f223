"""What tells a long-running process to end, and how."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import Literal, TypeAlias

How: TypeAlias = Literal["stop", "keep"]


class Ending:
    """Waits for the end of this process.

    SIGTERM and SIGINT: ``stop``, everything that it looks after ends with it. SIGHUP (a
    terminal that was closed, a service that is restarted) and the end of the process that
    started this one: ``keep``, what is on the air stays there.

    Args:
        parent: that process; None: nobody's end matters.
    """

    def __init__(self, parent: int | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._how: asyncio.Future[How] = self._loop.create_future()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._end, "stop")
        self._loop.add_signal_handler(signal.SIGHUP, self._end, "keep")
        self._pidfd: int | None = None
        if parent is not None:
            try:
                self._pidfd = os.pidfd_open(parent)
            except OSError:
                self._end("keep")  # it was gone before we looked
            else:
                self._loop.add_reader(self._pidfd, self._end, "keep")

    async def wait(self) -> How:
        return await asyncio.shield(self._how)

    def close(self) -> None:
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None

    def _end(self, how: How) -> None:
        if self._pidfd is not None:
            with contextlib.suppress(ValueError):
                self._loop.remove_reader(self._pidfd)
        if not self._how.done():
            self._how.set_result(how)
