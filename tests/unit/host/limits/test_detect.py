"""What is found on machines of each kind; their trees are folders."""

from __future__ import annotations

import importlib
import os
import shutil
from pathlib import Path

import pytest

from strata.host.limits.cgroups import CgroupLimits, Tree
from strata.host.limits.limits import NoLimits
from strata.host.limits.systemd import SystemdLimits
from unit.host.limits.kernel import Kernel

detect = importlib.import_module("strata.host.limits.detect")

ALL = frozenset(("cpu", "memory", "pids"))

SYSTEMD_V2 = """\
24 30 0:22 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
31 24 0:27 / {root} rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate
36 30 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro
"""
OWN_SERVICE = "0::/system.slice/strata.service\n"

HYBRID = """\
26 20 0:22 / {root} ro,nosuid,nodev,noexec shared:8 - tmpfs tmpfs ro,size=4096k,mode=755
27 26 0:23 / {root}/unified rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw
28 26 0:24 / {root}/systemd rw,nosuid shared:10 - cgroup cgroup rw,xattr,name=systemd
30 26 0:27 / {root}/cpu,cpuacct rw,nosuid shared:12 - cgroup cgroup rw,cpu,cpuacct
31 26 0:28 / {root}/memory rw,nosuid,nodev,noexec,relatime shared:13 - cgroup cgroup rw,memory
32 26 0:29 / {root}/net_cls,net_prio rw shared:14 - cgroup cgroup rw,net_cls,net_prio
33 26 0:30 / {root}/pids rw,nosuid,nodev,noexec,relatime shared:15 - cgroup cgroup rw,pids
"""
OWN_HYBRID = """\
9:pids:/system.slice/strata.service
7:memory:/system.slice/strata.service
3:cpu,cpuacct:/system.slice/strata.service
1:name=systemd:/system.slice/strata.service
0::/system.slice/strata.service
"""

V1 = """\
41 37 0:31 / {root} rw,relatime - tmpfs tmpfs rw,mode=755
42 41 0:32 / {root}/cpu rw,relatime - cgroup cgroup rw,cpu
43 41 0:33 / {root}/cpuacct rw,relatime - cgroup cgroup rw,cpuacct
44 41 0:34 / {root}/cpuset rw,relatime - cgroup cgroup rw,cpuset
45 41 0:35 / {root}/memory rw,relatime - cgroup cgroup rw,memory
46 41 0:36 / {root}/pids rw,relatime - cgroup cgroup rw,pids
47 41 0:37 / {root}/systemd rw,relatime - cgroup cgroup rw,name=systemd
"""
OWN_V1 = """\
9:name=systemd:/
8:pids:/
4:memory:/process_api/11f7077adb5594ef8a129c6f28fc69f6
2:cpuacct:/
1:cpu:/
0::/
"""

DOCKER_V2 = """\
1213 1200 0:53 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755
1216 1201 0:27 / {root} ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate
"""
OWN_DOCKER = "0::/\n"

NONE = """\
36 30 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro
24 30 0:22 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
"""


class Machine:
    """One that is or is not run by systemd, with the mounts of its kind."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self.root = folder / "cgroup"
        self.root.mkdir()
        self.kernel = Kernel(self.root, monkeypatch)
        for name in ("SYSTEMD", "MOUNTS", "OWN"):
            monkeypatch.setattr(detect, name, folder / name)

    def boots_systemd(self) -> None:
        (self._folder / "SYSTEMD").mkdir()

    def trees(self, mounts: str, own: str) -> list[Tree]:
        found: list[Tree] = detect.usable_trees("strata-x", mounts.format(root=self.root), own)
        return found

    def limits(
        self, mounts: str, own: str, *, enforce: bool = True, delegated: Path | None = None
    ) -> object:
        (self._folder / "MOUNTS").write_text(mounts.format(root=self.root))
        (self._folder / "OWN").write_text(own)
        return detect.best("strata-x", enforce=enforce, delegated=delegated)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def as_user(monkeypatch: pytest.MonkeyPatch, number: int, *, systemd_run: bool = True) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: number)
    found = "/usr/bin/systemd-run" if systemd_run else None
    monkeypatch.setattr(shutil, "which", lambda name: found)


def hierarchies(mounts: str) -> list[tuple[str, int, set[str]]]:
    found = detect.hierarchies(mounts.format(root="/c"))
    return [(str(mount), version, set(controllers)) for mount, version, controllers in found]


def test_the_hierarchies_of_each_kind_of_machine() -> None:
    assert hierarchies(SYSTEMD_V2) == [("/c", 2, set())]
    assert hierarchies(HYBRID) == [
        ("/c/unified", 2, set()),
        ("/c/cpu,cpuacct", 1, {"cpu"}),
        ("/c/memory", 1, {"memory"}),
        ("/c/pids", 1, {"pids"}),
    ]
    assert hierarchies(V1) == [
        ("/c/cpu", 1, {"cpu"}),
        ("/c/memory", 1, {"memory"}),
        ("/c/pids", 1, {"pids"}),
    ]
    assert hierarchies(DOCKER_V2) == [("/c", 2, set())]
    assert hierarchies(NONE) == []
    assert hierarchies("") == []


def test_the_texts_of_this_very_machine_are_understood() -> None:
    for mount, version, _ in detect.hierarchies(Path("/proc/self/mountinfo").read_text()):
        assert mount.is_absolute()
        assert version in (1, 2)


@pytest.mark.parametrize(
    ("version", "controllers", "own", "wanted"),
    [
        (2, "", OWN_SERVICE, "/c/system.slice/strata.service"),
        (2, "", OWN_HYBRID, "/c/system.slice/strata.service"),
        (2, "", OWN_DOCKER, "/c"),
        (1, "memory", OWN_V1, "/c/process_api/11f7077adb5594ef8a129c6f28fc69f6"),
        (1, "cpu", OWN_HYBRID, "/c/system.slice/strata.service"),
        (1, "cpu", OWN_V1, "/c"),
        (1, "pids", OWN_SERVICE, "/c"),
        (2, "", "", "/c"),
        (2, "", "0::/odd:name\n", "/c/odd:name"),
    ],
)
def test_the_group_that_this_process_is_in(
    version: int, controllers: str, own: str, wanted: str
) -> None:
    wants = frozenset((controllers,)) if controllers else frozenset()
    assert detect.own_group(Path("/c"), version, wants, own) == Path(wanted)


def test_a_service_of_systemd_makes_groups_in_what_it_was_delegated(machine: Machine) -> None:
    machine.boots_systemd()
    machine.kernel.group("", cgroup_controllers="cpuset cpu io memory pids")
    service = machine.kernel.group(
        "system.slice/strata.service", cgroup_controllers="cpu memory pids"
    )
    assert machine.trees(SYSTEMD_V2, OWN_SERVICE) == [
        Tree(service / "strata-x", machine.root, 2, ALL)
    ]
    below = "system.slice/strata.service"
    assert machine.kernel.steps == [
        f"mkdir {below}/strata-x",
        f"{below}/cgroup.subtree_control: +cpu +memory +pids",
        f"{below}/strata-x/cgroup.subtree_control: +cpu +memory +pids",
        f"{below}/strata-x/cpu.weight: 10000",
    ]


def test_a_group_with_processes_in_it_is_emptied_into_one_below(machine: Machine) -> None:
    machine.boots_systemd()
    service = machine.kernel.group(
        "system.slice/strata.service", os.getpid(), os.getppid(), cgroup_controllers="pids"
    )
    machine.trees(SYSTEMD_V2, OWN_SERVICE)
    assert machine.kernel.pids(service) == []
    assert machine.kernel.pids(service / "main") == [os.getpid(), os.getppid()]
    assert (service / "cgroup.subtree_control").read_text() == "+pids"


def test_a_process_that_cannot_be_moved_does_not_hide_why_nothing_is_limited(
    machine: Machine,
) -> None:
    machine.kernel.group("", os.getpid(), cgroup_controllers="pids")
    machine.kernel.refuses = {"cgroup.procs"}
    assert machine.trees(DOCKER_V2, OWN_DOCKER) == []


def test_controllers_that_may_not_be_handed_down_are_of_no_use(machine: Machine) -> None:
    machine.kernel.group("", cgroup_controllers="cpu memory pids")
    machine.kernel.refuses = {"cgroup.subtree_control"}
    assert machine.trees(DOCKER_V2, OWN_DOCKER) == []


def test_a_host_that_is_started_again_by_its_parent_finds_the_same_folder(
    machine: Machine,
) -> None:
    machine.boots_systemd()
    service = machine.kernel.group(
        "system.slice/strata.service", os.getpid(), os.getppid(), cgroup_controllers="pids"
    )
    machine.kernel.has = {"cgroup.controllers": "pids"}
    first = machine.trees(SYSTEMD_V2, OWN_SERVICE)
    assert machine.kernel.pids(service / "main") == [os.getpid(), os.getppid()]
    assert machine.trees(SYSTEMD_V2, OWN_SERVICE.replace("\n", "/main\n")) == first


def test_a_hybrid_machine_is_limited_by_version_1_and_told_apart_by_version_2(
    machine: Machine,
) -> None:
    for name in ("cpu,cpuacct", "memory", "pids"):
        machine.kernel.group(name)
    machine.kernel.group("unified", cgroup_controllers="")
    root = machine.root
    assert machine.trees(HYBRID, OWN_DOCKER) == [
        Tree(root / "unified/strata-x", root / "unified", 2, frozenset()),
        Tree(root / "cpu,cpuacct/strata-x", root / "cpu,cpuacct", 1, frozenset(("cpu",))),
        Tree(root / "memory/strata-x", root / "memory", 1, frozenset(("memory",))),
        Tree(root / "pids/strata-x", root / "pids", 1, frozenset(("pids",))),
    ]
    limits = machine.limits(HYBRID, OWN_DOCKER)
    assert isinstance(limits, CgroupLimits)
    assert (limits.description, limits.warning) == ("cgroup v1: cpu, memory, pids", "")
    assert limits.classifies


def test_a_machine_with_version_1_alone(machine: Machine) -> None:
    for name in ("cpu", "memory", "pids"):
        machine.kernel.group(name)
    limits = machine.limits(V1, OWN_V1)
    assert isinstance(limits, CgroupLimits)
    assert limits.description == "cgroup v1: cpu, memory, pids"
    assert not limits.classifies
    assert machine.kernel.steps == [
        "mkdir cpu/strata-x",
        "cpu/strata-x/cpu.shares: 102400",
        "mkdir memory/strata-x",
        "mkdir pids/strata-x",
    ]


def test_a_tree_that_may_not_be_written_to_is_left_out(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cpu", "memory", "pids"):
        machine.kernel.group(name)
    (machine.root / "cpu/strata-x").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: "/cpu/" not in str(path))
    limits = machine.limits(V1, OWN_V1)
    assert isinstance(limits, CgroupLimits)
    assert limits.description == "cgroup v1: memory, pids"
    assert "not limited in cpu" in limits.warning


def test_a_container_with_a_tree_of_its_own_uses_that(machine: Machine) -> None:
    machine.kernel.group("", os.getpid(), cgroup_controllers="cpuset cpu io memory hugetlb pids")
    machine.kernel.has = {"cgroup.controllers": "cpu memory pids"}
    for _ in range(2):  # the next host finds the same
        assert machine.trees(DOCKER_V2, OWN_DOCKER) == [
            Tree(machine.root / "strata-x", machine.root, 2, ALL)
        ]
    assert machine.kernel.pids(machine.root / "main") == [os.getpid()]


def test_a_container_that_may_only_look_has_no_limits(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.kernel.group("", cgroup_controllers="cpu memory pids")
    make = Path.mkdir

    def refuse(path: Path, *args: object, **more: object) -> None:
        if machine.root in path.parents:
            raise OSError(30, "Read-only file system", str(path))
        make(path, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "mkdir", refuse)
    limits = machine.limits(DOCKER_V2, OWN_DOCKER)
    assert isinstance(limits, NoLimits)
    assert "Run the host as root, or as the services that script/install makes" in limits.warning


def test_a_machine_without_control_groups_has_no_limits(machine: Machine) -> None:
    limits = machine.limits(NONE, OWN_DOCKER)
    assert isinstance(limits, NoLimits)
    assert limits.description == "nothing"


def test_a_tree_without_controllers_alone_is_no_limit(machine: Machine) -> None:
    machine.kernel.group("", cgroup_controllers="")
    assert isinstance(machine.limits(SYSTEMD_V2, OWN_DOCKER), NoLimits)


def test_an_operator_can_do_without(machine: Machine) -> None:
    machine.boots_systemd()
    limits = machine.limits(V1, OWN_V1, enforce=False)
    assert isinstance(limits, NoLimits)
    assert limits.warning == "workers are not limited: limits.enforce is false"
    assert not machine.kernel.steps


def test_where_root_can_ask_systemd_it_does(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.boots_systemd()
    as_user(monkeypatch, 0)
    assert isinstance(machine.limits(SYSTEMD_V2, OWN_SERVICE), SystemdLimits)
    assert not machine.kernel.steps


@pytest.mark.parametrize(("user", "systemd_run"), [(1000, True), (0, False)])
def test_who_cannot_ask_systemd_uses_what_it_has_delegated(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, user: int, systemd_run: bool
) -> None:
    machine.boots_systemd()
    machine.kernel.group("system.slice/strata.service", cgroup_controllers="cpu memory pids")
    as_user(monkeypatch, user, systemd_run=systemd_run)
    assert isinstance(machine.limits(SYSTEMD_V2, OWN_SERVICE), CgroupLimits)


@pytest.mark.parametrize("user", [0, 1000])
def test_a_group_that_was_delegated_beside_goes_before_all_else(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, user: int
) -> None:
    machine.boots_systemd()
    machine.kernel.group("strata.slice/host.service", cgroup_controllers="cpu memory pids")
    beside = machine.kernel.group(
        "strata.slice/workers.service", cgroup_controllers="cpu memory pids"
    )
    as_user(monkeypatch, user)
    own = "0::/strata.slice/host.service\n"
    limits = machine.limits(SYSTEMD_V2, own, delegated=beside)
    assert isinstance(limits, CgroupLimits)
    assert limits.description == "cgroup v2: cpu, memory, pids"
    assert machine.kernel.steps[0] == "mkdir strata.slice/workers.service/strata-x"
    assert not [step for step in machine.kernel.steps if "host.service" in step]


def test_a_delegated_group_that_is_not_there_is_passed_over(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.boots_systemd()
    as_user(monkeypatch, 1000)
    machine.kernel.group("system.slice/strata.service", cgroup_controllers="pids")
    machine.limits(SYSTEMD_V2, OWN_SERVICE, delegated=machine.root / "nowhere")
    assert machine.kernel.steps[0] == "mkdir system.slice/strata.service/strata-x"
