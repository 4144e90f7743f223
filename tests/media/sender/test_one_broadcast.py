"""One broadcast of the field sender: its links, its receiver, its ends. The source is made up, the
way to the receiver is real."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, Literal

import pytest

from strata.errors import BadArguments, HostError, SourceUnavailable, StrataError
from strata.impair.profile import Profile, parse
from strata.rist import Receiver
from strata.secrets import Secret
from strata.sender.broadcast import Broadcast
from strata.sender.links import Link
from strata.sender.network import Straight
from strata.sender.rehearsal import Rehearsed
from strata.sender.settings import SenderSettings
from strata.sender.source import Chunk, End
from strata.wire import agent as wire
from support.children import until
from support.ports import free_udp_port, free_udp_ports

PSK: Final = "canary-key-of-this-test"
PACKET: Final = b"\x47\x01\x00\x10" + b"x" * 184
DEADLINE_S: Final = 10.0


class Made:
    """A source of a steady stream, or of trouble."""

    encoder_kbps: float | None = None
    dropped_groups = 0

    def __init__(self, kbps: int = 1000, problem: StrataError | None = None) -> None:
        self.is_encoding = True
        self.told: list[int] = []
        self.is_stopped = False
        self._kbps = kbps
        self._problem = problem
        self._owed = 0.0
        self._read_at: float | None = None
        self._counter = 0
        self.end: asyncio.Future[End] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        if self._problem is not None:
            raise self._problem

    def read(self) -> list[Chunk]:
        now = asyncio.get_running_loop().time()
        passed_s = now - (self._read_at or now)
        self._read_at = now
        self._owed += self._kbps * 125 * passed_s / (7 * len(PACKET))
        found = []
        while self._owed >= 1:
            self._owed -= 1
            packets = []
            for _ in range(7):
                packets.append(PACKET[:3] + bytes([0x10 | self._counter]) + PACKET[4:])
                self._counter = (self._counter + 1) & 0x0F
            found.append(Chunk(b"".join(packets), False))
        return found

    def set_bitrate(self, kbps: int) -> None:
        self.told.append(kbps)

    async def ended(self) -> End:
        return await asyncio.shield(self.end)

    async def stop(self) -> None:
        self.is_stopped = True


class Changing:
    """A network whose links a test sets."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.more: list[Link] = []
        self._on_change: Callable[[], None] = lambda: None

    async def links(self, destinations: Sequence[str], before: Sequence[Link]) -> list[Link]:
        found = [
            Link(f"modem{number}", None, None, destinations[number % len(destinations)])
            for number in range(self.count)
        ]
        return found + self.more

    def listen(self, on_change: Callable[[], None]) -> Callable[[], None]:
        self._on_change = on_change
        return lambda: None

    def change(self) -> None:
        self._on_change()


class End2End:
    """A receiver, and what it has got."""

    def __init__(self, ports: list[int]) -> None:
        self.ports = ports
        self.receiver = Receiver(ports, Secret(PSK), bind="127.0.0.1")
        self.receiver.start()
        self._is_closed = False
        asyncio.get_running_loop().add_reader(self.receiver.fileno(), self.receiver.take)

    @property
    def urls(self) -> list[str]:
        return [f"rist://127.0.0.1:{port}" for port in self.ports]

    @property
    def packets(self) -> int:
        return self.receiver.counters().packets

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            asyncio.get_running_loop().remove_reader(self.receiver.fileno())
            self.receiver.close()


def order(urls: list[str], buffer_ms: int = 300) -> wire.StreamStart:
    encoder = wire.Encoder(bitrate_kbps=3000)
    return wire.StreamStart("str_1", wire.Source("test"), encoder, urls, PSK, buffer_ms=buffer_ms)


@asynccontextmanager
async def receiving() -> AsyncIterator[End2End]:
    one = End2End(list(free_udp_ports(2)))
    try:
        yield one
    finally:
        one.close()


async def arrives(end: End2End, more: int = 100) -> None:
    """Returns once so many more packets have come."""
    wanted = end.packets + more
    await until(lambda: end.packets >= wanted, DEADLINE_S, f"{more} more packets arrive")


async def test_it_goes_over_both_links_and_tells_of_them() -> None:
    async with receiving() as end:
        source = Made()
        broadcast = Broadcast(order(end.urls), SenderSettings(), Straight(), source)
        await broadcast.start()
        try:
            await arrives(end, 200)
            stats = broadcast.stats()
        finally:
            await broadcast.stop()
        assert end.receiver.counters().lost == 0
        assert [link.id for link in stats.links] == ["1", "2"]
        assert {link.state for link in stats.links} == {"up"}
        assert all(link.sent_bytes and link.rtt_ms is not None for link in stats.links)
        assert broadcast.total_bytes >= sum(link.sent_bytes or 0 for link in stats.links)
        assert source.is_stopped
        assert source.told[0] == round(0.67 * 3000)  # not all at once
        assert all(link.packets > 50 for link in end.receiver.counters().links)


async def test_links_come_and_go_while_it_goes_on() -> None:
    async with receiving() as end:
        network = Changing(1)
        broadcast = Broadcast(order(end.urls), SenderSettings(), network, Made())
        await broadcast.start()
        try:
            await arrives(end)
            network.count = 3
            network.change()
            await until(
                lambda: [link.state for link in broadcast.stats().links] == ["up"] * 3,
                DEADLINE_S,
                "three links are up",
            )
            network.count = 1
            network.change()
            await until(lambda: len(broadcast.stats().links) == 1, DEADLINE_S, "one is left")
            await arrives(end)
            assert end.receiver.counters().lost == 0
        finally:
            await broadcast.stop()


async def test_a_link_that_cannot_be_opened_is_left_out_and_tried_again() -> None:
    async with receiving() as end:
        network = Changing(1)
        network.more = [Link("gone", "nosuchdev0", None, end.urls[0])]
        broadcast = Broadcast(order(end.urls), SenderSettings(), network, Made())
        await broadcast.start()
        try:
            assert [link.id for link in broadcast.stats().links] == ["modem0"]
            network.more = [Link("gone", None, None, end.urls[1])]  # plugged in again, unheard
            await until(lambda: len(broadcast.stats().links) == 2, DEADLINE_S, "it is there")
            await arrives(end)
        finally:
            await broadcast.stop()


async def test_without_any_link_it_does_not_begin() -> None:
    broadcast = Broadcast(order(["rist://127.0.0.1:9"]), SenderSettings(), Changing(0), Made())
    with pytest.raises(HostError, match="no network interface"):
        await broadcast.start()
    await broadcast.stop()


async def test_a_source_that_cannot_be_opened_is_told_and_leaves_nothing() -> None:
    problem = SourceUnavailable("the camera is not there; plug it in")
    async with receiving() as end:
        broadcast = Broadcast(order(end.urls), SenderSettings(), Straight(), Made(problem=problem))
        with pytest.raises(SourceUnavailable, match="plug it in"):
            await broadcast.start()
        await broadcast.stop()
        await broadcast.stop()


@pytest.mark.parametrize("reason", ["eos", "source", "encoder"])
async def test_it_ends_with_its_source(reason: Literal["eos", "source", "encoder"]) -> None:
    async with receiving() as end:
        source = Made()
        broadcast = Broadcast(order(end.urls), SenderSettings(), Straight(), source)
        await broadcast.start()
        try:
            source.end.set_result(End(reason, "why"))
            async with asyncio.timeout(DEADLINE_S):
                ended = await broadcast.ended()
        finally:
            await broadcast.stop()
        assert (ended.reason, ended.detail) == (reason, "why")


async def test_a_receiver_that_is_gone_ends_it() -> None:
    settings = SenderSettings()
    quick = settings.model_copy(update={"receiver_silence_s": 1.5})
    async with receiving() as end:
        broadcast = Broadcast(order(end.urls), quick, Straight(), Made())
        await broadcast.start()
        try:
            await arrives(end)
            end.close()
            async with asyncio.timeout(DEADLINE_S):
                ended = await broadcast.ended()
        finally:
            await broadcast.stop()
        assert ended.reason == "receiver_silent"
        assert "nothing has come from the receiver for" in ended.detail


async def test_it_moves_to_another_receiver_without_a_gap() -> None:
    async with receiving() as here, receiving() as there:
        broadcast = Broadcast(order(here.urls), SenderSettings(), Straight(), Made())
        await broadcast.start()
        try:
            await arrives(here)
            before = broadcast.total_bytes
            await broadcast.move(there.urls, Secret(PSK))
            await arrives(there)
            assert broadcast.order.destinations == there.urls
            assert broadcast.total_bytes > before
            assert here.receiver.counters().lost == there.receiver.counters().lost == 0
        finally:
            await broadcast.stop()


async def test_a_move_to_nobody_leaves_it_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strata.sender.broadcast.MOVE_DEADLINE_S", 0.5)
    async with receiving() as here:
        broadcast = Broadcast(order(here.urls), SenderSettings(), Straight(), Made())
        await broadcast.start()
        try:
            await arrives(here)
            nobody = free_udp_port()
            with pytest.raises(HostError, match="goes on to the one before"):
                await broadcast.move([f"rist://127.0.0.1:{nobody}"], Secret(PSK))
            assert broadcast.order.destinations == here.urls
            await arrives(here)
        finally:
            await broadcast.stop()


@pytest.mark.parametrize("url", ["udp://127.0.0.1:5000", "rist://127.0.0.1", "rist://h:0x1"])
async def test_what_is_no_receiver_is_refused(url: str) -> None:
    broadcast = Broadcast(order([url]), SenderSettings(), Straight(), Made())
    with pytest.raises((BadArguments, HostError)):
        await broadcast.start()
    await broadcast.stop()


async def test_a_rehearsal_is_between_it_and_the_receiver() -> None:
    profile: Profile = parse(
        "[[link]]\ndelay-ms = 40\n[[link]]\ndelay-ms = 60\nloss-percent = 10\n", is_placed=False
    )
    profile = dataclasses.replace(profile, seed=3)
    rehearsed = Rehearsed(profile)
    async with receiving() as end:
        broadcast = Broadcast(order(end.urls, 1000), SenderSettings(), rehearsed, Made())
        await broadcast.start()
        try:
            await arrives(end, 400)
            slow, lossy = broadcast.stats().links
            assert slow.rtt_ms is not None
            assert slow.rtt_ms >= 80
            assert lossy.loss_rate is not None
            assert lossy.loss_rate > 0.02
            assert end.receiver.counters().lost == 0
        finally:
            await broadcast.stop()
            await rehearsed.close()
