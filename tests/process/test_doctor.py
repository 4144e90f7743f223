"""``strata doctor`` as a process: on a machine without and with a platform that runs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from support.control import Place, StrataUp, environment_of, place


@pytest.fixture
def here() -> Iterator[Place]:
    with place() as one:
        yield one


def doctor(here: Place, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        (sys.executable, "-I", "-m", "strata", "doctor", "--data-dir", str(here.data), *arguments),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        env=environment_of(here),
    )
    return done.returncode, done.stdout, done.stderr


def found(here: Place, *arguments: str) -> tuple[int, dict[str, Any]]:
    status, told, _ = doctor(here, "--json", *arguments)
    return status, {each["name"]: each for each in json.loads(told)}


async def test_before_and_while_it_runs(here: Place) -> None:
    status, before = found(here, "--port-range", "47000-47003", "--listen", "127.0.0.1:1")
    assert {before[name]["level"] for name in ("settings", "media", "data", "database")} == {"ok"}
    assert "nobody listens" in before["api"]["text"]
    assert "none runs" in before["host"]["text"]
    assert status == int(any(each["level"] == "error" for each in before.values()))
    assert not here.data.exists()

    async with StrataUp(here) as up:
        listen = ("--listen", f"127.0.0.1:{up.port}")
        status, running = found(here, *listen)
        assert "Strata answers" in running["api"]["text"]
        assert "it runs: 0 streams" in running["host"]["text"]
        assert running["data"]["level"] == "ok"
        # Its own port range is in use by itself: that is no finding.
        assert "ports" not in running

        (here.data / "seal.key").unlink()
        status, told, _ = doctor(here, *listen)
        assert status == 1
        [line] = [each for each in told.splitlines() if each.startswith("error")]
        assert "there is a database and no" in line
        assert "1 errors" in told


def test_settings_that_cannot_be_used_do_not_hide_the_rest(here: Place) -> None:
    config = here.folder / "strata.toml"
    config.write_text("[server]\nlisten = 'nowhere'\n")
    status, told = found(here, "--config", str(config))
    assert status == 1
    assert told["settings"]["level"] == "error"
    assert "server.listen" in told["settings"]["text"]
    assert told["media"]["level"] == "ok"
    assert "api" not in told
