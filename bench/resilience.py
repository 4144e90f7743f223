"""The worker against ristreceiver + ffmpeg -c copy on bad links: what reaches the viewer.

Both are sent the same clip at the same moment by a ristsender each, through two relays each
(strata-impair) with the same seed and the same schedule, and send it on to the same
nginx-rtmp, which records. What is counted is in the recordings. The pair is started again
where one of its programs ends, as a loop in a shell would.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench import media
from bench.arrivals import Arrivals
from bench.media import Ports, make_clip
from bench.nginx import Nginx
from bench.outcome import Outcome, Source, outcome
from bench.processes import MeasurementFailed, forbid_real_time
from bench.rehearse import PEERS, SEED, Run
from bench.report import Table, circumstances, print_circumstances, print_table, write_json
from bench.schedule import CALM_S, CLEAR_S, DAYS, POST_S, Day

NAMES: Final = {"worker": "worker", "hand": "by hand"}
STALL_S_MAX: Final = 0.1
"""Longer, and the links were worse than they should have been."""


@dataclass(frozen=True, slots=True)
class Result:
    """Of one peer on one day.

    Attributes:
        revived: its programs that ended by themselves.
        line: what the worker says that it did to keep the broadcast whole, and ``flow`` what
            it says of packets.
        stall_s, drops: what the measurement itself did wrong (see :class:`Run`).
    """

    outcome: Outcome
    revived: list[str]
    buffer_ms: float | None
    line: dict[str, Any] | None
    flow: dict[str, Any] | None
    stall_s: float
    drops: int


def measure(
    folder: Path, nginx: Nginx, ports: Ports, clip: Path, source: Source, day: Day, window_s: float
) -> dict[str, Result]:
    """Plays a day, and looks at what was recorded."""
    window_s = max(window_s, day.needs_s)
    arrivals = Arrivals(nginx.recordings)
    arrivals.start()
    try:
        run = Run(folder, nginx, ports, clip, day)
        asyncio.run(run.play(window_s))
    finally:
        arrivals.stop()
    begin = run.feeds[0][0] + CLEAR_S
    end = sum(run.feeds[-1])
    *broken_off, (began, sent_s) = run.feeds
    from_s = 0.0 if broken_off else CLEAR_S
    shots = [shot for feed in broken_off for shot in source.shots(*feed, CLEAR_S)]
    shots += source.shots(began, sent_s, from_s, sent_s - POST_S)
    results: dict[str, Result] = {}
    for name in PEERS:
        recordings = nginx.sessions(name)
        found = outcome(source, recordings, arrivals, shots, begin, end)
        stats = run.worker.stats if name == "worker" else {}
        results[name] = Result(
            found,
            revived=run.hand.revived if name == "hand" else [],
            buffer_ms=stats.get("buffer_ms"),
            line=stats.get("line"),
            flow=stats.get("flow"),
            stall_s=run.stall_s,
            drops=run.drops[name],
        )
    return results


def main(argv: Sequence[str]) -> int:
    args = _arguments(argv)
    found = circumstances()
    print_circumstances(found)
    days = [
        day
        for day in DAYS
        if (day.is_quick or not args.quick) and (not args.only or args.only in day.name)
    ]
    results: dict[str, dict[str, Result]] = {}
    try:
        with tempfile.TemporaryDirectory(prefix="strata-bench-") as name:
            _measure_all(Path(name), days, args, results)
    except MeasurementFailed as error:
        print(f"script/bench resilience: the measurement failed: {error}", file=sys.stderr)
        return 1
    _print(results)
    result = {"circumstances": found, "kbps": media.MUX_KBPS, "window_s": args.seconds}
    write_json(args.json, {**result, "seed": SEED, "days": results})
    return 0


def _measure_all(
    folder: Path, days: Sequence[Day], args: argparse.Namespace, results: dict[str, Any]
) -> None:
    forbid_real_time()
    ports = Ports()
    clip = folder / "clip.ts"
    longest_s = max([args.seconds, *(day.needs_s for day in days)])
    make_clip(clip, CLEAR_S + longest_s + CALM_S + POST_S + 1.0)
    source = Source(clip)
    if args.keep is not None:
        args.keep.mkdir(parents=True)
        shutil.copy(clip, args.keep)
    for number, day in enumerate(days):
        print(f"{number + 1} of {len(days)}: {day.name}", flush=True)
        own = folder / f"day{number}"
        own.mkdir()
        nginx = Nginx(own, ports.tcp(), by_session=True)
        try:
            results[day.name] = measure(own, nginx, ports, clip, source, day, args.seconds)
        finally:
            nginx.child.stop()
            if args.keep is not None:
                shutil.copytree(own, args.keep / f"{number} {day.name}", ignore=_sockets)
        shutil.rmtree(own)


def _sockets(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if (Path(folder) / name).is_socket()]


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="script/bench resilience", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=16.0, help="of bad links; more where a day needs it (16)"
    )
    parser.add_argument("--quick", action="store_true", help="fewer days")
    parser.add_argument("--only", metavar="TEXT", help="days with this in their names")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="keep clip, logs and recordings"
    )
    args = parser.parse_args(argv)
    if args.seconds < 1:
        parser.error("at least 1 second")
    return args


def _print(results: dict[str, dict[str, Result]]) -> None:
    rows: Table = [
        (
            *("", "", "delivered", "clean", "ratio", "broken", "ms", "95 %", "at end", "dead, s"),
            *(
                "silent, s",
                "slate, s",
                "sessions",
                "ended",
                "errors",
                "parser",
                "stamps",
                "drift, ms",
            ),
        )
    ]
    for day, by_name in results.items():
        for name, result in by_name.items():
            one = result.outcome
            hand = by_name["hand"].outcome.clean
            ratio = f"{one.clean / hand:.2f}" if name == "worker" and hand else ""
            rows.append(
                (
                    day if name == "worker" else "",
                    NAMES[name],
                    _share(one.delivered, one.sent),
                    _share(one.clean, one.sent),
                    ratio,
                    str(one.broken),
                    _ms(one.latency_ms),
                    _ms(one.latency_95_ms),
                    _ms(one.latency_end_ms),
                    f"{one.dead_s:.1f}",
                    f"{one.silent_s:.1f}",
                    f"{one.slate_s:.1f}",
                    str(one.sessions),
                    str(len(result.revived)),
                    str(one.errors),
                    str(one.parser_errors),
                    str(one.bad_stamps),
                    _ms(one.drift_ms),
                )
            )
    print()
    print_table(rows)
    for day, by_name in results.items():
        drops = {NAMES[name]: result.drops for name, result in by_name.items()}
        stall_s = by_name["worker"].stall_s
        if stall_s > STALL_S_MAX or any(drops.values()):
            print(f"  DISTURBED: {day}: relays stood still for {stall_s:.2f} s, lost {drops}")
    print(_LEGEND)


def _share(count: int, of: int) -> str:
    return f"{100 * count / of:.1f} %" if of else "-"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


_LEGEND: Final = """\
  delivered  pictures of the source that came whole; clean: that are also shown just as they
             were; ratio: of the clean ones, worker to pair; broken: shown, and not like that
  ms         from the last byte of a picture handed to the sender to nginx, median; the
             recovery buffer of 1000 ms is in it; at end: after the links are good again
  dead       holes above 0.2 s in the time line, between sessions and at the end
  silent     longest time in which no picture came to nginx; slate: time it was shown
  ended      programs that ended by themselves and were started again
  errors     that ffmpeg's decoder complains of, and its parser; stamps: that stand, crowd or
             step back; drift: how much longer the time line is than what was sent"""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
