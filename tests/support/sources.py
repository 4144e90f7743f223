"""Sources of the sender, read as a broadcast reads them, and servers that they take a picture
from."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from strata.sender.source import Chunk, End, Source, SourceSettings, open_source
from strata.wire import agent as wire
from support.children import Child, until

READ_EACH_S: Final = 0.01
RTSP_SERVER: Final = Path(__file__).with_name("rtsp_server.py")


class Reading:
    """What came of a source, and when.

    Attributes:
        chunks: with the seconds since the reading began.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.chunks: list[tuple[float, Chunk]] = []
        self.end: End | None = None
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()

    @property
    def now_s(self) -> float:
        return self._loop.time() - self._began

    @property
    def size(self) -> int:
        return sum(len(chunk.payload) for _, chunk in self.chunks)

    async def go_on(self, seconds: float, until: Callable[[], object] = lambda: False) -> None:
        """Reads for so long, or until something holds or the source ends."""
        ended = asyncio.ensure_future(self.source.ended())
        stop_at = self.now_s + seconds
        try:
            while self.now_s < stop_at and not until() and not ended.done():
                now = self.now_s
                self.chunks += [(now, chunk) for chunk in self.source.read()]
                await asyncio.sleep(READ_EACH_S)
            if ended.done():
                self.end = ended.result()
        finally:
            ended.cancel()

    def kbps(self, begin_s: float, end_s: float) -> float:
        bits = sum(len(chunk.payload) * 8 for at, chunk in self.chunks if begin_s <= at < end_s)
        return bits / 1000 / (end_s - begin_s)

    @property
    def data(self) -> bytes:
        return b"".join(chunk.payload for _, chunk in self.chunks)


@asynccontextmanager
async def playing(
    kbps: int = 3000,
    settings: SourceSettings | None = None,
    keyint: int = 50,
    **source: Any,
) -> AsyncIterator[Reading]:
    """A source that has been started, for as long as the block takes."""
    one = open_source(
        wire.Source(**source),
        wire.Encoder(bitrate_kbps=kbps, keyint_max=keyint),
        settings or SourceSettings(),
    )
    try:
        await one.start()
        yield Reading(one)
    finally:
        await one.stop()


def feeder(file: Path, to: str, log: Path, *options: str) -> Child:
    """ffmpeg, which sends the file over and over in real time."""
    return Child(
        [
            *("ffmpeg", "-nostdin", "-v", "error", "-re", "-stream_loop", "-1", "-i", file),
            *("-c", "copy", *options, to),
        ],
        log,
    )


async def rtsp_server(port: int, launch: str, log: Path, password: str = "") -> Child:
    """A camera at ``rtsp://127.0.0.1:port/live``."""
    server = Child([sys.executable, RTSP_SERVER, str(port), launch, password], log)
    try:
        await until(lambda: "ready" in server.said(), 15.0, "the RTSP server listens")
    except BaseException:
        await server.__aexit__()
        raise
    return server
