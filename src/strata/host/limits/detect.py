"""Which limiter this machine offers."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from pathlib import Path
from typing import Final

from strata.host.limits.cgroups import WANTED, WEIGHT, CgroupLimits, Tree
from strata.host.limits.limits import Limits, NoLimits
from strata.host.limits.systemd import SystemdLimits

log = logging.getLogger(__name__)

SYSTEMD: Final = Path("/run/systemd/system")
"""There where systemd is the machine's first process (sd_booted(3))."""
MOUNTS: Final = Path("/proc/self/mountinfo")
OWN: Final = Path("/proc/self/cgroup")
SHARES: Final = 102_400
"""Of the processor where it is short, for all workers together (cgroup-v1, cpu.shares). Left
at 1024 a hundred of them would get no more than one other process."""
LEAF: Final = "main"
"""Where the processes go that stand in the way of groups below theirs."""


def best(name: str, *, enforce: bool = True, delegated: Path | None = None) -> Limits:
    """The best limiter that works here.

    Args:
        name: of this installation; one for each on a machine.
        enforce: False: none, because the operator said so.
        delegated: a group of cgroup v2 that is ours beside the one that we are in.
    """
    if not enforce:
        return NoLimits("workers are not limited: limits.enforce is false")
    is_there = delegated is not None and delegated.is_dir()
    if not is_there and SYSTEMD.is_dir() and os.geteuid() == 0 and shutil.which("systemd-run"):
        return SystemdLimits(name)
    trees = usable_trees(name, MOUNTS.read_text(), OWN.read_text(), delegated if is_there else None)
    if any(tree.controllers for tree in trees):
        return CgroupLimits(trees)
    return NoLimits(
        "workers are not limited in CPU, memory and tasks: this user may not make control "
        "groups here. Run the host as root, or as the services that script/install makes"
    )


def usable_trees(name: str, mounts: str, own: str, delegated: Path | None = None) -> list[Tree]:
    """The trees in which groups can be made, each with the controllers that it has for us."""
    found = []
    for mount, version, controllers in hierarchies(mounts):
        try:
            tree = _usable(name, mount, version, controllers, own, delegated)
        except OSError as error:
            log.debug("%s cannot be used for limits: %s", mount, error)
            continue
        if tree is not None:
            found.append(tree)
    return found


def hierarchies(mounts: str) -> list[tuple[Path, int, frozenset[str]]]:
    """Mount point, version and wanted controllers of each hierarchy (proc(5), mountinfo).

    Those of version 2 are to be read from its ``cgroup.controllers``.
    """
    found = []
    for line in mounts.splitlines():
        head, _, tail = line.partition(" - ")
        kind, _, options = tail.split(" ")[:3]
        mount = Path(head.split(" ")[4])
        wanted = frozenset(options.split(",")) & frozenset(WANTED)
        if kind == "cgroup" and wanted:
            found.append((mount, 1, wanted))
        elif kind == "cgroup2":
            found.append((mount, 2, frozenset()))
    return found


def own_group(mount: Path, version: int, controllers: frozenset[str], own: str) -> Path:
    """The folder of the group that this process is in (cgroups(7), /proc/pid/cgroup)."""
    for line in own.splitlines():
        _, names, path = line.split(":", 2)
        if (version == 2 and not names) or (version == 1 and controllers & set(names.split(","))):
            found = mount / path.lstrip("/")
            # An earlier host has moved its own service there; see _enable.
            return found.parent if version == 2 and found.name == LEAF else found
    return mount


def _usable(
    name: str,
    mount: Path,
    version: int,
    controllers: frozenset[str],
    own: str,
    delegated: Path | None,
) -> Tree | None:
    if version == 1:
        folder = mount / name
        folder.mkdir(exist_ok=True)
        if not os.access(folder, os.W_OK):
            return None
        if "cpu" in controllers:
            (folder / "cpu.shares").write_text(str(SHARES))
        return Tree(folder, mount, 1, controllers)
    # Where systemd runs, what is not of its making belongs into what it has delegated.
    base = own_group(mount, 2, frozenset(), own) if SYSTEMD.is_dir() else mount
    if delegated is not None and delegated.is_relative_to(mount):
        base = delegated
    offered = frozenset((base / "cgroup.controllers").read_text().split()) & frozenset(WANTED)
    folder = base / name
    folder.mkdir(exist_ok=True)
    if offered:
        _enable(base, offered)
        _enable(folder, offered)
    if "cpu" in offered:
        (folder / "cpu.weight").write_text(str(WEIGHT))
    return Tree(folder, mount, 2, offered)


def _enable(folder: Path, controllers: frozenset[str]) -> None:
    """Lets the groups below ``folder`` be limited.

    A group with processes of its own, but for the first of all, has to be emptied first
    (cgroup-v2.rst, "No Internal Process Constraint").
    """
    wanted = " ".join(f"+{each}" for each in sorted(controllers))
    switch = folder / "cgroup.subtree_control"
    try:
        switch.write_text(wanted)
        return
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
    leaf = folder / LEAF
    leaf.mkdir(exist_ok=True)
    for pid in (folder / "cgroup.procs").read_text().split():
        try:
            (leaf / "cgroup.procs").write_text(pid)
        except OSError as error:
            log.debug("process %s stays where it is: %s", pid, error)
    switch.write_text(wanted)
