"""What is on the air, as a host shows it, and what a platform gets of a test push."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from strata.wire import host as wire
from strata.wire import worker as worker_wire
from strata.wire.helpers import MAX_JPEG_BYTES
from support.children import output_of, until
from support.control import Place, place
from support.hosts import DEADLINE_S, PSK, Stage, stage
from support.media import RistSender, decode_errors, probe
from support.nginx import Nginx

KEY = "canary-stream-key"
ANOTHER_S = 5.2
"""After which another picture is made."""


@pytest.fixture
def here() -> Iterator[Place]:
    with place() as one:
        yield one


async def picture(one: Stage, stream_id: str) -> wire.Picture:
    reply = await one.client.request(wire.Thumbnail(stream_id))
    assert isinstance(reply, wire.Picture)
    return reply


async def spread(jpeg: bytes, folder: Path) -> int:
    """How far the darkest and the brightest of 16 by 9 areas are apart."""
    (folder / "one.jpg").write_bytes(jpeg)
    await output_of(
        *("ffmpeg", "-v", "error", "-y", "-i", folder / "one.jpg"),
        *("-vf", "scale=16:9:flags=area,format=gray", "-f", "rawvideo", folder / "grey"),
    )
    grey = (folder / "grey").read_bytes()
    return max(grey) - min(grey)


def shows(one: Stage, what: str) -> bool:
    programs = [
        notice.event.video
        for notice in one.notices
        if isinstance(notice, wire.WorkerSaid) and isinstance(notice.event, worker_wire.Program)
    ]
    return bool(programs) and programs[-1] == what


@pytest.mark.timeout(200)
async def test_the_senders_picture_and_the_slate_are_shown_for_what_they_are(
    here: Place, tmp_path: Path, test_file: Path
) -> None:
    async with Nginx(tmp_path / "nginx") as nginx, stage(here) as one:
        stream_id, started = await one.start(nginx.url(KEY))
        sender = RistSender(tmp_path / "sender", started.ports, PSK)
        async with sender:
            await sender.begin(test_file, 3600)
            await until(lambda: shows(one, "live"), DEADLINE_S, "the picture is on the air")
            await until(nginx.recordings, DEADLINE_S, "the platform gets it")
            first = await picture(one, stream_id)
            assert first.shows == "live"
            assert 0.0 <= first.age_s < 8.0
            assert first.jpeg.startswith(b"\xff\xd8\xff")
            assert len(first.jpeg) <= MAX_JPEG_BYTES
            assert await spread(first.jpeg, tmp_path) > 80
            again = await asyncio.gather(*(picture(one, stream_id) for _ in range(10)))
            assert {each.jpeg for each in again} == {first.jpeg}
            assert all(each.age_s > first.age_s for each in again)
        await until(lambda: shows(one, "slate"), DEADLINE_S, "the slate is on the air")
        await asyncio.sleep(ANOTHER_S)
        slate = await picture(one, stream_id)
        assert slate.shows == "slate"
        assert slate.jpeg != first.jpeg
        assert slate.age_s < 8.0
        await one.stop(stream_id)
        assert one.nothing_is_left()
        [flv] = await nginx.finished()
        assert await decode_errors(flv) == ""


@pytest.mark.timeout(200)
async def test_a_test_push_reaches_the_platform_while_another_stream_is_on_the_air(
    here: Place, tmp_path: Path, test_file: Path
) -> None:
    async with Nginx(tmp_path / "nginx") as nginx, stage(here) as one:
        stream_id, started = await one.start(nginx.url(KEY))
        async with RistSender(tmp_path / "sender", started.ports, PSK) as sender:
            await sender.begin(test_file, 3600)
            await until(nginx.recordings, DEADLINE_S, "the stream is on the air")
            reply = await one.client.request(wire.TestPush(nginx.url("another"), 10.0))
            assert isinstance(reply, wire.Tested)
            assert (reply.ok, reply.code) == (True, "ok"), reply
            assert reply.live_s == pytest.approx(10.0, abs=1.0)
            taken = await one.client.request(wire.TestPush(nginx.url(KEY), 3.0))
            assert isinstance(taken, wire.Tested)
            assert (taken.ok, taken.code) == (False, "refused"), taken
            await one.stop(stream_id)
        assert one.nothing_is_left()
        pushed = next(path for path in await nginx.finished(2) if "another" in path.name)
        aired = next(path for path in nginx.recordings() if KEY in path.name)
        assert await decode_errors(pushed) == ""
        assert (await probe(pushed)).video_s == pytest.approx(10.5, abs=1.5)
        assert (await probe(aired)).longest_step_s < 1.5 / 25
