"""The `strata` command as a client of a real `strata up`; backup and restore beside it."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.control import EMAIL, PASSWORD, Place, StrataUp, environment_of, place

DEADLINE_S = 60.0


@pytest.fixture
def here() -> Iterator[Place]:
    with place() as one:
        yield one


@dataclass
class Outcome:
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Shell:
    """Somebody's shell on the same machine."""

    def __init__(self, here: Place) -> None:
        self.home = here.folder / "home"
        self._environment = environment_of(here) | {"XDG_CONFIG_HOME": str(self.home)}

    async def run(self, *arguments: str | Path, stdin: str = "", **environment: str) -> Outcome:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-m", "strata", *arguments),
            env=self._environment | environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(stdin.encode()), DEADLINE_S)
        except BaseException:
            process.kill()
            await process.wait()
            raise
        assert process.returncode is not None
        return Outcome(process.returncode, out.decode(), err.decode())

    async def well(self, *arguments: str | Path, stdin: str = "", **environment: str) -> Outcome:
        found = await self.run(*arguments, stdin=stdin, **environment)
        assert found.status == 0, found
        return found


@pytest.fixture
def shell(here: Place) -> Shell:
    return Shell(here)


@pytest.fixture
async def running(here: Place, shell: Shell) -> AsyncIterator[StrataUp]:
    """Started from a shell that has a login of its own in its environment."""
    environment = {"STRATA_URL": "http://127.0.0.1:1", "STRATA_TOKEN": "tok_1.x"}
    async with StrataUp(here, environment=environment, ports=4) as one:
        login = await shell.well("login", "--url", one.url, "--email", EMAIL, stdin=f"{PASSWORD}\n")
        assert login.out == f"{EMAIL} is logged in at {one.url}\n"
        yield one


async def test_a_broadcast_from_a_shell(running: StrataUp, shell: Shell) -> None:
    kept = shell.home / "strata" / "client.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert "no stream runs" in (await shell.well("streams")).out
    started = await shell.well("start", "--record", "--name", "Derby")
    assert "ristsender -p 1" in started.out
    [stream] = (await shell.well("streams", "--json")).json
    part = stream["id"][-6:]
    shown = await shell.well("streams", part)
    assert stream["id"] in shown.out
    assert "waiting" in shown.out
    assert "Derby" in (await shell.well("streams")).out
    assert "local" in (await shell.well("hosts")).out
    stopped = await shell.well("stop", part)
    assert stopped.out.startswith(f"{stream['id']} ended")
    events = (await shell.well("events", "--since", "10m", "--json")).json
    assert {"login", "state"} <= {each["type"] for each in events}
    assert (await shell.run("stop", part)).status in (0, 1)  # it had ended; nothing hangs
    assert (await shell.run("stop", "nothing-like-it")).status == 1


async def test_people_and_their_tokens(running: StrataUp, shell: Shell) -> None:
    added = await shell.well(
        "users", "add", "you@example.org", "--role", "viewer", stdin="a-good-password\n"
    )
    assert "as viewer" in added.out
    token = (await shell.well("tokens", "add", "scoreboard", "--days", "1", "--json")).json
    environment = {"STRATA_URL": running.url, "STRATA_TOKEN": token["token"]}
    assert (await shell.well("tokens", **environment)).out.count("scoreboard") == 1
    await shell.well("tokens", "remove", "scoreboard")
    assert (await shell.run("tokens", **environment)).status == 3
    await shell.well("users", "remove", "you@example.org")
    taken = await shell.run("users", "add", EMAIL, stdin="a-good-password\n")
    assert taken.status == 1
    assert taken.err.count("\n") == 1
    await shell.well("logout")
    assert (await shell.run("streams")).status == 3


async def test_the_database_is_saved_while_it_runs_and_restored(
    running: StrataUp, shell: Shell, here: Place
) -> None:
    archive = here.folder / "strata.tar.gz"
    folder = ("--data-dir", here.data)
    started = (await shell.well("start", "--record", "--name", "Derby", "--json")).json
    saved = await shell.well("backup", archive, *folder)
    assert "whoever has it can open the secrets" in saved.out
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    refused = await shell.run("restore", archive, *folder, "--force")
    assert refused.status == 2
    assert "another strata runs" in refused.err
    await shell.well("stop", started["id"])
    assert await running.stop() == 0
    assert "--force" in (await shell.run("restore", archive, *folder)).err
    await shell.well("restore", archive, *folder, "--force")
    async with StrataUp(here, ports=4, port=running.port), await running.log_in() as api:
        # It was on the air when it was saved; no worker of it is there now.
        stream = await api.until(started["id"], lambda row: row["state"] == "failed", "told")
    assert stream["reason"] == "host_lost"
    assert os.listdir(next(here.data.glob("before-restore-*")))


async def test_a_platform_that_is_gone(running: StrataUp, shell: Shell) -> None:
    assert await running.stop() == 0
    found = await shell.run("streams")
    assert found.status == 3
    assert "cannot be reached" in found.err
    assert found.err.count("\n") == 1
