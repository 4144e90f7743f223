"""What changes on links over time, in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from strata.errors import PortTaken
from strata.impair.address import Address
from strata.impair.path import PERFECT, Impairment, Outage
from strata.impair.profile import Link, Phase, Profile
from strata.impair.rehearsal import Rehearsal
from support.udp import Peer
from support.virtual_time import in_virtual_time

ANY = Address("127.0.0.1", 0)


def profile_of(*links: Link) -> Profile:
    """Past the check that no two links listen on one address: the kernel chooses here."""
    made = Profile(links[:1], seed=7)
    object.__setattr__(made, "links", links)
    return made


@in_virtual_time
async def test_phases_rebindings_and_outages_happen_when_they_should() -> None:
    async with Peer(echoes=True) as receiver, Peer() as sender:
        link = Link(
            ANY,
            Address(*receiver.address),
            PERFECT,
            (Outage(50, 55),),
            (Phase(20, Impairment(loss_percent=100)), Phase(30, PERFECT)),
            (40,),
        )
        async with Rehearsal(profile_of(link, Link(ANY, link.to))) as rehearsal:
            relay, other = rehearsal.relays
            heard_at: list[int] = []
            ports: list[int] = []
            for second in range(60):
                sender.send(b"?", relay.address)
                await asyncio.sleep(1.0)
                if not receiver.heard_nothing():
                    heard_at.append(second)
                    ports.append((await receiver.hear())[1])
            assert other.forward.counters.taken == 0
    assert heard_at == [*range(20), *range(30, 50), *range(55, 60)]
    assert len(set(ports)) == 2
    assert ports.index(ports[-1]) == heard_at.index(40)


async def test_links_lose_different_packets_and_the_same_ones_each_time() -> None:
    link = Link(ANY, ANY, Impairment(loss_percent=50))
    lost = [
        [bool(path.send(0.0, 1)) for _ in range(64)]
        for _ in range(2)
        for relay in Rehearsal(profile_of(link, link)).relays
        for path in (relay.forward, relay.back)
    ]
    assert lost[:4] == lost[4:]
    assert len({tuple(one) for one in lost}) == 4


async def test_all_links_start_or_none() -> None:
    async with Peer() as taken:
        free = Link(ANY, ANY)
        rehearsal = Rehearsal(profile_of(free, Link(Address(*taken.address), ANY)))
        with pytest.raises(PortTaken):
            await rehearsal.__aenter__()
        assert rehearsal.relays[0].address == ANY  # it listens no longer


@in_virtual_time
async def test_what_was_to_come_does_not_once_it_ended() -> None:
    async with Peer() as receiver:
        link = Link(ANY, Address(*receiver.address), phases=(Phase(10, Impairment(delay_ms=9)),))
        async with Rehearsal(profile_of(link)) as rehearsal:
            pass
        await asyncio.sleep(20)
        assert rehearsal.relays[0].forward.impairment == PERFECT
