from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pytest

from strata import cli
from unit.client.platform import TOKEN, FakePlatform, served


@dataclass
class Outcome:
    status: int
    out: str
    err: str


Run: TypeAlias = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nobody is logged in, whatever the developer's shell says. Where a login is kept."""
    for name in ("STRATA_URL", "STRATA_TOKEN", "STRATA_PASSWORD", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path / "strata" / "client.json"


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakePlatform]:
    """With a login that is in the environment."""
    with served() as one:
        monkeypatch.setenv("STRATA_URL", one.url)
        monkeypatch.setenv("STRATA_TOKEN", TOKEN)
        yield one


@pytest.fixture
def strata(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command, as a shell runs it, without a terminal."""

    def run(*arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["strata", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        status = ended.value.code
        assert "canary-token" not in said.out + said.err
        return Outcome(status if isinstance(status, int) else 0, said.out, said.err)

    return run
