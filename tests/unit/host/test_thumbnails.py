"""When pictures are made, and by what; workers and helpers are a few lines of script."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from strata.errors import NoPicture, PictureUnavailable
from strata.host import thumbnails as thumbnails_module
from strata.host.thumbnails import AGAIN_S, AT_ONCE, Thumbnails
from strata.wire import host as wire
from strata.wire import worker as worker_wire
from support.children import until
from support.virtual_time import Clock

HELPER = """
import os, sys, time
from strata.wire import helpers
what, ran = sys.argv[1:]
draw = helpers.decode(sys.stdin.buffer.readline(), helpers.Draw)
with open(ran, "a") as file:
    print(os.getpid(), file=file)
if what == "hang":
    time.sleep(60)
if what == "fail":
    sys.exit("a warning\\nthe reason")
if what == "mute":
    sys.exit(3)
if what == "die":
    os.kill(os.getpid(), 24)
if what == "flood":
    while True:
        os.write(1, bytes(65536))
if what != "empty":
    sys.stdout.buffer.write(b"JPEG of " + draw.data)
"""


class Case:
    """A worker with one picture, and a helper that does as it is told."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "x.sock"
        self.asked = 0
        self.codec = "h264"
        self.data: bytes | None = b"one"
        self._ran = folder / "ran"
        self._script = folder / "helper.py"
        self._script.write_text(HELPER)

    def thumbnails(self, what: str = "draw", deadline_s: float = 20.0) -> Thumbnails:
        command = (sys.executable, "-I", str(self._script), what, str(self._ran))
        return Thumbnails(command, deadline_s)

    @property
    def runs(self) -> list[int]:
        return [int(line) for line in self._ran.read_text().split()] if self._ran.exists() else []

    def gone(self) -> bool:
        return not any(Path(f"/proc/{pid}").exists() for pid in self.runs)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readline():
            self.asked += 1
            answer: worker_wire.Event = worker_wire.Error("nothing", "no_picture", id="picture")
            if self.data is not None:
                answer = worker_wire.KeyFrame(
                    0, 1, self.codec, "slate", 1.5, self.data, b"", id="picture"
                )
            writer.write(worker_wire.encode(answer))
        writer.close()


@pytest.fixture
async def case(tmp_path: Path) -> AsyncIterator[Case]:
    async with running(tmp_path) as one:
        yield one


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Case]:
    one = Case(folder)
    async with await asyncio.start_unix_server(one.serve, one.path):
        yield one


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What is in it is added to the time."""
    added = [0.0]

    class Time:
        @staticmethod
        def monotonic() -> float:
            return Clock.monotonic() + sum(added)

    monkeypatch.setattr(thumbnails_module, "time", Time)
    return added


async def get(one: Thumbnails, case: Case, stream_id: str = "str_1", pid: int = 0) -> wire.Picture:
    return await one.get(stream_id, case.path, pid or os.getpid())


async def test_a_picture_is_made_when_asked_for_and_not_again_at_once(
    case: Case, later: list[float]
) -> None:
    one = case.thumbnails()
    assert case.runs == []
    first = await get(one, case)
    assert (first.jpeg, first.shows) == (b"JPEG of one", "slate")
    assert 1.5 <= first.age_s < 20.0
    case.data = b"two"
    later.append(AGAIN_S - 1.0 - (first.age_s - 1.5))
    again = await get(one, case)
    assert again.jpeg == b"JPEG of one"
    assert again.age_s > first.age_s
    later.append(AGAIN_S)
    newer = await get(one, case)
    assert newer.jpeg == b"JPEG of two"
    assert newer.age_s < again.age_s
    assert len(case.runs) == 2


async def test_those_who_ask_at_once_share_one(case: Case) -> None:
    one = case.thumbnails()
    found = await asyncio.gather(*(get(one, case) for _ in range(20)))
    assert {each.jpeg for each in found} == {b"JPEG of one"}
    assert len(case.runs) == case.asked == 1


async def test_one_who_goes_away_takes_it_from_nobody(case: Case) -> None:
    one = case.thumbnails()
    first, second = (asyncio.create_task(get(one, case)) for _ in range(2))
    await until(lambda: case.asked, 10.0, "it is being made")
    first.cancel()
    assert (await second).jpeg == b"JPEG of one"


async def test_a_new_worker_has_a_picture_of_its_own(case: Case) -> None:
    one = case.thumbnails()
    await get(one, case)
    with pytest.raises(PictureUnavailable, match="being replaced"):
        await get(one, case, pid=1)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("fail", "cannot be shown: the reason"),
        ("mute", "status 3"),
        ("die", "signal 24"),
        ("flood", "too large"),
        ("empty", "status 0"),
    ],
)
async def test_why_there_is_none_is_told_and_not_tried_again_at_once(
    case: Case, later: list[float], what: str, words: str
) -> None:
    one = case.thumbnails(what)
    for _ in range(2):
        with pytest.raises(PictureUnavailable, match=words):
            await get(one, case)
    assert len(case.runs) == 1
    later.append(AGAIN_S)
    with pytest.raises(PictureUnavailable, match=words):
        await get(one, case)
    assert len(case.runs) == 2
    assert case.gone()


async def test_without_media_nothing_is_started(case: Case) -> None:
    case.data = None
    with pytest.raises(NoPicture, match=r"^nothing$"):
        await get(case.thumbnails(), case)
    assert case.runs == []


async def test_of_other_codecs_there_is_none(case: Case) -> None:
    case.codec = "mpeg2"
    with pytest.raises(PictureUnavailable, match="the video is mpeg2"):
        await get(case.thumbnails(), case)
    assert case.runs == []


async def test_a_helper_that_cannot_be_started_is_told(case: Case) -> None:
    with pytest.raises(PictureUnavailable, match="could not be started: No such file"):
        await get(Thumbnails(("/nonexistent/helper",)), case)


async def test_one_that_hangs_is_killed_and_the_next_in_turn_comes(case: Case) -> None:
    one = case.thumbnails("hang", deadline_s=1.0)
    streams = [f"str_{number}" for number in range(AT_ONCE + 1)]
    found = await asyncio.gather(
        *(get(one, case, stream) for stream in streams), return_exceptions=True
    )
    assert all(isinstance(each, PictureUnavailable) for each in found)
    assert "could be made in 1 s" in str(found[0])
    assert case.asked == AT_ONCE
    assert case.gone()
    assert (await get(case.thumbnails(), case)).jpeg == b"JPEG of one"


async def test_what_has_ended_is_forgotten(case: Case) -> None:
    one = case.thumbnails()
    await get(one, case)
    one.forget("str_1")
    one.forget("str_2")
    await get(one, case)
    assert len(case.runs) == 2


@pytest.mark.parametrize("how", ["forget", "close"])
async def test_the_end_of_a_stream_or_the_host_ends_what_is_under_way(case: Case, how: str) -> None:
    one = case.thumbnails("hang")
    getting = asyncio.create_task(get(one, case))
    await until(lambda: case.runs, 10.0, "the helper runs")
    if how == "forget":
        one.forget("str_1")
    else:
        await one.close()
    with pytest.raises(PictureUnavailable, match="ended while"):
        await getting
    await until(case.gone, 5.0, "the helper is gone")
    await one.close()
