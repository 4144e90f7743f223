"""Whether one more stream fits on this machine. Pure.

Each stream counts with what it was measured to take or, until it has been on the air for a
while, with its reservation if that is more. Streams that are on the air are never given up
for a newcomer: it is the newcomer that is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from strata.errors import NoCapacity


@dataclass(frozen=True, slots=True)
class Cost:
    """What a stream takes, or is expected to."""

    cpu_cores: float
    memory_mb: float
    egress_kbps: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.cpu_cores + other.cpu_cores,
            self.memory_mb + other.memory_mb,
            self.egress_kbps + other.egress_kbps,
        )

    def times(self, factor: float) -> Cost:
        return Cost(self.cpu_cores * factor, self.memory_mb * factor, self.egress_kbps * factor)

    def at_least(self, other: Cost) -> Cost:
        return Cost(
            max(self.cpu_cores, other.cpu_cores),
            max(self.memory_mb, other.memory_mb),
            max(self.egress_kbps, other.egress_kbps),
        )


NOTHING: Final = Cost(0.0, 0.0, 0.0)
FADING: Final = 0.977


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the machine has for streams, as measured now.

    Attributes:
        cpu_cores, memory_mb: of the whole machine.
        free_memory_mb: what could be had at once (``MemAvailable``).
        fill_percent: of cores and memory, what may be used by streams.
        egress_kbps: None where nobody has said.
        free_disk_mb: where recordings go.
        min_disk_mb: what has to stay free there.
    """

    cpu_cores: float
    memory_mb: float
    free_memory_mb: float
    fill_percent: float
    egress_kbps: float | None
    free_disk_mb: float
    min_disk_mb: float


@dataclass(slots=True)
class Share:
    """What one stream counts for.

    Attributes:
        reserved: what it was expected to take when it was let in.
        measured: what it takes; the most of the last while.
        is_settled: it has been on the air for long enough to believe the measurement.
    """

    reserved: Cost
    measured: Cost = NOTHING
    is_settled: bool = False

    @property
    def cost(self) -> Cost:
        return self.measured if self.is_settled else self.measured.at_least(self.reserved)

    def measure(self, now: Cost) -> None:
        """Takes in a measurement of the last second. The most is remembered and fades by
        half in half a minute: a sender that is gone for a moment will be back."""
        self.measured = now.at_least(self.measured.times(FADING))


def used(streams: Iterable[Share]) -> Cost:
    """What all streams take together."""
    total = NOTHING
    for stream in streams:
        total = total + stream.cost
    return total


def admit(streams: Iterable[Share], newcomer: Cost, has: Capacity, *, records: bool) -> None:
    """Returns where a newcomer fits.

    Args:
        streams: those that run or are being started.
        newcomer: what it reserves.
        records: whether it writes to the disk.

    Raises:
        NoCapacity: it does not; says what is short, and by how much.
    """
    total = used(streams) + newcomer
    share = has.fill_percent / 100.0
    if total.cpu_cores > has.cpu_cores * share + 1e-9:
        raise _refusal(
            f"{total.cpu_cores:.2f} cores would be needed, and streams may use "
            f"{has.cpu_cores * share:.2f} of {has.cpu_cores:g}"
        )
    if total.memory_mb > has.memory_mb * share:
        raise _refusal(
            f"{total.memory_mb:.0f} MB of memory would be needed, and streams may use "
            f"{has.memory_mb * share:.0f} of {has.memory_mb:.0f} MB"
        )
    if newcomer.memory_mb > has.free_memory_mb:
        raise _refusal(
            f"{newcomer.memory_mb:.0f} MB of memory would be needed, and only "
            f"{has.free_memory_mb:.0f} MB are free"
        )
    if why := _outward(total.egress_kbps, has, records=records):
        raise _refusal(why)


def admit_forward(
    streams: Iterable[Share], egress_kbps: float, has: Capacity, *, records: bool
) -> None:
    """The same for one more forward of a stream that is there.

    Args:
        egress_kbps: what it reserves of the uplink.
        records: whether it writes to the disk.

    Raises:
        NoCapacity: it does not fit; says what is short, and by how much.
    """
    if why := _outward(used(streams).egress_kbps + egress_kbps, has, records=records):
        raise NoCapacity(
            f"this host has no room for another forward: {why}; remove one, or stop a stream"
        )


def _outward(total_kbps: float, has: Capacity, *, records: bool) -> str:
    """What is short for all that leaves a worker; nothing where it fits."""
    if has.egress_kbps is not None and total_kbps > has.egress_kbps:
        return (
            f"{total_kbps / 1000:.1f} Mbps would go out, and host.egress_mbps is "
            f"{has.egress_kbps / 1000:g}"
        )
    if records and has.free_disk_mb < has.min_disk_mb:
        return (
            f"only {has.free_disk_mb:.0f} MB of disk are free, and {has.min_disk_mb:.0f} MB "
            "have to stay free for a recording to be begun"
        )
    return ""


def _refusal(why: str) -> NoCapacity:
    return NoCapacity(
        f"this host has no room for another stream: {why}; stop a stream, or use another host"
    )
