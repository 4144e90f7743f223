"""The lines that a broadcast without a sender of ours is started with, in the real programs."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from strata.dashboard import recipes
from strata.secrets import Secret
from support.children import Child, output_of
from support.control import GivenSender
from support.media import FPS, decode_errors, probe
from support.ports import free_udp_port
from support.worker import PSK, Event, WorkerProcess

SECONDS = 3.0
"""With a second key frame: what is sent before librist's handshake is done is lost."""
KEPT_MS = 2500
"""Longer than librist would keep packets by itself, so that it shows whether it was told to."""


async def with_ffmpeg(folder: Path, told: dict[str, Any], file: Path) -> str:
    """Pastes the line into a shell. What librist says in it goes to a report, which the
    environment asks for: the line stays as it is."""
    report = folder / "ffmpeg.report"
    line = told["ffmpeg"].replace("INPUT", str(file))
    environment = os.environ | {"FFREPORT": f"file={report}:level=40"}
    async with Child(["sh", "-c", line], folder / "ffmpeg.log", env=environment) as child:
        assert await child.wait(30.0) == 0, child.said()
    return report.read_text()


async def with_ristsender(folder: Path, told: dict[str, Any], file: Path) -> str:
    port = free_udp_port()
    line = told["ristsender"].replace(":5000", f":{port}")
    async with GivenSender(folder, line, port) as sender:
        await sender.send(file, SECONDS)
    return (folder / "ristsender.log").read_text()


async def carried(
    folder: Path,
    send: Callable[[Path, dict[str, Any], Path], Awaitable[str]],
    file: Path,
) -> tuple[Event, str]:
    """The last numbers of a worker that was sent a file, and what the program said."""
    arguments = ("--slate", "off", "--stats-interval-ms", "500")
    async with WorkerProcess(folder, [f"file://{folder}/all.ts"], arguments=arguments) as worker:
        urls = [f"rist://127.0.0.1:{port}" for port in worker.ports]
        said = await send(folder, recipes.recipe(urls, Secret(PSK), KEPT_MS), file)
        client = worker.client
        await client.event("forward", state="live")
        last = await client.wait_for(
            lambda e: e["event"] == "stats" and e["bitrate_in_kbps"] == 0.0,
            after=len(client.events),
        )
        assert await worker.stop() == 0
    return last, said


async def test_the_lines_bring_a_broadcast_on_the_air(tmp_path: Path, test_file: Path) -> None:
    files = [tmp_path / "short.mp4", tmp_path / "short.ts"]
    for file in files:
        await output_of(
            *("ffmpeg", "-v", "error", "-i", test_file, "-t", str(SECONDS), "-c", "copy", file)
        )
    folders = [tmp_path / name for name in ("mp4", "ts", "ristsender")]
    found = await asyncio.gather(
        *(carried(folder, with_ffmpeg, file) for folder, file in zip(folders, files, strict=False)),
        carried(folders[2], with_ristsender, test_file),
    )
    for folder, links, (stats, said) in zip(folders, (1, 1, 2), found, strict=True):
        assert (stats["flow"]["lost"], stats["line"]["gaps"]) == (0, 0), folder
        assert stats["media"]["video"] | {"keyframe_interval_s": None} == {
            **{"codec": "h264", "width": 1280, "height": 720, "fps": FPS},
            "keyframe_interval_s": None,
        }
        assert stats["media"]["audio"] == {"codec": "aac", "rate": 48_000, "channels": 2}
        assert [link["received"] > 100 for link in stats["links"]] == [True, links == 2]
        assert "Using 256 bits secret key" in said
        [kept_ms] = {int(each) for each in re.findall(r"Setting buffer size to (\d+)ms", said)}
        assert kept_ms >= KEPT_MS
        assert await decode_errors(folder / "all.ts") == ""
        tracks = await probe(folder / "all.ts")
        assert len(tracks.of("video")) >= FPS
        assert tracks.longest_step_s < 1.5 / FPS
        assert tracks.of("audio")
