"""What is compared: our worker, and what an engineer would put together by hand."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from bench.media import PSK
from bench.processes import Child, MeasurementFailed, cpu_s
from strata.host import process
from strata.settings import Worker as WorkerSettings
from strata.wire.worker import Secrets

READY_DEADLINE_S: Final = 20.0
MAX_EGRESS_KBPS: Final = 20_000
"""A host's own default."""
SIZE_MIN: Final = 1_000_000
_POLL_S: Final = 0.001
_SIGNALS_APART_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Files:
    """Where a peer writes a recording and an HLS playlist."""

    recording: Path
    hls: Path

    @property
    def urls(self) -> list[str]:
        return [f"file://{self.recording}", f"hls://{self.hls}?target-duration=4"]

    def check(self) -> None:
        """Raises MeasurementFailed where one of the two is missing or all but empty."""
        if self.recording.stat().st_size < SIZE_MIN or len(list(self.hls.glob("*.ts"))) < 3:
            raise MeasurementFailed(f"{self.recording} or {self.hls} was not written")


class Peer(Protocol):
    """Takes RIST on ``ports`` and sends RTMP to one or more URLs."""

    ports: Sequence[int]

    def start(self) -> None: ...
    def pids(self) -> list[int]: ...
    def check(self) -> None: ...
    def stop(self) -> None: ...


class WorkerPeer:
    """``strata.worker`` with the command line and environment that a host gives it, and one
    client on its control socket.

    Args:
        max_egress_kbps: shared by its forwards; below what the stream needs they lag.
        slate: what stands in when the feed has ended: nothing, where frames are counted.
        python: whose ``strata`` runs; another tree's, to compare two of them.

    Attributes:
        ready_s: from spawn to the ``ready`` event, and ``ready_cpu_s`` the CPU time of it.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        ports: Sequence[int],
        urls: Sequence[str],
        *,
        max_egress_kbps: int = MAX_EGRESS_KBPS,
        slate: str = "off",
        python: str = sys.executable,
    ) -> None:
        self.ports = ports
        self._slate = slate
        self._max_egress_kbps = max_egress_kbps
        self._python = python
        self.ready_s = self.ready_cpu_s = 0.0
        self.stats: dict[str, Any] = {}
        self._urls = urls
        self._path = folder / f"{name}.sock"
        self._log = folder / f"{name}.log"
        self._child: Child | None = None
        self._reader = threading.Thread(target=self._read, name=name, daemon=True)

    def start(self) -> None:
        settings = WorkerSettings(max_egress_kbps=self._max_egress_kbps)
        command = process.argv(
            "str_bench", self.ports, self._path, "127.0.0.1", settings, slate=self._slate
        )
        command[0] = self._python
        secrets = msgspec.json.encode(Secrets(PSK, list(self._urls))) + b"\n"
        environment = process.environment(os.environ)
        started_at = time.perf_counter()
        self._child = Child(command, self._log, secrets, environment)
        self._socket = self._connect()
        self._lines = self._socket.makefile("rb")
        event = json.loads(self._lines.readline() or b"{}")
        self.ready_s = time.perf_counter() - started_at
        self.ready_cpu_s = cpu_s(self._child.pid)
        if event.get("event") != "ready":
            raise MeasurementFailed(f"the worker said {event} instead of ready")
        self._reader.start()

    def pids(self) -> list[int]:
        return [self._running.pid]

    def check(self) -> None:
        self._running.check()

    def stop(self) -> None:
        if self._child is None:
            return
        self._child.stop()
        if self._reader.is_alive():
            self._reader.join()
        self._child = None

    @property
    def _running(self) -> Child:
        assert self._child is not None
        return self._child

    def _connect(self) -> socket.socket:
        deadline = time.monotonic() + READY_DEADLINE_S
        while time.monotonic() < deadline:
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                client.connect(str(self._path))
            except OSError:
                client.close()
                self._running.check()
                time.sleep(_POLL_S)
            else:
                return client
        raise MeasurementFailed(f"the worker opened no control socket; see {self._log}")

    def _read(self) -> None:
        for line in self._lines:
            event = json.loads(line)
            if event["event"] == "stats":
                self.stats = event
        self._socket.close()


class HandMadePeer:
    """``ristreceiver`` into ``ffmpeg -c copy`` over UDP on loopback: two processes.

    Args:
        files: a recording and an HLS folder that the same ffmpeg writes beside.

    Attributes:
        revived: which programs ended by themselves, and were started again.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        ports: Sequence[int],
        udp_port: int,
        url: str,
        files: Files | None = None,
    ) -> None:
        self._files = files
        self.ports = ports
        self._folder = folder
        self._name = name
        self._udp = f"udp://127.0.0.1:{udp_port}"
        self._url = url
        self._children: list[Child] = []
        self.revived: list[str] = []

    def start(self) -> None:
        ffmpeg = ["ffmpeg", "-nostdin", "-v", "warning", "-i", self._udp]
        ffmpeg += ["-map", "0", "-c", "copy", "-f", "flv", self._url]
        if self._files is not None:
            self._files.hls.mkdir()
            ffmpeg += ["-map", "0", "-c", "copy", "-f", "mpegts", str(self._files.recording)]
            # What our own forward does: segments of 4 s, the last six in the list.
            ffmpeg += ["-map", "0", "-c", "copy", "-f", "hls", "-hls_time", "4"]
            ffmpeg += ["-hls_list_size", "6", "-hls_flags", "delete_segments"]
            ffmpeg.append(str(self._files.hls / "index.m3u8"))
        self._children.append(Child(ffmpeg, self._folder / f"{self._name}-ffmpeg.log"))
        urls = ",".join(f"rist://@127.0.0.1:{port}" for port in self.ports)
        options = ("-p", "1", "-s", PSK, "-e", "256", "-b", "1000")
        receiver = ["ristreceiver", "-i", urls, "-o", self._udp, *options]
        self._children.append(Child(receiver, self._folder / f"{self._name}-rist.log"))
        time.sleep(0.5)
        self.check()

    def pids(self) -> list[int]:
        return [child.pid for child in self._children]

    def check(self) -> None:
        for child in self._children:
            child.check()

    def revive(self) -> None:
        """Starts again what has ended, as a loop in a shell around each of the two would."""
        for index, child in enumerate(self._children):
            if child.process.poll() is not None:
                self._children[index] = child.again()
                self.revived.append(child.name)

    def stop(self) -> None:
        for child in reversed(self._children):
            # The first signal ends ffmpeg with its next packet; none comes, so it takes two.
            if child.process.poll() is None:
                child.process.send_signal(signal.SIGINT)
                time.sleep(_SIGNALS_APART_S)
            child.stop(signal.SIGINT)
        self._children.clear()
