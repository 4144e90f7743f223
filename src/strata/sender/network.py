"""Which links a broadcast goes over: those of this machine, or those of a rehearsal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from strata.sender.interfaces import Watch
from strata.sender.links import Link, usable_links
from strata.sender.settings import SenderSettings


class Network(Protocol):
    """Where links come from."""

    async def links(self, destinations: Sequence[str], before: Sequence[Link]) -> list[Link]:
        """Those that there should be now for these receivers.

        Args:
            before: what there was: a link that stays keeps its receiver.
        """

    def listen(self, on_change: Callable[[], None]) -> Callable[[], None]:
        """Has it called when there may be others; what is returned ends that."""


class Interfaces:
    """The network interfaces of this machine, and what the settings say of them."""

    def __init__(self, settings: SenderSettings, watch: Watch) -> None:
        self._named = settings.links
        self._watch = watch

    async def links(self, destinations: Sequence[str], before: Sequence[Link]) -> list[Link]:
        return usable_links(self._named, self._watch.now, destinations, before)

    def listen(self, on_change: Callable[[], None]) -> Callable[[], None]:
        return self._watch.listen(on_change)


class Straight:
    """One link for each receiver, wherever the machine's own routes lead."""

    async def links(self, destinations: Sequence[str], before: Sequence[Link]) -> list[Link]:
        return [Link(str(number), None, None, to) for number, to in enumerate(destinations, 1)]

    def listen(self, on_change: Callable[[], None]) -> Callable[[], None]:
        return lambda: None
