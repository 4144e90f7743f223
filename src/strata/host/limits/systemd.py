"""Limits by systemd: each worker in a transient scope of its own.

The scope lies in a slice of its own, because a scope is gone with its last process and takes
the count of what was killed in it along; the slice stays until it is stopped.
(systemd-run(1), systemd.resource-control(5), systemd.slice(5))
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from strata.errors import HostError
from strata.host.limits.cgroups import WEIGHT, counted
from strata.host.limits.limits import SYSFS, Allowance, Group, Place

log = logging.getLogger(__name__)

DEADLINE_S: Final = 10.0


class SystemdLimits:
    """Groups that systemd makes."""

    def __init__(self, name: str) -> None:
        # A dash says "below" in the name of a slice.
        self._name = name.replace("-", "_")
        self.description = "systemd scopes: cpu, memory, pids"
        self.warning = ""
        self.classifies = (SYSFS / "cgroup.controllers").exists()

    async def make(self, name: str, allowance: Allowance) -> Group:
        return self.adopt(name, allowance)

    def adopt(self, name: str, allowance: Allowance) -> Group:
        return SystemdGroup(f"{self._name}-{name.replace('-', '_')}", self._name, allowance)

    async def sweep(self, keep: set[str]) -> None:
        kept = {f"{self._name}-{name.replace('-', '_')}.slice" for name in keep}
        await _systemctl("set-property", "--runtime", f"{self._name}.slice", f"CPUWeight={WEIGHT}")
        folder = SYSFS / f"{self._name}.slice"
        if folder.is_dir():
            for path in folder.iterdir():
                if path.suffix == ".slice" and path.name not in kept:
                    log.warning("%s was left behind by an earlier host; removing", path.name)
                    await _systemctl("stop", path.name)

    async def close(self) -> None:
        if (SYSFS / f"{self._name}.slice").is_dir():
            await _systemctl("stop", f"{self._name}.slice")


class SystemdGroup:
    """A slice with one scope in it."""

    def __init__(self, unit: str, parent: str, allowance: Allowance) -> None:
        self._unit = unit
        self._allowance = allowance
        self._folder = SYSFS / f"{parent}.slice" / f"{unit}.slice"

    def enter(self, command: list[str]) -> list[str]:
        limits = {
            "MemoryMax": f"{self._allowance.memory_mb}M",
            "MemorySwapMax": "0",
            "TasksMax": str(self._allowance.tasks),
            "CPUAccounting": "yes",
        }
        properties = [f"--property={name}={value}" for name, value in limits.items()]
        # With --scope it is systemd-run itself that becomes the command: our child, with the
        # descriptors that we gave it.
        return [
            *("systemd-run", "--scope", "--quiet", "--collect"),
            *(f"--unit={self._unit}", f"--slice={self._unit}.slice"),
            *properties,
            *("--", *command),
        ]

    async def slow_down(self) -> None:
        quota = f"CPUQuota={self._allowance.cpu_cores * 100:.0f}%"
        await _systemctl("set-property", "--runtime", f"{self._unit}.scope", quota)

    def kills(self) -> int:
        return counted(self._folder / "memory.events", "oom_kill")

    @property
    def classified_by(self) -> Place | None:
        return Place.of(self._folder / f"{self._unit}.scope", SYSFS)

    async def remove(self) -> None:
        """Stopping a slice stops what is in it."""
        if self._folder.is_dir():
            await _systemctl("stop", f"{self._unit}.slice")


async def _systemctl(*arguments: str) -> None:
    """Asks systemd; an answer that is no success is logged, not raised.

    Raises:
        HostError: there is no systemctl.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            "systemctl",
            "--quiet",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise HostError(f"systemctl cannot be run: {error.strerror}; install systemd") from error
    try:
        _, said = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        log.warning("systemctl %s did not answer in %.0f s", " ".join(arguments), DEADLINE_S)
        return
    if process.returncode:
        words = said.decode(errors="replace").strip()
        log.warning("systemctl %s: %s", " ".join(arguments), words)
