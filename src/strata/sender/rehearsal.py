"""A bad day to rehearse with: the links of a profile instead of those of the machine.

The profile is one of the relay's (``strata-impair``). It goes from its beginning for each stream,
and its addresses need not be there: where to send is what control says.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

from strata.impair.address import LOOPBACK, Address
from strata.impair.profile import Profile
from strata.impair.rehearsal import Rehearsal
from strata.sender.links import Link, receiver_of


class Rehearsed:
    """As :class:`strata.sender.network.Network`: link i of the profile leads to receiver i, over
    and over."""

    def __init__(self, rehearsed: Profile) -> None:
        self._profile = rehearsed
        self._to: tuple[str, ...] = ()
        self._links: list[Link] = []
        self._open = AsyncExitStack()

    async def links(self, destinations: Sequence[str], before: Sequence[Link]) -> list[Link]:
        if not destinations:
            return []
        # A stream that begins finds the day at its beginning.
        if tuple(destinations) != self._to or not before:
            await self._begin(tuple(destinations))
        return list(self._links)

    def listen(self, on_change: Callable[[], None]) -> Callable[[], None]:
        return lambda: None

    async def close(self) -> None:
        await self._open.aclose()

    async def _begin(self, destinations: tuple[str, ...]) -> None:
        links = tuple(
            dataclasses.replace(
                link,
                listen=Address(LOOPBACK, 0),
                to=Address(*receiver_of(destinations[number % len(destinations)])),
            )
            for number, link in enumerate(self._profile.links)
        )
        rehearsal = Rehearsal(dataclasses.replace(self._profile, links=links))
        await rehearsal.__aenter__()
        await self._open.aclose()
        self._open.push_async_exit(rehearsal)
        self._to = destinations
        self._links = [
            Link(f"rehearsed{number}", None, None, f"rist://{relay.address}")
            for number, relay in enumerate(rehearsal.relays, 1)
        ]
