"""Fetches from a worker the picture that it has on the air.

Over a connection of its own, so that a large picture holds up none of what the worker says to
its host.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec

from strata.errors import NoPicture, PictureUnavailable, StrataError
from strata.host.worker_client import MAX_EVENT_BYTES, peer_pid
from strata.wire import worker as wire
from strata.wire.lines import LineSplitter, LineTooLong

PICTURE_BYTES_MAX: Final = 2 * 1024 * 1024
"""What a worker gives out at most."""
_ID: Final = "picture"


@dataclass(frozen=True, slots=True)
class KeyFrame:
    """A picture as it is coded; ``age_s`` is since it went on the air."""

    codec: str
    config: bytes
    data: bytes
    shows: Literal["live", "slate"]
    age_s: float


async def fetch(socket: Path, pid: int) -> KeyFrame:
    """What worker ``pid`` has on the air.

    Raises:
        NoPicture: nothing.
        PictureUnavailable: it does not say.
    """
    try:
        reader, writer = await asyncio.open_unix_connection(socket)
    except OSError:
        raise _gone() from None
    try:
        if peer_pid(writer) != pid:
            raise _gone()
        writer.write(wire.encode(wire.GetKeyFrame(_ID)))
        return await _read(reader)
    except (LineTooLong, OSError, msgspec.DecodeError) as error:
        raise PictureUnavailable(
            f"what the worker says of its picture is no answer: {error}"
        ) from (None)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _read(reader: asyncio.StreamReader) -> KeyFrame:
    splitter = LineSplitter(MAX_EVENT_BYTES)
    parts: list[wire.KeyFrame] = []
    size = 0
    while data := await reader.read(64 * 1024):
        for line in splitter.feed(data):
            match wire.decode_event(line):
                case wire.KeyFrame(id=id) as part if id == _ID:
                    parts.append(part)
                    size += len(part.data)
                    if part.part != len(parts) - 1 or size > PICTURE_BYTES_MAX:
                        raise PictureUnavailable(
                            "the worker's picture came in pieces that do not fit"
                        )
                    if len(parts) == part.parts:
                        return _whole(parts)
                case wire.Error(id=id) as error if id == _ID:
                    raise _error(error)
    raise _gone()


def _whole(parts: list[wire.KeyFrame]) -> KeyFrame:
    first = parts[0]
    data = b"".join(part.data for part in parts)
    return KeyFrame(first.codec, first.config, data, first.shows, first.age_s)


def _error(error: wire.Error) -> StrataError:
    if error.code == NoPicture.code:
        return NoPicture(error.message)
    if error.code == "bad_command":
        return PictureUnavailable(
            "this stream's worker is of an earlier release, which cannot show its picture; the "
            "next broadcast can"
        )
    return PictureUnavailable(error.message)


def _gone() -> PictureUnavailable:
    return PictureUnavailable("the stream's worker is ending or being replaced; ask again")
