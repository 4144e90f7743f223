"""A field and a receiver in time made by hand: links, a camera, and who takes what comes.

The links are those of strata-impair, in both directions. The receiver does what librist's does:
it asks for echoes, answers them, waits a moment for what is missing, asks for it on the link with
the shortest round trip, over and over, and gives up when its buffer has passed.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import count, pairwise
from typing import Final, Protocol

from strata.bond import packets
from strata.bond.cipher import Sealer
from strata.bond.flow import Flow, Out
from strata.bond.rate import Rate
from strata.impair.path import Impairment, Path
from strata.secrets import Secret

PSK: Final = Secret("a-psk-of-the-tests-0123")
STEP_MS: Final = 10
FPS: Final = 30
GOP_FRAMES: Final = 60
KEY_TIMES: Final = 5.0
"""How much larger than the mean a key frame is."""
GOP_S: Final = GOP_FRAMES / FPS

ASK_S: Final = 0.08
REORDER_S: Final = 0.07
ECHO_S: Final = 0.1
DEAD_S: Final = 0.25
"""Of silence: the receiver asks no more on such a link (ReceiverTuning.session_timeout_ms)."""

_MEDIA_AT: Final = 12 + 4
_RTP: Final = struct.Struct(">BBHII")
_GRE: Final = struct.Struct(">4s4sI")
_NUMBER: Final = struct.Struct(">QB")


class Sends(Protocol):
    """What a :class:`~strata.bond.flow.Flow` is to the world."""

    def write(self, now: float, payload: bytes, is_key: bool) -> None: ...
    def take(self, now: float, id: str, datagram: bytes) -> list[Out]: ...
    def due(self, now: float) -> list[Out]: ...


@dataclass(slots=True)
class Way:
    """A link: both of its directions.

    Attributes:
        media: when datagrams with media were sent on it, each as (seconds, bytes).
    """

    id: str
    there: Path
    back: Path
    media: list[tuple[float, int]] = field(default_factory=list)

    def set(self, impairment: Impairment) -> None:
        """The way there from now on; the way back keeps its time, and is never narrow."""
        self.there.set(impairment)
        self.back.set(replace(impairment, rate_kbps=0.0))

    def cut(self) -> None:
        self.there.cut()
        self.back.cut()

    def restore(self) -> None:
        self.there.restore()
        self.back.restore()

    def kbps(self, begin_s: float, end_s: float) -> float:
        """Media that was sent on it then."""
        size = sum(size for at, size in self.media if begin_s <= at < end_s)
        return size * 8 / 1000 / (end_s - begin_s)

    def packets(self, begin_s: float, end_s: float) -> int:
        return sum(begin_s <= at < end_s for at, _ in self.media)


@dataclass(slots=True)
class Gap:
    """A packet that the receiver misses."""

    next_ask: float
    give_up: float


class Taker:
    """The receiver.

    Attributes:
        delivered: when each payload came that was in time, by number.
        asked: on which link it asked, how often.
    """

    def __init__(self, buffer_s: float) -> None:
        self.delivered: dict[int, float] = {}
        self.payloads: list[bytes] = []
        self.late = 0
        self.asked: dict[str, int] = {}
        self._sealer = Sealer(PSK)
        self._buffer_s = buffer_s
        self._gre = count(1)
        self._rtt: dict[str, float] = {}
        self._heard: dict[str, float] = {}
        self._next_echo = 0.0
        self._flow_id: int | None = None
        self._newest: int | None = None
        self._seen: set[int] = set()
        self._offset_s = float("inf")
        self._missing: dict[int, Gap] = {}

    def take(self, now: float, id: str, datagram: bytes) -> list[Out]:
        head, nonce, sequence = _GRE.unpack_from(datagram)
        assert head == b"\x30\x48\x88\xb6"
        plain = self._sealer.open(nonce, sequence, datagram[_GRE.size :])
        self._heard[id] = now
        if int.from_bytes(plain[2:4], "big") == 1968:
            self._media(now, *_RTP.unpack_from(plain, 4)[2:], plain[_MEDIA_AT:])
            return []
        return self._rtcp(now, id, plain[4:])

    def due(self, now: float) -> list[Out]:
        """Call it each 10 ms."""
        out: list[Out] = []
        if now >= self._next_echo and self._flow_id is not None:
            self._next_echo = now + ECHO_S
            request = struct.pack(">BBHI4sQI", 0x82, 204, 5, 7, b"RIST", int(now * 1e9), 0)
            out += [self._say(id, request) for id in self._heard]
        wanted = []
        for number, gap in list(self._missing.items()):
            if now > gap.give_up:
                del self._missing[number]
            elif now >= gap.next_ask:
                gap.next_ask = now + ASK_S
                wanted.append(number)
        there = [id for id, at in self._heard.items() if now - at < DEAD_S]
        if wanted and there:
            best = min(there, key=lambda id: self._rtt.get(id, 1.0))
            self.asked[best] = self.asked.get(best, 0) + len(wanted)
            out += [self._say(best, nack(wanted[at : at + 60])) for at in range(0, len(wanted), 60)]
        return out

    def _rtcp(self, now: float, id: str, rtcp: bytes) -> list[Out]:
        out = []
        at = 0
        while at < len(rtcp):
            subtype, kind = rtcp[at] & 0x1F, rtcp[at + 1]
            size = 4 * (1 + int.from_bytes(rtcp[at + 2 : at + 4], "big"))
            if kind == 200:
                self._flow_id = int.from_bytes(rtcp[at + 4 : at + 8], "big")
            elif kind == 204 and subtype == 2:
                ssrc, _, stamp, _ = struct.unpack_from(">I4sQI", rtcp, at + 4)
                answer = struct.pack(">BBHI4sQI", 0x83, 204, 5, ssrc, b"RIST", stamp, 0)
                out.append(self._say(id, answer))
            elif kind == 204 and subtype == 3:
                stamp = int.from_bytes(rtcp[at + 12 : at + 20], "big")
                self._rtt[id] = now - stamp / 1e9
            at += size
        return out

    def _media(self, now: float, sequence: int, stamp: int, ssrc: int, payload: bytes) -> None:
        if self._newest is None:
            self._newest = sequence - 1
        self._offset_s = min(self._offset_s, now - stamp / packets.RTP_HZ)
        number = self._newest + ((sequence - self._newest + 0x8000) & 0xFFFF) - 0x8000
        give_up = stamp / packets.RTP_HZ + self._offset_s + self._buffer_s
        for each in range(self._newest + 1, number):
            self._missing[each] = Gap(now + REORDER_S, give_up)
        self._newest = max(self._newest, number)
        self._missing.pop(number, None)
        if number in self._seen:
            return
        self._seen.add(number)
        if now > give_up:
            self.late += 1
        elif payload[:3] != b"\x47\x1f\xff":
            name, _ = _NUMBER.unpack_from(payload, 4)
            self.delivered[name] = now

    def _say(self, id: str, *parts: bytes) -> Out:
        report = struct.pack(">BBHI", 0x80, 201, 1, self._flow_id or 0)
        plain = struct.pack(">HH", 1971, 1968) + report + b"".join(parts)
        return id, packets.wrap(self._sealer, next(self._gre), plain)


def nack(sequences: Iterable[int]) -> bytes:
    """RIST's own request, in ranges."""
    found: list[list[int]] = []
    for each in sequences:
        if found and each == found[-1][0] + found[-1][1] + 1:
            found[-1][1] += 1
        else:
            found.append([each, 0])
    records = b"".join(struct.pack(">HH", first & 0xFFFF, more) for first, more in found)
    return struct.pack(">BBHI4s", 0x80, 204, 2 + len(found), 7, b"RIST") + records


class Camera:
    """Pictures of an encoder, each with so many packets as its rate allows.

    Attributes:
        kbps: from the next picture on.
    """

    def __init__(self, kbps: float, has_bursts: bool) -> None:
        self.kbps = kbps
        self._has_bursts = has_bursts
        self._frames = 0
        self._owed = 0.0

    def picture(self) -> tuple[int, bool]:
        """How many packets the next one has, and whether it is a key frame."""
        is_key = self._frames % GOP_FRAMES == 0
        others = (GOP_FRAMES - KEY_TIMES) / (GOP_FRAMES - 1)
        times = (KEY_TIMES if is_key else others) if self._has_bursts else 1.0
        self._owed += self.kbps * 125 / FPS * times
        whole = int(self._owed // packets.PAYLOAD_MAX)
        self._owed -= whole * packets.PAYLOAD_MAX
        self._frames += 1
        return whole, is_key and self._has_bursts


class World:
    """Everything, from second 0 on.

    Args:
        links: the way there of each, by id; the way back is the same without its rate.
        sends: makes the sender; a :class:`~strata.bond.flow.Flow` unless told otherwise.
        steers: the encoder's rate follows the links.

    Attributes:
        written: when each payload was written, and whether it is of a key frame; by number.
    """

    def __init__(
        self,
        links: dict[str, Impairment],
        kbps: float = 4000.0,
        *,
        buffer_s: float = 1.0,
        has_bursts: bool = True,
        steers: bool = False,
        joins_later: Iterable[str] = (),
        first_picture_s: float = 0.0,
        flow_id: int = 0x1234_5678,
        sends: Callable[[float], Sends] | None = None,
    ) -> None:
        self.now = 0.0
        self.ways = {
            id: Way(
                id,
                Path(one, seed=f"{id} there"),
                Path(replace(one, rate_kbps=0.0), seed=f"{id} back"),
            )
            for id, one in links.items()
        }
        self.camera = Camera(kbps, has_bursts)
        self.taker = Taker(buffer_s)
        self.written: list[tuple[float, bool]] = []
        self.rates: list[tuple[float, float]] = []
        self.flow = Flow(Sealer(PSK), flow_id, "test", buffer_s, 0.0, lambda: self.now)
        for id in links:
            if id not in joins_later:
                self.flow.add_link(id, 0.0)
        self.sends: Sends = self.flow if sends is None else sends(buffer_s)
        self._rate = Rate(500.0, kbps, kbps) if steers else None
        self._air: list[tuple[float, int, str, bool, bytes]] = []
        self._serial = count()
        self._plans: list[tuple[float, Callable[[], None]]] = []
        self._next_picture = first_picture_s
        self._step = 0

    def at(self, second: float, what: Callable[[], None]) -> None:
        """Does it then."""
        self._plans.append((second, what))
        self._plans.sort(key=lambda plan: plan[0])

    def join(self, id: str) -> None:
        self.flow.add_link(id, self.now)

    def run(self, until_s: float) -> None:
        """Lets time pass up to that second."""
        while (now := self._step * STEP_MS / 1000) < until_s:
            self._step += 1
            self._carry(now)
            self.now = now
            while self._plans and self._plans[0][0] <= now:
                self._plans.pop(0)[1]()
            self._shoot(now)
            self._steer(now)
            self._send(now, self.sends.due(now))
            self._answer(now, self.taker.due(now))

    # What came of it.

    def lost(self, begin_s: float, end_s: float) -> list[int]:
        """Numbers of what was written then and was not delivered."""
        return [
            number
            for number, (at, _) in enumerate(self.written)
            if begin_s <= at < end_s and number not in self.taker.delivered
        ]

    def share(self, begin_s: float, end_s: float) -> float:
        """Of what was written then, how much was delivered, in percent."""
        written = sum(begin_s <= at < end_s for at, _ in self.written)
        return 100 * (1 - len(self.lost(begin_s, end_s)) / written)

    def holes(self, begin_s: float, end_s: float) -> list[tuple[int, float]]:
        """Where something is missing: the first number, and how many seconds of media."""
        found: list[tuple[int, float]] = []
        times = [at for at, _ in self.written]
        lost = self.lost(begin_s, end_s)
        begins = [number for before, number in pairwise([-2, *lost]) if number != before + 1]
        gone = set(lost)
        for first in begins:
            after = first
            while after in gone:
                after += 1
            end = times[after] if after < len(times) else self.now
            found.append((first, end - times[first]))
        return found

    # How it goes.

    def _shoot(self, now: float) -> None:
        while self._next_picture <= now:
            self._next_picture += 1 / FPS
            size, is_key = self.camera.picture()
            for _ in range(size):
                payload = b"\x47\x01\x00\x10" + _NUMBER.pack(len(self.written), is_key)
                self.written.append((now, is_key))
                self.sends.write(now, payload.ljust(packets.PAYLOAD_MAX, b"x"), is_key)

    def _steer(self, now: float) -> None:
        if self._rate is not None and self._step % 25 == 0 and now > 1.0:
            flow = self.flow
            self.camera.kbps = self._rate.step(
                now, flow.carried_kbps, flow.congested_at, flow.waiting_s(now)
            )
            self.rates.append((now, self.camera.kbps))

    def _send(self, now: float, out: Iterable[Out]) -> None:
        for id, datagram in out:
            way = self.ways[id]
            if len(datagram) > 1000:
                way.media.append((now, len(datagram)))
            for at in way.there.send(now, len(datagram)):
                heapq.heappush(self._air, (at, next(self._serial), id, True, datagram))

    def _answer(self, now: float, out: Iterable[Out]) -> None:
        for id, datagram in out:
            for at in self.ways[id].back.send(now, len(datagram)):
                heapq.heappush(self._air, (at, next(self._serial), id, False, datagram))

    def _carry(self, now: float) -> None:
        """Lets arrive what arrives up to now, each at its moment."""
        while self._air and self._air[0][0] <= now:
            at, _, id, is_there, datagram = heapq.heappop(self._air)
            if is_there:
                self._answer(at, self.taker.take(at, id, datagram))
            else:
                self._send(at, self.sends.take(at, id, datagram))


class Fixed:
    """Fixed shares, as librist's sender has them: packets go out by turns as they are written,
    and what a request asks for on the link that the request came on."""

    def __init__(self, weights: dict[str, int], buffer_s: float) -> None:
        self._turns = [id for id, weight in weights.items() for _ in range(weight)]
        self._buffer_s = buffer_s
        self._sealer = Sealer(PSK)
        self._gre = count(1)
        self._sequence = 0
        self._kept: dict[int, tuple[float, bytes]] = {}
        self._out: list[Out] = []
        self._next_report = 0.0

    def write(self, now: float, payload: bytes, is_key: bool) -> None:
        id = self._turns[self._sequence % len(self._turns)]
        self._kept[self._sequence & 0xFFFF] = (now, payload)
        self._out.append(self._media(id, self._sequence & 0xFFFF, now, payload, False))
        self._sequence += 1

    def take(self, now: float, id: str, datagram: bytes) -> list[Out]:
        out: list[Out] = []
        for word in packets.unwrap(self._sealer, datagram) or []:
            if isinstance(word, packets.EchoRequest):
                plain = packets.echo_response(2, b"fixed", word)
                out.append((id, packets.wrap(self._sealer, next(self._gre), plain)))
            elif isinstance(word, packets.Missing):
                for sequence in word.sequences:
                    at, payload = self._kept[sequence]
                    if now - at <= self._buffer_s:
                        out.append(self._media(id, sequence, at, payload, True))
        return out

    def due(self, now: float) -> list[Out]:
        out, self._out = self._out, []
        if now >= self._next_report:
            self._next_report = now + 0.1
            plain = packets.report(2, b"fixed", 0, 0, int(now * 1e9))
            for id in dict.fromkeys(self._turns):
                out.append((id, packets.wrap(self._sealer, next(self._gre), plain)))
        return out

    def _media(self, id: str, sequence: int, at: float, payload: bytes, again: bool) -> Out:
        stamp = int(at * packets.RTP_HZ)
        plain = packets.media(sequence, stamp, 2, payload, again)
        return id, packets.wrap(self._sealer, next(self._gre), plain)
