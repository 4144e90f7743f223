"""One case of ``script/bench bonding``: all senders at the same time."""

from __future__ import annotations

import bisect
import contextlib
import json
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from bench.bad_links import CARRY, EVENT_S, Case
from bench.bonders import MARK
from bench.media import PSK, Ports
from bench.processes import Child, MeasurementFailed
from strata.rist import Receiver, ReceiverTuning
from strata.secrets import Secret

NAMES: Final = ("bond", "equal", "by rate")
BEGIN_S: Final = 3.0
"""From the begin of the relays to that of the media: processes start, links are joined."""
FIRST_S: Final = 1.0
"""Of the media, which does not count: librist delivers the first packets never."""
DEADLINE_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Played:
    """What became of one sender's media; seconds count from its begin.

    Attributes:
        written: when each packet was written, by number, and whether it is of a key frame.
        came: the numbers of those that were delivered.
        heard: media that came to each relay, as (seconds, bytes).
        rates: what the encoder was told to make.
        end_s: when the last one that counts was written.
    """

    written: list[tuple[float, bool]]
    came: set[int]
    heard: list[list[tuple[float, int]]]
    rates: list[tuple[float, float]]
    end_s: float
    stall_s: float

    def counted(self) -> list[int]:
        return [n for n, (at, _) in enumerate(self.written) if FIRST_S <= at < self.end_s]

    def lost(self) -> list[int]:
        return [number for number in self.counted() if number not in self.came]

    def delivered_percent(self) -> float:
        return 100 * (1 - len(self.lost()) / len(self.counted()))

    def lost_s(self) -> float:
        """How much media is missing, each packet as long as its picture's share."""
        return sum(self._length_s(number) for number in self.lost())

    def longest_hole_s(self) -> float:
        """Between two packets that came."""
        times = [self.written[number][0] for number in self.counted() if number in self.came]
        return max((after - before for before, after in pairwise(times)), default=self.end_s)

    def link_kbps(self, link: int, begin_s: float, end_s: float) -> float:
        end_s = min(end_s, self.end_s)
        size = sum(size for at, size in self.heard[link] if begin_s <= at < end_s)
        return size * 8 / 1000 / (end_s - begin_s)

    def last_media_s(self, link: int) -> float:
        """After the event."""
        times = [at for at, _ in self.heard[link] if at < self.end_s]
        return max(0.0, max(times) - EVENT_S)

    def used_s(self, link: int, kbps: float = 200.0) -> float | None:
        """After the event: by when it has carried so much over half a second."""
        at_s = EVENT_S
        while at_s < self.end_s - 0.5:
            if self.link_kbps(link, at_s, at_s + 0.5) >= kbps:
                return at_s + 0.5 - EVENT_S
            at_s += 0.05
        return None

    def down_s(self, kbps: float, after_s: float) -> float | None:
        """How long after that the encoder makes no more than so much."""
        return next((at - after_s for at, rate in self.rates if at > after_s and rate < kbps), None)

    def up_s(self, kbps: float, after_s: float) -> float | None:
        if min(rate for _, rate in self.rates) >= kbps:
            return None  # it never went down
        return next((at - after_s for at, rate in self.rates if at > after_s and rate > kbps), None)

    def _length_s(self, number: int) -> float:
        begin = self.written[number][0]
        first = bisect.bisect_left(self.written, (begin, False))
        after = bisect.bisect_right(self.written, (begin, True))
        if after >= len(self.written):
            return 0.0
        return (self.written[after][0] - begin) / (after - first)


class Listener:
    """Receivers, and the numbers that come out of them, taken by a thread."""

    def __init__(self, ports: dict[str, list[int]], buffer_ms: int) -> None:
        tuning = ReceiverTuning(buffer_ms=buffer_ms)
        self.came: dict[str, set[int]] = {name: set() for name in ports}
        self._receivers = {
            name: Receiver(own, Secret(PSK), bind="127.0.0.1", tuning=tuning)
            for name, own in ports.items()
        }
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

    def __enter__(self) -> Listener:
        with contextlib.ExitStack() as stack:
            for receiver in self._receivers.values():
                stack.callback(receiver.close)
                receiver.start()
            self._open = stack.pop_all()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        self._open.close()

    def _run(self) -> None:
        poll = select.poll()
        names = {receiver.fileno(): name for name, receiver in self._receivers.items()}
        for descriptor in names:
            poll.register(descriptor, select.POLLIN)
        while not self._stopped.is_set():
            for descriptor, _ in poll.poll(100):
                name = names[descriptor]
                self.came[name].update(_numbers(self._receivers[name].take()))


def _numbers(media: bytes) -> Iterator[int]:
    for at in range(0, len(media), 188):
        if media[at + 4 : at + 12] == MARK:
            yield int.from_bytes(media[at + 12 : at + 20], "big")


def play(folder: Path, case: Case, first_s: float, times: int) -> dict[str, Played]:
    """Args:
    first_s: how long the first case takes.
    times: what librist's weights are multiplied by.
    """
    if case is CARRY:
        case = replace(case, seconds=first_s)
    ports = Ports()
    receive = {name: [ports.udp() for _ in case.links] for name in NAMES}
    relay = {name: [ports.udp() for _ in case.links] for name in NAMES}
    profile = folder / "profile.toml"
    profile.write_text(
        "seed = 7\n"
        + "".join(
            link.toml(listen, to, BEGIN_S)
            for name in NAMES
            for link, listen, to in zip(case.links, relay[name], receive[name], strict=True)
        )
    )
    weights = {
        "bond": None,
        "equal": [times] * len(case.links),
        "by rate": [times * weight for weight in case.by_rate],
    }
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(Listener(receive, case.buffer_ms))
        narrow = _module(stack, "narrow", folder, [str(profile), str(folder / "narrow.json")])
        begin = _first_line(narrow) + BEGIN_S
        senders = []
        for name in NAMES:
            order = {
                **{"ports": relay[name], "weights": weights[name], "feed": None},
                **{"buffer_ms": case.buffer_ms, "kbps": case.kbps, "steers": case.steers},
                **{"begin": begin, "end": begin + case.seconds + 1.0},
                "result": str(folder / f"{name}.json"),
            }
            senders.append(_module(stack, "bonders", folder, [json.dumps(order)]))
        if time.monotonic() > begin - 0.5:
            raise MeasurementFailed("the senders were not ready in time; this machine is too busy")
        _sleep_until(begin + case.seconds + 1.0 + case.buffer_ms / 1000 + 0.5)
        for child in (*senders, narrow):
            child.check()
            child.stop()
        came = {name: set(numbers) for name, numbers in listener.came.items()}
    heard = json.loads((folder / "narrow.json").read_text())
    return {
        name: _played(folder, name, index, case, begin, heard, came[name])
        for index, name in enumerate(NAMES)
    }


def _played(
    folder: Path, name: str, index: int, case: Case, begin: float, heard: Any, came: set[int]
) -> Played:
    said = json.loads((folder / f"{name}.json").read_text())
    if said["refused"]:
        raise MeasurementFailed(f"{name}: {said['refused']} packets were refused by the sender")
    count = len(case.links)
    own = heard["heard"][index * count : (index + 1) * count]
    return Played(
        written=[(at - begin, is_key) for at, is_key in said["written"]],
        came=came,
        heard=[[(at - begin, size) for at, size in link] for link in own],
        rates=[(at - begin, kbps) for at, kbps in said["rates"]],
        end_s=case.seconds,
        stall_s=heard["stall_s"],
    )


def _module(stack: contextlib.ExitStack, name: str, folder: Path, more: list[str]) -> Child:
    command = [sys.executable, "-P", "-m", f"bench.{name}", *more]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    log = folder / f"{name}-{len(list(folder.iterdir()))}.log"
    child = Child(command, log, environment=environment)
    stack.callback(child.stop)
    return child


def _first_line(child: Child) -> float:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        child.check()
        line, newline, _ = child.log.read_text().partition("\n")
        if newline:
            return float(line)
        time.sleep(0.01)
    raise MeasurementFailed(f"the relays did not begin within {DEADLINE_S:.0f} s")


def _sleep_until(at: float, sleep: Callable[[float], None] = time.sleep) -> None:
    sleep(max(0.0, at - time.monotonic()))
