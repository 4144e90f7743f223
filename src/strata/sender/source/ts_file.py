"""A recorded transport stream, as it is: read ahead by threads, since a card or a stick may take
its time."""

from __future__ import annotations

import asyncio
import os
import stat
from collections import deque
from collections.abc import Callable
from typing import BinaryIO, Final

from strata.errors import NotFound, SourceUnavailable
from strata.media.ts_tables import PACKET, Tables
from strata.sender.source.packets import aligned
from strata.sender.source.pipeline import Failure
from strata.tasks import TaskGroup, in_thread

BLOCK_BYTES: Final = PACKET * 7 * 100
"""0.2 s at 5 Mbps."""
BLOCKS_AHEAD: Final = 8
READ_DEADLINE_S: Final = 10.0
LOOK_BYTES: Final = 2 * 1024 * 1024
"""Its tables come within so much."""


class TsFile:
    """One pass through a file."""

    is_encoding: Final = False
    encoder: Final = None

    def __init__(self, path: str, on_end: Callable[[Failure | None], None]) -> None:
        self.has_overflown = False
        self._path = path
        self._on_end = on_end
        self._blocks: deque[bytes] = deque()
        self._wanted = asyncio.Event()
        self._tasks = TaskGroup()
        self._file: BinaryIO | None = None

    async def start(self, on_media: Callable[[], None]) -> None:
        """Opens it.

        Raises:
            StrataError: it cannot be read.
        """
        self._file = await opened(self._path)
        self._tasks.spawn("file-read", self._read(self._file, on_media))

    def pull(self) -> list[bytes]:
        found = list(self._blocks)
        self._blocks.clear()
        self._wanted.set()
        return found

    def set_bitrate(self, total_kbps: int) -> None:
        """It is what it is."""

    async def stop(self) -> None:
        await self._tasks.close()
        if self._file is not None:
            self._file.close()

    async def _read(self, file: BinaryIO, on_media: Callable[[], None]) -> None:
        try:
            while block := await in_thread(
                "file-block", lambda: file.read(BLOCK_BYTES), READ_DEADLINE_S
            ):
                # Its last packet may not be whole.
                self._blocks.append(block[: len(block) // PACKET * PACKET])
                on_media()
                while len(self._blocks) >= BLOCKS_AHEAD:
                    self._wanted.clear()
                    await self._wanted.wait()
        except OSError as error:  # with TimeoutError, which is one
            why = error.strerror or f"nothing was read for {READ_DEADLINE_S:.0f} s"
            remedy = "see whether its card or stick is still there"
            self._on_end(Failure("source", f"the file cannot be read on: {why}", remedy))
        else:
            self._on_end(None)


async def opened(path: str) -> BinaryIO:
    """The file, without ever waiting for it (a pipe would).

    Raises:
        StrataError: it is none, or cannot be read.
    """

    def work() -> BinaryIO:
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", 0)
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise NotFound(f"the source {path} is no file; give the path of a recording")
        return file

    try:
        return await in_thread("file-open", work, READ_DEADLINE_S)
    except IsADirectoryError:
        raise NotFound(f"the source {path} is no file; give the path of a recording") from None
    except FileNotFoundError:
        raise NotFound(
            f"the source {path} is not there; see its name, and whether its card or stick is in"
        ) from None
    except OSError as error:
        why = error.strerror or f"nothing was read for {READ_DEADLINE_S:.0f} s"
        raise SourceUnavailable(
            f"the source {path} cannot be read: {why}; see its permissions and its card or stick"
        ) from None


async def streams_of(path: str) -> tuple[tuple[int, int], ...] | None:
    """What a file holds if it is a transport stream of whole packets from its first byte on,
    and short of surprises: stream type and PID of each; else None.

    Raises:
        StrataError: it cannot be read.
    """
    file = await opened(path)
    try:
        data = await in_thread("file-look", lambda: file.read(LOOK_BYTES), READ_DEADLINE_S)
    except OSError:
        raise SourceUnavailable(
            f"the source {path} cannot be read; see its card or stick"
        ) from None
    finally:
        file.close()
    if aligned(data[: PACKET * 5])[:PACKET] != data[:PACKET] or not data:
        return None
    tables = Tables()
    for at in range(0, len(data) - PACKET + 1, PACKET):
        high, low = data[at + 1], data[at + 2]
        if high & 0x40 and tables.concerns((high & 0x1F) << 8 | low):
            tables.look_at(data[at : at + PACKET])
            if tables.are_known:
                return tables.streams
    return None
