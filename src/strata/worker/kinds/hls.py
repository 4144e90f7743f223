"""HLS on disk: segments and ``index.m3u8`` in a folder, for a web server to serve."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from strata.errors import BadUrl, DestinationError, DiskFull, StrataError
from strata.tasks import in_thread
from strata.wire.forward_url import ForwardUrl
from strata.worker import playlist as playlists
from strata.worker.playlist import SEGMENT_NAME, Entry, Playlist
from strata.worker.segmented import Segmented

T = TypeVar("T")

INDEX: Final = "index.m3u8"
DISK_DEADLINE_S: Final = 10.0
KEPT_FOR_LISTS: Final = 2
"""A player may hold an old playlist: what left the list stays for as long as a list is."""


class Hls(Segmented):
    @classmethod
    def prepare(cls, url: ForwardUrl) -> None:
        folder = _folder(url)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise BadUrl(
                f"cannot write a playlist to {folder}: {error.strerror}; choose a folder that "
                "this user may write to"
            ) from error

    def target_s(self) -> float:
        return float(self.url.whole("target-duration"))

    def playlist_length(self) -> int:
        return self.url.whole("playlist-length")

    async def resume(self) -> Playlist | None:
        return await self._on_disk(functools.partial(_resume, self.url))

    async def deliver(self, data: bytes, entry: Entry, playlist: Playlist) -> None:
        index = playlist.render().encode()
        first = playlist.entries[0].sequence - (KEPT_FOR_LISTS - 1) * playlist.length
        folder = _folder(self.url)
        await self._on_disk(lambda: _put(folder, entry.name, data, index, first))
        self.took(len(data), entry.duration_s)

    async def close(self, playlist: Playlist) -> None:
        if playlist.entries:
            data = playlist.render().encode()
            await self._on_disk(functools.partial(_write, _folder(self.url), INDEX, data))

    async def _on_disk(self, work: Callable[[], T]) -> T:
        try:
            return await in_thread("hls-disk", work, DISK_DEADLINE_S)
        except TimeoutError:
            raise DestinationError(f"{self.url.shown}: the disk does not answer") from None
        except OSError as error:
            raise self._explain(error) from error

    def _explain(self, error: OSError) -> StrataError:
        if error.errno == errno.ENOSPC:
            return DiskFull(
                f"the disk is full, so the playlist in {self.url.path} has stopped; make room, "
                "then set the forward again"
            )
        return DestinationError(f"cannot write to {self.url.path}: {error.strerror}")


def _folder(url: ForwardUrl) -> Path:
    assert url.path is not None
    return Path(url.path)


def _resume(url: ForwardUrl) -> Playlist | None:
    folder = _folder(url)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        text = (folder / INDEX).read_text(errors="replace")
    except FileNotFoundError:
        text = ""
    earlier = playlists.resume(text, url.whole("playlist-length"))
    if earlier is not None:
        _remove_before(folder, earlier.entries[0].sequence if earlier.entries else 0)
        # A number that a segment has without being listed was taken by a run that was
        # killed between the two.
        newest = max(_numbers(folder), default=0)
        if newest >= earlier.next_sequence:
            earlier.entries.clear()
            earlier.next_sequence = newest + 1
    return earlier


def _put(folder: Path, name: str, data: bytes, index: bytes, first: int) -> None:
    _write(folder, name, data)
    _write(folder, INDEX, index)
    _remove_before(folder, first)


def _numbers(folder: Path) -> list[int]:
    found = map(SEGMENT_NAME.fullmatch, os.listdir(folder))
    return [int(each[1]) for each in found if each]


def _write(folder: Path, name: str, data: bytes) -> None:
    """All of it or nothing, whoever looks and whatever happens."""
    part = folder / f".{name}.part"
    try:
        part.write_bytes(data)
        part.replace(folder / name)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def _remove_before(folder: Path, sequence: int) -> None:
    for number in _numbers(folder):
        if number < sequence:
            (folder / f"segment-{number}.ts").unlink(missing_ok=True)
