"""What a sender costs, fed over UDP: strata-sender as it is, its bond alone, librist from Python,
and Debian's ristsender."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.media import MUX_KBPS, PSK, Feed, Ports, make_clip, rist_sender
from bench.processes import Child, MeasurementFailed, cpu_s, give_room
from bench.report import Spread
from strata.rist import Receiver
from strata.secrets import Secret

CPU_RATIO_MAX: Final = 1.5
NAMES: Final = ("ristsender", "librist", "bond", "strata-sender")
WARM_UP_S: Final = 3.0
DRAIN_S: Final = 2.5
DELIVERED_MIN: Final = 0.98
"""Of the media: who sends less has less to do."""


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds per second, by sender and round."""

    cores: dict[str, list[float]]

    def spread(self, name: str) -> Spread:
        return Spread.of(self.cores[name])

    def ratio(self, name: str) -> Spread:
        """To ristsender, within each round."""
        pairs = zip(self.cores[name], self.cores["ristsender"], strict=True)
        return Spread.of([one / other for one, other in pairs])


def cost(folder: Path, rounds: int, seconds: float) -> Cost:
    clip = folder / "clip.ts"
    make_clip(clip, WARM_UP_S + seconds + 1.0)
    found: dict[str, list[float]] = {name: [] for name in NAMES}
    for number in range(rounds):
        print(f"CPU, round {number + 1} of {rounds}", flush=True)
        order = NAMES if number % 2 else tuple(reversed(NAMES))
        for name, cores in _round(folder, clip, order, seconds).items():
            found[name].append(cores)
    return Cost(found)


def _round(folder: Path, clip: Path, names: Sequence[str], seconds: float) -> dict[str, float]:
    ports = Ports()
    feeds = {name: ports.udp() for name in names}
    with contextlib.ExitStack() as stack:
        receivers, senders = {}, {}
        for name in names:
            own = [ports.udp(), ports.udp()]
            receivers[name] = Receiver(own, Secret(PSK), bind="127.0.0.1")
            stack.callback(receivers[name].close)
            receivers[name].start()
            senders[name] = _sender(folder, name, feeds[name], own)
            stack.callback(senders[name].stop)
            give_room(senders[name].pid, feeds[name])
        time.sleep(1.5)
        feed = Feed(clip, list(feeds.values()))
        feed.start()
        stack.callback(feed.stop)
        feed.wait_until(WARM_UP_S)
        before = {name: cpu_s(child.pid) for name, child in senders.items()}
        began = time.monotonic()
        feed.wait_until(WARM_UP_S + seconds)
        spent = {name: cpu_s(child.pid) - before[name] for name, child in senders.items()}
        passed_s = time.monotonic() - began
        feed.join()
        time.sleep(DRAIN_S)
        expected = clip.stat().st_size
        for name, receiver in receivers.items():
            senders[name].check()
            if receiver.counters().bytes < DELIVERED_MIN * expected:
                raise MeasurementFailed(
                    f"{name} delivered {receiver.counters().bytes} of {expected} bytes"
                )
    return {name: each / passed_s for name, each in spent.items()}


def _sender(folder: Path, name: str, feed: int, ports: Sequence[int]) -> Child:
    log = folder / f"cpu-{name}.log"
    if name == "ristsender":
        return rist_sender(feed, ports, log)
    if name == "strata-sender":
        return _program(feed, ports, log)
    order = {
        **{"ports": list(ports), "feed": feed, "buffer_ms": 1_000, "kbps": MUX_KBPS},
        **{"weights": [1, 1] if name == "librist" else None, "steers": False},
    }
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    command = [sys.executable, "-P", "-m", "bench.bonders", json.dumps(order)]
    return Child(command, log, environment=environment)


def _program(feed: int, ports: Sequence[int], log: Path) -> Child:
    to = [part for port in ports for part in ("--to", f"rist://127.0.0.1:{port}")]
    command = [sys.executable, "-I", "-m", "strata.sender", "--source", f"udp://127.0.0.1:{feed}"]
    return Child([*command, *to], log, environment={**os.environ, "STRATA_PSK": PSK})
