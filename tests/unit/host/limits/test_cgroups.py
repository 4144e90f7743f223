"""In a folder that stands for a tree of control groups."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from strata.errors import HostError
from strata.host.limits import cgroups
from strata.host.limits.cgroups import CgroupLimits, Tree, counted
from strata.host.limits.limits import Allowance, NoLimits, Place, entering
from support.children import Child
from unit.host.limits.kernel import Kernel

DEADLINE_S = 20.0
ALLOWANCE = Allowance(cpu_cores=0.5, memory_mb=256, tasks=100)
BYTES = 256 * 1024 * 1024


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    root = tmp_path / "cgroup"
    root.mkdir()
    return Kernel(root, monkeypatch)


def v2(kernel: Kernel, *controllers: str) -> CgroupLimits:
    folder = kernel.group("strata-x")
    found = frozenset(controllers or ("cpu", "memory", "pids"))
    return CgroupLimits([Tree(folder, kernel.root, 2, found)])


def v1(kernel: Kernel, *controllers: str) -> CgroupLimits:
    """Each controller in a tree of its own, beside one of version 2 that limits nothing."""
    trees = [
        Tree(kernel.group(f"{each}/strata-x"), kernel.root / each, 1, frozenset((each,)))
        for each in controllers or ("cpu", "memory", "pids")
    ]
    unified = kernel.group("unified/strata-x")
    return CgroupLimits([*trees, Tree(unified, kernel.root / "unified", 2, frozenset())])


async def test_a_group_of_version_2_and_the_order_of_its_making(kernel: Kernel) -> None:
    kernel.has = {"memory.swap.max": "max"}
    group = await v2(kernel).make("str_1", ALLOWANCE)
    assert kernel.steps == [
        "mkdir strata-x/str_1",
        f"strata-x/str_1/memory.max: {BYTES}",
        "strata-x/str_1/memory.oom.group: 1",
        "strata-x/str_1/memory.swap.max: 0",
        "strata-x/str_1/pids.max: 100",
    ]
    assert group.classified_by == Place("strata-x/str_1", 2)


async def test_groups_of_version_1_and_the_order_of_their_making(kernel: Kernel) -> None:
    kernel.has = {"memory.memsw.limit_in_bytes": "-1"}
    group = await v1(kernel).make("str_1", ALLOWANCE)
    assert kernel.steps == [
        "mkdir cpu/strata-x/str_1",
        "mkdir memory/strata-x/str_1",
        f"memory/strata-x/str_1/memory.limit_in_bytes: {BYTES}",
        f"memory/strata-x/str_1/memory.memsw.limit_in_bytes: {BYTES}",
        "mkdir pids/strata-x/str_1",
        "pids/strata-x/str_1/pids.max: 100",
        "mkdir unified/strata-x/str_1",
    ]
    assert group.classified_by == Place("unified/strata-x/str_1", 2)


@pytest.mark.parametrize("make", [v1, v2])
async def test_a_kernel_without_swap_has_no_file_for_it(kernel: Kernel, make: type) -> None:
    await make(kernel).make("str_1", ALLOWANCE)
    assert not [step for step in kernel.steps if "sw" in step]


async def test_the_processor_is_held_to_its_share_once_the_worker_is_up(kernel: Kernel) -> None:
    group = await v2(kernel).make("str_1", ALLOWANCE)
    kernel.steps.clear()
    await group.slow_down()
    assert kernel.steps == ["strata-x/str_1/cpu.max: 50000 100000"]


async def test_the_same_in_version_1(kernel: Kernel) -> None:
    group = await v1(kernel).make("str_1", ALLOWANCE)
    kernel.steps.clear()
    await group.slow_down()
    assert kernel.steps == [
        "cpu/strata-x/str_1/cpu.cfs_period_us: 100000",
        "cpu/strata-x/str_1/cpu.cfs_quota_us: 50000",
    ]


async def test_one_that_has_ended_meanwhile_is_not_slowed_down(kernel: Kernel) -> None:
    group = await v2(kernel).make("str_1", ALLOWANCE)
    await group.remove()
    kernel.steps.clear()
    await group.slow_down()
    assert not kernel.steps


async def test_only_what_the_tree_has_is_limited(kernel: Kernel) -> None:
    limits = v1(kernel, "pids")
    group = await limits.make("str_1", ALLOWANCE)
    await group.slow_down()
    assert kernel.steps == [
        "mkdir pids/strata-x/str_1",
        "pids/strata-x/str_1/pids.max: 100",
        "mkdir unified/strata-x/str_1",
    ]
    assert group.kills() == 0
    assert limits.description == "cgroup v1: pids"
    assert limits.warning == (
        "workers are not limited in cpu, memory: no such cgroup controller can be used here"
    )


def test_how_workers_are_limited_in_plain_words(kernel: Kernel) -> None:
    both, one = v1(kernel), v2(kernel)
    assert (both.description, both.warning) == ("cgroup v1: cpu, memory, pids", "")
    assert (one.description, one.warning) == ("cgroup v2: cpu, memory, pids", "")
    assert both.classifies
    assert one.classifies
    tree = Tree(kernel.root, kernel.root, 1, frozenset(("cpu",)))
    mixed = Tree(kernel.root, kernel.root, 2, frozenset(("pids", "memory")))
    assert CgroupLimits([tree, mixed]).description == ("cgroup v1 and cgroup v2: cpu, memory, pids")
    assert not CgroupLimits([tree]).classifies


async def test_without_version_2_packets_cannot_be_told_apart(kernel: Kernel) -> None:
    folder = kernel.group("pids/strata-x")
    limits = CgroupLimits([Tree(folder, kernel.root / "pids", 1, frozenset(("pids",)))])
    assert (await limits.make("str_1", ALLOWANCE)).classified_by is None


async def test_a_kernel_that_refuses_is_told_and_nothing_is_left(kernel: Kernel) -> None:
    kernel.refuses = {"pids.max"}
    with pytest.raises(HostError, match=r"Permission denied \(.*pids.max\); .*limits.enforce"):
        await v2(kernel).make("str_1", ALLOWANCE)
    assert kernel.steps[-1] == "rmdir strata-x/str_1"


async def test_a_group_is_made_again_for_the_next_worker(kernel: Kernel) -> None:
    limits = v2(kernel)
    await (await limits.make("str_1", ALLOWANCE)).remove()
    await limits.make("str_1", ALLOWANCE)
    await limits.make("str_1", ALLOWANCE)  # and one that is there still is taken
    assert kernel.steps.count("mkdir strata-x/str_1") == 2


@pytest.mark.parametrize(
    ("make", "path", "text"),
    [
        (v2, "strata-x/str_1/memory.events", "low 0\nmax 7\noom 3\noom_kill 2\n"),
        (v1, "memory/strata-x/str_1/memory.oom_control", "under_oom 0\noom_kill 2\n"),
    ],
)
async def test_what_the_kernel_has_killed_is_counted(
    kernel: Kernel, make: type, path: str, text: str
) -> None:
    group = await make(kernel).make("str_1", ALLOWANCE)
    assert group.kills() == 0
    (kernel.root / path).write_text(text)
    assert group.kills() == 2
    assert make(kernel).adopt("str_1", ALLOWANCE).kills() == 2


def test_a_count_that_is_not_there_is_0(tmp_path: Path) -> None:
    path = tmp_path / "memory.events"
    assert counted(path, "oom_kill") == 0
    path.write_text("\noom 3\n")
    assert counted(path, "oom_kill") == 0


async def test_what_a_worker_left_behind_is_killed(kernel: Kernel, tmp_path: Path) -> None:
    group = await v2(kernel).make("str_1", ALLOWANCE)
    async with Child(["sleep", "60"], tmp_path / "log") as helper:
        (kernel.root / "strata-x/str_1/cgroup.procs").write_text(str(helper.pid))
        await asyncio.wait_for(group.remove(), DEADLINE_S)
        assert await helper.wait(DEADLINE_S) == -9
    assert not (kernel.root / "strata-x/str_1").exists()
    await group.remove()  # a second time is nothing


async def test_a_group_that_does_not_empty_is_told_and_left(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cgroups, "REMOVE_DEADLINE_S", 0.1)
    group = await v2(kernel).make("str_1", ALLOWANCE)
    kernel.group("strata-x/str_1/deeper")
    await asyncio.wait_for(group.remove(), DEADLINE_S)
    assert "strata-x/str_1 cannot be removed: Device or resource busy" in caplog.text


def test_who_has_ended_meanwhile_cannot_be_killed(kernel: Kernel) -> None:
    folder = kernel.group("x", 4_194_305)  # more than there can be
    cgroups._kill_all(folder)
    (folder / "cgroup.procs").unlink()
    cgroups._kill_all(folder)


async def test_what_earlier_hosts_left_is_removed_but_for_what_runs(
    kernel: Kernel, caplog: pytest.LogCaptureFixture
) -> None:
    limits = v1(kernel)
    for name in ("str_1", "str_2"):
        await limits.make(name, ALLOWANCE)
    kernel.steps.clear()
    await limits.sweep({"str_1"})
    assert sorted(kernel.steps) == [
        "rmdir cpu/strata-x/str_2",
        "rmdir memory/strata-x/str_2",
        "rmdir pids/strata-x/str_2",
        "rmdir unified/strata-x/str_2",
    ]
    assert "the group str_2 was left behind" in caplog.text


async def test_the_folders_go_with_the_last_group(kernel: Kernel) -> None:
    limits = v1(kernel)
    group = await limits.make("str_1", ALLOWANCE)
    await limits.close()
    assert (kernel.root / "cpu/strata-x/str_1").exists()
    await group.remove()
    await limits.close()
    await limits.close()
    await limits.sweep(set())
    assert not list(kernel.root.glob("*/strata-x"))


async def test_the_command_enters_all_groups_and_keeps_its_number(
    kernel: Kernel, tmp_path: Path
) -> None:
    group = await v1(kernel).make("str_1", ALLOWANCE)
    command = group.enter(["sh", "-c", 'echo "$$ $1"; read -r line; echo "$line"', "sh", "a  b"])
    async with Child(command, tmp_path / "log", stdin=b"a secret\n") as child:
        assert await child.wait(DEADLINE_S) == 0
        assert child.said() == f"{child.pid} a  b\na secret\n"
    for path in ("cpu", "memory", "pids", "unified"):
        procs = kernel.root / path / "strata-x/str_1/cgroup.procs"
        assert procs.read_text() == f"{child.pid}\n"


def test_a_command_without_groups_is_run_as_it_is() -> None:
    assert entering([], ["sleep", "60"]) == ["sleep", "60"]


def test_a_group_that_cannot_be_entered_is_a_failure(tmp_path: Path) -> None:
    command = entering([tmp_path / "nowhere" / "cgroup.procs"], ["echo", "unlimited"])
    ended = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S)
    assert (ended.returncode, ended.stdout) == (71, "")


async def test_the_limiter_that_does_nothing_does_nothing() -> None:
    limits = NoLimits("workers are not limited: limits.enforce is false")
    await limits.sweep(set())
    for group in (await limits.make("str_1", ALLOWANCE), limits.adopt("str_1", ALLOWANCE)):
        assert group.enter(["sleep", "60"]) == ["sleep", "60"]
        await group.slow_down()
        assert (group.kills(), group.classified_by) == (0, None)
        await group.remove()
    await limits.close()
    assert (limits.description, limits.classifies) == ("nothing", False)
    assert limits.warning == "workers are not limited: limits.enforce is false"
