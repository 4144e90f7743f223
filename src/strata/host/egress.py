"""A kernel rule per worker on what it may send: the backstop behind its own pacing.

Packets over the rate are dropped by nftables where they leave; TCP slows down by itself. All
rules are written anew with each change, in one transaction: so what is in force is always what
is here, whatever was left by an earlier host.
(nft(8): "socket cgroupv2", "limit rate over")
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from typing import Final

from strata.host.limits import Place

log = logging.getLogger(__name__)

DEADLINE_S: Final = 5.0
HEADROOM: Final = 1.15
"""Of what a worker may send: it counts media, the kernel whole packets."""
BASE_KBPS: Final = 500
"""For what is no media: reports to senders, handshakes, keep-alives."""
BURST_KB: Final = 512
"""A key frame leaves in one go."""


class Egress:
    """The rules of one installation.

    Args:
        name: of its table.
        classifies: whether workers are in groups of cgroup v2, by which packets are told apart.

    Attributes:
        warning: why there are no rules, and how to mend that; empty where there are.
    """

    def __init__(self, name: str, *, classifies: bool) -> None:
        self._table = name.replace("-", "_")
        self._rates: dict[str, tuple[Place, int]] = {}
        self._one_at_a_time = asyncio.Lock()
        self._wanted = 0
        self._written = 0
        self.warning = ""
        if not classifies:
            self.warning = "there is no cgroup v2 tree to tell workers apart by"
        elif shutil.which("nft") is None:
            self.warning = "nft is not installed; apt-get install nftables"

    async def open(self) -> None:
        """Removes what an earlier host left, and finds out whether rules can be set."""
        if not self.warning:
            self.warning = await self._nft(self._rules())
        if self.warning:
            self.warning = (
                "what a worker sends is limited by its own pacing alone, not by the kernel: "
                + self.warning
            )

    async def limit(self, name: str, group: Place | None, kbps: int) -> None:
        """Holds a group to a rate; 0 is no limit."""
        if self.warning or group is None or not kbps:
            return
        self._rates[name] = (group, kbps)
        await self._write()

    async def release(self, name: str) -> None:
        if self._rates.pop(name, None) is not None:
            await self._write()

    async def close(self) -> None:
        """Removes the table."""
        if not self.warning:
            self._rates.clear()
            await self._nft(f"add table inet {self._table}\ndelete table inet {self._table}\n")

    async def _write(self) -> None:
        """Brings the kernel to what is wanted now; several changes at once cost one step."""
        self._wanted += 1
        async with self._one_at_a_time:
            if self._written == self._wanted:
                return
            self._written = self._wanted
            if failed := await self._nft(self._rules()):
                log.warning("the egress rules could not be set: %s", failed)

    def _rules(self) -> str:
        rules = [
            f"add table inet {self._table}",
            f"delete table inet {self._table}",
            f"add table inet {self._table}",
            f"add chain inet {self._table} out "
            "{ type filter hook output priority 0; policy accept; }",
        ]
        for name, (group, kbps) in self._rates.items():
            rate = round((kbps * HEADROOM + BASE_KBPS) / 8)
            rules.append(
                f"add rule inet {self._table} out "
                f'socket cgroupv2 level {group.level} "{group.path}" '
                f"limit rate over {rate} kbytes/second burst {BURST_KB} kbytes "
                f'counter drop comment "{name}"'
            )
        return "\n".join(rules) + "\n"

    async def _nft(self, script: str) -> str:
        """What went wrong; empty where nothing did."""
        try:
            process = await asyncio.create_subprocess_exec(
                *("nft", "-f", "-"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            )
        except OSError as error:
            return error.strerror or "nft cannot be run"
        try:
            _, said = await asyncio.wait_for(process.communicate(script.encode()), DEADLINE_S)
        except TimeoutError:
            process.kill()
            await process.wait()
            return f"nft did not answer in {DEADLINE_S:.0f} s"
        if process.returncode:
            lines = said.decode(errors="replace").strip().splitlines()
            return lines[0] if lines else f"nft ended with status {process.returncode}"
        return ""
