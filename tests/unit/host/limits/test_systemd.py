"""The command lines that systemd is given; ``systemctl`` is a script that writes them down."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from strata.errors import HostError
from strata.host.limits import systemd
from strata.host.limits.limits import Allowance, Place
from strata.host.limits.systemd import SystemdLimits

DEADLINE_S = 20.0
ALLOWANCE = Allowance(cpu_cores=0.5, memory_mb=256, tasks=100)


class Systemd:
    """Stands for systemctl(1) in ``PATH``, and for the tree of groups."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        for module in ("systemd", "limits"):
            monkeypatch.setattr(f"strata.host.limits.{module}.SYSFS", folder / "cgroup")
        self.root = folder / "cgroup"
        self._script = folder / "bin" / "systemctl"
        self._given = folder / "given"
        self._script.parent.mkdir()
        self.root.mkdir()
        monkeypatch.setenv("PATH", f"{self._script.parent}:/usr/bin:/bin")
        self.answers()

    def answers(self, with_: str = "true") -> None:
        self._script.write_text(f'#!/bin/sh\necho "$*" >>{self._given}\n{with_}\n')
        self._script.chmod(0o755)

    def is_missing(self) -> None:
        self._script.unlink()
        self._monkeypatch.setenv("PATH", str(self._script.parent))

    def slice(self, name: str = "") -> Path:
        folder = self.root / "strata_x.slice" / name
        folder.mkdir(parents=True)
        return folder

    def given(self) -> list[str]:
        return self._given.read_text().splitlines() if self._given.exists() else []


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Systemd:
    return Systemd(tmp_path, monkeypatch)


async def test_a_worker_is_spawned_in_a_scope_in_a_slice_of_its_own(machine: Systemd) -> None:
    group = await SystemdLimits("strata-x").make("str_1", ALLOWANCE)
    assert group.enter(["worker", "--name=-x"]) == [
        *("systemd-run", "--scope", "--quiet", "--collect"),
        *("--unit=strata_x-str_1", "--slice=strata_x-str_1.slice"),
        *("--property=MemoryMax=256M", "--property=MemorySwapMax=0"),
        *("--property=TasksMax=100", "--property=CPUAccounting=yes"),
        *("--", "worker", "--name=-x"),
    ]
    assert group.classified_by == Place(
        "strata_x.slice/strata_x-str_1.slice/strata_x-str_1.scope", 3
    )
    assert not machine.given()


async def test_it_is_held_to_its_share_once_it_is_up(machine: Systemd) -> None:
    await (await SystemdLimits("strata-x").make("str_1", ALLOWANCE)).slow_down()
    assert machine.given() == ["--quiet set-property --runtime strata_x-str_1.scope CPUQuota=50%"]


async def test_what_the_kernel_has_killed_is_counted_when_the_scope_is_gone(
    machine: Systemd,
) -> None:
    group = SystemdLimits("strata-x").adopt("str_1", ALLOWANCE)
    assert group.kills() == 0
    folder = machine.slice("strata_x-str_1.slice")
    (folder / "memory.events").write_text("oom 1\noom_kill 2\n")
    assert group.kills() == 2


async def test_a_slice_is_stopped_with_what_is_in_it(machine: Systemd) -> None:
    group = SystemdLimits("strata-x").adopt("str_1", ALLOWANCE)
    await group.remove()
    assert not machine.given()  # it was gone
    machine.slice("strata_x-str_1.slice")
    await group.remove()
    assert machine.given() == ["--quiet stop strata_x-str_1.slice"]


async def test_what_earlier_hosts_left_is_stopped_but_for_what_runs(
    machine: Systemd, caplog: pytest.LogCaptureFixture
) -> None:
    limits = SystemdLimits("strata-x")
    await limits.sweep(set())
    await limits.close()
    weight = "--quiet set-property --runtime strata_x.slice CPUWeight=10000"
    assert machine.given() == [weight]
    for name in ("strata_x-str_1.slice", "strata_x-str_2.slice"):
        machine.slice(name)
    (machine.root / "strata_x.slice" / "cgroup.procs").touch()
    await limits.sweep({"str_1"})
    await limits.close()
    assert machine.given()[1:] == [
        weight,
        "--quiet stop strata_x-str_2.slice",
        "--quiet stop strata_x.slice",
    ]
    assert "strata_x-str_2.slice was left behind" in caplog.text


async def test_a_systemd_that_refuses_is_told_in_its_words(
    machine: Systemd, caplog: pytest.LogCaptureFixture
) -> None:
    machine.answers("echo 'Unit is not loaded.' >&2; exit 5")
    await SystemdLimits("strata-x").adopt("str_1", ALLOWANCE).slow_down()
    assert "strata_x-str_1.scope CPUQuota=50%: Unit is not loaded." in caplog.text


async def test_a_systemd_that_does_not_answer_is_given_up(
    machine: Systemd, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(systemd, "DEADLINE_S", 0.2)
    machine.answers("exec sleep 60")
    group = SystemdLimits("strata-x").adopt("str_1", ALLOWANCE)
    await asyncio.wait_for(group.slow_down(), DEADLINE_S)
    assert "did not answer in 0 s" in caplog.text


async def test_without_systemctl_it_is_told_what_to_install(machine: Systemd) -> None:
    machine.is_missing()
    group = SystemdLimits("strata-x").adopt("str_1", ALLOWANCE)
    with pytest.raises(HostError, match="systemctl cannot be run: No such file or directory"):
        await group.slow_down()


def test_packets_are_told_apart_where_the_tree_is_of_version_2(machine: Systemd) -> None:
    assert not SystemdLimits("strata-x").classifies
    (machine.root / "cgroup.controllers").touch()
    assert SystemdLimits("strata-x").classifies
