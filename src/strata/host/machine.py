"""This machine: what it has, as it is now, and what all of its streams share."""

from __future__ import annotations

import asyncio
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from strata.host.admission import Capacity
from strata.host.limits import Limits
from strata.host.packets import Packets
from strata.host.records import Records
from strata.settings import Settings

MB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Machine:
    """What all streams of a host share.

    Attributes:
        starting: how many workers may be on their way at once; each keeps a core busy.
    """

    settings: Settings
    runtime_dir: Path
    limits: Limits
    packets: Packets
    records: Records
    starting: asyncio.Semaphore


def capacity(settings: Settings) -> Capacity:
    """Cores that this process may use, memory and disk."""
    memory = meminfo(Path("/proc/meminfo").read_text())
    egress_mbps = settings.host.egress_mbps
    return Capacity(
        cpu_cores=float(len(os.sched_getaffinity(0))),
        memory_mb=memory.get("MemTotal", 0.0),
        free_memory_mb=memory.get("MemAvailable", 0.0),
        fill_percent=settings.admission.fill_percent,
        egress_kbps=None if egress_mbps is None else egress_mbps * 1000.0,
        free_disk_mb=shutil.disk_usage(settings.media_dir).free / MB,
        min_disk_mb=settings.admission.min_disk_mb,
    )


def meminfo(text: str) -> dict[str, float]:
    """MB by name (proc(5), meminfo, which counts in units of 1024 bytes)."""
    found = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            found[name] = int(words[0]) / 1024.0
    return found
