"""What a host makes of a worker's answer; the worker is a few lines of script."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from strata.errors import NoPicture, PictureUnavailable
from strata.host.key_frames import PICTURE_BYTES_MAX, KeyFrame, fetch
from strata.wire import worker as wire

DEADLINE_S = 10.0
READY = wire.Ready([15000], "str_1", 4711, "0")


def part(number: int, of: int, data: bytes, **more: Any) -> wire.KeyFrame:
    usual = {"codec": "h264", "shows": "live", "age_s": 0.5, "id": "picture"}
    return wire.KeyFrame(part=number, parts=of, data=data, **(usual | more))


@asynccontextmanager
async def worker(
    path: Path, *answers: wire.Event | bytes, stays: bool = False
) -> AsyncIterator[list[dict[str, Any]]]:
    """One that says this to whoever asks, and then closes the connection, or does not."""
    asked: list[dict[str, Any]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(wire.encode(READY))
        if line := await reader.readline():
            asked.append(json.loads(line))
            for answer in answers:
                writer.write(answer if isinstance(answer, bytes) else wire.encode(answer))
            if stays:
                await reader.read()
        writer.close()

    async with await asyncio.start_unix_server(serve, path):
        yield asked


async def fetched(path: Path, pid: int = os.getpid()) -> KeyFrame:
    async with asyncio.timeout(DEADLINE_S):
        return await fetch(path, pid)


async def test_a_picture_comes_in_pieces_among_other_things(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    answers: Sequence[wire.Event | bytes] = (
        part(0, 2, b"abc", config=b"avcC"),
        wire.Input("receiving", 1.0),
        part(0, 1, b"another's", id="other"),
        wire.Error("another's", "other", id="other"),
        b'{"event":"of_a_newer_version"}\n',
        part(1, 2, b"def"),
    )
    async with worker(path, *answers, stays=True) as asked:
        assert await fetched(path) == KeyFrame("h264", b"avcC", b"abcdef", "live", 0.5)
    assert asked == [{"cmd": "key_frame", "id": "picture"}]


@pytest.mark.parametrize(
    ("answers", "kind", "words"),
    [
        ([wire.Error("nothing is there", "no_picture", id="picture")], NoPicture, "^nothing is"),
        (
            [wire.Error("not a command: x", "bad_command", id="picture")],
            PictureUnavailable,
            "of an earlier release",
        ),
        ([wire.Error("odd", "internal", id="picture")], PictureUnavailable, "^odd$"),
        ([], PictureUnavailable, "ask again"),
        ([part(0, 2, b"abc")], PictureUnavailable, "ask again"),
        ([part(1, 2, b"abc")], PictureUnavailable, "do not fit"),
        ([part(0, 3, b"abc"), part(2, 3, b"abc")], PictureUnavailable, "do not fit"),
        ([b"junk\n"], PictureUnavailable, "no answer"),
        ([b"x" * 2_000_000], PictureUnavailable, "no answer"),
        (
            [part(number, 9, bytes(PICTURE_BYTES_MAX // 4)) for number in range(5)],
            PictureUnavailable,
            "do not fit",
        ),
    ],
)
async def test_what_is_no_picture_is_told(
    tmp_path: Path, answers: Sequence[wire.Event | bytes], kind: type[Exception], words: str
) -> None:
    path = tmp_path / "x.sock"
    async with worker(path, *answers):
        with pytest.raises(kind, match=words):
            await fetched(path)


async def test_a_worker_that_is_not_there_or_another_one_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    with pytest.raises(PictureUnavailable, match="ask again"):
        await fetched(path)
    async with worker(path, part(0, 1, b"abc")) as asked:
        with pytest.raises(PictureUnavailable, match="ask again"):
            await fetched(path, pid=1)
    assert asked == []
