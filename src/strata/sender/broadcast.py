"""One broadcast: from a source to the receiver, over all links that there are.

source ── each 20 ms ──► bond ──► links
   ▲                      │
   └── bitrate ◄── rate ◄─┘  what the links carry, each 250 ms
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from strata.bond import Bond, LinkReport, Rate, Way
from strata.errors import HostError, StrataError
from strata.secrets import Secret
from strata.sender.links import Link, receiver_of
from strata.sender.network import Network
from strata.sender.post import Begin, Ended
from strata.sender.settings import SenderSettings
from strata.sender.source import Source, SourceSettings, open_source
from strata.tasks import TaskGroup
from strata.wire import agent as wire

log = logging.getLogger(__name__)

PUMP_S: Final = 0.02
"""Waking up costs more than what is done then; see script/bench bonding."""
STEER_S: Final = 0.25
SETTLE_S: Final = 1.5
"""After the first media: before that the links have shown nothing."""
FIRST_SHARE: Final = 0.67
"""Of what was asked for, to begin with; a few seconds later it is all, where the links carry it."""
WORTH_TELLING: Final = 0.02
"""An encoder is not told of less."""
AGAIN_S: Final = 2.0
"""A link that could not be opened is tried again."""
MOVE_DEADLINE_S: Final = 5.0


def beginning(network: Network) -> Begin:
    """How the agent gets a broadcast."""
    return lambda order, settings: Broadcast(
        order, settings, network, open_source(order.source, order.encoder, SourceSettings())
    )


class Broadcast:
    """As :class:`strata.sender.post.Broadcast`.

    Args:
        source: not started yet.
    """

    def __init__(
        self, order: wire.StreamStart, settings: SenderSettings, network: Network, source: Source
    ) -> None:
        self.order = order
        self._settings = settings
        self._network = network
        self._source = source
        wanted = order.encoder.bitrate_kbps
        self._rate = Rate(
            settings.encoder.floor_kbps,
            min(wanted, settings.encoder.ceiling_kbps),
            wanted * FIRST_SHARE,
        )
        self._told_kbps = 0.0
        self._began_at = time.monotonic()
        self._lasted_s: float | None = None
        self._earlier_bytes = 0
        self._bond: Bond | None = None
        self._links: list[Link] = []
        self._one_change = asyncio.Lock()
        self._states: dict[str, str] = {}
        self._dropped = 0
        self._are_different = asyncio.Event()
        self._stop_listening: Callable[[], None] = lambda: None
        self._end: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self._tasks = TaskGroup(self._fail)

    @property
    def total_bytes(self) -> int:
        return self._earlier_bytes + (self._bond.sent_bytes if self._bond is not None else 0)

    @property
    def uptime_s(self) -> float:
        return self._lasted_s or time.monotonic() - self._began_at

    async def start(self) -> None:
        self._bond = self._make_bond(Secret(self.order.psk))
        await self._update_links()
        if not self._links:
            raise HostError(
                "no network interface of the sender can be used, so nothing can be sent; plug in "
                "a modem or a cable, or see: ip address"
            )
        self._steer(time.monotonic())
        await self._source.start()
        self._stop_listening = self._network.listen(self._are_different.set)
        self._tasks.spawn("pump", self._pump())
        self._tasks.spawn("links", self._follow_links())
        self._tasks.spawn("source", self._follow_source())

    async def move(self, destinations: list[str], psk: Secret) -> None:
        """Make before break: the old receiver gets media until the new one has answered."""
        order = msgspec.structs.replace(self.order, destinations=destinations, psk=psk.reveal())
        bond = self._make_bond(psk)
        async with self._one_change:
            try:
                links, _ = await self._open(bond, destinations, ())
                async with asyncio.timeout(MOVE_DEADLINE_S):
                    while not bond.is_answered:
                        bond.pump()
                        await asyncio.sleep(PUMP_S)
            except TimeoutError:
                bond.close()
                raise HostError(
                    f"the new receiver has not answered within {MOVE_DEADLINE_S:g} s on any link; "
                    "the stream goes on to the one before"
                ) from None
            except BaseException:
                bond.close()
                raise
            old, self._bond = self._bond, bond
            self.order, self._links = order, links
        self._states.clear()
        if old is not None:
            self._earlier_bytes += old.sent_bytes
            old.close()

    async def ended(self) -> Ended:
        return await asyncio.shield(self._end)

    def stats(self) -> wire.StreamStats:
        kbps = self._source.encoder_kbps
        if kbps is None and self._bond is not None:
            kbps = self._bond.flow.media_kbps
        reports = self._bond.reports() if self._bond is not None else []
        return wire.StreamStats(
            self.order.stream_id, self.uptime_s, kbps, [_link_stats(each) for each in reports]
        )

    async def stop(self) -> None:
        self._stop_listening()
        await self._tasks.close()
        await self._source.stop()
        self._lasted_s = self._lasted_s or time.monotonic() - self._began_at
        if self._bond is not None:
            self._earlier_bytes += self._bond.sent_bytes
            self._bond.close()
            self._bond = None

    # Over and over.

    async def _pump(self) -> None:
        steer_at = 0.0
        while True:
            bond = self._bond
            assert bond is not None
            for chunk in self._source.read():
                bond.write(chunk.payload, chunk.is_key)
            bond.pump()
            now = time.monotonic()
            if now >= steer_at:
                steer_at = now + STEER_S
                self._steer(now)
                self._look(bond)
            await asyncio.sleep(PUMP_S)

    def _steer(self, now: float) -> None:
        """Lets the encoder make what the links carry."""
        flow = self._bond.flow if self._bond is not None else None
        if flow is not None and flow.begun_at is not None and now - flow.begun_at > SETTLE_S:
            self._rate.step(now, flow.carried_kbps, flow.congested_at, flow.waiting_s(now))
        kbps = self._rate.kbps
        if self._source.is_encoding and abs(kbps - self._told_kbps) > WORTH_TELLING * kbps:
            self._told_kbps = kbps
            self._source.set_bitrate(round(kbps))

    def _look(self, bond: Bond) -> None:
        """Tells the log what somebody would ask for afterwards, and ends what is for nobody."""
        silent_s = bond.silent_s()
        if silent_s > self._settings.receiver_silence_s:
            self._finish(
                "receiver_silent",
                f"nothing has come from the receiver for {silent_s:.0f} s, over any link; it is "
                "gone, or no link leads to it",
            )
        for report in bond.reports():
            before = self._states.get(report.id)
            if before != report.state and not (before is None and report.state == "joining"):
                level = logging.WARNING if report.state == "silent" else logging.INFO
                log.log(level, "link %s: %s", report.id, _describe(report))
            self._states[report.id] = report.state
        dropped = bond.flow.counters.dropped
        if dropped > self._dropped:
            log.warning(
                "%d packets were left out, up to a key frame: the links carry %.0f kbit/s",
                dropped - self._dropped,
                bond.flow.carried_kbps,
            )
        self._dropped = dropped

    async def _follow_links(self) -> None:
        while True:
            is_whole = await self._update_links()
            try:
                async with asyncio.timeout(None if is_whole else AGAIN_S):
                    await self._are_different.wait()
            except TimeoutError:
                continue
            self._are_different.clear()

    async def _follow_source(self) -> None:
        end = await self._source.ended()
        self._finish(end.reason, end.detail)

    # What it is made of.

    def _make_bond(self, psk: Secret) -> Bond:
        order = self.order
        return Bond(
            psk, aes_bits=order.aes_type, buffer_ms=order.buffer_ms, name=socket.gethostname()
        )

    async def _update_links(self) -> bool:
        """Opens what should be there and is not, and closes what should not; whether all that
        should be there is."""
        async with self._one_change:
            if self._bond is None:
                return True
            destinations = self.order.destinations
            self._links, is_whole = await self._open(self._bond, destinations, self._links)
            return is_whole

    async def _open(
        self, bond: Bond, destinations: list[str], before: Sequence[Link]
    ) -> tuple[list[Link], bool]:
        """The links that are open, and whether that is all that should be."""
        wanted = await self._network.links(destinations, before)
        links = [link for link in wanted if link in before]
        for id in bond.ways.keys() - {link.id for link in links}:
            bond.remove(id)
            self._states.pop(id, None)
        for link in [link for link in wanted if link not in before]:
            try:
                await bond.add(_way(link))
            except StrataError as error:
                log.warning("link %s is left out for now: %s", link.id, error.message)
            else:
                links.append(link)
        return links, len(links) == len(wanted)

    def _finish(self, reason: str, detail: str) -> None:
        if not self._end.done():
            self._end.set_result(Ended(reason, detail))

    def _fail(self, name: str, error: BaseException) -> None:
        text = (
            error.message if isinstance(error, StrataError) else "an internal failure; see the log"
        )
        self._finish("failed", text)


def _way(link: Link) -> Way:
    host, port = receiver_of(link.destination)
    return Way(link.id, host, port, link.interface, link.address)


def _link_stats(report: LinkReport) -> wire.LinkStats:
    return wire.LinkStats(
        report.id,
        report.interface,
        report.state,
        report.rtt_ms,
        round(report.loss, 4),
        report.sent_bytes,
        report.port,
    )


def _describe(report: LinkReport) -> str:
    if report.state == "silent":
        return "the receiver does not answer on it any more; nothing goes there until it does"
    return f"it is up, {report.rtt_ms:.0f} ms there and back"
