"""The host: starts, a hundred at once, what is left after them, faults, and how many it carries.

A real ``strata host`` is driven over its socket, as the control plane does. Streams of the
first three parts are sent nothing and forward to a port that nobody listens on. Density: so
many broadcasts of 5 Mbps with a sender each that every picture is in every recording and the
receivers count nothing lost; the host's workers, with their limits, in turn with as many pairs
of ristreceiver and ffmpeg -c copy.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from bench import density, faults
from bench.hosting import (
    LOW_RESERVATION,
    SETTLE_S,
    Holdings,
    RunningHost,
    free_ports,
    running_host,
)
from bench.processes import MeasurementFailed, cpu_s, forbid_real_time
from bench.report import (
    Table,
    circumstances,
    print_circumstances,
    print_table,
    share,
    verdict,
    write_json,
)
from strata.errors import NoCapacity, StrataError

START_MAX_S: Final = 0.200
MANY_MAX_S: Final = 25.0
PARTS: Final = ("starts", "many", "left", "faults", "density")
RESERVED_PORTS: Final = 60
"""More than one round's streams need: a port that was given back rests for a minute."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything is measured."""

    starts: int
    many: int
    left_rounds: int
    left_streams: int
    faults: faults.Size
    density: density.Size


FULL: Final = Size(20, 100, 10, 10, faults.FULL, density.FULL)
QUICK: Final = Size(6, 20, 3, 4, faults.QUICK, density.QUICK)


@dataclass(frozen=True, slots=True)
class Starts:
    """Seconds of each start, from the request to its answer, and of each stop.

    Attributes:
        cpu: CPU seconds that the worker had spent by then, which other work on this machine
            changes less.
    """

    start: list[float]
    stop: list[float]
    cpu: list[float]


@dataclass(frozen=True, slots=True)
class Many:
    """Starts that were asked for at once.

    Attributes:
        ready_s: until the last of them was ready, and ``stop_s`` until all were gone.
        admitted, refused: with the default reservation.
    """

    count: int
    ready_s: float
    stop_s: float
    admitted: int
    refused: int


@dataclass(frozen=True, slots=True)
class Left:
    """What a host holds before and after ``rounds`` times ``streams`` starts and stops, and
    while the streams of the last round run: so much for what is counted being there at all."""

    rounds: int
    streams: int
    before: Holdings
    amidst: Holdings
    after: Holdings


def main(argv: Sequence[str]) -> int:
    args = _arguments(argv)
    size = QUICK if args.quick else FULL
    given = {"largest": args.largest, "step": args.step}
    broadcasts = replace(size.density, **{k: v for k, v in given.items() if v is not None})
    size = replace(size, density=broadcasts)
    found = circumstances()
    print_circumstances(found)
    forbid_real_time()
    result: dict[str, Any] = {"circumstances": found}
    try:
        with tempfile.TemporaryDirectory(prefix="strata-bench-") as name:
            asyncio.run(_measure(Path(name), size, args, result))
    except (MeasurementFailed, StrataError) as error:
        print(f"script/bench host: the measurement failed: {error}", file=sys.stderr)
        return 1
    write_json(args.json, result)
    return 0


async def _measure(
    folder: Path, size: Size, args: argparse.Namespace, result: dict[str, Any]
) -> None:
    measures: dict[str, Callable[[], Awaitable[Any]]] = {
        "starts": lambda: starts(folder, size.starts),
        "many": lambda: many(folder, size.many),
        "left": lambda: left(folder, size.left_rounds, size.left_streams),
        "faults": lambda: faults.measure(folder, size.faults),
        "density": lambda: density.measure(size.density),
    }
    loads = result["load_averages"] = {}
    for part in (each for each in PARTS if not args.only or each in args.only):
        result[part] = await measures[part]()
        loads[part] = os.getloadavg()
        _PRINTERS[part](result[part])
        print(f"  load average at the end of this: {loads[part][0]:.2f}\n", flush=True)


async def starts(folder: Path, count: int) -> Starts:
    """One start after the other; one more, before, warms the caches."""
    print(f"{count} single starts", flush=True)
    ports = free_ports(4 * (count + 1))
    found = Starts([], [], [])
    async with running_host(folder / "one", ports) as host:
        for number in range(count + 1):
            began = time.perf_counter()
            stream_id, started = await host.start([host.nowhere])
            ready, cpu = time.perf_counter(), cpu_s(started.pid)
            await asyncio.sleep(SETTLE_S)
            asked = time.perf_counter()
            await host.stop(stream_id)
            if number:
                found.start.append(ready - began)
                found.cpu.append(cpu)
                found.stop.append(time.perf_counter() - asked)
    return found


async def many(folder: Path, count: int) -> Many:
    """So many at once, with next to nothing reserved and then with the default."""
    print(f"{count} starts at once", flush=True)
    ports = free_ports(4 * count + RESERVED_PORTS)
    async with running_host(folder / "many", ports, LOW_RESERVATION) as host:
        began = time.perf_counter()
        admitted, refused = await _at_once(host, count)
        ready_s = time.perf_counter() - began
        if refused:
            raise MeasurementFailed(f"{refused} of {count} starts were refused")
        asked = time.perf_counter()
        await asyncio.gather(*(host.stop(stream_id) for stream_id in admitted))
        stop_s = time.perf_counter() - asked
    print(f"{count} starts at once, with the default reservation", flush=True)
    async with running_host(folder / "default", ports) as host:
        admitted, refused = await _at_once(host, count)
        await asyncio.gather(*(host.stop(stream_id) for stream_id in admitted))
    return Many(count, ready_s, stop_s, len(admitted), refused)


async def _at_once(host: RunningHost, count: int) -> tuple[list[str], int]:
    """Those that have started, and how many had no room.

    Raises:
        MeasurementFailed: one failed for another reason.
    """
    requests = (host.start([host.nowhere]) for _ in range(count))
    results = await asyncio.gather(*requests, return_exceptions=True)
    failed = [e for e in results if isinstance(e, BaseException) and not isinstance(e, NoCapacity)]
    if failed:
        raise MeasurementFailed(f"{len(failed)} of {count} starts failed: {failed[0]!r}")
    admitted = [each[0] for each in results if not isinstance(each, BaseException)]
    return admitted, count - len(admitted)


async def left(folder: Path, rounds: int, streams: int) -> Left:
    """Rounds of starts and stops; one of each, before, opens what a host keeps open."""
    print(f"{rounds} rounds of {streams} starts and {streams} stops", flush=True)
    ports = free_ports(2 * streams * (rounds + 1) + RESERVED_PORTS)
    async with running_host(folder / "left", ports, LOW_RESERVATION) as host:
        for number in range(rounds + 1):
            count = streams if number else 1
            started, refused = await _at_once(host, count)
            if refused:
                raise MeasurementFailed(f"{refused} of {count} starts were refused")
            if number == rounds:
                amidst = host.holdings()
            await asyncio.gather(*(host.stop(stream_id) for stream_id in started))
            if not number:
                await asyncio.sleep(SETTLE_S)
                before = host.holdings()
        await asyncio.sleep(SETTLE_S)
        return Left(rounds, streams, before, amidst, host.holdings())


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="script/bench host", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of everything: two minutes")
    parser.add_argument(
        "--only", action="append", choices=PARTS, help="this part; may be given more than once"
    )
    parser.add_argument(
        "--largest",
        type=int,
        metavar="N",
        help=f"broadcasts tried at most ({FULL.density.largest})",
    )
    parser.add_argument(
        "--step",
        type=int,
        metavar="N",
        help=f"by so many the broadcasts grow ({FULL.density.step})",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    args = parser.parse_args(argv)
    if min(args.largest or 1, args.step or 1) < 1:
        parser.error("at least 1 broadcast")
    return args


def _print_starts(found: Starts) -> None:
    count = len(found.start)
    print(f"\nFrom the request to the answer, {count} single starts, ms:\n")
    rows: Table = [("", "p50", "p95", "most", "bound", "")]
    for name, values in (
        ("start", found.start),
        ("  CPU of the worker", found.cpu),
        ("stop", found.stop),
    ):
        half = share(values, 50)
        bound = ("", "")
        if name == "start":
            bound = f"p50 <= {START_MAX_S * 1e3:.0f}", verdict(half, START_MAX_S)
        figures = (half, share(values, 95), max(values))
        rows.append((name, *(f"{value * 1e3:.0f}" for value in figures), *bound))
    print_table(rows)


def _print_many(found: Many) -> None:
    print(f"\n{found.count} starts at once:\n")
    rows: Table = [
        ("", "", "bound", ""),
        (
            "all ready, s",
            f"{found.ready_s:.1f}",
            f"<= {MANY_MAX_S:.0f}",
            verdict(found.ready_s, MANY_MAX_S),
        ),
        ("all stopped at once, s", f"{found.stop_s:.1f}", "", ""),
        ("with the default reservation: admitted", str(found.admitted), "", ""),
        ("and refused as no_capacity", str(found.refused), "", ""),
    ]
    print_table(rows)


def _print_left(found: Left) -> None:
    print(f"\nWhat {found.rounds} rounds of {found.streams} starts and stops leave behind:\n")
    rows: Table = [("", "before", f"{found.streams} run", "after", "bound", "")]
    names = {
        "ports": "ports bound",
        "processes": "processes",
        "descriptors": "descriptors of the host",
        "sockets": "sockets",
        "groups": "control groups",
        "records": "records",
    }
    for field, name in names.items():
        held = (found.before, found.amidst, found.after)
        before, amidst, after = (getattr(each, field) for each in held)
        met = verdict(abs(after - before), 0)
        rows.append((name, str(before), str(amidst), str(after), "equal", met))
    print_table(rows)


_PRINTERS: Final[dict[str, Callable[[Any], None]]] = {
    "starts": _print_starts,
    "many": _print_many,
    "left": _print_left,
    "faults": faults.print_result,
    "density": density.print_result,
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
