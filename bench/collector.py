"""Three ways to hand librist's packets to Python: callback, read2, compiled inbox.

All three at the same time on the same stream, each in a process of its own
(:mod:`bench.ways`), with the same settings, the same checks and batches of 20 ms. What they
have in common, librist itself with its recovery and its AES, is most of each figure: look at
the differences.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.media import MUX_KBPS
from bench.processes import Child, MeasurementFailed
from bench.report import (
    Spread,
    Table,
    circumstances,
    print_circumstances,
    print_table,
    write_json,
)
from bench.stage import Entry, Sample, Stage, read_usage, stage

WAYS: Final = {
    "callback": "Python callback per packet (cffi ABI)",
    "read2": "rist_receiver_data_read2 (cffi ABI)",
    "inbox": "compiled inbox (strata.rist)",
}
START_S: Final = 1.0
MISSING_MAX: Final = 0.01
"""A way that got less than this part of the stream was not measured on the stream."""


class Collector:
    """One way, as a peer of a round."""

    def __init__(self, here: Stage, name: str, way: str) -> None:
        self.ports: Sequence[int] = here.link_ports()
        self.bytes = 0
        self._command = [sys.executable, "-P", "-m", "bench.ways", way]
        self._command.append(",".join(map(str, self.ports)))
        self._log = here.folder / f"{name}.log"
        self._child: Child | None = None

    def start(self) -> None:
        self._child = Child(self._command, self._log)

    def pids(self) -> list[int]:
        return [self._running.pid]

    def check(self) -> None:
        self._running.check()

    def stop(self) -> None:
        if self._child is None:
            return
        self._child.stop()
        if self._child.process.returncode == 0:
            self.bytes = json.loads(self._log.read_text().splitlines()[-1])["bytes"]
        self._child = None

    @property
    def _running(self) -> Child:
        assert self._child is not None
        return self._child


def main(argv: Sequence[str]) -> int:
    args = _arguments(argv)
    found = circumstances()
    print_circumstances(found)
    loaded: dict[str, list[Sample]] = {way: [] for way in WAYS}
    resting: dict[str, list[float]] = {way: [] for way in WAYS}
    try:
        with stage(args.seconds) as here:
            for number in range(args.rounds):
                print(f"round {number + 1} of {args.rounds}", flush=True)
                ways = sorted(WAYS, key=lambda way: (list(WAYS).index(way) + number) % len(WAYS))
                for way, cores in idle(here, ways, number, args.seconds / 2).items():
                    resting[way].append(cores)
                for way, sample in collect(here, ways, number).items():
                    loaded[way].append(sample)
    except MeasurementFailed as error:
        print(f"script/bench collector: the measurement failed: {error}", file=sys.stderr)
        return 1
    _print(resting, loaded)
    result = {"circumstances": found, "kbps": MUX_KBPS, "window_s": args.seconds}
    write_json(args.json, {**result, "idle": resting, "loaded": loaded})
    return 0


def idle(here: Stage, ways: Sequence[str], number: int, seconds: float) -> dict[str, float]:
    """Cores of each way while nobody sends."""
    peers = {way: Collector(here, f"idle-{way}{number}", way) for way in ways}
    try:
        for peer in peers.values():
            peer.start()
        time.sleep(START_S)
        before = {way: read_usage(peer) for way, peer in peers.items()}
        time.sleep(seconds)
        cores = {}
        for way, peer in peers.items():
            peer.check()
            first, last = before[way], read_usage(peer)
            cores[way] = (last.cpu_s - first.cpu_s) / (last.at - first.at)
        return cores
    finally:
        for peer in peers.values():
            peer.stop()


def collect(here: Stage, ways: Sequence[str], number: int) -> dict[str, Sample]:
    """What each way costs on the stream.

    Raises:
        MeasurementFailed: one of them did not get it.
    """
    peers = {way: Collector(here, f"{way}{number}", way) for way in ways}
    samples = here.play([Entry(way, peer, ()) for way, peer in peers.items()])
    sent = here.clip.stat().st_size
    for way, peer in peers.items():
        if peer.bytes < sent * (1 - MISSING_MAX):
            raise MeasurementFailed(f"{way} got {peer.bytes} of {sent} bytes")
    return samples


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="script/bench collector", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each window (20)")
    parser.add_argument("--rounds", type=int, default=3, help="(3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    args = parser.parse_args(argv)
    if args.seconds < 1 or args.rounds < 1:
        parser.error("at least 1 second and 1 round")
    return args


def _print(resting: dict[str, list[float]], loaded: dict[str, list[Sample]]) -> None:
    rounds = len(loaded["inbox"])
    print(f"\n% of a core, {rounds} rounds, all at the same time:\n")
    rows: Table = [("", "idle", "at 5 Mbps", "main thread", "librist's threads", "above inbox")]
    ours = [sample.cores for sample in loaded["inbox"]]
    for way, name in WAYS.items():
        samples = loaded[way]
        more = [each.cores - own for each, own in zip(samples, ours, strict=True)]
        rows.append(
            (
                name,
                Spread.of(resting[way]).text(100),
                Spread.of([each.cores for each in samples]).text(100),
                *(
                    Spread.of([each.by_thread.get(owner, 0.0) for each in samples]).text(100)
                    for owner in ("main", "librist")
                ),
                "" if way == "inbox" else Spread.of(more).text(100),
            )
        )
    print_table(rows)
