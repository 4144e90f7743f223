"""Ports that nobody uses."""

from __future__ import annotations

import random
import socket
from pathlib import Path
from typing import Final

_FIRST: Final = 20_000
_LAST: Final = 32_000
"""Below the kernel's own range (32768 to 60999), from which it gives a port to any socket
that connects or sends: a free one there may be taken a moment later. Above the range that
the platform hands out by default."""

_chance: Final = random.SystemRandom()
"""Two runs of the tests on one machine start looking at different places."""
_given: Final[set[int]] = set()


def free_udp_ports(count: int = 2) -> tuple[int, ...]:
    """Free UDP ports, spaced by 2 as the platform spaces them."""
    return _free(count, 2, socket.SOCK_DGRAM)


def free_udp_port() -> int:
    return free_udp_ports(1)[0]


def free_tcp_port() -> int:
    return _free(1, 1, socket.SOCK_STREAM)[0]


def udp_port_is_bound(port: int) -> bool:
    """Whether any program on this machine listens on it (proc(5), net/udp)."""
    for table in ("udp", "udp6"):
        path = Path("/proc/net") / table
        lines = path.read_text().splitlines()[1:] if path.exists() else []
        if any(int(line.split()[1].rpartition(":")[2], 16) == port for line in lines):
            return True
    return False


def _free(count: int, step: int, kind: socket.SocketKind) -> tuple[int, ...]:
    for _ in range(1000):
        first = _chance.randrange(_FIRST, _LAST, 2)
        ports = tuple(range(first, first + count * step, step))
        if not _given.intersection(ports) and all(_is_free(port, kind) for port in ports):
            _given.update(ports)
            return ports
    raise AssertionError(f"no free ports between {_FIRST} and {_LAST}")


def _is_free(port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET, kind) as sock:
        try:
            sock.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True
