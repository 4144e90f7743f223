"""No forward can hurt another one."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from support.children import output_of
from support.media import FPS, GOP_S, RistSender, decode_errors, make_test_file, probe
from support.nginx import Nginx
from support.ports import free_tcp_port, free_udp_port
from support.relay import TcpRelay
from support.srt import srt_receiver
from support.worker import PSK, Event, WorkerProcess

KEY = "stream-key-of-the-tests"
DELIVERED_S = 2.0

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a file system")


def states_of(events: list[Event], forward: str) -> list[str]:
    return [e["state"] for e in events if e["event"] == "forward" and e["forward"] == forward]


@pytest.mark.long
@pytest.mark.timeout(200)
async def test_a_server_that_fails_in_every_way_costs_the_others_nothing(
    tmp_path: Path, long_file: Path
) -> None:
    srt_port = free_udp_port()
    async with (
        Nginx(tmp_path / "nginx") as nginx,
        TcpRelay(free_tcp_port(), nginx.port) as relay,
        srt_receiver(f"srt://127.0.0.1:{srt_port}?mode=listener", tmp_path / "srt.ts"),
    ):
        forwards = [
            f"srt://127.0.0.1:{srt_port}",
            f"rtmp://127.0.0.1:{relay.port}/live/{KEY}",
            f"file://{tmp_path}/recording.ts",
        ]
        async with (
            WorkerProcess(tmp_path, forwards) as worker,
            RistSender(tmp_path / "sender", worker.ports, PSK) as sender,
        ):
            client = worker.client

            async def next_state(state: str, after: int, deadline_s: float = 30.0) -> Event:
                return await client.wait_for(
                    lambda e: (
                        e["event"] == "forward" and e["forward"] == "fwd_2" and e["state"] == state
                    ),
                    deadline_s,
                    after=after,
                )

            await sender.begin(long_file, 64)
            for forward in ("fwd_1", "fwd_2", "fwd_3"):
                await client.event("forward", forward=forward, state="live")
            await asyncio.sleep(2.0)

            seen = len(client.events)
            await relay.refuse()
            gone = await next_state("retrying", seen)
            refused = await next_state("retrying", client.events.index(gone) + 1)
            assert "nothing listens on" in refused["message"]
            await relay.start()
            await next_state("live", seen)

            seen = len(client.events)
            relay.stalled = True
            stalled = await next_state("retrying", seen)
            assert "stopped taking the stream" in stalled["message"]
            relay.stalled = False
            await next_state("live", seen)

            seen = len(client.events)
            relay.kbps = 2700
            await asyncio.sleep(6.0)
            relay.kbps = 0
            assert states_of(client.events[seen:], "fwd_2") == []
            await sender.sent()
            await asyncio.sleep(DELIVERED_S + 1.0)
            stats = await worker.ask("stats")
            assert await worker.stop() == 0
        srt, rtmp, recording = stats["forwards"]
        assert [each["state"] for each in (srt, rtmp, recording)] == ["live"] * 3
        assert (srt["dropped_frames"], recording["dropped_frames"]) == (0, 0)
        assert (srt["reconnects"], recording["reconnects"]) == (0, 0)
        assert rtmp["reconnects"] >= 3
        assert relay.accepted <= rtmp["reconnects"] + 1
        for forward in ("fwd_1", "fwd_3"):
            states = states_of(client.events, forward)
            assert states in (["connecting", "live", "stopped"], ["live", "stopped"])
        for flv in await nginx.finished(3):
            found = await probe(flv)
            assert found.of("video")[0].key
            assert await decode_errors(flv) == ""
    whole = (await probe(tmp_path / "recording.ts")).of("video")
    relayed = (await probe(tmp_path / "srt.ts")).of("video")
    assert len(whole) >= (64 - GOP_S - 0.5) * FPS
    # SRT may join at the second key frame; from there on, every frame of the stream.
    assert len(relayed) in (len(whole), len(whole) - int(GOP_S * FPS))
    assert [packet.pts for packet in relayed] == [p.pts for p in whole[-len(relayed) :]]
    assert KEY not in worker.log()


@asynccontextmanager
async def small_disk(folder: Path, size: str) -> AsyncIterator[Path]:
    folder.mkdir()
    await output_of("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@needs_root
async def test_a_full_disk_ends_what_needs_it_and_nothing_else(
    tmp_path: Path, test_file: Path
) -> None:
    async with Nginx(tmp_path / "nginx") as nginx, small_disk(tmp_path / "disk", "6m") as disk:
        ends = ("ts", "mkv", "mp4")
        forwards = [nginx.url(KEY), f"file://{tmp_path}/fine.ts", f"hls://{disk}/hls"]
        forwards += [f"file://{disk}/full.{end}" for end in ends]
        async with (
            WorkerProcess(tmp_path, forwards) as worker,
            RistSender(tmp_path / "sender", worker.ports, PSK) as sender,
        ):
            await sender.begin(test_file, 12)
            failed = [
                await worker.client.event("forward", forward=f"fwd_{number}", state="failed")
                for number in (3, 4, 5, 6)
            ]
            await sender.sent()
            await asyncio.sleep(DELIVERED_S)
            stats = await worker.ask("stats")
            assert await worker.stop() == 0
        for event in failed:
            assert event["message"].startswith("the disk is full")
        codes = {e["forward"]: e["code"] for e in worker.client.events if e["event"] == "error"}
        assert codes == {f"fwd_{number}": "disk_full" for number in (3, 4, 5, 6)}
        assert [each["dropped_frames"] for each in stats["forwards"][:2]] == [0, 0]
        [flv] = await nginx.finished()
        for path in (flv, tmp_path / "fine.ts"):
            assert await decode_errors(path) == ""
            assert len((await probe(path)).of("video")) >= (12 - GOP_S - 0.5) * FPS
        # What was recorded before can be played.
        for end in ends:
            said = await output_of(
                *("ffprobe", "-v", "quiet", "-count_packets", "-select_streams", "v"),
                *("-show_entries", "stream=nb_read_packets", "-of", "csv=p=0"),
                disk / f"full.{end}",
            )
            assert int(said.split()[0].strip(",")) > FPS


@pytest.mark.timeout(200)
@pytest.mark.parametrize("times", [3, pytest.param(10, marks=pytest.mark.long)])
async def test_a_killed_worker_leaves_recordings_that_play_to_the_end(
    tmp_path: Path, test_file: Path, times: int
) -> None:
    ends = ("ts", "mkv", "mp4")
    chance = random.SystemRandom()
    for number in range(times):
        forwards = [f"file://{tmp_path}/{number}.{end}" for end in ends]
        async with (
            WorkerProcess(tmp_path / "worker", forwards) as worker,
            RistSender(tmp_path / "sender", worker.ports, PSK) as sender,
        ):
            await sender.begin(test_file, 12)
            for forward in ("fwd_1", "fwd_2", "fwd_3"):
                await worker.client.event("forward", forward=forward, state="live")
            await asyncio.sleep(chance.uniform(2.5, 5.0))
            stats = await worker.ask("stats")
            os.kill(worker.pid, signal.SIGKILL)
            await worker.child.wait(10.0)
        live_s = stats["forwards"][0]["live_s"]
        found = {end: await playable_s(tmp_path / f"{number}.{end}") for end in ends}
        # The packets of the one are on the disk as they come: they say what there was.
        assert found["ts"] > live_s - 2.0
        for end in ("mkv", "mp4"):
            assert found[end] > found["ts"] - 2.0, f"{end}: {found}"


async def playable_s(path: Path) -> float:
    """How much of the picture a decoder gets out of a file that was not closed."""
    said = await output_of(
        *("ffmpeg", "-v", "quiet", "-stats", "-i", path, "-map", "0:v", "-f", "null", "-")
    )
    frames = int(said.rpartition("frame=")[2].split()[0])
    return frames / FPS


@pytest.mark.long
async def test_five_forwards_at_8_mbps_one_stalled_stay_small(tmp_path: Path) -> None:
    file = tmp_path / "8.ts"
    await make_test_file(file, video_kbps=7500, seconds=30)
    async with Nginx(tmp_path / "nginx") as nginx, TcpRelay(free_tcp_port(), nginx.port) as relay:
        forwards = [f"rtmp://127.0.0.1:{relay.port}/live/{KEY}"]
        forwards += [nginx.url(f"{KEY}-{number}") for number in range(4)]
        async with (
            WorkerProcess(tmp_path, forwards, arguments=["--max-egress-kbps", "60000"]) as worker,
            RistSender(tmp_path / "sender", worker.ports, PSK) as sender,
        ):
            await sender.begin(file, 30, video_kbps=7500)
            for number in range(1, 6):
                await worker.client.event("forward", forward=f"fwd_{number}", state="live")
            relay.kbps = 1000
            await sender.sent()
            stats = [e for e in worker.client.events if e["event"] == "stats"]
            assert await worker.stop() == 0
        await relay.refuse()
        for flv in await nginx.finished(5):
            assert await decode_errors(flv) == ""
    assert max(each["rss_mb"] for each in stats) < 100
    assert max(each["bitrate_in_kbps"] for each in stats) > 7500
    last = {each["forward"]: each for each in stats[-1]["forwards"]}
    assert last["fwd_1"]["dropped_frames"] > 0
    assert all(last[f"fwd_{number}"]["dropped_frames"] == 0 for number in range(2, 6))
    slow = [e for e in worker.client.events if e["event"] == "error" and e["code"] == "too_slow"]
    assert {e["forward"] for e in slow} == {"fwd_1"}
