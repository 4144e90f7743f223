"""Small pictures of what is on the air, for whoever looks at a page.

Made when somebody asks, one for all who ask at about the same time, by a process that is there
for one picture (:mod:`strata.worker.thumbnail`). When nobody asks, nothing is done.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from strata import helpers
from strata.errors import PictureUnavailable, StrataError
from strata.host import key_frames
from strata.host.key_frames import KeyFrame
from strata.tasks import TaskGroup
from strata.wire import helpers as helper_wire
from strata.wire import host as wire

log = logging.getLogger(__name__)

COMMAND: Final = (sys.executable, "-I", "-m", "strata.worker.thumbnail.maker")
AGAIN_S: Final = 5.0
"""Of one stream, no more often. Whoever asks in between gets the last one, or why there is
none."""
DEADLINE_S: Final = 5.0
AT_ONCE: Final = 2
"""On one host: each takes a third of a second of a core, which should not be taken from what is
on the air."""


@dataclass(frozen=True, slots=True)
class _Taken:
    """What came of the last time: a picture, or why there is none.

    Attributes:
        at: when, on the monotonic clock.
        pid: of the worker that had it on the air.
    """

    at: float
    pid: int
    found: wire.Picture | StrataError


class Thumbnails:
    """Those of one host.

    Args:
        command: makes one.
    """

    def __init__(self, command: Sequence[str] = COMMAND, deadline_s: float = DEADLINE_S) -> None:
        self._command = command
        self._deadline_s = deadline_s
        self._latest: dict[str, _Taken] = {}
        self._runs: dict[str, asyncio.Task[None]] = {}
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._tasks = TaskGroup()

    async def get(self, stream_id: str, socket: Path, pid: int) -> wire.Picture:
        """The picture that worker ``pid`` has on the air, or had a few seconds ago.

        Raises:
            NoPicture: there is none.
            PictureUnavailable: it cannot be shown; says why.
        """
        latest = self._latest.get(stream_id)
        if latest is None or latest.pid != pid or time.monotonic() - latest.at >= AGAIN_S:
            run = self._runs.get(stream_id)
            if run is None:
                work = self._take(stream_id, socket, pid)
                run = self._runs[stream_id] = self._tasks.spawn(f"{stream_id}-picture", work)
            await asyncio.wait({run})
            latest = self._latest.get(stream_id)
        if latest is None:
            raise PictureUnavailable("the stream ended while its picture was made")
        if isinstance(latest.found, StrataError):
            raise latest.found.with_traceback(None)  # of whoever asked before
        passed_s = time.monotonic() - latest.at
        age_s = round(latest.found.age_s + passed_s, 3)
        return msgspec.structs.replace(latest.found, age_s=age_s)

    def forget(self, stream_id: str) -> None:
        """The stream is over."""
        self._latest.pop(stream_id, None)
        run = self._runs.pop(stream_id, None)
        if run is not None:
            run.cancel()

    async def close(self) -> None:
        await self._tasks.close()

    async def _take(self, stream_id: str, socket: Path, pid: int) -> None:
        found: wire.Picture | StrataError
        at: float | None = None
        try:
            async with asyncio.timeout(self._deadline_s), self._turn:
                key_frame = await key_frames.fetch(socket, pid)
                fetched_at = time.monotonic()
                jpeg = await self._draw(key_frame)
            found, at = wire.Picture(jpeg, key_frame.age_s, key_frame.shows), fetched_at
        except TimeoutError:
            found = PictureUnavailable(
                f"no picture could be made in {self._deadline_s:.0f} s: this machine is busy "
                "with what is on the air, or others are shown; ask again"
            )
        except StrataError as error:
            found = error
        finally:
            if self._runs.get(stream_id) is asyncio.current_task():
                del self._runs[stream_id]
        if isinstance(found, StrataError):
            log.info("%s: %s", stream_id, found.message)
        self._latest[stream_id] = _Taken(at or time.monotonic(), pid, found)

    async def _draw(self, key_frame: KeyFrame) -> bytes:
        codec = key_frame.codec
        if codec not in ("h264", "h265"):
            raise PictureUnavailable(f"the video is {codec}; pictures are made of H.264 and H.265")
        line = helper_wire.encode(
            helper_wire.Draw(
                "h264" if codec == "h264" else "h265", key_frame.config, key_frame.data
            )
        )
        try:
            answer = await helpers.ask(
                self._command, line, self._deadline_s, helper_wire.MAX_JPEG_BYTES
            )
        except helpers.TooLong:
            raise PictureUnavailable("the picture is too large") from None
        except TimeoutError:
            raise
        except OSError as error:
            raise PictureUnavailable(
                f"the process that makes pictures could not be started: {error.strerror}; see "
                "the limits on processes and memory of this machine"
            ) from None
        if answer.status or not answer.output:
            raise PictureUnavailable(f"the picture on the air cannot be shown: {_why(answer)}")
        return answer.output


def _why(answer: helpers.Answer) -> str:
    if answer.status >= 0:
        return answer.words or f"the process that makes it ended with status {answer.status}"
    return (
        "the process that makes it ended by signal "
        f"{-answer.status}, {signal.strsignal(-answer.status)}: it takes too much time or "
        "memory, or is broken"
    )
