"""What is known of one link, from what went out on it and what came back. Pure.

Each 50 ms the receiver is asked for an echo. Its answer says three things:

- how long the way is now; beyond the shortest of late that is the queue before the narrow place;
- how much got through: what was sent between two requests took as long to pass the narrow place
  as lay between their answers. While there is a queue that is what the link can carry;
- that the link is there: the receiver's own words would come even if nothing of ours arrived.

The receiver asks for what it misses, so it is known here of each packet on which link it was lost.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

State: TypeAlias = Literal["joining", "up", "silent"]
"""``joining``: no echo has come yet. ``silent``: none comes any more."""

ECHO_S: Final = 0.05
SILENT_MIN_S: Final = 0.25
SILENT_MAX_S: Final = 1.0
"""Within these: a link is silent when an echo does not come within twice its usual time..."""
SILENT_ODDS: Final = 1e-4
"""...and when so many in a row are lost by chance so rarely."""
BACK: Final = 0.7
"""A link that was silent and comes back without a queue carries so much of what it did."""

WINDOW_S: Final = 0.25
"""What is measured is that of so long."""
SPAN_MIN_S: Final = 0.1
BASE_S: Final = 15.0
"""The shortest way is the shortest of this to twice this."""

QUEUE_MIN_S: Final = 0.03
"""A queue is one from here on, and twice the jitter more."""
FULL_S: Final = 0.25
DRAINED_S: Final = 0.1
FULL_MAX_S: Final = 1.5
"""A link whose queue is longer than the first gets nothing until it is shorter than the second.
One from which nothing is heard for longer than the last was not only full."""

FIRST_KBPS: Final = 500.0
"""What a link is taken for before it has shown anything, where no other is known."""
LEAST_KBPS: Final = 50.0
"""No link is taken for less: it could not show that it is better now."""
ROOM: Final = 1.25
"""A link may carry so many times what it has carried without a queue: nobody has seen more."""
HOLD_S: Final = 2.0
"""After a queue a link is not tried for more for so long."""
GROWTH: Final = 1.02
"""And then by so much with each echo."""

LOSS_S: Final = 2.0
LOSS_SLOW_S: Final = 20.0
LOSS_MORE: Final = 0.05
"""Loss that is more than twice the usual and this is that of a link that is too full: not all have
a queue."""
LOSS_MAX: Final = 0.3
"""So is more than this, whatever is usual: repairs would only add to it."""
LOSS_PACKETS_MIN: Final = 50
CUT: Final = 0.85
CUT_S: Final = 0.5
"""It is taken for so much of what it was, each half second, as long as it is used at all."""


@dataclass(slots=True)
class _Echo:
    """``through_bytes``: what was sent before it was asked for, without what was lost of it."""

    asked_at: float
    through_bytes: int
    at: float = math.nan
    rtt_s: float = math.nan


class Link:
    """One link. All times are seconds of one clock that never goes back.

    Attributes:
        capacity_kbps: what it is taken to carry (of UDP payload): what it has shown, and up to
            ``hope_kbps`` a little more with time, or it could not show that it is better now.
        proven_kbps: no more than it has shown, and :data:`ROOM`.
        hope_kbps: what a link may carry of which nothing is known.
        sent_bytes, sent_packets, lost_packets: since the beginning; second copies count.
        rtt_s: of the last echo; inf before the first.
        queue_s: how much longer than the shortest way.
        heard_at: when anything came from the receiver.
        is_full: it has to drain before it gets more.
        congested_at: when more was last sent than it carries.
    """

    def __init__(self, id: str, now: float, first_kbps: float = FIRST_KBPS) -> None:
        self.id = id
        self.capacity_kbps = self.hope_kbps = first_kbps
        self.proven_kbps = 0.0
        self.sent_bytes = 0
        self.sent_packets = 0
        self.lost_packets = 0
        self.rtt_s = math.inf
        self._through_bytes = 0
        self.queue_s = 0.0
        self.heard_at = -math.inf
        self.is_full = False
        self.congested_at = -math.inf
        self._asked: dict[int, _Echo] = {}
        self._silent_since: float | None = None
        self._before_kbps = first_kbps
        self._cut_at = -math.inf
        self._echoes: deque[_Echo] = deque()
        self._base = _Least(BASE_S)
        self._usual_s = 0.0
        self._rises = self._falls = 0.0
        self._loss = _Share(LOSS_S, now)
        self._loss_slow = _Share(LOSS_SLOW_S, now)

    # What happens.

    def sent(self, size: int) -> None:
        """A datagram with media went out on it."""
        self.sent_bytes += size
        self.sent_packets += 1
        self._through_bytes += size
        self._loss.packets += 1
        self._loss_slow.packets += 1

    def ask(self, now: float) -> int:
        """An echo request goes out; the stamp that it carries."""
        stamp = int(now * 1e9)
        self._asked[stamp] = _Echo(now, self._through_bytes)
        return stamp

    def lose(self, sent_at: float, size: int) -> None:
        """The receiver misses what went out on it then."""
        self.lost_packets += 1
        self._loss.lost += 1
        self._loss_slow.lost += 1
        for each in (*self._echoes, *self._asked.values()):
            if each.asked_at > sent_at:
                each.through_bytes -= size
        self._through_bytes -= size

    def echo(self, now: float, stamp: int, held_s: float) -> None:
        """An echo has come; one that nobody asked for is left alone."""
        echo = self._asked.pop(stamp, None)
        if echo is None:
            return
        # What was asked for before it is lost, or will come too late to tell anything.
        self._asked = {
            id: each for id, each in self._asked.items() if each.asked_at > echo.asked_at
        }
        echo.at, echo.rtt_s = now, max(now - echo.asked_at - held_s, 0.0)
        self._follow(echo)
        if self._silent_since is not None:
            self._return(echo)
        self._echoes.append(echo)
        while len(self._echoes) > 2 and now - self._echoes[1].at >= WINDOW_S:
            self._echoes.popleft()
        self._measure(now)

    def review(self, now: float) -> None:
        """Looks at what did not come, and how much of it was lost. Call it each 50 ms or so."""
        self._loss.pass_to(now)
        self._loss_slow.pass_to(now)
        oldest = min((each.asked_at for each in self._asked.values()), default=now)
        if self._silent_since is None and self._echoes and now - oldest > self.silent_after_s:
            self._silent_since = oldest
            self._before_kbps = self.capacity_kbps
            self.congested_at = self._cut_at = now
        if self._silent_since is not None and now - self._silent_since > FULL_MAX_S:
            self.is_full = False
        for stamp in [
            s for s, each in self._asked.items() if now - each.asked_at > 4 * SILENT_MAX_S
        ]:
            del self._asked[stamp]
        self._cut_for_loss(now)

    # What it is.

    @property
    def state(self) -> State:
        if not self._echoes:
            return "joining"
        return "up" if self._silent_since is None else "silent"

    @property
    def silent_after_s(self) -> float:
        """How long an echo may take."""
        lost_both_ways = min(max(2 * self._loss_slow.value, 0.01), 0.9)
        by_chance_s = self._usual_s + ECHO_S * math.log(SILENT_ODDS) / math.log(lost_both_ways)
        return min(max(2 * self._usual_s + ECHO_S, by_chance_s, SILENT_MIN_S), SILENT_MAX_S)

    @property
    def base_s(self) -> float:
        """The shortest way there and back of late; 0 before there is any."""
        return self._base.value if self._echoes else 0.0

    @property
    def carries_kbps(self) -> float:
        """What it has shown that it carries; 0 where it is silent, unless it was too full for a
        moment."""
        is_up = self.state == "up"
        return self.proven_kbps if is_up or (self.state == "silent" and self.is_full) else 0.0

    @property
    def forward_s(self) -> float:
        """How long a packet takes to the receiver now, about."""
        return max(self._usual_s, self.rtt_s) - self.base_s / 2 if self._echoes else 0.0

    @property
    def slowest_s(self) -> float:
        """How long one takes that is slow, about."""
        slowest_s = max((each.rtt_s for each in self._echoes), default=0.0)
        return max(slowest_s - self.base_s / 2, self.forward_s)

    @property
    def loss(self) -> float:
        """Of what was sent in the last seconds, 0 to 1."""
        return self._loss.value

    @property
    def delivered_kbps(self) -> float | None:
        """What got through of late; None before it is known."""
        if len(self._echoes) < 2:
            return None
        first, last = self._echoes[0], self._echoes[-1]
        span_s = last.at - first.at
        if span_s < SPAN_MIN_S:
            return None
        return (last.through_bytes - first.through_bytes) * 8 / 1000 / span_s

    # How that is found.

    def _follow(self, echo: _Echo) -> None:
        rtt_s = echo.rtt_s
        if self._echoes:
            step = rtt_s - self.rtt_s
            # A queue that grows goes one way only; jitter goes both.
            self._rises += (max(step, 0.0) - self._rises) / 16
            self._falls += (max(-step, 0.0) - self._falls) / 16
            self._usual_s += (rtt_s - self._usual_s) / 8
        else:
            self._usual_s = rtt_s
        self.rtt_s = rtt_s
        self._base.take(echo.at, rtt_s)

    def _measure(self, now: float) -> None:
        self.queue_s = max(min(each.rtt_s for each in self._echoes) - self.base_s, 0.0)
        has_queue = self.queue_s > QUEUE_MIN_S + 4 * min(self._rises, self._falls)
        self.is_full = has_queue and self.queue_s > (DRAINED_S if self.is_full else FULL_S)
        kbps = self.delivered_kbps
        if kbps is None:
            return
        if has_queue:
            self._lower(kbps)
            self.congested_at = now
            return
        if self.congested_at == -math.inf:
            self.capacity_kbps = max(self.capacity_kbps, kbps * ROOM)
        elif now - self.congested_at > HOLD_S:
            shown = max(kbps * ROOM, self.hope_kbps)
            more = min(self.capacity_kbps * GROWTH, shown)
            self.capacity_kbps = max(self.capacity_kbps, more)
        self.proven_kbps = max(self.proven_kbps, min(self.capacity_kbps, kbps * ROOM))

    def _return(self, echo: _Echo) -> None:
        """It was silent, and is back. With a queue what it carried meanwhile is all that is
        known; without one it was cut off, or everything was lost."""
        self._silent_since = None
        last = self._echoes[-1]
        kbps = self._before_kbps * BACK
        if self.rtt_s - self.base_s > SILENT_MIN_S / 2:
            passed_s = max(echo.at - last.at, SPAN_MIN_S)
            kbps = (echo.through_bytes - last.through_bytes) * 8 / 1000 / passed_s
        self._take_for(min(self.capacity_kbps, kbps))
        self.congested_at = echo.at
        self._echoes.clear()

    def _take_for(self, kbps: float) -> None:
        self.capacity_kbps = max(kbps, LEAST_KBPS)
        self.proven_kbps = min(self.proven_kbps, self.capacity_kbps)

    def _lower(self, kbps: float) -> None:
        self._take_for(self.capacity_kbps + (kbps - self.capacity_kbps) / 2)

    def _cut_for_loss(self, now: float) -> None:
        most = min(2 * self._loss_slow.value + LOSS_MORE, LOSS_MAX)
        is_more = self._loss.packets > LOSS_PACKETS_MIN and self._loss.value > most
        is_used = (self.delivered_kbps or 0.0) > self.capacity_kbps / 2
        if is_more and is_used and now - self._cut_at > CUT_S:
            self._take_for(self.capacity_kbps * CUT)
            self.congested_at = self._cut_at = now


class _Least:
    """The least of a time: of the present stretch and the one before it."""

    def __init__(self, stretch_s: float) -> None:
        self._stretch_s = stretch_s
        self._began = -math.inf
        self._now = self._before = math.inf

    def take(self, now: float, value: float) -> None:
        if now - self._began >= self._stretch_s:
            self._before, self._now, self._began = self._now, math.inf, now
        self._now = min(self._now, value)

    @property
    def value(self) -> float:
        return min(self._now, self._before)


class _Share:
    """Of the packets of the last seconds, how many were lost; older ones fade."""

    def __init__(self, fade_s: float, now: float) -> None:
        self._fade_s = fade_s
        self._at = now
        self.packets = 0.0
        self.lost = 0.0

    def pass_to(self, now: float) -> None:
        kept = math.exp((self._at - now) / self._fade_s)
        self._at = now
        self.packets *= kept
        self.lost *= kept

    @property
    def value(self) -> float:
        return min(self.lost / self.packets, 1.0) if self.packets >= 1 else 0.0
