"""The egress cap, measured on the wire: in a network of the test's own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.children import Child
from support.media import FPS, GOP_S, RistSender, decode_errors, make_test_file, probe
from support.nginx import Nginx
from support.worker import PSK, WorkerProcess

KEY = "stream-key-of-the-tests"
HERE = "10.201.77.1"
THERE = "10.201.77.2"
# Their names have at most 15 characters, and another run may have its own.
HERE_LINK, THERE_LINK = (f"st{os.getpid()}{end}" for end in "ab")
WIRE_KBPS_MAX = 21_000

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can make a network to measure on"
)


@pytest.fixture
def network() -> Iterator[str]:
    """A network namespace with one link from here to it; its name."""
    name = f"strata-test-{os.getpid()}"
    run("ip", "netns", "add", name)
    try:
        run(
            "ip",
            "link",
            "add",
            HERE_LINK,
            "type",
            "veth",
            "peer",
            "name",
            THERE_LINK,
            "netns",
            name,
        )
        run("ip", "addr", "add", f"{HERE}/30", "dev", HERE_LINK)
        run("ip", "link", "set", HERE_LINK, "up")
        inside = ("ip", "netns", "exec", name, "ip")
        run(*inside, "addr", "add", f"{THERE}/30", "dev", THERE_LINK)
        run(*inside, "link", "set", THERE_LINK, "up")
        run(*inside, "link", "set", "lo", "up")
        yield name
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            run("ip", "link", "del", HERE_LINK)
        run("ip", "netns", "del", name)


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=10)


class Wire:
    """Counts what leaves over the link, each 100 ms."""

    def __init__(self) -> None:
        self._file = Path(f"/sys/class/net/{HERE_LINK}/statistics/tx_bytes")
        self._seen: list[tuple[float, int]] = []
        self._task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._seen.append((loop.time(), int(self._file.read_text())))
            await asyncio.sleep(0.1)

    def peak_kbps(self) -> float:
        """The most in any second."""
        self._task.cancel()
        means, first = [], 0
        for at, total in self._seen:
            while at - self._seen[first + 1][0] >= 1.0 if first + 1 < len(self._seen) else False:
                first += 1
            since, before = self._seen[first]
            if at - since >= 1.0:
                means.append((total - before) * 8 / 1000 / (at - since))
        return max(means)


@pytest.mark.long
async def test_a_stream_that_does_not_fit_twice_goes_out_once_and_whole(
    tmp_path: Path, network: str
) -> None:
    file = tmp_path / "12.ts"
    await make_test_file(file, video_kbps=10_700, seconds=20)
    async with Nginx(tmp_path / "nginx", address=THERE, network=network) as nginx:
        forwards = [nginx.url(KEY), nginx.url(f"{KEY}-2")]
        async with (
            WorkerProcess(tmp_path, forwards, arguments=["--max-egress-kbps", "20000"]) as worker,
            RistSender(tmp_path / "sender", worker.ports, PSK) as sender,
        ):
            client = worker.client
            wire = Wire()
            await sender.begin(file, 20, video_kbps=10_700)
            shed = await client.event("forward", forward="fwd_2", state="failed")
            added = await worker.ask("add_forward", url=nginx.url(f"{KEY}-3"))
            assert (added["event"], added["code"]) == ("error", "over_cap")
            # In place of the other one it fits, though for a moment both are there.
            moved = await worker.ask("update_forward", url=nginx.url(f"{KEY}-4"))
            assert moved["event"] == "ok", moved
            await sender.sent()
            await asyncio.sleep(2.0)
            stats = await worker.ask("stats")
            peak_kbps = wire.peak_kbps()
            assert await worker.stop() == 0
        assert shed["message"].startswith("2 forwards of this stream would send 2")
        assert "the egress cap is 20.0 Mbit/s" in shed["message"]
        codes = [
            (e["forward"], e["code"])
            for e in client.events
            if e["event"] == "error" and "forward" in e
        ]
        assert codes == [("fwd_2", "over_cap")]
        assert [each["dropped_frames"] for each in stats["forwards"]] == [0, 0]
        assert stats["bitrate_in_kbps"] >= 0
        assert 11_000 < peak_kbps < WIRE_KBPS_MAX
        flvs = await nginx.finished(2)
    pictures = 0
    for flv in flvs:
        assert await decode_errors(flv) == ""
        found = await probe(flv)
        assert found.longest_step_s < 1.5 / FPS
        pictures += len(found.of("video"))
    assert pictures >= (20 - GOP_S - 0.5) * FPS


@pytest.mark.long
async def test_srt_keeps_to_the_cap_with_others_beside_it(tmp_path: Path, network: str) -> None:
    file = tmp_path / "7.ts"
    await make_test_file(file, video_kbps=5_500, seconds=20)
    receiver = [
        *("ip", "netns", "exec", network, "srt-live-transmit", "-q"),
        *(f"srt://{THERE}:7100?mode=listener", "file://con"),
    ]
    async with (
        Nginx(tmp_path / "nginx", address=THERE, network=network) as nginx,
        Child(receiver, tmp_path / "srt.log", output=tmp_path / "srt.ts"),
    ):
        forwards = [f"srt://{THERE}:7100", nginx.url(KEY), nginx.url(f"{KEY}-2"), nginx.url("x")]
        async with (
            WorkerProcess(tmp_path, forwards, arguments=["--max-egress-kbps", "20000"]) as worker,
            RistSender(tmp_path / "sender", worker.ports, PSK) as sender,
        ):
            wire = Wire()
            await sender.begin(file, 18, video_kbps=5_500)
            for number in (1, 2, 3):
                forward = f"fwd_{number}"
                await worker.client.event("forward", forward=forward, state="live")
            await worker.client.event("forward", forward="fwd_4", state="failed")
            await sender.sent()
            await asyncio.sleep(2.0)
            stats = await worker.ask("stats")
            peak_kbps = wire.peak_kbps()
            assert await worker.stop() == 0
    assert [each["dropped_frames"] for each in stats["forwards"]] == [0, 0, 0, 0]
    assert 17_000 < peak_kbps < WIRE_KBPS_MAX
    assert await decode_errors(tmp_path / "srt.ts") == ""
