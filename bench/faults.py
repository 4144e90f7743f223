"""Faults of a host and its workers: how long until a broadcast is back on the air.

Real media, from a ristsender each, to an nginx-rtmp that records. Back on the air is the first
picture of the source that comes to nginx in a new session. A host that is killed is started
anew at once; it has taken over when it lists all its streams with the processes that they had,
and with what these say of their input and their forward.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from bench import media
from bench.arrivals import Arrivals
from bench.coded import Came, clip_pictures, recorded_pictures
from bench.hosting import LOW_RESERVATION, RunningHost, free_ports, running_host
from bench.nginx import Nginx
from bench.processes import MeasurementFailed, forbid_real_time, give_room
from bench.report import (
    Table,
    circumstances,
    print_circumstances,
    print_table,
    share,
    verdict,
    write_json,
)
from bench.stage import DRAIN_S, HANDSHAKE_S
from strata.errors import StrataError
from strata.host import health
from strata.wire import host as wire
from strata.wire.worker import Forward, Input, Ready

KILLED_MAX_S: Final = 5.0
HALTED_MAX_S: Final = 28.0
ADOPTED_MAX_S: Final = 5.0

ON_AIR_S: Final = 6.0
"""From the first packet of the feed to the first fault."""
APART_S: Final = 1.7
"""Between two faults of a round."""
AFTER_S: Final = 4.0
"""The feed goes on for so long after a host was found to have taken over."""
BEFORE_S: Final = 3.0
EDGE_S: Final = 1.0
_BACK: Final = 1_500_000
"""Bytes of a session: 2.4 s of the source; a slate takes far longer to fill them."""
_POLL_S: Final = 0.05
_ASK_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Size:
    """Rounds, and in each of them so many broadcasts for each fault.

    Attributes:
        margin_s: a fault is waited for so much longer than its bound before the broadcast
            counts as gone.
    """

    rounds: int
    streams: int
    host_rounds: int
    host_streams: int
    margin_s: float

    @property
    def clip_s(self) -> float:
        """What a feed may take at most."""
        wait_s = self.phase_s(self.rounds - 1) + 2 * self.streams * APART_S
        return ON_AIR_S + wait_s + HALTED_MAX_S + self.margin_s

    def phase_s(self, number: int) -> float:
        """How long a round waits, so that the faults of all rounds together come at all
        times between two looks of a host at its streams, and of a group of pictures."""
        return health.CHECK_S * number / self.rounds


FULL: Final = Size(5, 2, 5, 4, 10.0)
QUICK: Final = Size(1, 1, 1, 2, 1.0)


@dataclass(slots=True)
class Faults:
    """Seconds, a value for each broadcast; infinity where it did not come back.

    Attributes:
        killed, halted: until it was back on the air after its worker was sent SIGKILL and
            SIGSTOP.
        adopted: for each round, until a new host had taken over all of its streams.
        gap: for each broadcast, what is missing of its picture around that.
        sessions: and how many sessions it took at nginx.
        silence: and the longest time without a picture from the kill on.
        silence_before: and until then, for comparison.
    """

    killed: list[float] = field(default_factory=list)
    halted: list[float] = field(default_factory=list)
    adopted: list[float] = field(default_factory=list)
    gap: list[float] = field(default_factory=list)
    sessions: list[int] = field(default_factory=list)
    silence: list[float] = field(default_factory=list)
    silence_before: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Clip:
    path: Path
    sent_at: dict[bytes, float]
    """Seconds from the start of a feed until a picture's last byte has been sent."""
    parameters: set[bytes]

    @classmethod
    def made(cls, path: Path, seconds: float) -> _Clip:
        media.make_clip(path, seconds)
        pictures, parameters = clip_pictures(path.read_bytes())
        bytes_per_s = media.MUX_KBPS * 1000 / 8
        return cls(path, {each.key: each.end / bytes_per_s for each in pictures}, parameters)


@dataclass(frozen=True, slots=True)
class _Broadcast:
    stream_id: str
    key: str
    pid: int


@dataclass(frozen=True, slots=True)
class _Air:
    """Broadcasts that are on the air."""

    clip: _Clip
    host: RunningHost
    nginx: Nginx
    arrivals: Arrivals
    feed: media.Feed
    broadcasts: list[_Broadcast]

    def pictures(self, key: str) -> list[tuple[int, Came, float]]:
        """Of all sessions: which session, the picture, and when it came."""
        return [
            (number, each, self.arrivals.at(path, each.end))
            for number, path in enumerate(self.nginx.sessions(key))
            for each in recorded_pictures(path, self.clip.parameters)
        ]

    def back_at(self, key: str) -> float:
        """When the source's picture came in a later session than the first."""
        return min(
            (
                at
                for session, each, at in self.pictures(key)
                if session and each.key in self.clip.sent_at
            ),
            default=math.inf,
        )

    async def drain(self) -> None:
        """Returns when all that was sent is in the recordings."""
        self.feed.stop()
        await asyncio.sleep(DRAIN_S)


@asynccontextmanager
async def _on_air(folder: Path, clip: _Clip, count: int) -> AsyncIterator[_Air]:
    """So many broadcasts, fed for :data:`ON_AIR_S`; nothing is left of them at the end."""
    folder.mkdir()
    ports = free_ports(3 * count + 8)
    taps, links = ports[:count], ports[count:]
    try:
        async with contextlib.AsyncExitStack() as stack:
            nginx = Nginx(folder, media.Ports().tcp(), by_session=True)
            stack.callback(nginx.child.stop)
            arrivals = Arrivals(nginx.recordings)
            arrivals.start()
            stack.callback(arrivals.stop)
            opened = running_host(folder / "host", links, LOW_RESERVATION)
            host = await stack.enter_async_context(opened)
            broadcasts = []
            for number, tap in enumerate(taps):
                key = f"stream{number}"
                stream_id, started = await host.start([nginx.url(key)], slate="on")
                broadcasts.append(_Broadcast(stream_id, key, started.pid))
                sender = media.rist_sender(tap, started.ports, folder / f"{key}-sender.log")
                stack.callback(sender.stop, signal.SIGKILL)
                give_room(sender.pid, tap)
            await asyncio.sleep(HANDSHAKE_S)
            feed = media.Feed(clip.path, taps)
            stack.callback(feed.stop)
            feed.start()
            await asyncio.sleep(ON_AIR_S)
            air = _Air(clip, host, nginx, arrivals, feed, broadcasts)
            for each in broadcasts:
                if not any(came.key in clip.sent_at for _, came, _ in air.pictures(each.key)):
                    raise MeasurementFailed(f"{each.key} did not come on the air")
            yield air
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def measure(folder: Path, size: Size) -> Faults:
    """All rounds of all faults."""
    print(f"faults: a clip of {size.clip_s:.0f} s", flush=True)
    clip = _Clip.made(folder / "faults.ts", size.clip_s)
    found = Faults()
    for number in range(size.rounds):
        print(f"faults of workers, round {number + 1} of {size.rounds}", flush=True)
        async with _on_air(folder / f"workers{number}", clip, 2 * size.streams) as air:
            await asyncio.sleep(size.phase_s(number))
            await _workers(air, found, size.margin_s)
    for number in range(size.host_rounds):
        print(f"host killed, round {number + 1} of {size.host_rounds}", flush=True)
        async with _on_air(folder / f"killed{number}", clip, size.host_streams) as air:
            await _host(air, found, size.margin_s)
    clip.path.unlink()
    return found


async def _workers(air: _Air, found: Faults, margin_s: float) -> None:
    """Every other worker is halted, the others are killed."""
    begun: list[tuple[_Broadcast, signal.Signals, float]] = []
    for number, each in enumerate(air.broadcasts):
        fault = signal.SIGKILL if number % 2 else signal.SIGSTOP
        begun.append((each, fault, time.monotonic()))
        os.kill(each.pid, fault)
        await asyncio.sleep(APART_S)
    bounds = {signal.SIGKILL: KILLED_MAX_S, signal.SIGSTOP: HALTED_MAX_S}
    give_up_at = max(at + bounds[fault] for _, fault, at in begun) + margin_s - EDGE_S

    def all_back() -> bool:
        # Reading all pictures each time would take the time from what is measured.
        return all(
            len(paths := air.nginx.sessions(each.key)) > 1 and paths[-1].stat().st_size > _BACK
            for each, _, _ in begun
        )

    while time.monotonic() < give_up_at and not all_back():
        await asyncio.sleep(_POLL_S)
    await air.drain()
    for each, fault, at in begun:
        values = found.killed if fault is signal.SIGKILL else found.halted
        values.append(air.back_at(each.key) - at)
        print(f"  {each.key} {fault.name}: back after {values[-1]:.1f} s", flush=True)


async def _host(air: _Air, found: Faults, margin_s: float) -> None:
    killed_at = time.monotonic()
    air.host.replace()
    taken_over = await _eventually(
        lambda streams: _has_taken_over(streams, air.broadcasts),
        air.host,
        killed_at + ADOPTED_MAX_S + margin_s,
    )
    found.adopted.append(taken_over - killed_at)
    print(f"  taken over after {found.adopted[-1]:.2f} s", flush=True)
    await asyncio.sleep(AFTER_S)
    until_s = time.monotonic() - air.feed.started_at - EDGE_S
    from_s = killed_at - air.feed.started_at - EDGE_S
    end = time.monotonic()
    await air.drain()
    due = {key for key, at_s in air.clip.sent_at.items() if from_s <= at_s < until_s}
    for each in air.broadcasts:
        pictures = air.pictures(each.key)
        came = {picture.key for _, picture, _ in pictures}
        found.gap.append(len(due - came) / media.FPS)
        found.sessions.append(len(air.nginx.sessions(each.key)))
        ats = [at for _, _, at in pictures]
        found.silence.append(_longest(ats, killed_at, end))
        found.silence_before.append(_longest(ats, killed_at - BEFORE_S, killed_at))


def _longest(ats: Sequence[float], begin: float, end: float) -> float:
    """The longest time between two that nothing came at."""
    inner = [begin, *(at for at in ats if begin < at < end), end]
    return max(after - before for before, after in pairwise(inner))


def _has_taken_over(streams: dict[str, wire.Snapshot], broadcasts: Sequence[_Broadcast]) -> bool:
    for each in broadcasts:
        stream = streams.get(each.stream_id)
        if stream is None or stream.pid != each.pid:
            return False
        events = stream.events
        if not (
            any(isinstance(event, Ready) for event in events)
            and any(isinstance(e, Input) and e.state == "receiving" for e in events)
            and any(isinstance(e, Forward) and e.state == "live" for e in events)
        ):
            return False
    return True


async def _eventually(
    holds: Callable[[dict[str, wire.Snapshot]], bool], host: RunningHost, give_up_at: float
) -> float:
    """When (``time.monotonic()``) it came true; infinity for never."""
    while time.monotonic() < give_up_at:
        with contextlib.suppress(StrataError):  # it is not there yet
            if holds(await host.streams()):
                return time.monotonic()
        await asyncio.sleep(_ASK_S)
    return math.inf


def main(argv: Sequence[str]) -> int:
    args = _arguments(argv)
    size = QUICK if args.quick else FULL
    if args.rounds is not None:
        size = replace(size, rounds=args.rounds, host_rounds=args.rounds)
    circumstances_found = circumstances()
    print_circumstances(circumstances_found)
    forbid_real_time()
    result: dict[str, Any] = {"circumstances": circumstances_found}
    try:
        with tempfile.TemporaryDirectory(prefix="strata-bench-") as name:
            result["faults"] = asyncio.run(measure(Path(name), size))
    except (MeasurementFailed, StrataError) as error:
        print(f"script/bench faults: the measurement failed: {error}", file=sys.stderr)
        return 1
    print_result(result["faults"])
    write_json(args.json, result)
    return 0


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="script/bench faults", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of each: a minute")
    parser.add_argument("--rounds", type=int, help=f"of each fault ({FULL.rounds})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    args = parser.parse_args(argv)
    if args.rounds is not None and args.rounds < 1:
        parser.error("at least 1 round")
    return args


def print_result(found: Faults) -> None:
    print("\nFrom a fault until all is well again, s:\n")
    rows: Table = [("", "p50", "worst", "measured", "bound", "")]
    for name, values, bound in (
        ("worker SIGKILL: back on the air", found.killed, KILLED_MAX_S),
        ("worker SIGSTOP: back on the air", found.halted, HALTED_MAX_S),
        ("host SIGKILL: streams taken over", found.adopted, ADOPTED_MAX_S),
        ("  gap in the picture meanwhile", found.gap, 0.0),
        ("  longest time without a picture", found.silence, None),
        ("  and before it", found.silence_before, None),
    ):
        rows.append(
            (
                name,
                f"{share(values, 50):.2f}",
                f"{max(values):.2f}",
                str(len(values)),
                "" if bound is None else f"<= {bound:.0f}",
                "" if bound is None else verdict(max(values), bound),
            )
        )
    print_table(rows)
    torn = sum(sessions != 1 for sessions in found.sessions)
    print(
        f"  broadcasts that were torn by the end of their host: {torn} of {len(found.sessions)}\n"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
