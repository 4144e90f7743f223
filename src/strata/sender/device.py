"""What this machine says of itself."""

from __future__ import annotations

import platform
import socket
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import strata
from strata.secrets import Secret
from strata.sender.interfaces import Interface
from strata.wire import agent as wire

INTERFACES_MAX: Final = 32
ADDRESSES_MAX: Final = 8
"""So that a message stays below what it may have."""


def login(enrollment_token: Secret | None, device_token: Secret | None) -> wire.Login:
    """Who it is. The enrollment token goes first."""
    shown = enrollment_token or device_token
    assert shown is not None
    is_new = enrollment_token is not None
    return wire.Login(
        enrollment_token=shown.reveal() if is_new else None,
        device_token=None if is_new else shown.reveal(),
        agent_version=wire.plain(strata.__version__)[:40],
        hostname=wire.plain(socket.gethostname())[:253],
        arch=wire.plain(platform.machine())[:40],
    )


def told(
    interfaces: Iterable[Interface], named: Iterable[str | None], signals: Mapping[str, float]
) -> list[wire.NetworkInterface]:
    """The interfaces that people think of: those of hardware and those that the settings name;
    all of them where there is no other.

    Args:
        named: interfaces that the settings name.
    """
    all_of_them = list(interfaces)
    names = set(named)
    found = [each for each in all_of_them if not each.is_virtual or each.name in names]
    return [
        wire.NetworkInterface(
            each.name,
            each.kind,
            each.is_up,
            list(each.addresses[:ADDRESSES_MAX]),
            signals.get(each.name),
        )
        for each in (found or all_of_them)[:INTERFACES_MAX]
    ]


def uptime_s() -> float:
    """Since the machine was switched on."""
    return round(time.clock_gettime(time.CLOCK_BOOTTIME), 1)


class Processor:
    """How busy all cores together were since it was asked last."""

    def __init__(self, stat: Path = Path("/proc/stat")) -> None:
        self._stat = stat
        self._before = self._read()

    def percent(self) -> float | None:
        """None: not known (yet)."""
        before, self._before = self._before, self._read()
        if before is None or self._before is None:
            return None
        idle, total = (now - then for now, then in zip(self._before, before, strict=True))
        return round(min(max(1.0 - idle / total, 0.0), 1.0) * 100.0, 1) if total > 0 else None

    def _read(self) -> tuple[int, int] | None:
        """Ticks that were idle, and all; from the first line of proc(5)."""
        try:
            with self._stat.open() as file:
                ticks = [int(each) for each in file.readline().split()[1:9]]
            return ticks[3] + ticks[4], sum(ticks)
        except (OSError, ValueError, IndexError):
            return None
