"""Limits by control groups: version 1, version 2, or some controllers in each.

The files are those of Linux' Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from strata.errors import HostError
from strata.host.limits.limits import SYSFS, Allowance, Group, Place, entering

log = logging.getLogger(__name__)

WANTED: Final = ("cpu", "memory", "pids")
PERIOD_US: Final = 100_000
"""Of the processor's time: the kernel's default. A shorter one would stall the picture for
less at a time, and cost more."""
WEIGHT: Final = 10_000
"""Of the processor where it is short, for all workers together: the most there is. What is on
the air goes before whatever else the machine does; each worker has its own limit besides."""
REMOVE_DEADLINE_S: Final = 2.0
LOOK_AGAIN_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Tree:
    """A folder in which groups can be made, in one mounted hierarchy.

    Attributes:
        folder: where the groups of this installation lie.
        mount: where the hierarchy begins.
        controllers: what is limited here.
    """

    folder: Path
    mount: Path
    version: Literal[1, 2]
    controllers: frozenset[str]


class CgroupLimits:
    """Groups in the trees that :mod:`strata.host.limits.detect` found."""

    def __init__(self, trees: Iterable[Tree]) -> None:
        self._trees = tuple(trees)
        found: set[str] = set().union(*(tree.controllers for tree in self._trees))
        names = {f"cgroup v{tree.version}" for tree in self._trees if tree.controllers}
        self.description = f"{' and '.join(sorted(names))}: {', '.join(sorted(found))}"
        self.classifies = any(
            tree.version == 2 and tree.mount.is_relative_to(SYSFS) for tree in self._trees
        )
        missing = [name for name in WANTED if name not in found]
        self.warning = (
            f"workers are not limited in {', '.join(missing)}: no such cgroup controller can be "
            "used here"
            if missing
            else ""
        )

    async def make(self, name: str, allowance: Allowance) -> Group:
        group = CgroupGroup(name, self._trees, allowance)
        try:
            group.make()
        except OSError as error:
            await group.remove()
            raise HostError(
                f"the limits of a worker cannot be set: {error.strerror} ({error.filename}); "
                "the stream was not started. Set limits.enforce to false to go without"
            ) from error
        return group

    def adopt(self, name: str, allowance: Allowance) -> Group:
        return CgroupGroup(name, self._trees, allowance)

    async def sweep(self, keep: set[str]) -> None:
        found = {
            path.name
            for tree in self._trees
            if tree.folder.is_dir()
            for path in tree.folder.iterdir()
            if path.is_dir() and path.name not in keep
        }
        for name in found:
            log.warning("the group %s was left behind by an earlier host and is removed", name)
            await CgroupGroup(name, self._trees, Allowance(0, 0, 0)).remove()

    async def close(self) -> None:
        for tree in self._trees:
            with contextlib.suppress(OSError):  # somebody is in it still, or it is gone
                tree.folder.rmdir()


class CgroupGroup:
    """One worker's folder in each tree."""

    def __init__(self, name: str, trees: tuple[Tree, ...], allowance: Allowance) -> None:
        self._trees = trees
        self._allowance = allowance
        self._folders = {tree: tree.folder / name for tree in trees}

    def make(self) -> None:
        """Makes the folders, with all limits but that on the processor.

        Raises:
            OSError: the kernel refuses.
        """
        for tree, folder in self._folders.items():
            folder.mkdir(exist_ok=True, parents=tree.version == 1)
            if "memory" in tree.controllers:
                _limit_memory(tree, folder, self._allowance.memory_mb * 1024 * 1024)
            if "pids" in tree.controllers:
                (folder / "pids.max").write_text(str(self._allowance.tasks))

    def enter(self, command: list[str]) -> list[str]:
        return entering([folder / "cgroup.procs" for folder in self._folders.values()], command)

    async def slow_down(self) -> None:
        quota = round(self._allowance.cpu_cores * PERIOD_US)
        for tree, folder in self._folders.items():
            if "cpu" not in tree.controllers:
                continue
            with contextlib.suppress(FileNotFoundError):  # it has ended meanwhile
                if tree.version == 2:
                    (folder / "cpu.max").write_text(f"{quota} {PERIOD_US}")
                else:
                    (folder / "cpu.cfs_period_us").write_text(str(PERIOD_US))
                    (folder / "cpu.cfs_quota_us").write_text(str(quota))

    def kills(self) -> int:
        for tree, folder in self._folders.items():
            if "memory" in tree.controllers:
                name = "memory.events" if tree.version == 2 else "memory.oom_control"
                return counted(folder / name, "oom_kill")
        return 0

    @property
    def classified_by(self) -> Place | None:
        for tree, folder in self._folders.items():
            if tree.version == 2 and tree.mount.is_relative_to(SYSFS):
                return Place.of(folder, tree.mount)
        return None

    async def remove(self) -> None:
        give_up_at = time.monotonic() + REMOVE_DEADLINE_S
        for folder in self._folders.values():
            while folder.exists():
                try:
                    folder.rmdir()
                except OSError as error:
                    if error.errno != errno.EBUSY or time.monotonic() > give_up_at:
                        log.warning("the group %s cannot be removed: %s", folder, error.strerror)
                        break
                    _kill_all(folder)
                    await asyncio.sleep(LOOK_AGAIN_S)


def _limit_memory(tree: Tree, folder: Path, size: int) -> None:
    if tree.version == 2:
        (folder / "memory.max").write_text(str(size))
        # All of it ends at once: a worker without its helper, or the other way round, would
        # be found out later and less clearly.
        (folder / "memory.oom.group").write_text("1")
        swap, value = folder / "memory.swap.max", 0
    else:
        (folder / "memory.limit_in_bytes").write_text(str(size))
        swap, value = folder / "memory.memsw.limit_in_bytes", size
    if swap.exists():  # a kernel without swap has no such file
        swap.write_text(str(value))


def counted(path: Path, name: str) -> int:
    """The number behind ``name`` in a file of lines ``name number``; 0 where there is none."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.split()[:1] == [name]), 0)


def _kill_all(folder: Path) -> None:
    """Whatever the worker started and left behind."""
    try:
        pids = [int(line) for line in (folder / "cgroup.procs").read_text().split()]
    except OSError:
        return
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
