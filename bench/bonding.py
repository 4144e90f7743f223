"""Our bond against librist's sender with fixed shares, on links that are narrow, die or come.

Three senders at the same time make the same media, and each has relays of its own with the same
schedule (strata-impair) and a receiver with the worker's settings: our bond; librist's with the
same weight for each link; librist's with weights by what the links carry at the beginning, which
somebody would have to know. All packets are numbered: what is delivered is counted, not estimated.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.bad_links import BACK_S, CARRY, COLLAPSES, DIES, EVENT_S, FALLS, JOINS, Case
from bench.bonding_cpu import CPU_RATIO_MAX, Cost, cost
from bench.bonding_run import NAMES, Played, play
from bench.media import FPS, GOP_FRAMES
from bench.processes import MeasurementFailed, forbid_real_time
from bench.report import Table, circumstances, print_circumstances, print_table, verdict, write_json

DELIVERED_MIN: Final = 99.99
LEFT_MAX_S: Final = 0.5
NARROW_MAX_KBPS: Final = 300.0
JOINED_MAX_S: Final = 3.0
DOWN_MAX_S: Final = 2.0
UP_MAX_S: Final = 15.0
LOST_MAX_S: Final = 0.5 + GOP_FRAMES / FPS
STALL_MAX_S: Final = 0.15

TITLES: Final = {"bond": "bond", "equal": "librist, equal", "by rate": "librist, by rate"}


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of a case; None where there is none."""

    name: str
    of: Callable[[Played], float | None]
    digits: int
    target: str
    met: Callable[[float | None], bool] | None = None


def _at_most(limit: float) -> Callable[[float | None], bool]:
    return lambda value: value is not None and value <= limit


def _whole(value: float | None) -> bool:
    return value is not None and value >= DELIVERED_MIN


DELIVERED: Final = Row("delivered, %", Played.delivered_percent, 3, ">= 99.99", _whole)
LOST: Final = Row("packets lost", lambda one: float(len(one.lost())), 0, "0", _at_most(0))

ROWS: Final[tuple[tuple[Case, tuple[Row, ...]], ...]] = (
    (
        CARRY,
        (
            DELIVERED,
            LOST,
            Row("link 1, kbit/s", lambda one: one.link_kbps(0, 10, 60), 0, ""),
            Row("link 2, kbit/s", lambda one: one.link_kbps(1, 10, 60), 0, ""),
        ),
    ),
    (
        DIES,
        (
            Row(
                *("last media on it, s after", lambda one: one.last_media_s(0), 2),
                *(f"<= {LEFT_MAX_S}", _at_most(LEFT_MAX_S)),
            ),
            LOST,
            DELIVERED,
        ),
    ),
    (
        COLLAPSES,
        (
            Row(
                *("on it 1 to 4 s after, kbit/s", lambda one: one.link_kbps(0, 9, 12), 0),
                *(f"<= {NARROW_MAX_KBPS:.0f}", _at_most(NARROW_MAX_KBPS)),
            ),
            Row(
                *("on it 4 to 14 s after, kbit/s", lambda one: one.link_kbps(0, 12, 22), 0),
                *(f"<= {NARROW_MAX_KBPS:.0f}", _at_most(NARROW_MAX_KBPS)),
            ),
            LOST,
            DELIVERED,
        ),
    ),
    (
        JOINS,
        (
            Row(
                *("200 kbit/s on it, s after", lambda one: one.used_s(2), 2),
                *(f"<= {JOINED_MAX_S:.0f}", _at_most(JOINED_MAX_S)),
            ),
            Row("on it 3 to 12 s after, kbit/s", lambda one: one.link_kbps(2, 11, 20), 0, ""),
            LOST,
            DELIVERED,
        ),
    ),
    (
        FALLS,
        (
            Row(
                *("encoder below 2 Mbps, s after", lambda one: one.down_s(2_000, EVENT_S), 1),
                *(f"<= {DOWN_MAX_S:.0f}", _at_most(DOWN_MAX_S)),
            ),
            Row(
                *("at 4 Mbps again, s after", lambda one: one.up_s(3_999, BACK_S), 1),
                *(f"<= {UP_MAX_S:.0f}", _at_most(UP_MAX_S)),
            ),
            Row(
                *("media lost, s", Played.lost_s, 2),
                *(f"<= {LOST_MAX_S}", _at_most(LOST_MAX_S)),
            ),
            Row("delivered, %", Played.delivered_percent, 3, ""),
            Row("longest hole, s", Played.longest_hole_s, 2, ""),
        ),
    ),
)


def main(argv: Sequence[str]) -> int:
    args = _arguments(argv)
    found = circumstances()
    print_circumstances(found)
    forbid_real_time()
    chosen = [(case, rows) for case, rows in ROWS if args.only in case.name]
    results: dict[str, dict[str, Any]] = {}
    spent: Cost | None = None
    try:
        with tempfile.TemporaryDirectory(prefix="strata-bench-") as name:
            for number, (case, rows) in enumerate(chosen):
                print(f"{number + 1} of {len(chosen)}: {case.name}", flush=True)
                folder = Path(name) / str(number)
                folder.mkdir()
                played = play(folder, case, args.seconds, args.weight)
                results[case.name] = _print_case(case, rows, played)
            if args.only in "cpu":
                spent = cost(Path(name), args.rounds, args.cpu_seconds)
                _print_cost(spent)
    except MeasurementFailed as error:
        print(f"script/bench bonding: the measurement failed: {error}", file=sys.stderr)
        return 1
    write_json(args.json, {"circumstances": found, "cases": results, "cpu": spent})
    return 0


def _print_case(case: Case, rows: Sequence[Row], played: dict[str, Played]) -> dict[str, Any]:
    table: Table = [("", *(TITLES[name] for name in NAMES), "target", "bond")]
    result: dict[str, Any] = {}
    for row in rows:
        values = {name: row.of(one) for name, one in played.items()}
        result[row.name] = values
        met = "" if row.met is None else "met" if row.met(values["bond"]) else "MISSED"
        cells = ["-" if value is None else f"{value:.{row.digits}f}" for value in values.values()]
        table.append((row.name, *cells, row.target, met))
    print()
    print_table(table)
    bond = played["bond"]
    if bond.stall_s > STALL_MAX_S:
        print(f"  DISTURBED: the relays stood still for {bond.stall_s:.2f} s\n")
    result["stall_s"] = bond.stall_s
    result["written"] = {name: len(one.written) for name, one in played.items()}
    return result


def _print_cost(spent: Cost) -> None:
    print(f"CPU of a sender at 5 Mbps over two links, {len(spent.cores['bond'])} rounds at once:\n")
    rows: Table = [("", "% of a core", "ratio", "target", "")]
    for name, title in (
        ("ristsender", "Debian's ristsender"),
        ("librist", "librist, from Python"),
        ("bond", "bond"),
        ("strata-sender", "strata-sender, passing it on"),
    ):
        ratio = spent.ratio(name)
        target = ("", "")
        if name == "strata-sender":
            target = f"<= {CPU_RATIO_MAX}", verdict(ratio.median, CPU_RATIO_MAX)
        text = "" if name == "ristsender" else ratio.text()
        rows.append((title, spent.spread(name).text(100), text, *target))
    print_table(rows)


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="script/bench bonding", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="of the first case (60); others have their own"
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="cases with this, or cpu")
    parser.add_argument(
        "--weight", type=int, default=1, help="librist's weights, times so many (1)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="of the CPU (3)")
    parser.add_argument("--cpu-seconds", type=float, default=15.0, help="of each of them (15)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    args = parser.parse_args(argv)
    if args.seconds < 12 or args.rounds < 1 or args.weight < 1 or args.cpu_seconds < 2:
        parser.error("at least 12 seconds, weight 1, 1 round and 2 seconds of CPU")
    return args


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
