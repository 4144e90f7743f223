"""A day under load: what grows, and by how much an hour.

    script/bench soak [--hours 24] [--streams 4] [--upset-s 120]

One ``strata up`` with some broadcasts to a local nginx-rtmp. Every two minutes something
happens, in turn: a broadcast is stopped and another started, a sender is killed and started
anew, a worker is killed, control is killed, the host is killed. Each minute the memory,
descriptors and threads of host, control and the workers that have lived since the beginning
are read. At the end stands a line through the second half of the samples for each, and the
exit status is 1 where memory grows by 1 MiB an hour or more, a broadcast is not live, or a
descriptor or thread was added for each hour. (Below two hours the slope is noise, and is
told, not judged.)
"""

from __future__ import annotations

import argparse
import itertools
import os
import secrets
import signal
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import httpx

from bench.media import make_clip
from bench.nginx import Nginx
from bench.processes import Child, MeasurementFailed

CLIP_S: Final = 60
SAMPLE_S: Final = 60.0
LIVE_DEADLINE_S: Final = 60.0
JUDGED_FROM_H: Final = 2.0
GROWTH_MIB_H: Final = 1.0
EMAIL: Final = "soak@localhost"
FIRST_PORT: Final = 41_000


class Field:
    """One sender: ffmpeg plays the clip over and over into a ristsender."""

    def __init__(self, folder: Path, clip: Path, number: int, started: dict[str, Any]) -> None:
        self.id: str = started["id"]
        self._log = folder / f"sender-{number}.log"
        self._udp = FIRST_PORT + number
        self._clip = clip
        peers = ",".join(
            f"rist://127.0.0.1:{port}?secret={started['psk']}&aes-type=256&weight=100"
            for port in started["ports"]
        )
        self._peers = peers
        self.begin()

    def begin(self) -> None:
        source = f"udp://127.0.0.1:{self._udp}"
        self._children = [
            Child(("ristsender", "-p", "1", "-i", source, "-o", self._peers), self._log),
            Child(
                (
                    *("ffmpeg", "-nostdin", "-v", "error", "-re", "-stream_loop", "-1"),
                    *("-i", self._clip, "-map", "0", "-c", "copy", "-f", "mpegts"),
                    f"{source}?pkt_size=1316&bitrate=24000000&burst_bits=100000&fifo_size=50000",
                ),
                self._log,
            ),
        ]

    def end(self) -> None:
        for child in self._children:
            child.stop(signal.SIGKILL)


class Platform:
    """``strata up`` and a client of its API."""

    def __init__(self, folder: Path, port: int, ports: int) -> None:
        password = secrets.token_urlsafe(24)
        environment = os.environ | {
            "STRATA_ADMIN_EMAIL": EMAIL,
            "STRATA_ADMIN_PASSWORD": password,
            "STRATA_FORWARD__ALLOW_PRIVATE": "true",
            "STRATA_HOST__RUNTIME_DIR": str(folder / "run"),
        }
        self.child = Child(
            (
                *(sys.executable, "-I", "-m", "strata", "up", "--listen", f"127.0.0.1:{port}"),
                *("--data-dir", folder / "data"),
                *("--port-range", f"{FIRST_PORT + 1000}-{FIRST_PORT + 1000 + ports}"),
            ),
            folder / "up.log",
            environment=environment,
        )
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60.0, trust_env=False)
        self.wait()
        answer = self.ask("POST", "/api/auth/login", {"email": EMAIL, "password": password})
        self.http.headers["Authorization"] = f"Bearer {answer['token']}"

    def wait(self) -> None:
        """Returns when streams can be started."""
        give_up_at = time.monotonic() + LIVE_DEADLINE_S
        while time.monotonic() < give_up_at:
            try:
                if self.http.get("/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                self.child.check()
            time.sleep(0.1)
        raise MeasurementFailed("the platform is not ready")

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = self.http.request(method, path, json=body)
        if answer.is_error:
            raise MeasurementFailed(f"{method} {path}: {answer.status_code} {answer.text}")
        found: dict[str, Any] = answer.json()
        return found

    def wait_live(self, id: str) -> None:
        """Returns when a broadcast is on the air and known to be.

        Raises:
            MeasurementFailed: it is not, after a minute.
        """
        give_up_at = time.monotonic() + LIVE_DEADLINE_S
        stream: dict[str, Any] = {}
        while time.monotonic() < give_up_at:
            stream = self.ask("GET", f"/api/streams/{id}")
            if stream["state"] == "live" and stream["on_air"] and stream["observed"]:
                return
            time.sleep(0.5)
        raise MeasurementFailed(f"{id} is not live: {stream['state']} {stream['alarms']}")

    def pid_of(self, mark: str) -> int:
        """The process of this platform whose command line holds ``mark``."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                except OSError:
                    continue
                if mark in line and "strata" in line:
                    return int(entry.name)
        raise MeasurementFailed(f"no process has {mark!r} in its command line")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="script/bench soak")
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--upset-s", type=float, default=120.0)
    chosen = parser.parse_args(arguments)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp", prefix="so-")))
        return _soak(folder, stack, chosen.hours, chosen.streams, chosen.upset_s)


def _soak(folder: Path, stack: ExitStack, hours: float, count: int, upset_s: float) -> int:
    clip = folder / "clip.ts"
    make_clip(clip, CLIP_S)
    nginx = Nginx(folder, FIRST_PORT + 900, by_session=True)
    stack.callback(nginx.child.stop)
    platform = Platform(folder, FIRST_PORT + 901, ports=4 * count + 200)
    stack.callback(platform.child.stop)
    numbers = itertools.count()
    fields: list[Field] = []

    def begin() -> None:
        number = next(numbers)
        url = nginx.url(f"soak-{number}")
        started = platform.ask("POST", "/api/streams", {"forward_to": [url]})
        field = Field(folder, clip, number % 800, started)
        stack.callback(field.end)
        fields.append(field)
        platform.wait_live(field.id)

    def replace() -> None:
        field = fields.pop()
        platform.ask("POST", f"/api/streams/{field.id}/stop")
        field.end()
        begin()

    def sender() -> None:
        fields[-1].end()
        time.sleep(2.0)
        fields[-1].begin()

    def worker() -> None:
        os.kill(platform.pid_of(f"--stream-id {fields[-1].id}"), signal.SIGKILL)

    def control() -> None:
        os.kill(platform.pid_of("-m strata control"), signal.SIGKILL)

    def host() -> None:
        os.kill(platform.pid_of("-m strata host"), signal.SIGKILL)

    for _ in range(count):
        begin()
    upsets = itertools.cycle((replace, sender, worker, control, host))
    samples: dict[str, list[tuple[float, int, int, int]]] = defaultdict(list)
    began = time.monotonic()
    upset_at, sample_at, upset_times = began + upset_s, began, 0
    while (now := time.monotonic()) - began < hours * 3600.0:
        if now >= sample_at:
            sample_at += SAMPLE_S
            for name, pid in _watched(platform, fields, count):
                samples[f"{name} {pid}"].append(((now - began) / 3600.0, *_size(pid)))
            for old in nginx.recordings.glob("*.flv"):
                if time.time() - old.stat().st_mtime > 10.0:
                    old.unlink()
        if now >= upset_at:
            upset_at += upset_s
            next(upsets)()
            upset_times += 1
            platform.wait()
            for field in fields:
                platform.wait_live(field.id)
        time.sleep(0.5)
    print(f"{hours:g} h, {count} broadcasts, {upset_times} upsets, all live after each\n")
    return _report(samples, hours)


def _watched(platform: Platform, fields: list[Field], count: int) -> list[tuple[str, int]]:
    """The halves of the platform, and the workers that nobody touches."""
    found = [
        (f"strata {name}", platform.pid_of(f"-m strata {name}")) for name in ("host", "control")
    ]
    quiet = fields[: count - 1]
    return [*found, *(("worker", platform.pid_of(f"--stream-id {field.id}")) for field in quiet)]


def _size(pid: int) -> tuple[int, int, int]:
    """Resident memory in KiB, descriptors, threads."""
    folder = Path(f"/proc/{pid}")
    lines = (folder / "status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines if ":" in line)
    descriptors = len(os.listdir(folder / "fd"))
    return int(status["VmRSS"].split()[0]), descriptors, int(status["Threads"])


def _report(samples: dict[str, list[tuple[float, int, int, int]]], hours: float) -> int:
    print(f"{'process':<24}{'samples':>8}{'RSS MiB':>9}{'MiB/h':>9}{'fds':>6}{'threads':>9}")
    failed = False
    for name, taken in samples.items():
        half = taken[len(taken) // 2 :]
        if len(half) < 3:
            continue
        slope = statistics.linear_regression(
            [each[0] for each in half], [each[1] / 1024.0 for each in half]
        ).slope
        last = half[-1]
        lasted_h = half[-1][0] - taken[0][0]
        failed |= lasted_h >= JUDGED_FROM_H and slope >= GROWTH_MIB_H
        failed |= lasted_h >= JUDGED_FROM_H and last[2] - half[0][2] >= lasted_h / 2 + 20
        print(
            f"{name:<24}{len(taken):>8}{last[1] / 1024:>9.1f}{slope:>9.2f}{last[2]:>6}{last[3]:>9}"
        )
    if hours < JUDGED_FROM_H:
        print(f"\nnot judged: below {JUDGED_FROM_H:g} hours a slope is noise")
    return int(failed)
