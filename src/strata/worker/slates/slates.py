"""Slates for a worker: from memory, from the disk, or made by a helper process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from strata.errors import BadArguments, SlateUnavailable
from strata.tasks import in_thread
from strata.worker.formats import VideoFormat
from strata.worker.slates import slate
from strata.worker.slates.cache import SlateCache
from strata.worker.slates.helper import COMMAND, DEADLINE_S, ask
from strata.worker.slates.slate import MAX_FILE_BYTES, Request, Slate

log = logging.getLogger(__name__)

DISK_DEADLINE_S: Final = 5.0
IN_MEMORY: Final = 4
"""Slates; a sender that changes its format back and forth finds the last ones."""


@dataclass(slots=True)
class _Run:
    """One slate in the making, and how many wait for it."""

    task: asyncio.Task[Slate]
    waiting: int = 0


class Slates:
    """The slates of one worker, in whatever format its video has.

    Args:
        cache: folder for what has been made; None for none.
        text: shown where there is no file, the stream's name.
        file: the operator's picture or movie (see :func:`check_file`).
        command: makes a slate.
        deadline_s: for making one.
    """

    def __init__(
        self,
        cache: Path | None,
        text: str,
        file: Path | None,
        command: Sequence[str] = COMMAND,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._cache = SlateCache(cache)
        self._text = text
        self._file = None if file is None else file.absolute()
        self._command = command
        self._deadline_s = deadline_s
        self._made: dict[str, Slate] = {}
        self._runs: dict[str, _Run] = {}
        self._one_at_a_time = asyncio.Lock()

    async def make(self, format: VideoFormat) -> Slate:
        """A slate that can stand in for this video. Those who ask for the same one share it.

        Raises:
            SlateUnavailable: there is none; says why.
        """
        try:
            file = None if self._file is None else str(self._file)
            request = slate.request_for(format, self._text, file)
        except ValueError as error:
            raise SlateUnavailable(
                f"no slate can be made for this video: {error}; "
                "there will be nothing to show while media is missing"
            ) from None
        key = slate.key_of(request, self._stamp())
        if key in self._made:
            return self._made[key]
        run = self._runs.get(key)
        if run is None:
            work = self._run(key, request)
            task = asyncio.get_running_loop().create_task(work, name="slate")
            run = self._runs[key] = _Run(task)
            task.add_done_callback(lambda _: self._forget(key, run))
        run.waiting += 1
        try:
            return await asyncio.shield(run.task)
        finally:
            run.waiting -= 1
            if not run.waiting and not run.task.done():
                self._forget(key, run)
                run.task.cancel()
                await asyncio.wait((run.task,))

    def _stamp(self) -> tuple[int, int] | None:
        if self._file is None:
            return None
        try:
            status = self._file.stat()
        except OSError as error:
            raise SlateUnavailable(
                f"the slate's file {self._file} cannot be read: {error.strerror}; "
                "there will be nothing to show while media is missing"
            ) from None
        return status.st_mtime_ns, status.st_size

    def _forget(self, key: str, run: _Run) -> None:
        if self._runs.get(key) is run:
            del self._runs[key]

    async def _run(self, key: str, request: Request) -> Slate:
        async with self._one_at_a_time:
            found = await self._from_disk(key, request)
            if found is None:
                began = time.monotonic()
                packed = await ask(self._command, request, self._deadline_s)
                found = _fitting(packed, request)
                took = time.monotonic() - began
                log.info("a slate in %s was made in %.1f s (%d kB)", request, took, _kb(packed))
                with contextlib.suppress(TimeoutError):
                    await in_thread(
                        "slate-save", lambda: self._cache.save(key, packed), DISK_DEADLINE_S
                    )
        self._made[key] = found
        for oldest in tuple(self._made)[:-IN_MEMORY]:
            del self._made[oldest]
        return found

    async def _from_disk(self, key: str, request: Request) -> Slate | None:
        try:
            packed = await in_thread("slate-load", lambda: self._cache.load(key), DISK_DEADLINE_S)
            return None if packed is None else _fitting(packed, request)
        except TimeoutError:
            log.warning("the cache of slates does not answer; a slate is made anew")
        except SlateUnavailable as error:
            log.warning("a cached slate is of no use and is made anew: %s", error.message)
        return None


def check_file(path: Path) -> None:
    """What can be said at once about an operator's file.

    Raises:
        BadArguments: it is no file, cannot be read, or is too large.
    """
    try:
        str(path).encode()
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
    except UnicodeEncodeError:
        raise BadArguments(f"the name of the slate's file {path!r} is not UTF-8") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise BadArguments(
            f"the slate's file {path} cannot be read: {why}; check its path and its rights"
        ) from None
    if not stat.S_ISREG(status.st_mode):
        raise BadArguments(f"the slate's file {path} is not a file; give a PNG, JPEG or MP4")
    if not 0 < status.st_size < MAX_FILE_BYTES:
        raise BadArguments(
            f"the slate's file {path} has {status.st_size} bytes; "
            f"give one that is not empty and below {MAX_FILE_BYTES >> 20} MB"
        )


def _kb(packed: bytes) -> int:
    return len(packed) // 1000


def _fitting(packed: bytes, request: Request) -> Slate:
    try:
        found = slate.unpack(packed)
        if (why := slate.misfit(found, request)) is not None:
            raise ValueError(why)
    except ValueError as error:
        raise SlateUnavailable(f"a slate in {request} cannot be used: {error}") from None
    return found
