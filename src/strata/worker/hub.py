"""Where one stream becomes many: access units and packets to every forward.

The hub keeps what is on the air since the last key frame, so that a forward that joins, or
comes back, begins with a key frame at once instead of waiting for the next one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from strata.worker.egress import Rate
from strata.worker.flow import Flow
from strata.worker.formats import Program
from strata.worker.forward import Forward
from strata.worker.ts_keys import Packets, TsKeys
from strata.worker.units import AccessUnit

CACHE_BYTES_MAX: Final = 16 * 1024 * 1024
"""A longer group of pictures is not cached: 6 s at the egress cap, 25 s at 5 Mbps."""

AT_ONCE_S: Final = 0.3
"""So much a forward may be given at once that passes things on at the pace it gets them."""


class Hub:
    """Feeds the forwards of one stream. Everything happens on the event loop."""

    def __init__(self) -> None:
        self.flow = Flow()
        self.keyframe_interval_s: float | None = None
        self._packets_flow = Flow()
        self._takers: list[Forward] = []
        self._units: list[AccessUnit] = []
        self._units_bytes = 0
        self._packets: list[Packets] = []
        self._packets_bytes = 0
        self._packets_key_at = 0.0
        self._keys = TsKeys()
        self.units_rate = Rate()
        self.packets_rate = Rate()
        self._key_at_ns: int | None = None
        self._key: tuple[AccessUnit, float] | None = None

    @property
    def key_frame(self) -> tuple[AccessUnit, float] | None:
        """The last key frame that went on the air, and how old it is in seconds."""
        return None if self._key is None else (self._key[0], time.monotonic() - self._key[1])

    def add(self, forward: Forward) -> None:
        """Starts to feed it."""
        self._takers.append(forward)
        flow = self.flow if forward.feed == "units" else self._packets_flow
        forward.start(flow, self.prime)

    def remove(self, forward: Forward) -> None:
        if forward in self._takers:
            self._takers.remove(forward)

    def close(self) -> None:
        """Nothing is on the air any more: every forward ends, until there is media again."""
        self.flow.close()
        self._packets_flow.close()
        # What is kept is of a time that has passed when they begin again.
        self._units.clear()
        self._packets.clear()
        self._key = None

    def prime(self, forward: Forward) -> None:
        """Gives a forward what there is since the last key frame; the rest comes by itself."""
        if forward.feed == "units":
            forward.push(*self._units)
        elif forward.takes_bursts or time.monotonic() - self._packets_key_at < AT_ONCE_S:
            for packets in self._packets:
                forward.push_packets(packets)

    def measure(self, stamp_s: float, packets: int, units: int) -> None:
        """Takes in how many bytes of each came at that time on the sender's clock."""
        self.packets_rate.add(stamp_s, packets)
        self.units_rate.add(stamp_s, units)

    def push_packets(self, batch: bytes) -> None:
        if not batch:
            return
        self._packets_flow.open(Program(None, None))  # packets need no program
        now = time.monotonic()
        for packets in self._keys.split(batch, now):
            self._remember_packets(packets, now)
            for forward in self._takers:
                if forward.feed == "packets":
                    forward.push_packets(packets)

    def push(self, units: Sequence[AccessUnit]) -> None:
        """Units in the order in which they go out."""
        for unit in units:
            self._remember(unit)
        for forward in self._takers:
            if units and forward.feed == "units":
                forward.push(*units)

    def _remember_packets(self, packets: Packets, now: float) -> None:
        if packets.key:
            self._packets.clear()
            self._packets_bytes = 0
            self._packets_key_at = now
        elif not self._packets:
            return
        self._packets.append(packets)
        self._packets_bytes += len(packets.data)
        if self._packets_bytes > CACHE_BYTES_MAX:
            self._packets.clear()

    def _remember(self, unit: AccessUnit) -> None:
        if unit.track == "video" and unit.key:
            if self._key_at_ns is not None and 0 <= self._key_at_ns < unit.dts_ns:
                self.keyframe_interval_s = round((unit.dts_ns - self._key_at_ns) / 1e9, 3)
            self._key_at_ns = unit.dts_ns
            self._key = unit, time.monotonic()
            self._units.clear()
            self._units_bytes = 0
        elif not self._units:
            return  # no key frame yet, or the group has outgrown the cache
        self._units.append(unit)
        self._units_bytes += unit.size
        if self._units_bytes > CACHE_BYTES_MAX:
            self._units.clear()
