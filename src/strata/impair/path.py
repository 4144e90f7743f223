"""One direction of one link: which packets come out, and when. Pure.

A packet passes, in this order:

1. the outage: inside one, and while the path is cut, nothing enters;
2. the queue: one packet after the other at ``rate_kbps``; what would wait longer than
   ``queue_ms`` overflows;
3. the air: single packets and bursts are lost here, after they took their share of the
   rate, as on a radio link;
4. the way: delay and jitter. Each packet has its own, so that packets overtake each other,
   which is the reordering that mobile links show.

What has left the queue keeps the time it was given, also when the settings change.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Final, Literal, get_args

from strata.errors import BadArguments

Direction = Literal["both", "forward", "return"]
"""``forward`` is towards the receiver."""

DIRECTIONS: Final[tuple[str, ...]] = get_args(Direction)

_MINUTE_MS: Final = 60_000.0
LIMITS: Final[dict[str, tuple[float, float]]] = {
    "loss_percent": (0.0, 100.0),
    "burst_loss_percent": (0.0, 100.0),
    "burst_ms": (1.0, 10 * _MINUTE_MS),
    "delay_ms": (0.0, _MINUTE_MS),
    "jitter_ms": (0.0, _MINUTE_MS),
    "reorder_percent": (0.0, 100.0),
    "reorder_ms": (0.0, _MINUTE_MS),
    "duplicate_percent": (0.0, 100.0),
    "rate_kbps": (0.0, 10_000_000.0),
    "queue_ms": (0.0, _MINUTE_MS),
}
"""Least and most of each setting, both allowed."""


@dataclass(frozen=True, slots=True)
class Impairment:
    """How bad one direction of a link is; the defaults change nothing.

    Attributes:
        loss_percent: share of packets that are lost, each by itself.
        burst_loss_percent: share of the *time* in which everything is lost.
        burst_ms: mean length of one such burst; lengths are exponential (Gilbert's model).
        delay_ms: least time on the way.
        jitter_ms: each packet takes up to this much longer, evenly distributed.
        reorder_percent: share of packets that are held back by ``reorder_ms`` more.
        duplicate_percent: share of the packets that arrive which arrive twice.
        rate_kbps: 1000 bits of UDP payload per second; 0 for no limit.
        queue_ms: longest wait for the packets before; without a rate nobody waits.

    Raises:
        BadArguments: a value outside :data:`LIMITS`.
    """

    loss_percent: float = 0.0
    burst_loss_percent: float = 0.0
    burst_ms: float = 200.0
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    reorder_percent: float = 0.0
    reorder_ms: float = 50.0
    duplicate_percent: float = 0.0
    rate_kbps: float = 0.0
    queue_ms: float = 500.0

    def __post_init__(self) -> None:
        for name, (least, most) in LIMITS.items():
            value: float = getattr(self, name)
            if not least <= value <= most:
                raise BadArguments(
                    f"{name.replace('_', '-')} is {value:g}; it must be {least:g} to {most:,.0f}"
                )


PERFECT: Final = Impairment()


@dataclass(frozen=True, slots=True)
class Outage:
    """A time in which nothing enters the path.

    Attributes:
        begin_s: seconds since the path began; the first moment without.
        end_s: the first moment with it again.
        every_s: from one begin to the next; None: it happens once.

    Raises:
        BadArguments: it would never begin, or never end.
    """

    begin_s: float
    end_s: float
    direction: Direction = "both"
    every_s: float | None = None

    def __post_init__(self) -> None:
        if not (self.begin_s >= 0 and math.isfinite(self.begin_s)):
            raise BadArguments(f"begin-s is {self.begin_s:g}; it must be 0 or more")
        if not (self.end_s > self.begin_s and math.isfinite(self.end_s)):
            raise BadArguments(
                f"end-s is {self.end_s:g}; it must be after begin-s, which is {self.begin_s:g}"
            )
        length_s = self.end_s - self.begin_s
        if self.every_s is not None and not (
            self.every_s > length_s and math.isfinite(self.every_s)
        ):
            raise BadArguments(
                f"every-s is {self.every_s:g}; it must be more than the outage is long, "
                f"which is {length_s:g}"
            )
        if self.direction not in DIRECTIONS:
            raise BadArguments(
                f"direction is {self.direction!r}; it must be {', '.join(DIRECTIONS)}"
            )

    def holds(self, at_s: float) -> bool:
        """Whether ``at_s``, seconds since the path began, is inside."""
        if self.every_s is None or at_s < self.end_s:
            return self.begin_s <= at_s < self.end_s
        return (at_s - self.begin_s) % self.every_s < self.end_s - self.begin_s


@dataclass(slots=True)
class Counters:
    """Since the path was made: ``taken + duplicated == lost + delivered``.

    Attributes:
        taken: packets that came in.
        lost: of these and of their second copies; overflow of the queue is among them.
        duplicated: second copies that were made.
        delivered: copies that come out, counted when their time is set.
        delivered_bytes: their payload.
    """

    taken: int = 0
    lost: int = 0
    duplicated: int = 0
    delivered: int = 0
    delivered_bytes: int = 0


class Path:
    """The same packets at the same times come out the same way, for the same seed.

    Each packet draws the same number of chances whatever the settings are: two paths with
    one seed lose the same packets even if one of them delays more than the other.

    Args:
        outages: those of this direction; their ``direction`` is not looked at.
    """

    def __init__(
        self,
        impairment: Impairment = PERFECT,
        outages: Iterable[Outage] = (),
        seed: int | str = 0,
    ) -> None:
        self.counters = Counters()
        self.is_cut = False
        self._impairment = impairment
        self._outages = tuple(outages)
        self._random = Random(seed)
        self._begin_s: float | None = None
        self._free_at_s = -math.inf
        self._is_in_burst = False
        self._looked_at_s = -math.inf

    @property
    def impairment(self) -> Impairment:
        return self._impairment

    def set(self, impairment: Impairment) -> None:
        """From the next packet on."""
        self._impairment = impairment

    def cut(self) -> None:
        """Nothing enters until :meth:`restore`."""
        self.is_cut = True

    def restore(self) -> None:
        """Ends a :meth:`cut`; outages happen as scheduled all the same."""
        self.is_cut = False

    def begin(self, now_s: float) -> None:
        """Outages count from here; without it, from the first packet."""
        self._begin_s = now_s

    def send(self, now_s: float, size: int) -> list[float]:
        """When copies of this packet come out; none when it is lost.

        Args:
            now_s: monotonic, never before that of an earlier call.
            size: bytes of UDP payload.
        """
        chance = self._random.random
        loss, burst, twice = chance(), chance(), chance()
        ways = ((chance(), chance()), (chance(), chance()))
        if self._begin_s is None:
            self._begin_s = now_s
        self.counters.taken += 1
        in_burst = self._in_burst(now_s, burst)
        if self.is_cut or any(outage.holds(now_s - self._begin_s) for outage in self._outages):
            self.counters.lost += 1
            return []
        is_lost = in_burst or loss < self._impairment.loss_percent / 100
        is_twice = not is_lost and twice < self._impairment.duplicate_percent / 100
        self.counters.duplicated += is_twice
        times: list[float] = []
        for jitter, reorder in ways if is_twice else ways[:1]:
            left_s = self._queue(now_s, size)
            if left_s is not None and not is_lost:
                times.append(left_s + self._way_s(jitter, reorder))
            else:
                self.counters.lost += 1
        self.counters.delivered += len(times)
        self.counters.delivered_bytes += len(times) * size
        return times

    def _in_burst(self, now_s: float, chance: float) -> bool:
        """Follows the burst process from the last packet to this one, in one step.

        The process has two states and forgets how long it was in one, so the state at the
        last packet counts for less the longer that is ago:
        ``P(burst) = share + (1 or 0 - share) * exp(-passed / memory)``.
        """
        share = self._impairment.burst_loss_percent / 100
        memory_s = self._impairment.burst_ms / 1000 * (1 - share)
        kept = math.exp((self._looked_at_s - now_s) / memory_s) if 0 < share < 1 else 0.0
        self._looked_at_s = now_s
        self._is_in_burst = chance < share + (self._is_in_burst - share) * kept
        return self._is_in_burst

    def _queue(self, now_s: float, size: int) -> float | None:
        """When the packet has been sent at the rate; None when it does not fit the queue."""
        rate_kbps = self._impairment.rate_kbps
        if not rate_kbps:
            return now_s
        turn_s = max(now_s, self._free_at_s)
        if turn_s - now_s > self._impairment.queue_ms / 1000:
            return None
        self._free_at_s = turn_s + size * 8 / (rate_kbps * 1000)
        return self._free_at_s

    def _way_s(self, jitter: float, reorder: float) -> float:
        extra_ms = jitter * self._impairment.jitter_ms
        if reorder < self._impairment.reorder_percent / 100:
            extra_ms += self._impairment.reorder_ms
        return (self._impairment.delay_ms + extra_ms) / 1000
