"""The machine that script/in-vm starts is one on which the other tests here mean something."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.vm,
    pytest.mark.timeout(300),  # a processor that is emulated on a busy machine
    pytest.mark.skipif(
        not Path("/run/systemd/system").is_dir(),
        reason="systemd is not PID 1 here: script/in-vm -- .venv/bin/pytest -m vm tests/vm",
    ),
]

CGROUPS = Path("/sys/fs/cgroup")
HOG_BYTES = 80 << 20
HOG = f"hog = bytearray({HOG_BYTES}); print(len(hog))"


def run_with_memory(limit: str) -> subprocess.CompletedProcess[str]:
    """A program that takes 80 MiB, in a scope of its own."""
    return subprocess.run(
        [
            *("systemd-run", "--scope", "--quiet", "--collect"),
            *("-p", f"MemoryMax={limit}", "-p", "MemorySwapMax=0"),
            *(sys.executable, "-I", "-S", "-c", HOG),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_systemd_is_the_first_process() -> None:
    assert Path("/proc/1/comm").read_text() == "systemd\n"
    assert Path("/proc/1/exe").resolve() == Path("/usr/lib/systemd/systemd")


def test_control_groups_are_version_2_alone() -> None:
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    assert [(where, kind) for _, where, kind, *_ in mounts if kind.startswith("cgroup")] == [
        (str(CGROUPS), "cgroup2")
    ]
    controllers = (CGROUPS / "cgroup.controllers").read_text().split()
    assert {"cpu", "memory", "pids"} <= set(controllers)


def test_what_takes_more_memory_than_its_scope_may_is_killed() -> None:
    killed = run_with_memory("64M")
    assert (killed.returncode, killed.stdout) == (-9, ""), killed.stderr

    spared = run_with_memory("256M")
    assert (spared.returncode, spared.stdout) == (0, f"{HOG_BYTES}\n"), spared.stderr
