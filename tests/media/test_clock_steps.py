"""The machine's clock is set, an hour either way, while a broadcast is on the air."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from support.control import Place, StrataUp, place
from support.media import FPS, RistSender, decode_errors, probe
from support.nginx import Nginx
from support.worker import PSK, WorkerProcess

HOUR_S: Final = 3600
LIBRARY: Final = next(iter(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)
KEY: Final = "stream-key-of-the-tests"

pytestmark = pytest.mark.skipif(LIBRARY is None, reason="libfaketime is not installed")


@pytest.fixture
def here() -> Iterator[Place]:
    with place() as one:
        yield one


class WallClock:
    """What processes with :attr:`environment` take for the time of day."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.step(0)
        self.environment = {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(path),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
        }

    def step(self, seconds: int) -> None:
        """Off by that much from now on."""
        new = self._path.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.replace(self._path)


async def test_a_worker_does_not_notice(tmp_path: Path, test_file: Path) -> None:
    clock = WallClock(tmp_path / "clock")
    async with Nginx(tmp_path / "nginx") as nginx:
        forwards = [nginx.url(KEY), f"file://{tmp_path}/recording.mkv"]
        async with (
            WorkerProcess(tmp_path, forwards, environment=clock.environment) as worker,
            RistSender(tmp_path / "sender", worker.ports, PSK) as sender,
        ):
            await sender.begin(test_file, 12)
            await worker.client.event("forward", forward="fwd_1", state="live")
            seen = len(worker.client.events)
            for offset_s in (HOUR_S, 0, -HOUR_S):
                clock.step(offset_s)
                await asyncio.sleep(2.0)
            await sender.sent()
            stats = await worker.ask("stats")
            changed = [
                event
                for event in worker.client.events[seen:]
                if event["event"] in ("error", "input") or event.get("state") == "retrying"
            ]
            assert changed == []
            assert await worker.stop() == 0
        [flv] = await nginx.finished()
    assert stats["line"]["clock_moves"] <= 1  # the first one: where the stream begins
    assert stats["line"]["slates"] == 0
    hours = [line[11:13] for line in worker.log().splitlines() if line[4:5] == "-"]
    assert len(set(hours)) > 1, "the clock of the worker was not set at all"
    for path in (flv, tmp_path / "recording.mkv"):
        assert await decode_errors(path) == ""
        assert (await probe(path)).longest_step_s < 1.5 / FPS


@pytest.mark.long
async def test_the_platform_does_not_notice(here: Place) -> None:
    clock = WallClock(here.folder / "clock")
    async with StrataUp(here, environment=clock.environment) as up, await up.log_in() as api:
        started = await api.start(record=True)
        workers = here.workers()
        for offset_s in (HOUR_S, 0, -HOUR_S):
            clock.step(offset_s)
            await asyncio.sleep(6.0)  # longer than from one look at the streams to the next
            stream = await api.until(
                started["id"], lambda stream: stream["observed"], "it is observed"
            )
            assert (stream["state"], stream["reason"], stream["alarms"]) == ("waiting", None, [])
            assert here.workers() == workers
        another = await api.start(record=True)
        for id in (another["id"], started["id"]):
            assert (await api.stop(id))["reason"] == "user_stop"
