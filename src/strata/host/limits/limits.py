"""What a limiter is, and the one that does nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one worker may take: cores, MB (2^20 bytes), processes and threads."""

    cpu_cores: float
    memory_mb: int
    tasks: int


@dataclass(frozen=True, slots=True)
class Place:
    """A group of cgroup v2, as nft(8) names it.

    Attributes:
        path: from ``/sys/fs/cgroup`` on, wherever the hierarchy is mounted below.
        level: how many groups lie above it, plus one.
    """

    path: str
    level: int

    @classmethod
    def of(cls, folder: Path, mount: Path) -> Place:
        level = len(folder.relative_to(mount).parts)
        return cls(str(folder.relative_to(SYSFS)), level)


SYSFS: Final = Path("/sys/fs/cgroup")


class Group(Protocol):
    """One worker and whatever it starts, limited together."""

    def enter(self, command: list[str]) -> list[str]:
        """The command line that runs ``command`` in the group from its first instruction."""

    async def slow_down(self) -> None:
        """Holds the worker to its share of the processor: from now on it is up. Its start is
        not slowed down, or it would take twice as long."""

    def kills(self) -> int:
        """How many processes the kernel has killed for want of memory, as far as is known."""

    @property
    def classified_by(self) -> Place | None:
        """Where it lies in the tree of cgroup v2, for rules on packets; None where it is in
        none."""

    async def remove(self) -> None:
        """Ends whatever is left in the group, and removes it."""


class Limits(Protocol):
    """Makes groups.

    Attributes:
        description: how workers are limited, in plain words.
        warning: what is not limited and how to mend that; empty where all is.
        classifies: whether its groups lie in a tree of cgroup v2, which rules on packets need.
    """

    description: str
    warning: str
    classifies: bool

    async def make(self, name: str, allowance: Allowance) -> Group:
        """A new group.

        Raises:
            HostError: the machine refuses.
        """

    def adopt(self, name: str, allowance: Allowance) -> Group:
        """The group of a worker that runs already."""

    async def sweep(self, keep: set[str]) -> None:
        """Removes what earlier hosts left behind, but for the groups to keep."""

    async def close(self) -> None:
        """Removes what the groups lay in, once they are gone."""


class NoGroup:
    """No limits."""

    classified_by: Place | None = None

    def enter(self, command: list[str]) -> list[str]:
        return command

    async def slow_down(self) -> None:
        return None

    def kills(self) -> int:
        return 0

    async def remove(self) -> None:
        return None


class NoLimits:
    """For machines without rights on groups."""

    description = "nothing"
    classifies = False

    def __init__(self, warning: str) -> None:
        self.warning = warning

    async def make(self, name: str, allowance: Allowance) -> Group:
        return NoGroup()

    def adopt(self, name: str, allowance: Allowance) -> Group:
        return NoGroup()

    async def sweep(self, keep: set[str]) -> None:
        return None

    async def close(self) -> None:
        return None


def entering(files: list[Path], command: list[str]) -> list[str]:
    """A command line that writes its process id into ``files`` and becomes ``command``.

    A shell does that in a millisecond; in Python it would take a ``preexec_fn``, which may
    deadlock in a process with threads (subprocess, "preexec_fn").
    """
    if not files:
        return command
    script = 'while [ "$1" != -- ]; do echo $$ >"$1" || exit 71; shift; done; shift; exec "$@"'
    return ["/bin/sh", "-c", script, "sh", *map(str, files), "--", *command]
