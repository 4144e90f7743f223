"""Network namespaces with wires between them. Each lives as long as the process that holds it,
and its interfaces go with it. Needs root."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.children import Child, output_of, until


@dataclass(frozen=True, slots=True)
class Namespace:
    """``pid``: of the process that holds it."""

    name: str
    pid: int

    @property
    def inside(self) -> tuple[str, ...]:
        """Before a command: it runs in there."""
        return ("nsenter", "-t", str(self.pid), "-n")

    async def ip(self, *words: str) -> str:
        return await output_of(*self.inside, "ip", *words)

    async def sent_packets(self, interface: str) -> int:
        """What left by an interface since it was made."""
        said: list[Any] = json.loads(await self.ip("-s", "-j", "link", "show", "dev", interface))
        return int(said[0]["stats64"]["tx"]["packets"])


@asynccontextmanager
async def namespace(name: str, folder: Path) -> AsyncIterator[Namespace]:
    async with Child(["unshare", "--net", "sleep", "300"], folder / f"{name}.log") as child:
        own = Path("/proc/self/ns/net").readlink()
        await until(
            lambda: Path(f"/proc/{child.pid}/ns/net").readlink() != own, 10.0, "a namespace exists"
        )
        made = Namespace(name, child.pid)
        await made.ip("link", "set", "lo", "up")
        # It routes, and asks no questions about where a packet should have come from.
        for setting in ("ip_forward=1", "conf.all.rp_filter=0", "conf.default.rp_filter=0"):
            await output_of(*made.inside, "sysctl", "-q", "-w", f"net.ipv4.{setting}")
        yield made


async def wire(one: Namespace, other: Namespace, network: str) -> None:
    """A pair of interfaces, each named after where it leads: ``network``.1 in the first, .2 in
    the other."""
    await one.ip(
        *("link", "add", f"to-{other.name}", "type", "veth"),
        *("peer", "name", f"to-{one.name}", "netns", str(other.pid)),
    )
    for here, there, number in ((one, other, 1), (other, one, 2)):
        interface = f"to-{there.name}"
        await here.ip("address", "add", f"{network}.{number}/24", "dev", interface)
        await here.ip("link", "set", interface, "up")
