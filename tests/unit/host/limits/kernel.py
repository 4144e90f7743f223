"""A folder that behaves like a tree of control groups, as far as its users can tell."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


class Kernel:
    """Makes of each new folder below ``root`` a group.

    Attributes:
        has: the files that a new group has, beside ``cgroup.procs``, and what is in them.
        steps: what was made, written and removed, in its order.
        refuses: files that cannot be written.
    """

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.has: dict[str, str] = {}
        self.steps: list[str] = []
        self.refuses: set[str] = set()
        monkeypatch.setattr("strata.host.limits.limits.SYSFS", root)
        monkeypatch.setattr("strata.host.limits.cgroups.SYSFS", root)
        monkeypatch.setattr("strata.host.limits.systemd.SYSFS", root)
        self._mkdir: Callable[..., None] = Path.mkdir
        self._write: Callable[..., int] = Path.write_text
        monkeypatch.setattr(Path, "mkdir", lambda *a, **k: self._make(*a, **k))
        monkeypatch.setattr(Path, "rmdir", lambda path: self._remove(path))
        monkeypatch.setattr(Path, "write_text", lambda *a, **k: self._written(*a, **k))

    def group(self, path: str | Path, *pids: int, **has: str) -> Path:
        """One that was there before."""
        folder = self.root / path
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103 (mkdir is ours)
        self._write(folder / "cgroup.procs", "".join(f"{pid}\n" for pid in pids))
        for name, text in has.items():
            self._write(folder / name.replace("_", ".", 1), text)
        return folder

    def pids(self, folder: Path) -> list[int]:
        """Those in the group that run still."""
        found = [int(line) for line in (folder / "cgroup.procs").read_text().split()]
        return [pid for pid in found if _runs(pid)]

    def _make(self, path: Path, *args: Any, **more: Any) -> None:
        was_there = path.exists()
        self._mkdir(path, *args, **more)
        if self.root in path.parents and not was_there:
            self.steps.append(f"mkdir {path.relative_to(self.root)}")
            self._write(path / "cgroup.procs", "")
            for name, text in self.has.items():
                self._write(path / name, text)

    def _remove(self, path: Path) -> None:
        if self.pids(path) or any(each.is_dir() for each in path.iterdir()):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(path))
        for each in path.iterdir():
            each.unlink()
        os.rmdir(path)  # noqa: PTH106 (rmdir is ours)
        self.steps.append(f"rmdir {path.relative_to(self.root)}")

    def _written(self, path: Path, text: str, *args: Any, **more: Any) -> int:
        if self.root not in path.parents:
            return self._write(path, text, *args, **more)
        if path.name in self.refuses:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        if not path.parent.exists():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        if path.name == "cgroup.subtree_control" and self.pids(path.parent):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(path))
        self.steps.append(f"{path.relative_to(self.root)}: {text}")
        if path.name != "cgroup.procs":
            return self._write(path, text)
        for other in self.root.rglob("cgroup.procs"):
            left = [pid for pid in other.read_text().split() if pid != text]
            self._write(other, "".join(f"{pid}\n" for pid in left))
        return self._write(path, path.read_text() + f"{text}\n")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
