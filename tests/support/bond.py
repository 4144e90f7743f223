"""Numbered packets through a bond."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from strata.bond import Bond, Way
from strata.secrets import Secret
from support.children import until
from support.rist import packet

PUMP_S = 0.01


@asynccontextmanager
async def bond_to(
    ways: Iterable[Way], psk: Secret, *, aes_bits: int = 256, buffer_ms: int = 1000
) -> AsyncIterator[Bond]:
    """A bond that is pumped while it is entered."""
    bond = Bond(psk, aes_bits=aes_bits, buffer_ms=buffer_ms, name="test")

    async def pump() -> None:
        while True:
            bond.pump()
            await asyncio.sleep(PUMP_S)

    pumping = asyncio.create_task(pump())
    try:
        for way in ways:
            await bond.add(way)
        yield bond
    finally:
        pumping.cancel()
        await asyncio.wait({pumping})
        bond.close()


async def up(bond: Bond, links: int, deadline_s: float = 10.0) -> None:
    """Returns when the receiver has answered on that many links."""
    await until(
        lambda: sum(each.state == "up" for each in bond.reports()) >= links,
        deadline_s,
        f"{links} links are up",
    )


async def send(bond: Bond, numbers: Iterable[int], pause_s: float = 0.004) -> None:
    """One packet each; each fiftieth as if it were a key frame."""
    for number in numbers:
        bond.write(packet(number), is_key=number % 50 == 0)
        await asyncio.sleep(pause_s)
