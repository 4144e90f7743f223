"""The worker against ristreceiver + ffmpeg -c copy, and what its forwards cost.

Both take the same stream at the same moment and send it to the same nginx-rtmp; each round
starts them anew, the other one first. Figures are medians over the rounds, with the least
and the most; a ratio is taken within each round. A round in which a recording is not whole
does not count.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bench.media import MUX_KBPS
from bench.peers import MAX_EGRESS_KBPS, Files, HandMadePeer, WorkerPeer
from bench.processes import MeasurementFailed
from bench.report import (
    Spread,
    Table,
    circumstances,
    print_circumstances,
    print_table,
    verdict,
    write_json,
)
from bench.stage import Entry, Sample, Stage, stage

CPU_RATIO_MAX: Final = 1.15
THREE_RATIO_MAX: Final = 1.0
MEMORY_RATIO_MAX: Final = 0.6
CORES_MAX: Final = 0.05
READY_MAX_S: Final = 0.150

SHARERS: Final = {"worker": 1, "hand": 0}
"""Processes of ours that run a peer's program: this one is Python, too, as a host is."""

FORWARDS: Final = (0, 1, 5)
STARTS_MIN: Final = 10


@dataclass(slots=True)
class Rounds:
    """Samples by name, round by round; broken rounds are only counted."""

    samples: dict[str, list[Sample]] = field(default_factory=dict)
    broken: int = 0

    def add(self, found: dict[str, Sample]) -> None:
        if not all(sample.whole for sample in found.values()):
            self.broken += 1
            frames = {name: sample.frames for name, sample in found.items()}
            print(f"  not counted, a recording is not whole (frames: {frames})")
            return
        for name, sample in found.items():
            self.samples.setdefault(name, []).append(sample)

    def require(self) -> None:
        if not self.samples:
            raise MeasurementFailed("no round had whole recordings on every side")

    def cores(self, name: str) -> list[float]:
        return [sample.cores for sample in self.samples[name]]

    def memory(self, name: str, kind: str) -> list[float]:
        return [float(getattr(sample.memory, kind)) for sample in self.samples[name]]

    def undisturbed(self) -> Rounds | None:
        """The rounds whose PSS no other process of this machine lowered."""
        kept = [
            number
            for number in range(len(self.samples["worker"]))
            if all(
                self.samples[name][number].memory.sharers <= own for name, own in SHARERS.items()
            )
        ]
        chosen = {name: [each[i] for i in kept] for name, each in self.samples.items()}
        return Rounds(chosen) if kept else None

    def by_thread(self, name: str, owner: str) -> Spread:
        return Spread.of([sample.by_thread.get(owner, 0.0) for sample in self.samples[name]])


@dataclass(frozen=True, slots=True)
class Ready:
    """Seconds from spawn to ``ready``, and CPU seconds spent until then."""

    wall: Spread
    cpu: Spread


def main(argv: Sequence[str]) -> int:
    args = _arguments(argv)
    found = circumstances()
    print_circumstances(found)
    try:
        with stage(args.seconds) as here:
            pair = compare(here, args.rounds)
            three = compare(here, args.rounds, with_files=True)
            hub = fan_out(here, (args.rounds + 1) // 2)
            ready = starts(here, args.starts)
    except MeasurementFailed as error:
        print(f"script/bench worker: the measurement failed: {error}", file=sys.stderr)
        return 1
    _print_pair(pair)
    _print_three(three)
    _print_hub(hub)
    _print_ready(ready, args.starts)
    result = {"circumstances": found, "kbps": MUX_KBPS, "window_s": args.seconds}
    write_json(args.json, {**result, **_result(pair, three, hub, ready)})
    return 0


def compare(here: Stage, rounds: int, with_files: bool = False) -> Rounds:
    """The worker and the pair made by hand, at the same time.

    Args:
        with_files: besides RTMP, both write a recording and HLS.
    """
    result = Rounds()
    what = "RTMP, recording and HLS" if with_files else "RTMP"
    for number in range(rounds):
        print(f"worker and pair, {what}, round {number + 1} of {rounds}", flush=True)
        tag = f"{'three' if with_files else 'one'}{number}"
        keys = f"worker{tag}", f"hand{tag}"
        urls = [here.nginx.url(key) for key in keys]
        files = [Files(here.folder / f"{key}.ts", here.folder / key) for key in keys]
        if not with_files:
            files = []
        more = files[0].urls if files else []
        worker = WorkerPeer(here.folder, keys[0], here.link_ports(), [urls[0], *more])
        hand = HandMadePeer(
            here.folder,
            keys[1],
            here.link_ports(),
            here.ports.udp(),
            urls[1],
            files[1] if files else None,
        )
        entries = [Entry("worker", worker, [keys[0]]), Entry("hand", hand, [keys[1]])]
        result.add(here.play(entries[:: 1 if number % 2 else -1]))
        for each in files:
            each.check()
            each.recording.unlink()
            shutil.rmtree(each.hls)
    result.require()
    return result


def fan_out(here: Stage, rounds: int) -> Rounds:
    """Workers with no forward, one and five, at the same time."""
    result = Rounds()
    for number in range(rounds):
        print(f"forwards, round {number + 1} of {rounds}", flush=True)
        entries = []
        for count in FORWARDS:
            name = f"hub{count}x{number}"
            keys = [f"{name}to{i}" for i in range(count)]
            urls = [here.nginx.url(key) for key in keys]
            egress_kbps = MAX_EGRESS_KBPS * max(1, count)
            peer = WorkerPeer(
                here.folder, name, here.link_ports(), urls, max_egress_kbps=egress_kbps
            )
            entries.append(Entry(str(count), peer, keys))
        result.add(here.play(entries[:: 1 if number % 2 else -1]))
    result.require()
    return result


def starts(here: Stage, count: int) -> Ready:
    """How long a worker takes to its ``ready``; one more, before, warms the caches."""
    print(f"{count} starts", flush=True)
    wall, cpu = [], []
    for number in range(count + 1):
        url = here.nginx.url(f"start{number}")
        peer = WorkerPeer(here.folder, f"start{number}", here.link_ports(), [url])
        try:
            peer.start()
        finally:
            peer.stop()
        if number:
            wall.append(peer.ready_s)
            cpu.append(peer.ready_cpu_s)
    return Ready(Spread.of(wall), Spread.of(cpu))


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="script/bench worker", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each window (20)")
    parser.add_argument("--rounds", type=int, default=5, help="worker against pair (5)")
    parser.add_argument("--starts", type=int, default=12, help=f"at least {STARTS_MIN} (12)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    args = parser.parse_args(argv)
    if args.seconds < 1 or args.rounds < 1 or args.starts < STARTS_MIN:
        parser.error(f"at least 1 second, 1 round and {STARTS_MIN} starts")
    return args


def _ratio(over: Sequence[float], under: Sequence[float]) -> Spread:
    return Spread.of([a / b for a, b in zip(over, under, strict=True)])


def _print_pair(pair: Rounds) -> None:
    counted = len(pair.samples["worker"])
    print(f"\nWorker against ristreceiver + ffmpeg -c copy, {counted} rounds at the same time:\n")
    rows: Table = [("", "worker", "by hand", "ratio", "target", "")]
    cores = pair.cores("worker"), pair.cores("hand")
    cpu, ratio = Spread.of(cores[0]), _ratio(*cores)
    texts = [cpu.text(100), Spread.of(cores[1]).text(100), ratio.text()]
    met = verdict(ratio.median, CPU_RATIO_MAX)
    rows.append(("CPU, % of a core", *texts, f"ratio <= {CPU_RATIO_MAX}", met))
    absolute = verdict(cpu.median, CORES_MAX)
    rows.append(("", cpu.text(100), "", "", f"<= {CORES_MAX * 100:.0f} %", absolute))
    alone = pair.undisturbed()
    for kind in ("pss", "rss"):
        chosen = alone if alone is not None and kind == "pss" else pair
        used = chosen.memory("worker", kind), chosen.memory("hand", kind)
        ratio = _ratio(*used)
        target = ("", "")
        if kind == "pss":
            met = verdict(ratio.median, MEMORY_RATIO_MAX) if alone is not None else "unknown"
            target = f"ratio <= {MEMORY_RATIO_MAX}", met
        texts = [Spread.of(values).text(digits=1) for values in used]
        rows.append((f"{kind.upper()}, MB", *texts, ratio.text(), *target))
    print_table(rows)
    if alone is None:
        print("  PSS is too low: in every round other processes here ran the same programs, and")
        print("  a page that several share counts in part. Measure again without them.")
    else:
        print(f"  PSS in {len(alone.samples['worker'])} rounds without others that share pages")
    print(f"  broken rounds: {pair.broken}\n")


def _print_three(three: Rounds) -> None:
    counted = len(three.samples["worker"])
    print(f"RTMP, a recording and HLS at once, {counted} rounds at the same time:\n")
    rows: Table = [("", "worker", "by hand", "ratio", "target", "")]
    cores = three.cores("worker"), three.cores("hand")
    ratio = _ratio(*cores)
    texts = [Spread.of(each).text(100) for each in cores]
    met = verdict(ratio.median, THREE_RATIO_MAX)
    target = f"ratio <= {THREE_RATIO_MAX}", met
    rows.append(("CPU, % of a core", *texts, ratio.text(), *target))
    owners = [three.by_thread("worker", o).text(100) for o in ("main", "librist", "GStreamer")]
    rows.append(("  Python, librist, GStreamer", *owners, "", ""))
    print_table(rows)
    print(f"  broken rounds: {three.broken}\n")


def _print_hub(hub: Rounds) -> None:
    counted = len(hub.samples["1"])
    print(f"The worker by its forwards, {counted} rounds at the same time, % of a core:\n")
    rows: Table = [("RTMP forwards", "all", "Python", "librist", "GStreamer", "PSS, MB")]
    for count in map(str, FORWARDS):
        owners = [hub.by_thread(count, o).text(100) for o in ("main", "librist", "GStreamer")]
        pss = Spread.of(hub.memory(count, "pss")).text(digits=1)
        rows.append((count, Spread.of(hub.cores(count)).text(100), *owners, pss))
    print_table(rows)
    print(f"  the first forward adds {_added(hub, 0, 1).text(100)},", end=" ")
    print(f"each further one {_added(hub, 1, 5).text(100)};")
    python = [hub.by_thread(str(n), "main").median * 100 for n in (1, 5)]
    print(f"  of that Python {(python[1] - python[0]) / 4:.2f}")
    print(f"  broken rounds: {hub.broken}\n")


def _added(hub: Rounds, fewer: int, more: int) -> Spread:
    """Cores that each forward adds between the two counts."""
    pairs = zip(hub.cores(str(fewer)), hub.cores(str(more)), strict=True)
    return Spread.of([(high - low) / (more - fewer) for low, high in pairs])


def _print_ready(ready: Ready, count: int) -> None:
    print(f"From spawn to ready, {count} starts:\n")
    rows: Table = [("", "median", "least", "most", "target", "")]
    for name, spread in (("wall, ms", ready.wall), ("CPU, ms", ready.cpu)):
        values = (spread.median, spread.least, spread.most)
        target = ("", "")
        if spread is ready.wall:
            target = f"<= {READY_MAX_S * 1e3:.0f} ms", verdict(spread.median, READY_MAX_S)
        rows.append((name, *(f"{value * 1e3:.0f}" for value in values), *target))
    print_table(rows)


def _result(pair: Rounds, three: Rounds, hub: Rounds, ready: Ready) -> dict[str, Any]:
    cores = pair.cores("worker"), pair.cores("hand")
    alone = pair.undisturbed() or pair
    pss = alone.memory("worker", "pss"), alone.memory("hand", "pss")
    return {
        "targets": {
            "cpu_ratio": CPU_RATIO_MAX,
            "three_cpu_ratio": THREE_RATIO_MAX,
            "memory_ratio": MEMORY_RATIO_MAX,
            "cores": CORES_MAX,
            "ready_s": READY_MAX_S,
        },
        "measured": {
            "cpu_ratio": _ratio(*cores),
            "three_cpu_ratio": _ratio(three.cores("worker"), three.cores("hand")),
            "memory_ratio": _ratio(*pss),
            "cores": Spread.of(cores[0]),
            "ready_s": ready.wall,
            "ready_cpu_s": ready.cpu,
            "cores_first_forward": _added(hub, 0, 1),
            "cores_further_forward": _added(hub, 1, 5),
        },
        "rounds": pair,
        "three": three,
        "forwards": hub,
    }
