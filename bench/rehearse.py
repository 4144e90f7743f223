"""One bad day: the worker and the pair made by hand, at the same time on the same links."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from pathlib import Path
from typing import Final

from bench.media import Feed, Ports, rist_sender
from bench.nginx import Nginx
from bench.peers import HandMadePeer, Peer, WorkerPeer
from bench.processes import Child, udp_drops
from bench.schedule import CALM_S, CLEAR_S, POST_S, Day
from bench.stage import HANDSHAKE_S, SETTLE_S
from strata.impair.path import PERFECT
from strata.impair.relay import Relay

PEERS: Final = ("worker", "hand")
SEED: Final = 7
DOWN_S: Final = 2.0
"""From the end of the encoder that is killed to the start of the next."""
REVIVE_S: Final = 1.0
_BEAT_S: Final = 0.01
LOOPBACK: Final = "127.0.0.1"


class Run:
    """One day, both peers at the same time."""

    def __init__(self, folder: Path, nginx: Nginx, ports: Ports, clip: Path, day: Day) -> None:
        self._folder = folder
        self._nginx = nginx
        self._ports = ports
        self._clip = clip
        self._day = day
        link_ports = {name: (ports.udp(), ports.udp()) for name in PEERS}
        self.worker = WorkerPeer(
            folder, "worker", link_ports["worker"], [nginx.url("worker")], slate="on"
        )
        self.hand = HandMadePeer(folder, "hand", link_ports["hand"], ports.udp(), nginx.url("hand"))
        self._peers: dict[str, Peer] = {"worker": self.worker, "hand": self.hand}
        self._taps = {name: ports.udp() for name in PEERS}
        self._relays: dict[str, list[Relay]] = {}
        self._senders: list[Child] = []
        self.feeds: list[tuple[float, float]] = []
        """When each feed began, and how many seconds of the clip it sent."""
        self.stall_s = 0.0
        """The longest time for which the relays stood still, because the machine did."""
        self.drops = dict.fromkeys(PEERS, 0)
        """Datagrams that did not get to a peer's sender, or through its relays."""

    async def play(self, window_s: float) -> None:
        """Args:
        window_s: for so long the links are bad.
        """
        day, length_s = self._day, CLEAR_S + window_s + CALM_S + POST_S
        async with contextlib.AsyncExitStack() as stack:
            for name, peer in self._peers.items():
                stack.callback(peer.stop)
                peer.start()
                self._relays[name] = [
                    await stack.enter_async_context(self._relay(index, port))
                    for index, port in enumerate(peer.ports)
                ]
            stack.callback(self._end_senders)
            self._start_senders()
            await asyncio.sleep(HANDSHAKE_S)
            reviving = asyncio.create_task(self._revive())
            stack.callback(reviving.cancel)
            watching = asyncio.create_task(self._watch_stalls())
            stack.callback(watching.cancel)
            feed = self._feed(stack)
            self._plan(feed.started_at, window_s)
            if day.restart_s is not None:
                await _until(feed.started_at + day.restart_s)
                self._end_senders()
                feed.stop()
                self.feeds.append((feed.started_at, time.monotonic() - feed.started_at))
                begin = feed.started_at
                await asyncio.sleep(DOWN_S)
                self._start_senders()
                await asyncio.sleep(HANDSHAKE_S)
                feed = self._feed(stack)
                length_s -= feed.started_at - begin
            await _until(feed.started_at + length_s)
            self.feeds.append((feed.started_at, length_s))
            self.worker.check()
        await asyncio.sleep(SETTLE_S)

    def _relay(self, index: int, port: int) -> Relay:
        outages = self._day.outages[index]
        return Relay((LOOPBACK, 0), (LOOPBACK, port), outages=outages, seed=f"{SEED} {index}")

    def _plan(self, begin: float, window_s: float) -> None:
        """From ``begin`` on, by the loop's clock, all relays follow the day."""
        loop = asyncio.get_running_loop()
        for relays in self._relays.values():
            for relay, impairment in zip(relays, self._day.links, strict=True):
                relay.begin(begin)
                loop.call_at(begin + CLEAR_S, relay.set, impairment)
                loop.call_at(begin + CLEAR_S + window_s, relay.set, PERFECT)

    def _start_senders(self) -> None:
        for name, relays in self._relays.items():
            ports = [relay.address.port for relay in relays]
            log = self._folder / f"{name}-sender.log"
            self._senders.append(rist_sender(self._taps[name], ports, log))

    def _end_senders(self) -> None:
        for name, relays in self._relays.items() if self._senders else ():
            ports = {self._taps[name], *(relay.address.port for relay in relays)}
            self.drops[name] = max(self.drops[name], udp_drops(ports))
        for sender in self._senders:
            sender.stop(signal.SIGKILL)
        self._senders.clear()

    def _feed(self, stack: contextlib.AsyncExitStack) -> Feed:
        feed = Feed(self._clip, list(self._taps.values()))
        feed.start()
        stack.callback(feed.stop)
        return feed

    async def _watch_stalls(self) -> None:
        while True:
            asleep_at = time.monotonic()
            await asyncio.sleep(_BEAT_S)
            self.stall_s = max(self.stall_s, time.monotonic() - asleep_at - _BEAT_S)

    async def _revive(self) -> None:
        while True:
            await asyncio.sleep(REVIVE_S)
            self.hand.revive()


async def _until(at: float) -> None:
    await asyncio.sleep(max(0.0, at - time.monotonic()))
