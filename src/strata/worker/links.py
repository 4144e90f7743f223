"""How each link does, why, and what to tell about it.

A link whose way back is dead looks alive to librist: the sender's packets arrive. So the
requests for lost packets may go out there and are swallowed. How it shows, with figures:
docs/decisions/0011-dead-return-path.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from strata.rist import LinkCounters
from strata.wire import worker as wire

SILENT_AFTER_S: Final = 1.0
DOWN_AFTER_S: Final = 5.0
"""A link that was never seen, or not for this long, is down."""

UNUSED_AFTER_S: Final = 6.0
"""A sender that has been connected for so long and sent no media for so long leaves the link
out. Not less: librist forgets a sender of which nothing arrives after 5.3 s, and only then
is the link that was cut told apart from this one."""

WINDOW_S: Final = (5.0, 15.0)
"""Reports come each 10 s. Over much less a count of some tens says little, and reports that
were fetched late and in one go say nothing of when they were made."""

SPARSE: Final = 0.55
"""librist sends 10 control packets a second and answers 10 of our echo requests. Unheard it
sends half of that; measured with 10 % loss both ways 0.75 to 0.95 of the best, unheard 0.35
to 0.5. At 20 % both ways 0.72 are left, and less was seen once."""

FORGET_S: Final = 30.0
"""Reports name a peer each 10 s for as long as librist knows it."""

State: TypeAlias = Literal["up", "silent", "down"]
Code: TypeAlias = Literal["link_down", "return_path_dead"]


@dataclass(frozen=True, slots=True)
class LinkFacts:
    """What is known of one link at one moment.

    Attributes:
        is_known: a sender has been seen there.
        connected_s: how long media of the sender that is there could have come out of the
            recovery buffer; None where nobody is there.
        age_s: since its last media, None for never.
        brings_copies: media arrives, all of which came on another link before: a sender that
            sends everything on each link.
        hears_us: whether what we send back reaches the sender; None where that is not known.
        others_carry: media came on another link within :data:`SILENT_AFTER_S`.
    """

    is_known: bool
    connected_s: float | None
    age_s: float | None
    brings_copies: bool
    hears_us: bool | None
    others_carry: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """State of a link, why, and the code of the event where somebody should act."""

    state: State
    reason: str | None = None
    code: Code | None = None


def judge(facts: LinkFacts) -> Verdict:
    """What to make of the facts."""
    if not facts.is_known:
        return Verdict("down", "no sender has been seen on this port")
    age_s = math.inf if facts.age_s is None else facts.age_s
    if facts.connected_s is not None and facts.hears_us is False:
        arrives = age_s <= SILENT_AFTER_S or facts.brings_copies
        return Verdict("down", _unheard(arrives), "return_path_dead")
    if age_s <= SILENT_AFTER_S or (facts.brings_copies and facts.connected_s is not None):
        return Verdict("up")
    state: State = "down" if age_s > DOWN_AFTER_S else "silent"
    if not facts.others_carry:
        return Verdict(state, "no media on any link")
    if state == "silent":
        return Verdict(state, "no media here while other links carry it")
    if facts.connected_s is None:
        return Verdict(
            state,
            "nothing arrives here any more while other links carry the media; check this "
            "connection of the sender",
            "link_down",
        )
    if min(age_s, facts.connected_s) <= UNUSED_AFTER_S:
        return Verdict(state, "no media here while other links carry it")
    if facts.hears_us:
        return Verdict(
            state,
            "the sender is connected here and hears us, but sends its media on other links "
            "only; check its settings for this link",
            "link_down",
        )
    return Verdict(
        state,
        "the sender is connected here, but sends its media on other links only: most likely "
        "nothing that we send back on this link gets there, and requests for lost packets are "
        "swallowed; tell the sender to leave this link, or check what blocks UDP on the way back",
        "return_path_dead",
    )


def _unheard(media_arrives: bool) -> str:
    what = "media arrives" if media_arrives else "the sender is connected here"
    return (
        f"{what}, but nothing that we send back gets there: requests for lost packets are "
        "swallowed; tell the sender to leave this link, or check what blocks UDP on the way back"
    )


@dataclass(slots=True)
class _Peer:
    """What librist's reports say of one remote address.

    Attributes:
        at_s: when the last report was taken in.
        round_trips: the last and the average round trip, which move only with an answer.
        best_per_s: the most control packets a second.
        hears_us: what the last report says of it.
        since_s: where the time begins that this is about.
        data_since_s: where the time of the last report begins, if media arrived in it.
    """

    at_s: float
    round_trips: tuple[float, float]
    best_per_s: float = 0.0
    hears_us: bool | None = None
    since_s: float = 0.0
    data_since_s: float | None = None


@dataclass(slots=True)
class LinkWatch:
    """Keeps what :func:`judge` needs from one moment to the next. Times are monotonic, in s."""

    _buffer_s: float = 0.0
    _peers: dict[int, _Peer] = field(default_factory=dict)
    _silent: set[int] = field(default_factory=set)
    _told: dict[int, Code | None] = field(default_factory=dict)

    def add_report(self, report: dict[str, Any], now_s: float) -> None:
        """Takes in one of :meth:`strata.rist.Receiver.take_reports`."""
        self._buffer_s = max(self._buffer_s, report["stats"]["avg_buffer_time"] / 1000)
        for each in report["peers"]:
            stats = each["stats"]
            received = int(stats["received_rtcp"])
            round_trips = (float(stats.get("rtt", 0)), float(stats["avg_rtt"]))
            peer = self._peers.get(int(each["id"]))
            if peer is None:
                self._peers[int(each["id"])] = _Peer(now_s, round_trips)
                continue
            passed_s = now_s - peer.at_s
            peer.hears_us = None
            if received and WINDOW_S[0] <= passed_s <= WINDOW_S[1]:
                per_s = received / passed_s
                peer.best_per_s = max(peer.best_per_s, per_s)
                peer.since_s = peer.at_s
                if round_trips != peer.round_trips:
                    peer.hears_us = True
                elif per_s <= SPARSE * peer.best_per_s:
                    peer.hears_us = False
            peer.data_since_s = peer.at_s if stats.get("received_data") else None
            peer.at_s, peer.round_trips = now_s, round_trips
        for id in [id for id, peer in self._peers.items() if now_s - peer.at_s > FORGET_S]:
            del self._peers[id]

    def verdicts(self, links: Sequence[LinkCounters], now_s: float) -> list[Verdict]:
        """One for each link."""
        ages = [
            now_s - link.last_packet_ns / 1e9 if link.last_packet_ns else None for link in links
        ]
        carrying = {
            link.port
            for link, age_s in zip(links, ages, strict=True)
            if age_s is not None and age_s <= SILENT_AFTER_S
        }
        return [
            judge(
                LinkFacts(
                    is_known=link.peer is not None,
                    connected_s=self._connected_s(link, now_s),
                    age_s=age_s,
                    brings_copies=self._brings_copies(link),
                    hears_us=self._hears_us(link, link.port in carrying),
                    others_carry=bool(carrying - {link.port}),
                )
            )
            for link, age_s in zip(links, ages, strict=True)
        ]

    def changes(self, links: Sequence[LinkCounters], now_s: float) -> list[wire.Error]:
        """What has become wrong since the last call, each once until the link is up again."""
        errors = []
        for link, verdict in zip(links, self.verdicts(links, now_s), strict=True):
            if verdict.state == "up":
                self._told[link.port] = None
            elif verdict.code is not None and verdict.code != self._told.get(link.port):
                self._told[link.port] = verdict.code
                errors.append(
                    wire.Error(
                        f"link on port {link.port} from {link.peer}: {verdict.reason}", verdict.code
                    )
                )
        return errors

    def _connected_s(self, link: LinkCounters, now_s: float) -> float | None:
        return now_s - link.connected_ns / 1e9 - self._buffer_s if link.connected_ns else None

    def _brings_copies(self, link: LinkCounters) -> bool:
        peer = self._peers.get(link.peer_id)
        since_s = None if peer is None else peer.data_since_s
        return since_s is not None and since_s > link.last_packet_ns / 1e9

    def _hears_us(self, link: LinkCounters, carries: bool) -> bool | None:
        peer = self._peers.get(link.peer_id)
        if not carries:
            self._silent.add(link.port)
        elif link.port in self._silent:
            # A sender that comes back to a link has heard us there; the next report says more.
            self._silent.discard(link.port)
            if peer is not None:
                peer.hears_us = None
        if peer is None:
            return None
        if peer.hears_us and peer.since_s < link.last_packet_ns / 1e9:
            return None  # partly from the time before the media stopped
        return peer.hears_us
