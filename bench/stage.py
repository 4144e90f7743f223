"""One round: several peers at the same time on the same stream, measured over one window.

At the same time, not in turns: on two cores that also build and test, the minute of one
turn is not like the minute of the next, and that would be larger than the difference looked
for. Peers that run at once share every disturbance, and their ratio is taken within the
round.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench import media
from bench.nginx import Nginx, inspect
from bench.peers import Peer
from bench.processes import Memory, Thread, cpu_s, forbid_real_time, memory, threads

WARM_UP_S: Final = 8.0
"""Until ffmpeg has probed its input (5 s at most), buffers are full and queues are level."""
TAIL_S: Final = 1.0
DRAIN_S: Final = 2.5
"""From the last packet sent to the last frame put out: the recovery buffer and some."""
HANDSHAKE_S: Final = 1.5
SETTLE_S: Final = 0.5
"""For nginx to read what the kernel still holds, and to close its files."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A peer in a round; ``keys`` are the RTMP keys that it publishes under."""

    name: str
    peer: Peer
    keys: Sequence[str]


@dataclass(frozen=True, slots=True)
class Sample:
    """What one peer cost over one window.

    Attributes:
        cores: CPU seconds per second.
        by_thread: of it, by whose thread it was: see :func:`_owner`.
        frames: video frames in each recording.
        whole: every recording holds all frames and no hole.
    """

    cores: float
    by_thread: dict[str, float]
    memory: Memory
    frames: list[int]
    whole: bool


@dataclass(slots=True)
class Reading:
    """CPU time of a peer up to a moment (``time.monotonic()``)."""

    at: float
    cpu_s: float
    threads: dict[int, Thread] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stage:
    """The clip, nginx and a folder for everything, all of which :func:`stage` removes."""

    folder: Path
    clip: Path
    ports: media.Ports
    nginx: Nginx
    window_s: float

    @property
    def clip_s(self) -> float:
        return WARM_UP_S + self.window_s + TAIL_S

    def link_ports(self) -> tuple[int, int]:
        return self.ports.udp(), self.ports.udp()

    def play(self, entries: Sequence[Entry]) -> dict[str, Sample]:
        """One round; peers start in the order given."""
        with contextlib.ExitStack() as stack:
            taps = []
            for entry in entries:
                stack.callback(entry.peer.stop)
                entry.peer.start()
                tap = self.ports.udp()
                log = self.folder / f"{entry.name}-sender.log"
                sender = media.rist_sender(tap, entry.peer.ports, log)
                stack.callback(sender.stop)
                taps.append(tap)
            time.sleep(HANDSHAKE_S)
            feed = media.Feed(self.clip, taps)
            stack.callback(feed.stop)
            feed.start()
            feed.wait_until(WARM_UP_S)
            before = [read_usage(entry.peer) for entry in entries]
            feed.wait_until(WARM_UP_S + self.window_s)
            after = [read_usage(entry.peer) for entry in entries]
            memories = [memory(entry.peer.pids()) for entry in entries]
            feed.join()
            time.sleep(DRAIN_S)
            for entry in entries:
                entry.peer.check()
        time.sleep(SETTLE_S)
        samples = {}
        for entry, first, last, used in zip(entries, before, after, memories, strict=True):
            samples[entry.name] = self._sample(entry, first, last, used)
        return samples

    def _sample(self, entry: Entry, first: Reading, last: Reading, used: Memory) -> Sample:
        passed_s = last.at - first.at
        by_thread: dict[str, float] = {}
        for tid, thread in last.threads.items():
            spent_s = thread.cpu_s - (first.threads[tid].cpu_s if tid in first.threads else 0.0)
            owner = _owner(thread)
            by_thread[owner] = by_thread.get(owner, 0.0) + spent_s / passed_s
        frames, whole = [], True
        for key in entry.keys:
            path = self.nginx.recording(key)
            found = inspect(path)
            frames.append(found.frames)
            whole = whole and found.whole(self._frames_min)
            path.unlink(missing_ok=True)
        cores = (last.cpu_s - first.cpu_s) / passed_s
        return Sample(cores, by_thread, used, frames, whole)

    @property
    def _frames_min(self) -> int:
        # The first group of pictures may have begun before the link stood, and 0.5 s more.
        return int((self.clip_s - 0.5) * media.FPS) - media.GOP_FRAMES


def _owner(thread: Thread) -> str:
    """``main`` (Python, for a worker), ``librist`` or ``GStreamer``.

    A thread that nobody named has its process's name: librist's do. GStreamer names its own
    by element, with a colon, or ``task`` and a number (rtmp2sink).
    """
    if thread.main:
        return "main"
    named = ":" in thread.name or thread.name.startswith("task")
    return "GStreamer" if named else "librist"


def read_usage(peer: Peer) -> Reading:
    reading = Reading(time.monotonic(), sum(cpu_s(pid) for pid in peer.pids()))
    for pid in peer.pids():
        reading.threads.update(threads(pid))
    return reading


@contextlib.contextmanager
def stage(window_s: float) -> Iterator[Stage]:
    """Makes the clip and starts nginx; ends and removes all of it on leaving."""
    with tempfile.TemporaryDirectory(prefix="strata-bench-") as name:
        forbid_real_time()
        folder = Path(name)
        ports = media.Ports()
        nginx = Nginx(folder, ports.tcp())
        try:
            made = Stage(folder, folder / "clip.ts", ports, nginx, window_s)
            media.make_clip(made.clip, made.clip_s)
            yield made
        finally:
            nginx.child.stop()
