"""The unit of the field sender, and what script/install makes of its settings."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from strata.sender import settings
from unit.deploy.test_units import ROOT, analyze

UNIT = ROOT / "deploy" / "strata-sender.service"
COMMAND = "/opt/strata/current/bin/strata-sender"
INSTALL = ROOT / "script" / "install"


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """A copy in which the command is one that is there."""
    text = UNIT.read_text()
    assert f"ExecStart={COMMAND} --config /etc/strata-sender/sender.toml\n" in text
    copy = tmp_path / UNIT.name
    copy.write_text(text.replace(COMMAND, sys.executable))
    return copy


def test_systemd_finds_nothing_wrong(unit: Path) -> None:
    assert analyze("verify", "--man=no", unit) == (0, "")


def test_what_it_may_do_to_the_machine_is_little(unit: Path) -> None:
    status, said = analyze("security", "--offline=true", "--no-pager", "--threshold=25", unit)
    assert re.search(r"Overall exposure level for strata-sender.service: \d\.\d OK", said), said
    assert status == 0


def function(name: str) -> str:
    found = re.search(rf"^{name}\(\) \{{\n.*?^\}}\n", INSTALL.read_text(), re.DOTALL | re.MULTILINE)
    assert found, name
    return found[0]


def made(folder: Path) -> Path:
    """The settings that script/install makes, by the very lines of it, in a folder."""
    group = subprocess.run(("id", "-gn"), capture_output=True, text=True, check=True).stdout.strip()
    subprocess.run(
        (
            *("bash", "-euc"),
            f"sender_settings={folder}/etc sender_group={group}\n"
            f"deploy={ROOT}/deploy\n{function('make_sender_settings')}make_sender_settings",
        ),
        check=True,
        timeout=10,
    )
    return folder / "etc"


def test_the_installed_settings_can_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(os.environ):
        if name.startswith("STRATA_"):
            monkeypatch.delenv(name)
    found = made(tmp_path)
    assert (found / "sender.toml").stat().st_mode & 0o777 == 0o640
    assert (found / "environment").stat().st_mode & 0o777 == 0o600
    assert re.search(
        r"^STRATA_SENDER_ENROLLMENT_TOKEN=$", (found / "environment").read_text(), re.M
    )
    loaded = settings.load(found / "sender.toml")
    assert settings.exposure(found / "sender.toml", loaded) is None


def test_what_an_operator_has_changed_stays(tmp_path: Path) -> None:
    found = made(tmp_path)
    (found / "sender.toml").write_text("mine")
    (found / "environment").write_text("mine")
    made(tmp_path)
    assert (found / "sender.toml").read_text() == (found / "environment").read_text() == "mine"
