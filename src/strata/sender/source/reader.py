"""What is read of the feed that plays: chunks, in time.

What comes live is passed on as it comes. What comes as fast as it is read (files, HLS) is paced
by its own clock, and its passes are one timeline.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from strata.sender.source.choice import is_stream_passed_on
from strata.sender.source.feeds import Feed
from strata.sender.source.packets import Chunker, aligned
from strata.sender.source.seam import Chunk
from strata.sender.source.timeline import Timeline

log = logging.getLogger(__name__)

AHEAD_S: Final = 1.0
"""Of a file, what is kept in readiness: it covers the moment between two passes."""
CODED_AHEAD_S: Final = 0.3
"""The same of what is encoded here."""
KNOWN_BY_BYTES: Final = 2 * 1024 * 1024
"""A stream that shows no tables within so much is none."""


class Reader:
    """Reads one source, over all its attempts.

    Args:
        is_paced: it comes as fast as it is read.
        on_stream: called once for each feed, with whether what came can be passed on; None if
            it is no transport stream at all.
    """

    def __init__(self, is_paced: bool, on_stream: Callable[[bool | None], None]) -> None:
        self.timeline = Timeline() if is_paced else None
        self.dropped_groups = 0
        self.media_at = 0.0
        """When media came last, on the clock that :meth:`read` is told."""
        self.looked_at = 0.0
        self.drained = asyncio.Event()
        """All that the feed gave has been taken from it; after :meth:`drain`."""
        self._emptied = asyncio.Event()
        self._on_stream = on_stream
        self._feed: Feed | None = None
        self._chunker = Chunker()
        self._waits_for_key = False
        self._seen_bytes: int | None = None
        self._is_draining = False

    def begin(self, feed: Feed) -> None:
        self._feed = feed
        if self.timeline is None:
            self._chunker = Chunker()
        self._seen_bytes = 0
        self._is_draining = False
        self.drained.clear()

    def drain(self) -> None:
        """The feed gives nothing new any more."""
        self._is_draining = True

    def end(self) -> None:
        self._feed = None

    def next_pass(self) -> None:
        if self.timeline is not None:
            self.timeline.next_pass()

    async def play_out(self) -> None:
        """Returns when all that came has been read."""
        if self.timeline is not None:
            self.timeline.finish()
            await self._emptied.wait()

    def read(self, now: float) -> list[Chunk]:
        self.looked_at = now
        buffers = self._pull(now) if self.timeline is None else self._paced(self.timeline, now)
        found: list[Chunk] = []
        for data in buffers:
            found += self._chunker.feed(aligned(data))
        if not buffers:
            found += self._chunker.flush()
        if self._seen_bytes is not None:
            self._judge(sum(map(len, buffers)))
        feed = self._feed
        if feed is not None and feed.has_overflown:
            feed.has_overflown = False
            self._waits_for_key = True
            self.dropped_groups += 1
            log.warning("nobody has read the source for too long; what waited is left out")
        return self._from_key(found) if self._waits_for_key else found

    def _pull(self, now: float) -> list[bytes]:
        buffers = self._feed.pull() if self._feed is not None else []
        if buffers:
            self.media_at = now
        return buffers

    def _paced(self, timeline: Timeline, now: float) -> list[bytes]:
        feed = self._feed
        if feed is not None:
            ahead_s = CODED_AHEAD_S if feed.is_encoding else AHEAD_S
            if timeline.waiting_s < ahead_s:
                for data in (buffers := self._pull(now)):
                    timeline.put(data)
                if not buffers and self._is_draining:
                    self.drained.set()
        elif timeline.is_empty:
            self._emptied.set()
        data = timeline.due(now)
        return [data] if data else []

    def _from_key(self, chunks: list[Chunk]) -> list[Chunk]:
        """After something was lost: from the newest key frame on."""
        for index in range(len(chunks) - 1, -1, -1):
            if chunks[index].is_key and (index == 0 or not chunks[index - 1].is_key):
                self._waits_for_key = False
                return chunks[index:]
        return []

    def _judge(self, size: int) -> None:
        """Whether what comes is a stream that the receiver's end can use."""
        assert self._seen_bytes is not None
        self._seen_bytes += size
        tables = self._chunker.tables
        if tables.are_known:
            self._seen_bytes = None
            self._on_stream(is_stream_passed_on(tables.streams))
        elif self._seen_bytes > KNOWN_BY_BYTES:
            self._seen_bytes = None
            self._on_stream(None)
