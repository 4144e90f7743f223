"""The bond with our receiver, which is librist's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest

from strata.bond import Way
from strata.errors import BadArguments
from strata.impair.path import Impairment
from strata.impair.relay import Relay
from strata.rist import Receiver, ReceiverTuning
from strata.secrets import Secret
from support.bond import bond_to, send, up
from support.children import readable, until
from support.ports import free_udp_port, free_udp_ports
from support.rist import collect, numbers_in, packet, running

PSK = Secret("a-psk-of-the-tests-0123")
QUICK = ReceiverTuning(buffer_ms=300)
QUICK_MS = 300
TAIL = range(1000, 1020)
"""Of the last ones nobody would notice that they are missing."""


def ways(ports: Sequence[int], host: str = "127.0.0.1") -> list[Way]:
    return [Way(f"link{number}", host, port) for number, port in enumerate(ports)]


@pytest.mark.parametrize(
    ("links", "aes_bits", "host"),
    [
        *((1, 256, "127.0.0.1"), (1, 128, "127.0.0.1"), (3, 256, "127.0.0.1")),
        *((3, 128, "127.0.0.1"), (2, 256, "::1"), (2, 256, "localhost")),
    ],
)
async def test_several_links_become_one_flow_in_order(links: int, aes_bits: int, host: str) -> None:
    ports = free_udp_ports(links)
    bind = "::1" if host == "::1" else "127.0.0.1"
    if host == "localhost":
        bind = (await asyncio.get_running_loop().getaddrinfo(host, ports[0]))[0][4][0]
    receiver = Receiver(ports, PSK, bind=bind, aes_bits=aes_bits, tuning=QUICK)
    with running(receiver):
        async with bond_to(ways(ports, host), PSK, aes_bits=aes_bits, buffer_ms=QUICK_MS) as bond:
            await up(bond, links)
            await send(bond, [*range(300), *TAIL])
            found = await collect(receiver, last=299)
            assert found[:300] == list(range(300))
            counters = receiver.counters()
            assert (counters.lost, counters.malformed, counters.rejected) == (0, 0, 0)
            for link in counters.links:
                assert link.packets > 150 / links
            for report in bond.reports():
                assert report.state == "up"
                assert report.rtt_ms is not None
                assert report.rtt_ms < 100
                assert report.sent_bytes > 0


async def test_media_that_comes_before_the_receiver_answers_is_delivered_too() -> None:
    ports = free_udp_ports()
    receiver = Receiver(ports, PSK, bind="127.0.0.1", tuning=QUICK)
    with running(receiver):
        async with bond_to(ways(ports), PSK, buffer_ms=QUICK_MS * 4) as bond:
            await send(bond, [*range(100), *TAIL])
            found = await collect(receiver, last=99)
    assert found[:100] == list(range(100))


async def test_another_key_delivers_nothing() -> None:
    ports = free_udp_ports()
    receiver = Receiver(ports, PSK, bind="127.0.0.1", tuning=QUICK)
    with running(receiver):
        async with bond_to(ways(ports), Secret("another-psk-of-the-tests")) as bond:
            await send(bond, range(200))
            assert {report.state for report in bond.reports()} == {"joining"}
            assert receiver.counters().packets == 0


async def test_a_link_to_a_port_where_nobody_listens_costs_nothing() -> None:
    good, closed = free_udp_ports()
    receiver = Receiver([good], PSK, bind="127.0.0.1", tuning=QUICK)
    with running(receiver):
        async with bond_to(ways([good, closed]), PSK, buffer_ms=QUICK_MS) as bond:
            await up(bond, 1)
            await send(bond, [*range(200), *TAIL])
            assert (await collect(receiver, last=199))[:200] == list(range(200))
            states = [report.state for report in bond.reports()]
            assert states == ["up", "joining"]
            assert bond.reports()[1].sent_bytes == 0


async def test_a_name_that_does_not_resolve_is_said_and_the_others_go_on() -> None:
    port = free_udp_port()
    receiver = Receiver([port], PSK, bind="127.0.0.1", tuning=QUICK)
    with running(receiver):
        async with bond_to(ways([port]), PSK, buffer_ms=QUICK_MS) as bond:
            with pytest.raises(BadArguments, match="does not resolve"):
                await bond.add(Way("other", "no-such-host.invalid", port))
            await up(bond, 1)
            await send(bond, [*range(100), *TAIL])
            assert (await collect(receiver, last=99))[:100] == list(range(100))


async def test_a_sender_that_is_started_anew_takes_over() -> None:
    ports = free_udp_ports()
    receiver = Receiver(ports, PSK, bind="127.0.0.1", tuning=QUICK)
    with running(receiver):
        async with bond_to(ways(ports), PSK, buffer_ms=QUICK_MS) as bond:
            await up(bond, 2)
            await send(bond, [*range(100), *TAIL])
            await collect(receiver, last=99)
        async with bond_to(ways(ports), PSK, buffer_ms=QUICK_MS) as bond:
            await up(bond, 2)
            number, found = 2000, list[int]()
            async with asyncio.timeout(20.0):
                while not any(each >= 2000 for each in found):
                    bond.write(packet(number))
                    number += 1
                    await asyncio.sleep(0.01)
                    found += numbers_in(receiver.take())
            first = min(each for each in found if each >= 2000)
            await send(bond, range(number, number + 200))
            found = found + await collect(receiver, last=number + 150)
        after = [each for each in found if each >= 2000]
        assert after == list(range(first, after[-1] + 1))
        assert receiver.counters().flow_changes == 1


async def test_a_receiver_that_is_started_anew_is_sent_to_again() -> None:
    ports = free_udp_ports()
    async with bond_to(ways(ports), PSK, buffer_ms=QUICK_MS) as bond:
        with running(Receiver(ports, PSK, bind="127.0.0.1", tuning=QUICK)):
            await up(bond, 2)
            await send(bond, range(100))
        await until(
            lambda: all(each.state == "silent" for each in bond.reports()), 5.0, "it is noticed"
        )
        assert bond.silent_s() > 0.2
        receiver = Receiver(ports, PSK, bind="127.0.0.1", tuning=QUICK)
        with running(receiver):
            await up(bond, 2)
            number, found = 0, list[int]()
            async with asyncio.timeout(20.0):
                while len(found) < 100:
                    bond.write(packet(number), is_key=number % 50 == 0)
                    number += 1
                    await asyncio.sleep(0.01)
                    found += numbers_in(receiver.take())
            assert found == list(range(found[0], found[0] + len(found)))


async def test_what_bad_links_lose_is_repaired() -> None:
    ports = free_udp_ports()
    receiver = Receiver(ports, PSK, bind="127.0.0.1")
    bad = Impairment(loss_percent=10, delay_ms=20, jitter_ms=40)
    with running(receiver):
        async with AsyncExitStack() as stack:
            relays = [
                await stack.enter_async_context(
                    Relay(("127.0.0.1", 0), ("127.0.0.1", port), bad, seed=port % 2)
                )
                for port in ports
            ]
            here = [relay.address.port for relay in relays]
            bond = await stack.enter_async_context(bond_to(ways(here), PSK))
            await up(bond, 2)
            await send(bond, [*range(1000), *range(2000, 2100)])
            found = await collect(receiver, last=999)
            assert found[:1000] == list(range(1000))
            assert bond.flow.counters.again > 30
            assert all(0.02 < each.loss < 0.25 for each in bond.reports())


async def test_links_come_and_go_on_the_air() -> None:
    first, second = free_udp_ports()
    receiver = Receiver([first, second], PSK, bind="127.0.0.1", tuning=QUICK)
    one, two = ways([first, second])
    with running(receiver):
        async with bond_to([one], PSK, buffer_ms=QUICK_MS) as bond:
            await up(bond, 1)
            await send(bond, range(100))
            await bond.add(two)
            await up(bond, 2)
            await send(bond, range(100, 300))
            bond.remove("link0")
            await send(bond, [*range(300, 500), *TAIL])
            assert (await collect(receiver, last=499))[:500] == list(range(500))
            links = receiver.counters().links
            assert links[0].packets > 100
            assert links[1].packets > 200


async def test_what_it_costs_is_little_when_nothing_is_sent() -> None:
    """An idle bond asks for echoes, and that is all."""
    port = free_udp_port()
    receiver = Receiver([port], PSK, bind="127.0.0.1", tuning=QUICK)
    with running(receiver):
        async with bond_to(ways([port]), PSK) as bond:
            await up(bond, 1)
            await asyncio.sleep(0.5)
            before = bond.reports()[0].sent_bytes
            await asyncio.sleep(0.5)
            assert bond.reports()[0].sent_bytes == before
            assert bond.silent_s() < 0.3
            await send(bond, [*range(50), *TAIL])
            await readable(receiver.fileno(), 5.0)
            assert (await collect(receiver, last=49))[:50] == list(range(50))
