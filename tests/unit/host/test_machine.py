from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from strata import settings
from strata.host import machine

MEMINFO = """\
MemTotal:        4030092 kB
MemFree:          215040 kB
MemAvailable:    2048000 kB
HugePages_Total:       3
DirectMap:
of no use
"""


def test_meminfo_counts_in_units_of_1024_bytes() -> None:
    found = machine.meminfo(MEMINFO)
    assert found["MemAvailable"] == 2000.0
    assert found["MemTotal"] == pytest.approx(3935.636)
    assert "DirectMap" not in found
    assert "of no use" not in found


def test_what_this_machine_has(tmp_path: Path) -> None:
    loaded = settings.load(data_dir=tmp_path)
    settings.make_folders(loaded)
    found = machine.capacity(loaded)
    assert found.cpu_cores == len(os.sched_getaffinity(0))
    assert 0.0 < found.free_memory_mb < found.memory_mb
    total = shutil.disk_usage(tmp_path).total / machine.MB
    assert 0.0 < found.free_disk_mb <= total
    assert (found.fill_percent, found.min_disk_mb) == (80.0, 1024.0)
    assert found.egress_kbps is None


def test_what_only_the_operator_knows(tmp_path: Path) -> None:
    loaded = settings.load(
        data_dir=tmp_path,
        host={"egress_mbps": 20.0},
        admission={"fill_percent": 50.0, "min_disk_mb": 10.0},
    )
    settings.make_folders(loaded)
    found = machine.capacity(loaded)
    assert found.egress_kbps == 20_000.0
    assert (found.fill_percent, found.min_disk_mb) == (50.0, 10.0)


def test_a_process_that_may_not_use_all_cores_counts_only_those(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = settings.load(data_dir=tmp_path)
    settings.make_folders(loaded)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3})
    assert machine.capacity(loaded).cpu_cores == 2.0
