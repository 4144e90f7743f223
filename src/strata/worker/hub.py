"""Where one stream becomes many: access units and packets to every forward.

The hub keeps the group of pictures that is on the air, so that a forward that joins, or
comes back, begins with a key frame at once instead of waiting for the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from strata.worker.forward import Forward
from strata.worker.units import AccessUnit, Program

CACHE_BYTES_MAX: Final = 16 * 1024 * 1024
"""A longer group of pictures is not cached: 6 s at the egress cap, 25 s at 5 Mbps."""


class Hub:
    """Feeds the forwards of one stream. Everything happens on the event loop."""

    def __init__(self) -> None:
        self.forwards: dict[str, Forward] = {}
        loop = asyncio.get_running_loop()
        self.program: asyncio.Future[Program] = loop.create_future()
        self._packets: asyncio.Future[Program] = loop.create_future()
        self._cache: list[AccessUnit] = []
        self._cache_bytes = 0
        self._key_at_ns: int | None = None
        self.keyframe_interval_s: float | None = None

    def add(self, forward: Forward) -> None:
        self.forwards[forward.id] = forward
        forward.start(self.program if forward.feed == "units" else self._packets, self.prime)

    def prime(self, forward: Forward) -> None:
        """Gives a forward the group of pictures so far; what follows comes by itself."""
        if forward.feed == "units":
            for unit in self._cache:
                forward.push(unit)

    def push_packets(self, batch: bytes) -> None:
        if not self._packets.done():
            self._packets.set_result(Program(None, None))  # packets need no program
        for forward in self.forwards.values():
            if forward.feed == "packets":
                forward.push_packets(batch)

    def push(self, units: Iterable[AccessUnit]) -> None:
        takers = [forward for forward in self.forwards.values() if forward.feed == "units"]
        for unit in units:
            self._remember(unit)
            for forward in takers:
                forward.push(unit)

    def _remember(self, unit: AccessUnit) -> None:
        if unit.track == "video" and unit.key:
            if self._key_at_ns is not None and 0 <= self._key_at_ns < unit.dts_ns:
                self.keyframe_interval_s = round((unit.dts_ns - self._key_at_ns) / 1e9, 3)
            self._key_at_ns = unit.dts_ns
            self._cache.clear()
            self._cache_bytes = 0
        elif not self._cache:
            return  # no key frame yet, or the group has outgrown the cache
        self._cache.append(unit)
        self._cache_bytes += unit.size
        if self._cache_bytes > CACHE_BYTES_MAX:
            self._cache.clear()
            self._cache_bytes = 0
