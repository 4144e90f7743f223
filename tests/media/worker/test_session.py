"""One session, whatever the links and the sender do."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest

from support.links import field
from support.media import (
    GOP_S,
    Content,
    RistSender,
    content_of,
    decode_errors,
    make_test_file,
    probe,
    skew_s,
)
from support.nginx import Nginx
from support.worker import PSK, Event, WorkerProcess

SKEW_S_MAX = 0.05
LEAD_IN_S = 4.0
HOLE_S_MAX = {"video": 1.7, "audio": 0.2}
"""Packets may be missing right behind the first key frame after a cut: then the picture stands
until the next one, or until the slate comes, 1.5 s later."""


def programs(events: list[Event]) -> list[tuple[str, str]]:
    return [(e["video"], e["audio"]) for e in events if e["event"] == "program"]


async def on_air(worker: WorkerProcess, video: str, audio: str, after: int) -> int:
    """Returns how many events there were when this went on the air."""
    event = await worker.client.wait_for(
        lambda e: e["event"] == "program" and (e["video"], e["audio"]) == (video, audio),
        after=after,
    )
    return worker.client.events.index(event, after) + 1


async def check_session(nginx: Nginx, least_s: float) -> Path:
    """One recording that is whole: each track strictly forwards, no hole, no error."""
    recordings = await nginx.finished()
    assert len(recordings) == 1, "one session"
    found = await probe(recordings[0])
    for track in ("video", "audio"):
        stamps = [packet.dts for packet in found.of(track)]
        steps = [after - before for before, after in pairwise(stamps)]
        assert min(steps) > 0, f"{track} steps back"
        assert max(steps) < HOLE_S_MAX[track], f"{track} has a hole"
        assert stamps[-1] - stamps[0] >= least_s
    assert await decode_errors(recordings[0]) == ""
    return recordings[0]


def check_states(worker: WorkerProcess) -> None:
    states = [e["state"] for e in worker.client.events if e["event"] == "forward"]
    assert set(states) <= {"connecting", "live", "stopped"}


@pytest.fixture(scope="module")
def long_content(long_file: Path) -> Content:
    return asyncio.run(content_of(long_file))


@pytest.mark.parametrize(
    "cuts", [2, pytest.param(50, marks=[pytest.mark.long, pytest.mark.timeout(900)])]
)
async def test_cuts_of_all_links_are_one_session(
    tmp_path: Path, long_file: Path, long_content: Content, cuts: int
) -> None:
    async with (
        Nginx(tmp_path / "nginx") as nginx,
        WorkerProcess(tmp_path, [nginx.url("cut")]) as worker,
        field(tmp_path / "sender", worker.ports, PSK) as there,
    ):
        await there.sender.begin(long_file, LEAD_IN_S + cuts * 12.0 + 4.0)
        seen = await on_air(worker, "live", "live", 0)
        await asyncio.sleep(LEAD_IN_S)
        for _ in range(cuts):
            await there.outage(5.0)
            seen = await on_air(worker, "slate", "silence", seen)
            seen = await on_air(worker, "live", "live", seen)
            await asyncio.sleep(2.0 + GOP_S)
        stats = await worker.ask("stats")
        assert await worker.stop() == 0
        check_states(worker)
        assert stats["line"]["slates"] == cuts
        recording = await check_session(nginx, LEAD_IN_S + cuts * 9.0)
        assert abs(skew_s(long_content, await content_of(recording))) < SKEW_S_MAX


@pytest.mark.parametrize(
    "restarts", [1, pytest.param(20, marks=[pytest.mark.long, pytest.mark.timeout(600)])]
)
async def test_an_encoder_that_is_killed_and_begins_anew_is_one_session(
    tmp_path: Path, long_file: Path, long_content: Content, restarts: int
) -> None:
    small = await make_test_file(tmp_path / "small.ts", 1000, 6, size="640x360")
    mute = await make_test_file(tmp_path / "mute.ts", 1000, 6, size="640x360", sound=False)
    async with (
        Nginx(tmp_path / "nginx") as nginx,
        WorkerProcess(tmp_path, [nginx.url("again")]) as worker,
    ):
        seen = 0
        for number in range(restarts):
            async with RistSender(tmp_path / f"sender{number}", worker.ports, PSK) as sender:
                await sender.begin(long_file, 60)
                seen = await on_air(worker, "live", "live", seen)
                await asyncio.sleep(3.0)
            seen = await on_air(worker, "slate", "silence", seen)
        for name, file in (("small", small), ("mute", mute), ("last", long_file)):
            async with RistSender(tmp_path / name, worker.ports, PSK) as sender:
                sound = "silence" if file is mute else "live"
                kbps = 4800 if file is long_file else 1000
                await sender.begin(file, 5, kbps)
                seen = await on_air(worker, "live", sound, seen)
                await sender.sent()
                await asyncio.sleep(1.2)
        assert await worker.stop() == 0
        check_states(worker)
        recording = await check_session(nginx, restarts * 4.0 + 12.0)
        assert abs(skew_s(long_content, await content_of(recording))) < SKEW_S_MAX
