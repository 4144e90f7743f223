"""The units of systemd, read by systemd itself; and the lists that have to agree with others."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from strata import settings

ROOT = Path(__file__).parents[3]
UNITS = ROOT / "deploy" / "systemd"
SERVICES = ("strata-workers", "strata-host", "strata-control")
COMMAND = "/opt/strata/current/bin/strata"
COMPILING = {
    *("gcc", "libc6-dev", "pkg-config", "python3-dev", "python3-venv", "librist-dev"),
    *("libcairo2-dev", "libgirepository1.0-dev"),
}
DEMO = {"nginx-light", "libnginx-mod-rtmp"}


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """A copy in which the command is one that is there."""
    for unit in UNITS.iterdir():
        text = unit.read_text()
        assert (f"ExecStart={COMMAND} " in text) == (unit.stem in SERVICES[1:])
        (tmp_path / unit.name).write_text(text.replace(COMMAND, sys.executable))
    return tmp_path


def analyze(*arguments: str | Path) -> tuple[int, str]:
    assert shutil.which("systemd-analyze"), "apt-get install systemd"
    done = subprocess.run(
        ("systemd-analyze", *arguments), capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_systemd_finds_nothing_wrong(units: Path) -> None:
    assert analyze("verify", "--man=no", *sorted(units.iterdir())) == (0, "")


def test_what_is_wrong_would_be_found(units: Path) -> None:
    host = units / "strata-host.service"
    host.write_text(host.read_text().replace("KillSignal=SIGHUP", "KillSignal=SIGNONE"))
    _, said = analyze("verify", "--man=no", host)
    assert "SIGNONE" in said


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_may_do_to_the_machine_is_little(units: Path, name: str) -> None:
    # Of ten, from which systemd calls it "medium": 5.0. The worst, the host, has 2.2.
    status, said = analyze(
        "security", "--offline=true", "--no-pager", "--threshold=25", units / f"{name}.service"
    )
    assert re.search(rf"Overall exposure level for {name}.service: \d\.\d OK", said), said[-300:]
    assert status == 0


def test_a_restart_of_the_host_leaves_what_is_on_the_air() -> None:
    host = (UNITS / "strata-host.service").read_text().splitlines()
    # src/strata/ending.py: SIGTERM would end the streams.
    assert {"KillSignal=SIGHUP", "KillMode=process", "RuntimeDirectoryPreserve=yes"} <= set(host)
    # systemd empties one at each restart, under those who still use it.
    assert "PrivateTmp=yes" not in host


def test_the_installed_settings_can_be_used(tmp_path: Path) -> None:
    """Those that script/install makes, by the very lines of it."""
    script = (ROOT / "script" / "install").read_text()
    [command] = re.findall(r"( +sed -e .*?)>\"\$settings/\.strata\.toml\"\n", script, re.DOTALL)
    made = subprocess.run(
        ("bash", "-euc", f"data=/var/lib/strata deploy={ROOT}/deploy\n{command}"),
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    ).stdout
    file = tmp_path / "strata.toml"
    file.write_text(made)
    found = settings.load(file)
    assert found.data_dir == Path("/var/lib/strata")
    assert found.host.runtime_dir == Path("/run/strata")
    groups = "/sys/fs/cgroup/strata.slice/strata-workers.service"
    assert found.limits.cgroup == Path(groups)


def test_the_container_has_what_a_server_needs() -> None:
    script = (ROOT / "script" / "lib.sh").read_text()
    listed = re.search(r"^run_packages=\(\n(.*?)\n\)", script, re.DOTALL | re.MULTILINE)
    assert listed
    needed = set(listed[1].split()) - COMPILING - DEMO
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    installed = re.search(r"--no-install-recommends \\\n(.*?)\\\n    && rm", dockerfile, re.DOTALL)
    assert installed
    assert set(installed[1].replace("\\", "").split()) == needed
