"""Limits where they are real: on a machine with systemd and cgroup v2 alone.

By systemd, as root does it there, and by control groups of our own, as a service with
``Delegate=yes`` does.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from strata.host.limits import detect
from support.children import until
from support.control import Place, place
from support.hosts import Stage, nowhere, stage

pytestmark = [
    pytest.mark.vm,
    pytest.mark.timeout(600),  # a processor that is emulated on a busy machine
    pytest.mark.skipif(
        not Path("/run/systemd/system").is_dir(),
        reason="systemd is not PID 1 here: script/in-vm -- .venv/bin/pytest -m vm tests/vm",
    ),
]

CGROUPS = Path("/sys/fs/cgroup")
DEADLINE_S = 120.0
SLOW = {"ready_timeout_s": DEADLINE_S, "silence_timeout_s": DEADLINE_S}
LIMITS = {"memory_mb": 160, "tasks": 100, "cpu_cores": 0.5}

HOG = """
import os, sys
with open(sys.argv[1], "w") as group:
    group.write(str(os.getpid()))
kept = []
while True:
    kept.append(bytearray(b"x" * (1 << 20)))
"""

SPINNER = """
import os, sys, time
with open(sys.argv[1], "w") as group:
    group.write(str(os.getpid()))
end = time.monotonic() + 6.0
while time.monotonic() < end:
    pass
print(time.process_time())
"""


@pytest.fixture
def here() -> Iterator[Place]:
    with place() as one:
        yield one


@pytest.fixture(params=["systemd", "cgroups"], autouse=True)
def limiter(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name: str = request.param
    if name == "cgroups":
        monkeypatch.setattr(detect, "SYSTEMD", Path("/nonexistent"))
    return name


def group_of(pid: int) -> Path:
    [line] = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return CGROUPS / line.removeprefix("0::/")


def leftovers() -> list[str]:
    folders = [str(path) for path in CGROUPS.rglob("*str_*") if path.is_dir()]
    units = subprocess.run(
        ["systemctl", "list-units", "--all", "--plain", "--no-legend", "strata*str_*"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return folders + units.stdout.splitlines()


async def is_gone(one: Stage) -> None:
    await until(
        lambda: one.nothing_is_left() and not leftovers(), DEADLINE_S, f"{leftovers()} are gone"
    )


async def test_a_worker_is_limited_while_it_lives_and_nothing_is_left(
    here: Place, limiter: str
) -> None:
    async with stage(here, limits=LIMITS, **SLOW) as one:
        assert one.host.load().limits.startswith("systemd" if limiter == "systemd" else "cgroup v2")
        stream_id, started = await one.start(nowhere())
        group = group_of(started.pid)
        assert stream_id in str(group)
        assert (group / "memory.max").read_text().strip() == str(160 << 20)
        assert (group / "pids.max").read_text().strip() == "100"
        assert (group / "cpu.max").read_text().strip() == "50000 100000"
        # Another host that takes over knows its group, too.
        await one.replace_host()
        assert group_of(started.pid) == group
        assert (await one.stop(stream_id)).reason == "user_stop"
        await is_gone(one)


async def test_what_is_in_the_group_gets_no_more_than_its_share(here: Place) -> None:
    async with stage(here, limits=LIMITS, **SLOW) as one:
        stream_id, started = await one.start(nowhere())
        began = time.monotonic()
        spinner = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", "-c", SPINNER),
            str(group_of(started.pid) / "cgroup.procs"),
            stdout=asyncio.subprocess.PIPE,
        )
        said, _ = await asyncio.wait_for(spinner.communicate(), DEADLINE_S)
        assert float(said) < 0.6 * (time.monotonic() - began)
        await one.stop(stream_id)


async def test_a_worker_over_its_memory_limit_dies_alone(here: Place) -> None:
    async with stage(here, limits=LIMITS, **SLOW) as one:
        stream_id, started = await one.start(nowhere())
        other, beside = await one.start(nowhere())
        hog = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", "-c", HOG), str(group_of(started.pid) / "cgroup.procs")
        )
        # With memory.oom.group all that is in it ends; systemd ends the worker's scope with it.
        Path(f"/proc/{started.pid}/oom_score_adj").write_text("1000")
        try:
            ended = await one.ended(stream_id)
        finally:
            if hog.returncode is None:
                hog.kill()
            await hog.wait()
        assert ended.reason == "out_of_memory", ended
        assert one.here.workers() == [beside.pid]
        assert (await one.stop(other)).detail == "stopped on request"
        await is_gone(one)
