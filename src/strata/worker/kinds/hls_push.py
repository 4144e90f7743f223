"""HLS push: segments and playlist are uploaded (HTTP PUT), as YouTube's HLS ingest wants it.

Source: YouTube Live Streaming API, "Delivering live YouTube content via HLS": segments of one
to four seconds, uploaded before the playlist that lists them; an address that ends in
``file=`` is completed with each file's name.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from typing import ClassVar, Final
from urllib.parse import urlsplit, urlunsplit

from strata.errors import DestinationError
from strata.tasks import in_thread
from strata.worker.http_put import Putter
from strata.worker.playlist import Entry, Playlist
from strata.worker.segmented import Segmented

log = logging.getLogger(__name__)

TARGET_S: Final = 2.0
PLAYLIST_LENGTH: Final = 5
UPLOAD_DEADLINE_S: Final = 15.0
"""For one file. A server that is slower than this is slower than any stream."""
TRIES_FOR_S: Final = 8.0
"""Then the forward is said to be retrying, and begins anew."""
WAITS_S: Final = (0.5, 1.0, 2.0)

INDEX: Final = "index.m3u8"
SEGMENT_TYPE: Final = "video/mp2t"
INDEX_TYPE: Final = "application/vnd.apple.mpegurl"


class HlsPush(Segmented):
    NETWORKED: ClassVar[bool] = True
    OVERHEAD: ClassVar[float] = 1.08
    """The transport stream around the media."""

    _putter: Putter | None = None
    _is_only_received = False

    def target_s(self) -> float:
        return TARGET_S

    def playlist_length(self) -> int:
        return PLAYLIST_LENGTH

    def idle(self) -> str | None:
        if self._is_only_received:
            return (
                f"{self.url.host} answers 202: it has received the upload and does not say "
                "that it takes it; look at the platform's own page"
            )
        return None

    async def deliver(self, data: bytes, entry: Entry, playlist: Playlist) -> None:
        accepted = await self._upload(entry.name, data, SEGMENT_TYPE)
        index = playlist.render().encode()
        accepted = await self._upload(INDEX, index, INDEX_TYPE) and accepted
        self._is_only_received = not accepted
        if accepted:
            self.took(len(data) + len(index), entry.duration_s)

    async def close(self, playlist: Playlist) -> None:
        if playlist.entries:
            await self._upload(INDEX, playlist.render().encode(), INDEX_TYPE)

    async def stop(self) -> None:
        await super().stop()
        self._drop_connection()

    async def _upload(self, name: str, data: bytes, content_type: str) -> bool:
        """Raises DestinationError when some tries have failed."""
        give_up_at = time.monotonic() + TRIES_FOR_S
        tries = 0
        while True:
            try:
                return await self._try(name, data, content_type)
            except DestinationError as error:
                self._drop_connection()
                if not error.can_retry or time.monotonic() > give_up_at:
                    raise
                log.info("%s: %s; trying again", self.url, error.message)
            await asyncio.sleep(WAITS_S[min(tries, len(WAITS_S) - 1)])
            tries += 1

    async def _try(self, name: str, data: bytes, content_type: str) -> bool:
        if self._putter is None:
            self._putter = Putter(self.url, lambda: self.share_kbps)
        put = functools.partial(
            self._putter.put, address_of(self.url.url, name), data, content_type
        )
        try:
            return await in_thread("hls-put", put, UPLOAD_DEADLINE_S)
        except TimeoutError:
            raise DestinationError(
                f"{self.url.host}:{self.url.port} took longer than {UPLOAD_DEADLINE_S:.0f} s "
                f"for {len(data) // 1024} KiB; it does not keep up with the stream"
            ) from None

    def _drop_connection(self) -> None:
        """The next upload makes another one; a thread may still hang in this."""
        putter, self._putter = self._putter, None
        if putter is not None:
            putter.close()


def address_of(url: str, name: str) -> str:
    """Where a file of this playlist is uploaded to."""
    parts = urlsplit(url)
    if parts.query.endswith("file="):
        return url + name
    head, slash, last = parts.path.rpartition("/")
    if last.endswith(".m3u8"):
        path = parts.path if name == INDEX else head + slash + name
    else:
        path = parts.path.rstrip("/") + "/" + name
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))
