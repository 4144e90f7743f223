"""Tasks with a name and a guard, and calls into blocking code with a deadline."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)


class TaskGroup:
    """Background tasks of one owner. A failure is logged and handed to ``on_failure``.

    ``asyncio.TaskGroup`` cancels all siblings when one fails, which is the opposite of what
    a process with several independent duties wants.
    """

    def __init__(self, on_failure: Callable[[str, BaseException], None] | None = None) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._on_failure = on_failure

    def spawn(self, name: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(self._guard(name, work), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # One that is cancelled before its first step would be reported as never awaited.
        task.add_done_callback(lambda _: work.close())
        return task

    async def _guard(self, name: str, work: Coroutine[Any, Any, Any]) -> None:
        try:
            await work
        except asyncio.CancelledError:
            raise
        except Exception as error:  # a border: nothing above would see it
            log.exception("task %s ended with an error", name)
            if self._on_failure is not None:
                self._on_failure(name, error)

    async def close(self) -> None:
        """Cancels all tasks but the one that calls, and waits for them."""
        mine = asyncio.current_task()
        others = [task for task in self._tasks if task is not mine]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


async def in_thread(name: str, work: Callable[[], T], deadline_s: float) -> T:
    """Runs blocking ``work`` in a thread of its own, and gives it up after ``deadline_s``.

    The thread is a daemon: one that never returns (a peer that hangs) is left behind and
    cannot keep the process from ending. That is why this is not ``asyncio.to_thread``,
    whose pool such threads would fill up and which is joined at exit.

    Raises:
        TimeoutError: the deadline passed; ``work`` may still be running.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result: T | None = None
        error: BaseException | None = None
        try:
            result = work()
        except BaseException as caught:
            error = caught
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:
            log.debug("thread %s outlived the loop", name)

    threading.Thread(target=run, name=name, daemon=True).start()
    # Not wait_for(): before Python 3.12 it loses a cancellation that comes with the result.
    async with asyncio.timeout(deadline_s):
        return await done
