"""The stream that everything is measured on, and how it is sent."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.processes import Child

FPS: Final = 25
GOP_FRAMES: Final = 50
MUX_KBPS: Final = 5_000
"""Of the whole transport stream, constant: so a place in the file is a point in time."""
_VIDEO_KBPS: Final = 4_500
_AUDIO_KBPS: Final = 128

PSK: Final = "BenchmarkKey0123456789abcdef"

DATAGRAM_BYTES: Final = 7 * 188
_PACE_S: Final = 0.004
"""Datagrams that are due go out this often: two or three at a time at 5 Mbps."""
_AT_ONCE: Final = 8
"""Datagrams at most, also after this machine stood still: more overflow a sender's socket."""


def make_clip(path: Path, seconds: float) -> None:
    """H.264 1280x720 at 25 fps and AAC in a CBR transport stream of 5 Mbps."""
    picture = f"testsrc2=size=1280x720:rate={FPS},noise=alls=12:allf=t,format=yuv420p"
    rate = f"{_VIDEO_KBPS}k"
    command = f"""ffmpeg -nostdin -v error -f lavfi -i {picture}
        -f lavfi -i sine=frequency=440:sample_rate=48000 -t {seconds}
        -c:v libx264 -preset veryfast -g {GOP_FRAMES} -keyint_min {GOP_FRAMES} -sc_threshold 0
        -b:v {rate} -minrate {rate} -maxrate {rate} -bufsize {rate} -x264-params nal-hrd=cbr
        -c:a aac -b:a {_AUDIO_KBPS}k -ac 2 -f mpegts -muxrate {MUX_KBPS}k"""
    subprocess.run([*command.split(), path], check=True, timeout=600)


def rist_sender(udp_port: int, ports: Sequence[int], log: Path) -> Child:
    """Debian's ristsender: what comes to ``udp_port`` goes to ``ports``, half on each."""
    urls = ",".join(f"rist://127.0.0.1:{port}?weight=100&buffer=1000" for port in ports)
    udp = f"udp://127.0.0.1:{udp_port}"
    options = ("-p", "1", "-s", PSK, "-e", "256", "-v", "4", "-S", "0")
    return Child(("ristsender", "-i", udp, "-o", urls, *options), log)


class Feed:
    """Sends a clip once, in real time, to several UDP ports: the same packets to each.

    One thread and one clock for all, so that no peer gets a stream that is paced better.
    """

    def __init__(self, clip: Path, udp_ports: Sequence[int]) -> None:
        self._data = clip.read_bytes()
        self._targets = [("127.0.0.1", port) for port in udp_ports]
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._stopped = threading.Event()
        self.started_at = 0.0
        """``time.monotonic()`` of the first packet."""

    def start(self) -> None:
        self.started_at = time.monotonic()
        self._thread.start()

    def wait_until(self, second: float) -> None:
        """Sleeps until that second of the clip is being sent."""
        time.sleep(max(0.0, self.started_at + second - time.monotonic()))

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        bytes_per_s = MUX_KBPS * 1000 / 8
        sent = 0
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            while sent < len(self._data) and not self._stopped.is_set():
                due = (time.monotonic() - self.started_at) * bytes_per_s
                end = min(due, len(self._data), sent + _AT_ONCE * DATAGRAM_BYTES)
                while sent < end:
                    datagram = self._data[sent : sent + DATAGRAM_BYTES]
                    for target in self._targets:
                        out.sendto(datagram, target)
                    sent += DATAGRAM_BYTES
                time.sleep(_PACE_S)


class Ports:
    """Ports that were free a moment ago, none of them given twice."""

    def __init__(self) -> None:
        self._given: set[int] = set()

    def udp(self) -> int:
        return self._free(socket.SOCK_DGRAM)

    def tcp(self) -> int:
        return self._free(socket.SOCK_STREAM)

    def _free(self, kind: socket.SocketKind) -> int:
        while True:
            with socket.socket(socket.AF_INET, kind) as probe:
                probe.bind(("127.0.0.1", 0))
                port = int(probe.getsockname()[1])
            if port not in self._given:
                self._given.add(port)
                return port
