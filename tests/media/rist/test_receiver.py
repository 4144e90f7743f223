"""The receiver with real senders, ours and Debian's, welcome and not."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from strata.errors import HostError, PortTaken
from strata.rist import Link, Receiver, ReceiverTuning, Sender
from strata.rist import receiver as receiver_module
from strata.secrets import Secret
from support.children import Child, readable, until
from support.media import Link as DebianLink
from support.ports import free_udp_port, free_udp_ports, udp_port_is_bound
from support.rist import (
    FOREIGN,
    collect,
    connected,
    join,
    numbers_in,
    overhear,
    packet,
    running,
    send,
    without_repeats,
)

PSK = Secret("a-psk-of-the-tests-0123")
WRONG = "another-psk-of-the-tests"
QUICK = ReceiverTuning(buffer_ms=300)
"""Loopback loses nothing: a second of buffer would only be waited for."""


def links(ports: Sequence[int], host: str = "127.0.0.1") -> list[Link]:
    return [Link(host, port) for port in ports]


def pair(
    psk: Secret | None = PSK, aes_bits: int = 256, host: str = "127.0.0.1"
) -> tuple[Receiver, Sender]:
    ports = free_udp_ports()
    bind = "::" if ":" in host else "0.0.0.0"
    return (
        Receiver(ports, psk, bind=bind, aes_bits=aes_bits, tuning=QUICK),
        Sender(links(ports, host), psk, aes_bits=aes_bits),
    )


@pytest.mark.parametrize(
    ("psk", "aes_bits", "host"),
    [(PSK, 256, "127.0.0.1"), (PSK, 128, "127.0.0.1"), (None, 256, "127.0.0.1"), (PSK, 256, "::1")],
)
async def test_two_links_become_one_flow_in_order(
    psk: Secret | None, aes_bits: int, host: str
) -> None:
    receiver, sender = pair(psk, aes_bits, host)
    with running(receiver, sender):
        await join(receiver, sender)
        await send(sender, 300)
        found = await collect(receiver, last=299)
        assert without_repeats(found) == list(range(300))
        counters = receiver.counters()
    assert counters.packets == len(found)
    assert counters.bytes == len(found) * 188
    assert (counters.lost, counters.malformed, counters.overflowed) == (0, 0, 0)
    assert (counters.rejected, counters.flow_changes) == (0, 0)
    assert sum(link.packets for link in counters.links) == counters.packets
    for link in counters.links:
        assert link.peer == host
        assert link.packets > 100
        assert link.bytes == link.packets * 188
        assert 0 < link.last_packet_ns <= counters.last_packet_ns


async def test_what_a_dead_link_swallows_is_repaired_over_the_other() -> None:
    port, dead = free_udp_ports()
    receiver = Receiver([port], PSK)
    sender = Sender(links([port, dead]), PSK)
    with running(receiver, sender):
        await join(receiver, sender, links=1)
        # Of the last ones nobody would notice that they are missing.
        await send(sender, 400)
        found = without_repeats(await collect(receiver, last=299))
        assert found[:300] == list(range(300))
        assert receiver.counters().lost == 0


Stranger: TypeAlias = Callable[
    [Sequence[int], Path, asyncio.Event], AbstractAsyncContextManager[None]
]
"""Sends foreign numbers to the ports while it is entered, and sets the event once it does."""


async def babble(write: Callable[[bytes], object], sending: asyncio.Event) -> None:
    for number in range(FOREIGN, FOREIGN * 2):
        write(packet(number))
        sending.set()
        await asyncio.sleep(0.01)


@asynccontextmanager
async def while_babbling(
    write: Callable[[bytes], object], sending: asyncio.Event
) -> AsyncIterator[None]:
    task = asyncio.create_task(babble(write, sending))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


def our_sender(psk: Secret | None) -> Stranger:
    @asynccontextmanager
    async def stranger(
        ports: Sequence[int], folder: Path, sending: asyncio.Event
    ) -> AsyncIterator[None]:
        sender = Sender(links(ports), psk)
        with running(sender):
            async with while_babbling(sender.write, sending):
                yield

    return stranger


def debian_sender(psk: str | None) -> Stranger:
    @asynccontextmanager
    async def stranger(
        ports: Sequence[int], folder: Path, sending: asyncio.Event
    ) -> AsyncIterator[None]:
        feed = free_udp_port()
        urls = ",".join(DebianLink(port, psk).url for port in ports)
        async with Child(
            ["ristsender", "-p", "1", "-i", f"udp://127.0.0.1:{feed}", "-o", urls],
            folder / f"ristsender-{feed}.log",
        ):
            await until(lambda: udp_port_is_bound(feed), 10.0, "ristsender listens")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.connect(("127.0.0.1", feed))
                async with while_babbling(sock.send, sending):
                    yield

    return stranger


def random_datagrams() -> Stranger:
    @asynccontextmanager
    async def stranger(
        ports: Sequence[int], folder: Path, sending: asyncio.Event
    ) -> AsyncIterator[None]:
        chance = random.Random(1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:

            def write(_: bytes) -> None:
                for port in ports:
                    sock.sendto(chance.randbytes(chance.randrange(1, 1400)), ("127.0.0.1", port))

            async with while_babbling(write, sending):
                yield

    return stranger


STRANGERS = {
    "ours, wrong key": our_sender(Secret(WRONG)),
    "ours, in the clear": our_sender(None),
    "Debian's, wrong key": debian_sender(WRONG),
    "Debian's, in the clear": debian_sender(None),
    "random datagrams": random_datagrams(),
}


@pytest.mark.parametrize("name", STRANGERS)
async def test_a_stranger_is_not_heard(name: str, tmp_path: Path) -> None:
    ports = free_udp_ports()
    receiver = Receiver(ports, PSK, tuning=QUICK)
    sending = asyncio.Event()
    with running(receiver):
        async with STRANGERS[name](ports, tmp_path, sending):
            await asyncio.wait_for(sending.wait(), 20.0)
            assert await overhear(receiver, 1.5) == []
        counters = receiver.counters()
        assert (counters.packets, counters.bytes, counters.last_packet_ns) == (0, 0, 0)


async def test_beside_all_strangers_at_once_nothing_is_lost(tmp_path: Path) -> None:
    receiver, sender = pair()
    signs = [asyncio.Event() for _ in STRANGERS]
    with running(receiver, sender):
        await join(receiver, sender)
        async with (
            STRANGERS["ours, wrong key"](receiver.ports, tmp_path, signs[0]),
            STRANGERS["ours, in the clear"](receiver.ports, tmp_path, signs[1]),
            STRANGERS["Debian's, wrong key"](receiver.ports, tmp_path, signs[2]),
            STRANGERS["Debian's, in the clear"](receiver.ports, tmp_path, signs[3]),
            STRANGERS["random datagrams"](receiver.ports, tmp_path, signs[4]),
        ):
            for sign in signs:
                await asyncio.wait_for(sign.wait(), 20.0)
            await send(sender, 500)
            found = await collect(receiver, last=499)
        assert without_repeats(found) == list(range(500))
        counters = receiver.counters()
        assert (counters.lost, counters.flow_changes) == (0, 0)


async def test_strangers_that_came_first_do_not_keep_a_sender_out(tmp_path: Path) -> None:
    receiver, sender = pair()
    sending = asyncio.Event()
    with running(receiver):
        async with (
            STRANGERS["ours, wrong key"](receiver.ports, tmp_path, sending),
            STRANGERS["ours, in the clear"](receiver.ports, tmp_path, asyncio.Event()),
        ):
            await asyncio.wait_for(sending.wait(), 20.0)
            assert await overhear(receiver, 1.0) == []
            with running(sender):
                await join(receiver, sender)
                await send(sender, 200, first=10_000)
                found = await collect(receiver, last=10_199)
        assert not [number for number in found if number >= FOREIGN]
        assert [number for number in found if number >= 10_000][-200:] == list(
            range(10_000, 10_200)
        )


async def test_a_sender_that_was_restarted_takes_over() -> None:
    receiver, sender = pair()
    with running(receiver):
        with running(sender):
            await join(receiver, sender)
            await send(sender, 100)
            await collect(receiver, last=99)
        again = Sender(sender.links, PSK)
        with running(again):
            number = 1000
            async with asyncio.timeout(20.0):
                while not any(found >= 1000 for found in numbers_in(receiver.take())):
                    again.write(packet(number))
                    number += 1
                    await asyncio.sleep(0.01)
        assert receiver.counters().flow_changes == 1


async def test_a_second_flow_beside_a_living_one_is_rejected() -> None:
    receiver, sender = pair()
    rival = Sender(sender.links, PSK)
    sending = asyncio.Event()
    with running(receiver, sender):
        await join(receiver, sender)
        await send(sender, 100)
        with running(rival):
            async with while_babbling(rival.write, sending):
                await sending.wait()
                await send(sender, 400, first=100)
        found = await collect(receiver, last=499)
        assert without_repeats(found) == list(range(500))
        counters = receiver.counters()
        assert counters.rejected > 0
        assert counters.flow_changes == 0


async def test_what_is_no_transport_stream_is_dropped_and_counted() -> None:
    receiver, sender = pair()
    with running(receiver, sender):
        await join(receiver, sender)
        await send(sender, 50)
        for odd in (b"\x48" + bytes(187), b"\x47" + bytes(186), packet(FOREIGN) + bytes(188)):
            sender.write(odd)
            await asyncio.sleep(0.004)
        await send(sender, 50, first=50)
        assert without_repeats(await collect(receiver, last=99)) == list(range(100))
        assert receiver.counters().malformed == 3


async def test_what_nobody_fetches_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver_module, "INBOX_BYTES", 100 * 188)
    receiver, sender = pair()
    with running(receiver, sender):
        await join(receiver, sender)
        await send(sender, 200)
        await until(lambda: receiver.counters().packets >= 200, 20.0, "200 packets came")
        assert without_repeats(numbers_in(receiver.take()))[0] == 0
        counters = receiver.counters()
        assert counters.overflowed == counters.packets - 100
        assert counters.lost == 0


@pytest.mark.parametrize("batch_ms", [0, 400, 1_000])
async def test_media_gathers_for_a_batch(batch_ms: int) -> None:
    ports = free_udp_ports()
    receiver = Receiver(ports, PSK, batch_ms=batch_ms, tuning=QUICK)
    sender = Sender(links(ports), PSK)
    with running(receiver, sender):
        await connected(receiver)
        sending = asyncio.create_task(send(sender, 2_000))
        while not receiver.take():
            await readable(receiver.fileno(), 20.0)
        before = receiver.counters().last_packet_ns
        await readable(receiver.fileno(), 20.0)
        gathered_s = (receiver.counters().last_packet_ns - before) / 1e9
        assert gathered_s == pytest.approx(batch_ms / 1000, abs=0.3)
        assert receiver.take()
        sending.cancel()
        await asyncio.wait({sending})


async def test_without_media_nothing_wakes() -> None:
    receiver = Receiver(free_udp_ports(), PSK)
    with running(receiver), pytest.raises(TimeoutError):
        await readable(receiver.fileno(), 1.0)


async def test_reports_say_what_the_statistics_need() -> None:
    ports = free_udp_ports()
    receiver, sender = Receiver(ports, PSK), Sender(links(ports), PSK)
    with running(receiver, sender):
        await join(receiver, sender)
        sending = asyncio.create_task(send(sender, 900))
        reports: list[dict[str, Any]] = []
        async with asyncio.timeout(5.0):  # not only after the ten seconds between later ones
            while not (reports and reports[-1]["stats"]["avg_buffer_time"]):
                await asyncio.sleep(0.05)
                reports += receiver.take_reports()
        await sending
        stats, peers = reports[-1]["stats"], reports[-1]["peers"]
        assert {"recovered_total", "dropped_late", "duplicates", "received"} <= set(stats)
        assert 800 < stats["avg_buffer_time"] < 1500
        ids = {link.peer_id for link in receiver.counters().links}
        assert ids == {peer["id"] for peer in peers}
        assert all({"received_rtcp", "avg_rtt"} <= set(peer["stats"]) for peer in peers)


@pytest.mark.skipif(os.geteuid() != 0, reason="only as root does librist raise its threads")
async def test_no_thread_of_librist_comes_before_other_programs() -> None:
    receiver, sender = pair()
    with running(receiver, sender):
        await join(receiver, sender)
        await send(sender, 100)
        await collect(receiver, last=99)
        policies = [os.sched_getscheduler(int(thread)) for thread in os.listdir("/proc/self/task")]
        assert len(policies) >= 4  # ours, the receiver's, its flow's, the sender's
        assert set(policies) == {os.SCHED_OTHER}


async def test_after_a_start_that_failed_the_key_still_counts() -> None:
    ports = free_udp_ports()
    receiver = Receiver(ports, PSK, tuning=QUICK)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", ports[1]))
        with pytest.raises(PortTaken):
            receiver.start()
        assert not udp_port_is_bound(ports[0])
    sender = Sender(links(ports), PSK)
    clear = Sender(links(ports), None)
    with running(receiver, clear, sender):
        await join(receiver, sender)
        await asyncio.gather(send(clear, 100, first=FOREIGN), send(sender, 100))
        assert without_repeats(await collect(receiver, last=99)) == list(range(100))


async def test_it_can_be_closed_and_started_again_at_once() -> None:
    receiver, sender = pair()
    for _ in range(3):
        with running(receiver, sender):
            assert all(udp_port_is_bound(port) for port in receiver.ports)
            await join(receiver, sender)
            await send(sender, 50)
            assert without_repeats(await collect(receiver, last=49)) == list(range(50))
        assert not any(udp_port_is_bound(port) for port in receiver.ports)
        with pytest.raises(HostError):
            receiver.take()


async def test_starting_and_closing_leaves_no_descriptor_open() -> None:
    receiver, sender = pair()
    before = sorted(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with running(receiver, sender):
            pass
    assert sorted(os.listdir("/proc/self/fd")) == before
