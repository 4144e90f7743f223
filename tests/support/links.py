"""The field's side of a broadcast with links that can be cut: ristsender through relays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from strata.impair.path import PERFECT, Impairment
from strata.impair.relay import Relay
from support.media import RistSender


class Field:
    """A sender and its links."""

    def __init__(self, sender: RistSender, relays: Sequence[Relay]) -> None:
        self.sender = sender
        self.relays = tuple(relays)

    def cut(self) -> None:
        for relay in self.relays:
            relay.cut("both")

    def restore(self) -> None:
        for relay in self.relays:
            relay.restore("both")

    async def outage(self, seconds: float) -> None:
        """Nothing passes for so long."""
        self.cut()
        await asyncio.sleep(seconds)
        self.restore()


@asynccontextmanager
async def field(
    folder: Path,
    ports: Sequence[int],
    psk: str,
    impairments: Sequence[Impairment] = (),
    seed: int = 1,
) -> AsyncIterator[Field]:
    """One relay in front of each port, and a ristsender that sends to them."""
    async with AsyncExitStack() as stack:
        relays = []
        for index, port in enumerate(ports):
            impairment = impairments[index] if impairments else PERFECT
            relay = Relay(("127.0.0.1", 0), ("127.0.0.1", port), impairment, seed=f"{seed} {index}")
            relays.append(await stack.enter_async_context(relay))
        here = [relay.address.port for relay in relays]
        sender = await stack.enter_async_context(RistSender(folder, here, psk))
        yield Field(sender, relays)
