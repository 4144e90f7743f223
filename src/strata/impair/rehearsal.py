"""The relays of a profile, and what changes on them over time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Final, Self

from strata.impair.path import Impairment
from strata.impair.profile import Link, Profile
from strata.impair.relay import Relay

log = logging.getLogger(__name__)

PHASES_TOLD_MAX: Final = 20


class Rehearsal:
    """All links of a profile, which begin as one.

    Attributes:
        relays: in the order of the profile's links. The same link of the same profile loses
            the same packets each time, and another one loses others.
    """

    def __init__(self, profile: Profile) -> None:
        self._links = profile.links
        self.relays = tuple(
            Relay(
                link.listen,
                link.to,
                link.impairment,
                outages=link.outages,
                seed=f"{profile.seed} link {number}",
            )
            for number, link in enumerate(profile.links, 1)
        )
        self._open = AsyncExitStack()
        self._changes: list[asyncio.TimerHandle] = []

    async def __aenter__(self) -> Self:
        """Starts all relays, or none.

        Raises:
            PortTaken: another program listens where a link should.
            BadArguments: an address that cannot be found, or not be listened on.
        """
        async with AsyncExitStack() as stack:
            for relay in self.relays:
                await stack.enter_async_context(relay)
            self._open = stack.pop_all()
        now_s = asyncio.get_running_loop().time()
        for link, relay in zip(self._links, self.relays, strict=True):
            relay.begin(now_s)
            self._schedule(link, relay, now_s)
        return self

    async def __aexit__(self, *_: object) -> None:
        for change in self._changes:
            change.cancel()
        await self._open.aclose()

    def _schedule(self, link: Link, relay: Relay, begin_s: float) -> None:
        def at(at_s: float, change: Callable[..., None], *arguments: object) -> None:
            loop = asyncio.get_running_loop()
            self._changes.append(loop.call_at(begin_s + at_s, change, *arguments))

        # A trace has hundreds.
        level = logging.INFO if len(link.phases) <= PHASES_TOLD_MAX else logging.DEBUG
        for phase in link.phases:
            at(phase.at_s, _change, relay, phase.impairment, level)
        for at_s in link.rebinds_s:
            at(at_s, _rebind, relay)


def _change(relay: Relay, impairment: Impairment, level: int) -> None:
    log.log(level, "%s: the next phase begins", relay.address)
    relay.set(impairment)


def _rebind(relay: Relay) -> None:
    relay.rebind()
    log.info("%s: senders have another source port", relay.address)
