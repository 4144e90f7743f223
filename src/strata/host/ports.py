"""Which UDP ports are free. Pure: the time is an argument (seconds, any monotonic clock)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

SPACING: Final = 2
"""A stream's ports are two apart: RIST's Simple profile uses the odd neighbour for RTCP
(TR-06-1 section 5.1.1), and encoders that know only that profile expect the gap. The Main
profile that we use needs no neighbour, so the next stream takes the ports between."""


class PortPool:
    """Hands out ports and lets them rest.

    A port rests after its release, so that a sender that has not heard of the end reaches
    nobody, instead of the next stream.

    Args:
        ports: all that may be handed out.
        rest_s: how long a port rests.
        quarantine_s: how long one rests that another program was found on.
    """

    def __init__(self, ports: range, rest_s: float, quarantine_s: float = 300.0) -> None:
        self._all = ports
        self._rest_s = rest_s
        self._quarantine_s = quarantine_s
        self._taken: set[int] = set()
        self._rests_until: dict[int, float] = {}

    def allocate(self, count: int, now: float) -> tuple[int, ...] | None:
        """``count`` free ports, :data:`SPACING` apart, the lowest there are; None if none."""
        self._rests_until = {p: t for p, t in self._rests_until.items() if t > now}
        for first in self._all:
            ports = tuple(range(first, first + SPACING * count, SPACING))
            if all(self._is_free(port) for port in ports):
                self._taken.update(ports)
                return ports
        return None

    def claim(self, ports: Iterable[int]) -> None:
        """Marks ports as taken that a worker holds already, wherever they lie."""
        self._taken.update(ports)

    def release(self, ports: Iterable[int], now: float) -> None:
        """Takes ports back; they rest first. Ports that were not taken are left alone."""
        self._give_back(ports, now + self._rest_s)

    def quarantine(self, ports: Iterable[int], now: float) -> None:
        """Takes back ports that a stranger holds: not to be tried again soon."""
        self._give_back(ports, now + max(self._quarantine_s, self._rest_s))

    def free(self, now: float) -> int:
        """How many ports could be handed out now."""
        resting = sum(1 for p, until in self._rests_until.items() if until > now and p in self._all)
        taken = sum(1 for port in self._taken if port in self._all)
        return len(self._all) - taken - resting

    def _give_back(self, ports: Iterable[int], until: float) -> None:
        for port in ports:
            if port in self._taken:
                self._taken.discard(port)
                self._rests_until[port] = until

    def _is_free(self, port: int) -> bool:
        return port in self._all and port not in self._taken and port not in self._rests_until
