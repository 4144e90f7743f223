"""One flow of media over several links: what goes out when, and on which of them. Pure: it is
given the time and what has come, and gives back what is to be sent.

    write ──► waiting ──► due: paced, each packet to a link ──► history
                           ▲                                       │
                           └────────── again ◄── what is missing ◄─┘
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from strata.bond import packets
from strata.bond.cipher import Sealer
from strata.bond.link import ECHO_S, FIRST_KBPS, Link
from strata.bond.pace import Pace
from strata.bond.shares import Turns, shares, usable

Out: TypeAlias = tuple[str, bytes]
"""A link and a datagram for it."""

WAIT_SHARE: Final = 0.5
REPAIR_S: Final = 0.7
"""What has waited for half of the buffer, and for all of it but this, would come too late with its
repair."""
KEY_S: Final = 12.0
"""Media without a key frame for so long has none: what follows is no worse than what was left."""
BEGIN_S: Final = 1.0
"""What had to wait for the first link is caught up with within this."""
KEY_MAX_S: Final = 0.5
"""No key frame takes longer to be written: where all are key frames, another one begins."""
PACE_S: Final = 0.15
"""What comes at once, such as a key frame, goes out over about so long."""
PACE_ROOM: Final = 1.3
BURST_BYTES: Final = 8 * packets.PAYLOAD_MAX
TIGHT_S: Final = 2.0
"""After a queue no more is sent than the links carry, for so long."""

DOUBLE_FILL: Final = 0.7
"""Key frames go out twice while the links carry no more than this of what they can."""
REPAIR_SHARE: Final = 0.5
"""Of what may go out, for repairs: more of them would cost the media that follows."""
TRIES_MAX: Final = 20

_WRAP: Final = 1 << 32

NULL_PACKETS: Final = (b"\x47\x1f\xff\x10" + b"\xff" * 184) * 7
LEAD_S: Final = 0.15
"""So long they are sent first: what a receiver gets first is where the flow begins for it, and
where links differ that is not what was sent first. librist 0.2.7 delivers the first never."""
LEAD_SHARE: Final = 0.25
"""Of the buffer, at most: the media that waits meanwhile must not come too late."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """``begins``: it is the first of a key frame."""

    at: float
    payload: bytes
    is_key: bool
    begins: bool


@dataclass(slots=True)
class _Sent:
    """A packet that may be asked for again. ``is_due``: it was, and waits for its turn."""

    first_at: float
    stamp: int
    payload: bytes
    links: tuple[str, ...]
    at: float
    tries: int = 1
    is_due: bool = False


@dataclass(slots=True)
class Counters:
    """Packets since the beginning. ``dropped`` were never sent: no link could carry them."""

    written: int = 0
    dropped: int = 0
    doubled: int = 0
    again: int = 0
    again_bytes: int = 0
    too_late: int = 0
    """Asked for when it was no use any more."""


class Flow:
    """
    Args:
        flow_id: even, 32 bits; another one for each start of a sender.
        name: of the sender, told to the receiver.
        buffer_s: the receiver's recovery buffer.
        now: seconds of a clock that never goes back; all times are of that clock.
        wall: the time of day, seconds since 1970; told to the receiver.

    Attributes:
        links: by id.
        heard_at: when anything came from the receiver, over any link; -inf: never.
        begun_at: when the first link had answered; None: not yet.
        wants_key: media was dropped; nothing goes out until a key frame comes.
    """

    def __init__(
        self,
        sealer: Sealer,
        flow_id: int,
        name: str,
        buffer_s: float,
        now: float,
        wall: Callable[[], float],
    ) -> None:
        self.links: dict[str, Link] = {}
        self.counters = Counters()
        self.heard_at = -math.inf
        self.wants_key = False
        self._was_key = False
        self._key_at = -math.inf
        self._sealer = sealer
        self._flow_id = flow_id
        self._name = name.encode()[:64]
        self._buffer_s = buffer_s
        self._wall = wall
        self._gre = 0
        self._sequence = flow_id >> 8 & 0xFFFF
        self._waiting: deque[_Waiting] = deque()
        self._sent: dict[int, _Sent] = {}
        self._order: deque[tuple[float, int]] = deque()
        self._again: deque[int] = deque()
        self._turns = Turns()
        self._pace = Pace()
        self._next_look = now
        self.begun_at: float | None = None

    # What happens.

    def add_link(self, id: str, now: float) -> None:
        """Another way to the receiver; media goes there once it has answered."""
        self.links[id] = Link(id, now, self._hope_kbps())

    def remove_link(self, id: str) -> None:
        del self.links[id]
        self._weigh()

    def write(self, now: float, payload: bytes, is_key: bool) -> None:
        """Media to be sent: up to seven packets of a transport stream.

        Args:
            is_key: it is part of a key frame.
        """
        self.counters.written += 1
        self._pace.count(len(payload) + packets.OVERHEAD)
        begins = is_key and (not self._was_key or now - self._key_at > KEY_MAX_S)
        self._was_key = is_key
        if begins:
            self._key_at = now
        elif self.wants_key and now - self._key_at < KEY_S:
            self.counters.dropped += 1
            return
        self.wants_key = False
        self._waiting.append(_Waiting(now, payload, is_key, begins))

    def take(self, now: float, id: str, datagram: bytes) -> list[Out]:
        """Something has come on a link; returns what is to be said to it."""
        words = packets.unwrap(self._sealer, datagram)
        link = self.links.get(id)
        if words is None or link is None:
            return []
        self.heard_at = link.heard_at = now
        out: list[Out] = []
        for word in words:
            match word:
                case packets.Echo():
                    link.echo(now, word.stamp, word.held_us / 1e6)
                case packets.EchoRequest():
                    plain = packets.echo_response(self._flow_id, self._name, word)
                    out.append((id, self._wrap(plain)))
                case packets.Missing():
                    self._repair(now, link, word.sequences)
        return out

    def due(self, now: float) -> list[Out]:
        """What is to be sent now. Call it each 20 ms or so."""
        out: list[Out] = []
        if now >= self._next_look:
            self._next_look = now + ECHO_S
            out += self._look(now)
        passed_s = self._pace.pass_to(now)
        self._forget(now)
        if not any(link.state == "up" for link in self.links.values()):
            self._drop_late(now)
            return out
        if self.begun_at is None:
            self.begun_at = now
        if now - self.begun_at < min(LEAD_S, LEAD_SHARE * self._buffer_s):
            self._send(now, _Waiting(now, NULL_PACKETS, False, False), out)
            self._pace.budget = 0.0  # media does not wait for them
            return out
        self._drop_late(now)
        limit_kbps = self._limit_kbps(now)
        self._pace.budget = min(
            self._pace.budget + limit_kbps * 125 * passed_s, max(BURST_BYTES, limit_kbps * 125 / 50)
        )
        self._send_again(now, out)
        while self._waiting and self._pace.budget > 0:
            self._send(now, self._waiting.popleft(), out)
        return out

    # What it is.

    @property
    def media_kbps(self) -> float:
        """What is written, with what each packet grows by."""
        return self._pace.rate_kbps

    @property
    def carried_kbps(self) -> float:
        """What the links have shown that they carry together, of media without what each packet
        grows by."""
        known = sum(link.carries_kbps for link in self.links.values())
        return known * packets.PAYLOAD_MAX / (packets.PAYLOAD_MAX + packets.OVERHEAD)

    @property
    def congested_at(self) -> float:
        """When one of the links was last too full."""
        return max((each.congested_at for each in self.links.values()), default=-math.inf)

    def waiting_s(self, now: float) -> float:
        """How long the oldest packet has waited to be sent."""
        return now - self._waiting[0].at if self._waiting else 0.0

    # Looking.

    def _look(self, now: float) -> list[Out]:
        """Asks each link for an echo, and gives each its share."""
        out = []
        hope_kbps = self._hope_kbps()
        for link in self.links.values():
            link.hope_kbps = hope_kbps
            link.review(now)
            ntp = int((self._wall() + 2_208_988_800) * _WRAP) & 0xFFFF_FFFF_FFFF_FFFF
            rtp = int(now * packets.RTP_HZ) & 0xFFFF_FFFF
            plain = packets.report(self._flow_id, self._name, ntp, rtp, link.ask(now))
            out.append((link.id, self._wrap(plain)))
        self._weigh()
        return out

    def _hope_kbps(self) -> float:
        """What a link may carry of which nothing is known: half of what the others do."""
        known = [link.capacity_kbps for link in self.links.values() if link.state == "up"]
        return sum(known) / len(known) / 2 if known else FIRST_KBPS

    def _weigh(self) -> None:
        found = usable(self.links.values())
        self._turns.weigh(shares(found, self.media_kbps * (1 + self._loss(found))))

    @staticmethod
    def _loss(links: list[Link]) -> float:
        return max((link.loss for link in links), default=0.0)

    # Sending.

    def _limit_kbps(self, now: float) -> float:
        """How fast it may go out."""
        size = packets.PAYLOAD_MAX + packets.OVERHEAD
        # With what went out too early: or a packet that comes alone would wait for long.
        waiting_bytes = size * (len(self._waiting) + 2 * len(self._again)) - min(
            self._pace.budget, 0.0
        )
        loss = self._loss(list(self.links.values()))
        wanted = max(
            PACE_ROOM * self.media_kbps * (1 + 2 * loss), waiting_bytes * 8 / 1000 / PACE_S
        )
        found = usable(self.links.values())
        if now - max((each.congested_at for each in found), default=-math.inf) < TIGHT_S:
            return min(wanted, sum(each.capacity_kbps for each in found))
        return wanted

    def _send(self, now: float, each: _Waiting, out: list[Out]) -> None:
        size = len(each.payload) + packets.OVERHEAD
        first = self._turns.next(size)
        if first is None:
            return
        links: tuple[str, ...] = (first,)
        if each.is_key and self._has_room_for_doubles():
            second = self._turns.next(size, links)
            if second is not None:
                links = (first, second)
                self.counters.doubled += 1
        sequence, self._sequence = self._sequence, (self._sequence + 1) & 0xFFFF
        stamp = int(each.at * packets.RTP_HZ) & 0xFFFF_FFFF
        self._sent[sequence] = _Sent(each.at, stamp, each.payload, links, now)
        self._order.append((each.at, sequence))
        plain = packets.media(sequence, stamp, self._flow_id, each.payload, is_again=False)
        for id in links:
            self._put(id, plain, out)

    def _put(self, id: str, plain: bytes, out: list[Out]) -> None:
        datagram = self._wrap(plain)
        self.links[id].sent(len(datagram))
        self._pace.budget -= len(datagram)
        out.append((id, datagram))

    def _has_room_for_doubles(self) -> bool:
        found = usable(self.links.values())
        room = DOUBLE_FILL * sum(link.capacity_kbps for link in found)
        return len(found) > 1 and self.media_kbps < room

    def _drop_late(self, now: float) -> None:
        """What cannot be sent in time is not sent: all up to the next key frame, since pictures
        without those before them are no use."""
        limit_s = max(WAIT_SHARE * self._buffer_s, self._buffer_s - REPAIR_S)
        if self.begun_at is not None and now - self.begun_at < BEGIN_S:
            limit_s += LEAD_S + PACE_S
        if self.waiting_s(now) <= limit_s:
            return
        has_keys = now - self._key_at < KEY_S
        while self._waiting and now - self._waiting[0].at > limit_s:
            self.counters.dropped += 1
            self._waiting.popleft()
        while has_keys and self._waiting and not self._waiting[0].begins:
            self.counters.dropped += 1
            self._waiting.popleft()
        self.wants_key = has_keys and not self._waiting

    # Repair.

    def _repair(self, now: float, asked_on: Link, sequences: tuple[int, ...]) -> None:
        for sequence in sequences:
            sent = self._sent.get(sequence)
            if sent is None:
                self.counters.too_late += 1
                continue
            if sent.is_due:
                continue
            known = [self.links[id] for id in sent.links if id in self.links]
            # What may still be on its way is not lost: the slower of two links makes the
            # receiver ask too early. It asks again.
            is_first = sent.tries == 1
            ways_s = [link.slowest_s if is_first else link.forward_s for link in known]
            if now - sent.at < max(ways_s, default=0.0) + asked_on.base_s / 2:
                continue
            for link in known:
                link.lose(sent.at, len(sent.payload) + packets.OVERHEAD)
            sent.at = now  # it is counted once, and not asked for twice
            if sent.tries < TRIES_MAX:
                sent.is_due = True
                self._again.append(sequence)

    def _send_again(self, now: float, out: list[Out]) -> None:
        least = self._pace.budget * (1 - REPAIR_SHARE) if self._waiting else 0.0
        while self._again and self._pace.budget > least:
            sent = self._sent.get(sequence := self._again.popleft())
            if sent is not None:
                sent.is_due = False
            if sent is None or now - sent.first_at > self._buffer_s:
                self.counters.too_late += 1
                continue
            size = len(sent.payload) + packets.OVERHEAD
            first = self._turns.next(size, sent.links) or self._turns.next(size)
            if first is None:
                return
            # The first repair was lost, too: from now on there is little time.
            second = self._turns.next(size, (first,)) if sent.tries > 1 else None
            sent.links = (first, second) if second is not None else (first,)
            sent.at, sent.tries = now, sent.tries + 1
            plain = packets.media(sequence, sent.stamp, self._flow_id, sent.payload, is_again=True)
            for id in sent.links:
                self.counters.again += 1
                self.counters.again_bytes += size
                self._put(id, plain, out)

    def _forget(self, now: float) -> None:
        while self._order and now - self._order[0][0] > self._buffer_s:
            first_at, sequence = self._order.popleft()
            sent = self._sent.get(sequence)
            if sent is not None and sent.first_at == first_at:  # else its number came round
                del self._sent[sequence]

    def _wrap(self, plain: bytes) -> bytes:
        self._gre += 1
        if self._gre == _WRAP:
            self._gre = 0
            self._sealer.renew()
        return packets.wrap(self._sealer, self._gre, plain)
