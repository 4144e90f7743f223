"""Previews: a stream as HLS in a folder of its own, for the dashboard and whoever may see it.

A player asks for segments without a login of its own, so the playlist that it is given names
them with a ticket: good for one stream, and for a few minutes. A token that may do everything
its user may never gets into the addresses of segments, and so into histories and logs.
"""

from __future__ import annotations

import contextlib
import hmac
import logging
import re
import secrets
import shutil
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

from strata.control import addresses
from strata.errors import HostError, NotAllowed, NotFound
from strata.tasks import in_thread

log = logging.getLogger(__name__)

INDEX: Final = "index.m3u8"
SEGMENT: Final = re.compile(r"segment-[0-9]{1,12}\.ts")
SEGMENT_S: Final = 2
STREAM_ID: Final = re.compile(r"str_[0-9a-f]{32}")

TICKET_S: Final = 600
"""A player that was paused for longer asks for the playlist again."""

DISK_S: Final = 5.0
REMOVE_S: Final = 60.0


class Previews:
    """Those of one installation.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, media_dir: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder = media_dir / addresses.PREVIEWS
        self._media_dir = media_dir
        self._clock = clock
        # A new one with each start: a playlist is fetched every few seconds.
        self._key = secrets.token_bytes(32)

    def url(self, stream_id: str) -> str:
        """Where the preview of a stream is written to, as a forward URL."""
        name = f"{addresses.PREVIEWS}/{stream_id}?target-duration={SEGMENT_S}"
        return addresses.local_url("hls", self._media_dir, name)

    async def playlist(self, stream_id: str) -> str:
        """The playlist of a preview, in which each segment has its ticket.

        Raises:
            NotFound: the stream has none, or nothing was written yet.
            HostError: the disk does not answer.
        """
        try:
            text = (await self._read(stream_id, INDEX)).decode()
        except FileNotFoundError:
            raise NotFound(
                f"{stream_id} has no preview, or nothing of it yet: start a stream with "
                '"preview": true; the first picture comes a few seconds after the media does'
            ) from None
        ticket = self.ticket(stream_id)
        return "".join(
            f"{line}?ticket={ticket}\n" if SEGMENT.fullmatch(line) else f"{line}\n"
            for line in text.splitlines()
            if line.startswith("#") or SEGMENT.fullmatch(line)
        )

    async def segment(self, stream_id: str, name: str) -> bytes:
        """A segment.

        Raises:
            NotFound: there is none (any more).
            HostError: the disk does not answer.
        """
        if SEGMENT.fullmatch(name) is not None:
            with contextlib.suppress(FileNotFoundError):
                return await self._read(stream_id, name)
        raise NotFound("there is no such segment (any more); ask for the playlist again")

    def ticket(self, stream_id: str) -> str:
        """For the segments of a stream, for a while."""
        until = int(self._clock()) + TICKET_S
        return f"{until}.{self._sign(stream_id, until)}"

    def check(self, stream_id: str, ticket: str) -> None:
        """That a ticket is good for the segments of a stream.

        Raises:
            NotAllowed: it is not, or not any more.
        """
        until, _, signature = ticket.partition(".")
        if re.fullmatch(r"[0-9]{1,12}", until) and int(until) >= self._clock():
            wanted = self._sign(stream_id, int(until))
            if hmac.compare_digest(signature.encode(errors="replace"), wanted.encode()):
                return
        raise NotAllowed("the ticket is not valid (any more); ask for the playlist again")

    async def there(self) -> set[str]:
        """The streams of which there are any.

        Raises:
            TimeoutError: the disk does not answer.
        """
        return await in_thread("previews", self._there, DISK_S)

    async def remove(self, stream_ids: Collection[str]) -> None:
        """
        Raises:
            TimeoutError: the disk does not answer.
        """
        await in_thread("previews", lambda: self._remove(stream_ids), REMOVE_S)

    async def _read(self, stream_id: str, name: str) -> bytes:
        path = self._folder / _checked(stream_id) / name
        try:
            return await in_thread("preview", path.read_bytes, DISK_S)
        except TimeoutError:
            raise HostError(f"the disk under {self._folder} does not answer; see to it") from None

    def _there(self) -> set[str]:
        found = self._folder.iterdir() if self._folder.is_dir() else ()
        return {
            each.name for each in found if STREAM_ID.fullmatch(each.name) and not each.is_symlink()
        }

    def _remove(self, stream_ids: Collection[str]) -> None:
        for id in stream_ids:
            shutil.rmtree(self._folder / _checked(id), ignore_errors=True)

    def _sign(self, stream_id: str, until: int) -> str:
        return hmac.digest(self._key, f"{stream_id} {until}".encode(), "sha256").hex()


def _checked(stream_id: str) -> str:
    if STREAM_ID.fullmatch(stream_id) is None:
        raise NotFound(f"there is no stream {stream_id[:64]!r}")
    return stream_id
