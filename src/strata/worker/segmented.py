"""What the two kinds of HLS share: segments that are cut, muxed and delivered in order."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from typing import ClassVar, Final

from strata.errors import DestinationError, StrataError
from strata.tasks import TaskGroup, in_thread
from strata.wire.forward_url import ForwardUrl
from strata.worker import ts_mux
from strata.worker.average import Pieces
from strata.worker.formats import Program
from strata.worker.output import Output
from strata.worker.playlist import Entry, Playlist
from strata.worker.segments import Segment, Segmenter
from strata.worker.units import AccessUnit

log = logging.getLogger(__name__)

OUTSTANDING_MAX: Final = 5
"""Segments that may wait for a destination (YouTube's ingest allows as many). With more, the
oldest is left out, and players are told so."""
OUTSTANDING_BYTES_MAX: Final = 24 * 1024 * 1024
MUX_DEADLINE_S: Final = 15.0


class Segmented(Output):
    """Base of both."""

    ELEMENTS: ClassVar[tuple[str, ...]] = ()
    FIRST_PROGRESS_S: ClassVar[float] = 30.0
    """A first segment takes up to 12 s to be complete."""
    PROGRESS_S: ClassVar[float] = 30.0

    def __init__(
        self,
        url: ForwardUrl,
        program: Program,
        share_kbps: int,
        on_end: Callable[[StrataError | None], None],
    ) -> None:
        super().__init__(url, program, share_kbps, on_end)
        self._waiting: deque[Segment] = deque()
        self._news = asyncio.Event()
        self._is_ending = False
        self._is_over = True
        self._taken = 0
        self._taken_s = 0.0
        self._taken_at = time.monotonic()
        self._muxer = ts_mux.TsMuxer(program)
        self._segmenter = Segmenter(self.target_s(), program.video is not None)
        self._follows = False
        self._playlist: Playlist | None = None
        self._tasks = TaskGroup(lambda _, error: self.finish(_internal(url, error)))

    # What a kind provides.

    @abstractmethod
    def target_s(self) -> float:
        """Wanted length of a segment."""

    async def resume(self) -> Playlist | None:
        """The playlist of an earlier run, to be gone on with."""
        return None

    @abstractmethod
    def playlist_length(self) -> int: ...

    @abstractmethod
    async def deliver(self, data: bytes, entry: Entry, playlist: Playlist) -> None:
        """Hands a segment over, then the playlist that lists it.

        Raises:
            StrataError: the destination did not take it.
        """

    @abstractmethod
    async def close(self, playlist: Playlist) -> None:
        """The playlist is over."""

    # What both share.

    async def start(self) -> None:
        self._tasks.spawn("hls", self._run())

    def push(self, *units: AccessUnit) -> None:
        for unit in units:
            ended = self._segmenter.add(unit)
            if ended is not None:
                self._enqueue(ended)

    def end(self, *, is_over: bool = True) -> None:
        self._is_over = is_over
        rest = self._segmenter.finish()
        if rest is not None:
            self._enqueue(rest)
        self._is_ending = True
        self._news.set()

    async def stop(self) -> None:
        self._ended = True
        await self._tasks.close()

    def bytes_out(self) -> int:
        return self._taken

    def pieces(self) -> Pieces:
        length_s = max(self.target_s(), self._segmenter.limit_s or 0)
        return Pieces(length_s, self._taken_at, self._taken_s)

    def took(self, size: int, duration_s: float) -> None:
        """The destination has taken a segment, and so many bytes with it."""
        self._taken += size
        self._taken_s += duration_s
        self._taken_at = time.monotonic()

    def _enqueue(self, segment: Segment) -> None:
        waiting = self._waiting
        waiting.append(segment)
        while len(waiting) > 1 and (
            len(waiting) > OUTSTANDING_MAX
            or sum(each.size for each in waiting) > OUTSTANDING_BYTES_MAX
        ):
            lost = waiting.popleft()
            waiting[0].follows = False
            self.dropped += lost.pictures
            log.warning("%s is too slow: %.1f s are left out", self.url, lost.duration_s)
        self._news.set()

    async def _run(self) -> None:
        try:
            playlist = await self._open()
            while True:
                while self._waiting:
                    await self._next(playlist)
                if self._is_ending:
                    break
                self._news.clear()
                await self._news.wait()
            if self._is_over:
                playlist.is_over = True
                await self.close(playlist)
        except TimeoutError:
            self.finish(DestinationError(f"{self.url.shown} did not answer in time"))
        except StrataError as error:
            self.finish(error)
        else:
            self.finish(None)

    async def _open(self) -> Playlist:
        earlier = await self.resume()
        if earlier is not None and earlier.target_s >= self.target_s():
            self._segmenter.limit_s = earlier.target_s
        if earlier is not None:
            return earlier
        self._follows = True  # the very first of all follows nothing, which needs no mark
        # A segment lasts a second at least, so that this is past all that an earlier run
        # used, even where nothing of it is left.
        return Playlist(0, self.playlist_length(), int(time.time()))

    async def _next(self, playlist: Playlist) -> None:
        segment = self._waiting.popleft()
        mux = functools.partial(self._muxer.mux, segment.units)
        data = await in_thread("hls-mux", mux, MUX_DEADLINE_S)
        playlist.target_s = max(playlist.target_s, self._segmenter.limit_s or 0)
        entry = playlist.add(segment.duration_s, segment.follows and self._follows)
        self._follows = True
        await self.deliver(data, entry, playlist)


def _internal(url: ForwardUrl, error: BaseException) -> StrataError:
    return StrataError(
        f"an internal failure ended {url.shown} ({type(error).__name__}); the worker's log has "
        "the details"
    )
