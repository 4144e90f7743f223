"""How many broadcasts this machine carries without losing a packet.

Senders, feed and nginx run on the same machine, and count for both sides alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import tempfile
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from bench import media
from bench.coded import clip_pictures, recorded_pictures
from bench.hosting import LOW_RESERVATION, RunningHost, free_ports, running_host
from bench.nginx import Nginx
from bench.peers import HandMadePeer
from bench.processes import MeasurementFailed, busy_s, cpu_s, give_room, udp_drops
from bench.report import Table, print_table
from bench.stage import DRAIN_S, HANDSHAKE_S, SETTLE_S
from strata.wire.worker import Stats

NAMES: Final = {"worker": "worker of the host", "hand": "ristreceiver + ffmpeg"}
FROM_S: Final = 3.0
"""Pictures count from this second of the clip on: the first group of pictures may have begun
before the link stood."""
TAIL_S: Final = 1.0
"""The feed goes on for so long after the last picture that counts, so that nothing waits for
what comes next."""
ATTEMPTS: Final = 2
"""A number is not carried if it failed so often: others work on the machine, too."""
TMPFS: Final = Path("/dev/shm")
_THREADS: Final = 16


@dataclass(frozen=True, slots=True)
class Size:
    """Attributes:
    step: the number of broadcasts grows by so many.
    largest: and no further than this.
    attempts: at each number.
    clip_s: what counts of each trial ends there.
    """

    step: int
    largest: int
    attempts: int
    clip_s: float


FULL: Final = Size(4, 64, ATTEMPTS, 12.0)
QUICK: Final = Size(2, 2, 1, 6.0)
_ENVIRONMENT: Final = {**LOW_RESERVATION, "STRATA_HOST__READY_TIMEOUT_S": "60"}


@dataclass(frozen=True, slots=True)
class Trial:
    """So many broadcasts at once.

    Attributes:
        broken: recordings without every picture, each in its place.
        missing: pictures that all of these lack together.
        lost: packets, as the receivers count them.
        ended: receivers that ended by themselves.
        said: what the receivers say of it, in words.
        undelivered: datagrams that overflowed a socket: of a sender, whose fault is not the
            receivers', and of these.
        busy, receivers, feeding, others: cores that were busy in the window, and of it those
            of the receivers (the host itself among them), those of senders, feed and nginx,
            and those that had nothing to do with it.
    """

    count: int
    broken: int
    missing: int
    lost: int
    ended: int
    said: str
    undelivered: tuple[int, int]
    busy: float
    receivers: float
    feeding: float

    @property
    def others(self) -> float:
        return max(0.0, self.busy - self.receivers - self.feeding)

    @property
    def carried(self) -> bool:
        return not (self.broken or self.lost or self.ended)

    def __str__(self) -> str:
        senders, receivers = self.undelivered
        verdict = "carried" if self.carried else "not carried"
        text = f"{verdict}; {self.busy:.2f} cores busy, {self.others:.2f} with other work"
        if not self.carried:
            text += f"; {self.broken} recordings lack {self.missing} pictures"
            text += f", receivers lost {self.lost} packets and {self.ended} of them ended"
            text += f"{', ' if self.said else ''}{self.said}"
            text += f", sockets dropped {receivers} of theirs and {senders} of the senders'"
        return text


@dataclass(slots=True)
class Search:
    """The largest number that is carried: grows by ``step``, then halves what is left."""

    step: int
    largest: int
    attempts: int
    carried: int = 0
    failed: int | None = None
    _failures: int = 0

    @property
    def next(self) -> int | None:
        """What is to be tried; None where the answer is known."""
        if self.failed is None:
            number = min(self.carried + self.step, self.largest)
            return number if number > self.carried else None
        middle = (self.carried + self.failed) // 2
        return middle if middle > self.carried else None

    def tell(self, number: int, carried: bool) -> None:
        if carried:
            self.carried, self._failures = number, 0
            return
        self._failures += 1
        if self._failures >= self.attempts:
            self.failed, self._failures = number, 0


@dataclass(frozen=True, slots=True)
class Density:
    """Attributes:
    carried: the largest number by side, ``at_most`` where no larger one was tried.
    trials: all of them, in order.
    at_both: what each took at the largest number that both carried.
    """

    carried: dict[str, int]
    at_most: int
    trials: list[tuple[str, Trial]]
    at_both: dict[str, Trial]


@dataclass(slots=True)
class _Stage:
    """What all trials share."""

    folder: Path
    clip: Path
    clip_s: float
    nginx: Nginx
    keys: list[bytes] = field(default_factory=list)
    parameters: set[bytes] = field(default_factory=set)
    trials: int = 0

    def __post_init__(self) -> None:
        pictures, self.parameters = clip_pictures(self.clip.read_bytes())
        bytes_per_s = media.MUX_KBPS * 1000 / 8
        self.keys = [p.key for p in pictures if FROM_S <= p.end / bytes_per_s < self.clip_s]

    def missing(self, key: str) -> int:
        """How many pictures a recording lacks, or has not in their order; removes it."""
        path = self.nginx.recording(key)
        came: list[bytes] = []
        if path.exists():
            came = [each.key for each in recorded_pictures(path, self.parameters)]
            path.unlink()
        first = came.index(self.keys[0]) if self.keys[0] in came else len(came)
        if came[first : first + len(self.keys)] == self.keys:
            return 0
        return max(1, len(set(self.keys) - set(came)))


class _Receivers(Protocol):
    """All receivers of a trial."""

    async def start(self, urls: Sequence[str]) -> None: ...
    def links(self) -> list[Sequence[int]]: ...
    def pids(self) -> list[int]: ...
    async def losses(self) -> tuple[int, int, str]:
        """Packets, as those that run count them, how many receivers have ended, and what they
        say in words."""
        ...


class _Workers:
    """Those of one host."""

    def __init__(self, host: RunningHost) -> None:
        self._host = host
        self._pids: list[int] = []
        self._links: list[Sequence[int]] = []

    async def start(self, urls: Sequence[str]) -> None:
        found = await asyncio.gather(*(self._host.start([url]) for url in urls))
        self._links = [started.ports for _, started in found]
        self._pids = [started.pid for _, started in found]

    def links(self) -> list[Sequence[int]]:
        return self._links

    def pids(self) -> list[int]:
        return [self._host.pid, *self._pids]

    async def losses(self) -> tuple[int, int, str]:
        self._host.check()
        streams = (await self._host.streams()).values()
        kept = [each for each in streams if each.pid in self._pids]
        reports = [e for each in kept for e in each.events if isinstance(e, Stats)]
        forwards = [forward for report in reports for forward in report.forwards]
        said = (
            f"forwards dropped {sum(each.dropped_frames for each in forwards)} frames and "
            f"connected anew {sum(each.reconnects for each in forwards)} times, "
            f"{sum(report.line.damaged_frames for report in reports)} pictures and "
            f"{sum(report.line.bad_stamps for report in reports)} stamps were left out"
        )
        lost = sum(report.flow.lost for report in reports)
        return lost, len(self._links) - len(reports), said


class _Pairs:
    """Those started by hand."""

    def __init__(self, folder: Path, ports: Sequence[int], pool: ThreadPoolExecutor) -> None:
        self._folder = folder
        self._ports = ports
        self._pool = pool
        self._pairs: list[HandMadePeer] = []

    async def start(self, urls: Sequence[str]) -> None:
        for number, url in enumerate(urls):
            one, two, udp = self._ports[3 * number : 3 * number + 3]
            pair = HandMadePeer(self._folder, f"hand{number}", (one, two), udp, url)
            self._pairs.append(pair)
        starts = [self._pool.submit(pair.start) for pair in self._pairs]
        for each in starts:
            await asyncio.wrap_future(each)

    def links(self) -> list[Sequence[int]]:
        return [pair.ports for pair in self._pairs]

    def pids(self) -> list[int]:
        return [pid for pair in self._pairs for pid in pair.pids()]

    async def losses(self) -> tuple[int, int, str]:
        logs = (self._folder / f"hand{number}-rist.log" for number in range(len(self._pairs)))
        ended = 0
        for pair in self._pairs:
            try:
                pair.check()
            except MeasurementFailed:
                ended += 1
        return sum(_lost_in(log) for log in logs), ended, ""

    def stop(self) -> None:
        list(self._pool.map(HandMadePeer.stop, self._pairs))


def _lost_in(log: Path) -> int:
    """What a ristreceiver has printed each second, added up."""
    lost = reports = 0
    for line in log.read_text(errors="replace").splitlines():
        _, found, text = line.partition('{"receiver-stats":')
        if found:
            stats = json.loads(found + text)["receiver-stats"]["flowinstant"]["stats"]
            lost += int(stats["lost"])
            reports += 1
    if not reports:
        raise MeasurementFailed(f"{log} holds no statistics")
    return lost


async def measure(size: Size) -> Density:
    """Both sides in turn, each until its number is found."""
    place = TMPFS if TMPFS.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="strata-bench-", dir=place) as name:
        folder = Path(name)
        clip = folder / "clip.ts"
        media.make_clip(clip, size.clip_s + TAIL_S)
        nginx = Nginx(folder, media.Ports().tcp())
        try:
            return await _search(_Stage(folder, clip, size.clip_s, nginx), size)
        finally:
            nginx.child.stop()


async def _search(here: _Stage, size: Size) -> Density:
    searches = {name: Search(size.step, size.largest, size.attempts) for name in NAMES}
    trials: list[tuple[str, Trial]] = []
    while any(search.next is not None for search in searches.values()):
        for name, search in searches.items():
            number = search.next
            if number is None:
                continue
            trial = await _try(here, name, number)
            trials.append((name, trial))
            search.tell(number, trial.carried)
    both = min(search.carried for search in searches.values())
    at_both = {}
    for name in NAMES:
        found = [trial for side, trial in trials if side == name and trial.count == both]
        if both and not found:
            found = [await _try(here, name, both)]
            trials.append((name, found[0]))
        if found:
            at_both[name] = found[-1]
    carried = {name: search.carried for name, search in searches.items()}
    return Density(carried, size.largest, trials, at_both)


async def _try(here: _Stage, name: str, count: int) -> Trial:
    here.trials += 1
    folder = here.folder / f"trial{here.trials}"
    folder.mkdir()
    ports = free_ports(4 * count + 2)
    links, taps = ports[: 3 * count + 2], ports[3 * count + 2 :]
    async with contextlib.AsyncExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(_THREADS))
        receivers: _Receivers
        if name == "worker":
            host = running_host(folder / "host", links, _ENVIRONMENT)
            receivers = _Workers(await stack.enter_async_context(host))
        else:
            receivers = pairs = _Pairs(folder, links, pool)
            stack.callback(pairs.stop)
        measured = await _play(here, folder, receivers, taps, stack)
    await asyncio.sleep(SETTLE_S)
    missing = [here.missing(_key(number)) for number in range(count)]
    trial = Trial(
        count,
        sum(each > 0 for each in missing),
        sum(missing),
        *measured,
    )
    print(f"  {count:3} x {NAMES[name]:<21} {trial}", flush=True)
    return trial


def _key(number: int) -> str:
    return f"stream{number}"


async def _play(
    here: _Stage,
    folder: Path,
    receivers: _Receivers,
    taps: Sequence[int],
    stack: contextlib.AsyncExitStack,
) -> tuple[int, int, str, tuple[int, int], float, float, float]:
    """What a :class:`Trial` says beside its recordings."""
    await receivers.start([here.nginx.url(_key(number)) for number in range(len(taps))])
    links = receivers.links()
    senders = []
    for number, (tap, ports) in enumerate(zip(taps, links, strict=True)):
        sender = media.rist_sender(tap, ports, folder / f"sender{number}.log")
        stack.callback(sender.stop, signal.SIGKILL)
        senders.append(sender)
    for sender, tap in zip(senders, taps, strict=True):
        give_room(sender.pid, tap)
    await asyncio.sleep(HANDSHAKE_S)
    feeding = [here.nginx.child.pid, os.getpid(), *(sender.pid for sender in senders)]
    feed = media.Feed(here.clip, taps)
    stack.callback(feed.stop)
    feed.start()
    await _until(feed.started_at + FROM_S)
    first = _read(receivers.pids(), feeding)
    await _until(feed.started_at + here.clip_s)
    last = _read(receivers.pids(), feeding)
    await asyncio.to_thread(feed.join)
    await asyncio.sleep(DRAIN_S)
    for sender in senders:
        sender.check()
    inputs = {port for ports in links for port in ports}
    undelivered = udp_drops(set(taps)), udp_drops(inputs)
    lost, ended, said = await receivers.losses()
    passed_s = last[0] - first[0]
    busy, ours, feeders = ((b - a) / passed_s for a, b in zip(first[1:], last[1:], strict=True))
    return lost, ended, said, undelivered, busy, ours, feeders


def _read(
    receivers: Collection[int], feeding: Collection[int]
) -> tuple[float, float, float, float]:
    """The time, and CPU seconds of the whole machine and of the two."""
    ours, feeders = (sum(map(_cpu_s, pids)) for pids in (receivers, feeding))
    return time.monotonic(), busy_s(), ours, feeders


def _cpu_s(pid: int) -> float:
    try:
        return cpu_s(pid)
    except OSError:  # it has ended, which is counted elsewhere
        return 0.0


async def _until(at: float) -> None:
    await asyncio.sleep(max(0.0, at - time.monotonic()))


def print_result(found: Density) -> None:
    print(f"\nBroadcasts of {media.MUX_KBPS / 1000:g} Mbps with nothing lost:\n")
    worker, hand = (found.carried[name] for name in NAMES)
    rows: Table = [("", *NAMES.values(), "ratio")]
    ratio = f"{worker / hand:.2f}" if hand else "-"
    texts = [f"{n}{' or more' if n == found.at_most else ''}" for n in (worker, hand)]
    rows.append(("carried", *texts, ratio))
    if found.at_both:
        trials = [found.at_both[name] for name in NAMES]
        cores = os.cpu_count() or 1
        busy = [f"{100 * trial.busy / cores:.0f} %" for trial in trials]
        rows.append((f"at {trials[0].count}: CPU of the whole machine", *busy, ""))
        of_it = {
            "receivers": [trial.receivers for trial in trials],
            "senders, feed, nginx": [trial.feeding for trial in trials],
            "other work, not ours": [trial.others for trial in trials],
        }
        for name, values in of_it.items():
            shares = [f"{100 * value / cores:.0f} %" for value in values]
            rows.append((f"  {name}", *shares, ""))
    print_table(rows)
