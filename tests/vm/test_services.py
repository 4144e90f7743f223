"""The services as script/install makes them: what of them may be restarted, and what ends all.

Of the installation only the environment is not made anew, because there is no network here.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from support import release
from support.children import Child, until
from support.control import Api, eventually

pytestmark = [
    pytest.mark.vm,
    pytest.mark.timeout(900),  # a processor that is emulated on a busy machine
    pytest.mark.skipif(
        not Path("/run/systemd/system").is_dir(),
        reason="systemd is not PID 1 here: script/in-vm -- .venv/bin/pytest -m vm tests/vm",
    ),
]

CHECKOUT = Path(__file__).parents[2]
RELEASES = Path("/opt/strata")
SETTINGS = Path("/etc/strata/strata.toml")
DATA = Path("/var/lib/strata")
GROUPS = Path("/sys/fs/cgroup")
WORKERS = GROUPS / "strata.slice/strata-workers.service"
URL = "http://127.0.0.1:8080"
DEADLINE_S = 180.0


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}{journal()}"
    return done.stdout


def journal() -> str:
    command = ("journalctl", "--no-pager", "-n", "60", "-u", "strata-*", "-o", "cat")
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout


async def make_release(name: str) -> None:
    """As script/install does, but with the packages of this environment."""
    folder = RELEASES / name
    python = await release.install(folder, name)
    command = python.with_name("strata")
    command.write_text(f"#!{python} -I\nfrom strata.cli import main\nmain()\n")
    command.chmod(0o755)
    (folder / "source").symlink_to(CHECKOUT)
    (folder / "complete").touch()


@pytest.fixture
async def installed() -> AsyncIterator[None]:
    await make_release("0.0.1")
    try:
        run(CHECKOUT / "script/install", "--use", "0.0.1")
        for default in ("ready_timeout_s = 10.0", "silence_timeout_s = 15.0"):
            text = SETTINGS.read_text()
            assert f"#{default}" in text
            slow = f"{default.split(' ')[0]} = {DEADLINE_S}"
            SETTINGS.write_text(text.replace(f"#{default}", slow))
        run("systemctl", "restart", "strata-host")
        yield
    finally:
        run(CHECKOUT / "script/install", "--uninstall")
        assert not RELEASES.exists()
        assert DATA.exists()


async def ready() -> None:
    async with Api(URL) as api:

        async def answers() -> bool:
            try:
                return (await api.http.get("/readyz")).status_code == 200
            except httpx.TransportError:
                return False

        await eventually(answers, DEADLINE_S, f"ready; {journal()}")


async def log_in() -> Api:
    told = Path("/etc/strata/environment").read_text().splitlines()
    [password] = [line.partition("=")[2] for line in told if "PASSWORD" in line]
    async with Api(URL) as api:
        answer = await api.http.post(
            "/api/auth/login", json={"email": "admin@localhost", "password": password}
        )
    assert answer.status_code == 200, answer.text
    return Api(URL, answer.json()["token"])


def worker_of(stream_id: str) -> int:
    mark = f"\0--stream-id\0{stream_id}\0".encode()
    [pid] = [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and mark in _command(entry)
    ]
    return pid


def _command(entry: Path) -> bytes:
    try:
        return (entry / "cmdline").read_bytes()
    except OSError:
        return b""


def state_of(unit: str) -> str:
    command = ("systemctl", "is-active", unit)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.strip()


def main_pid(unit: str) -> int:
    return int(run("systemctl", "show", "--value", "-p", "MainPID", unit))


async def another_pid(unit: str, before: int) -> None:
    await until(lambda: main_pid(unit) not in (0, before), DEADLINE_S, f"{unit} runs again")


def is_as_it_should_be(pid: int, stream_id: str) -> None:
    """It runs as a user without rights, in a group with limits."""
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    assert status["Uid"].split()[0] == run("id", "-u", "strata").strip()
    assert (int(status["CapEff"], 16), int(status["CapAmb"], 16)) == (0, 0)
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    [line] = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    group = GROUPS / line.removeprefix("0::/")
    assert group.is_relative_to(WORKERS)
    assert group.name == stream_id
    assert (group / "memory.max").read_text().strip() == str(256 << 20)
    assert (group / "cpu.max").read_text().strip() == "50000 100000"
    assert stream_id in run("nft", "list", "ruleset")


def sees_no_key(pid: int) -> None:
    """Who takes media apart cannot read what opens the secrets."""
    assert len((DATA / "seal.key").read_bytes()) == 32
    assert Path(f"/proc/{pid}/root/{DATA}/seal.key").read_bytes() == b""


@asynccontextmanager
async def sending(folder: Path, started: dict[str, Any]) -> AsyncIterator[None]:
    """A test picture, small enough for this machine, to each port of a stream."""
    to = [word for port in started["ports"] for word in ("--to", f"rist://127.0.0.1:{port}")]
    size = ("--size", "160x90", "--fps", "24", "--bitrate-kbps", "200")
    command = (sys.executable, "-I", "-m", "strata.sender", *to, *size, "--secrets-stdin")
    psk = json.dumps({"psk": started["psk"]}).encode() + b"\n"
    sender = Child(command, folder / "sender.log", stdin=psk)
    try:
        yield
    finally:
        await sender.end(DEADLINE_S)


def is_on_air(stream: dict[str, Any]) -> bool:
    return bool(stream["on_air"]) and stream["program"]["video"] == "live"


async def test_services(installed: None, tmp_path: Path) -> None:
    await ready()
    async with await log_in() as api, AsyncExitStack() as field:
        [host] = (await api.http.get("/api/hosts")).json()
        assert (host["limits"], host["warnings"]) == ("cgroup v2: cpu, memory, pids", [])
        started = await api.start(record=True)
        id = started["id"]
        pid = worker_of(id)
        is_as_it_should_be(pid, id)
        sees_no_key(pid)
        await field.enter_async_context(sending(tmp_path, started))
        await api.until(id, is_on_air, "on the air", DEADLINE_S)

        for unit in ("strata-host", "strata-control"):
            before = main_pid(unit)
            run("systemctl", "restart", unit)
            await another_pid(unit, before)
            await ready()
            assert worker_of(id) == pid
            is_as_it_should_be(pid, id)
            await api.until(id, is_on_air, "on the air", DEADLINE_S)
        assert (await api.http.post("/api/seal/rotate")).status_code == 200
        os.kill(before := main_pid("strata-host"), signal.SIGKILL)
        await another_pid("strata-host", before)
        await ready()
        # To the same release again, as an upgrade does.
        run(CHECKOUT / "script/install", "--use", "0.0.1")
        run("systemctl", "daemon-reload")
        assert worker_of(id) == pid
        second = (await api.start(record=True))["id"]
        is_as_it_should_be(worker_of(second), second)
        sees_no_key(worker_of(second))
        await api.stop(second)
        await api.until(id, is_on_air, "on the air", DEADLINE_S)
        [recording] = (DATA / "media").glob(f"{id}*.ts")
        written = recording.stat().st_size
        await until(lambda: recording.stat().st_size > written, DEADLINE_S, "it is recorded")

        run("systemctl", "kill", "--signal=TERM", "strata-host")
        stream = await api.until(id, lambda one: one["state"] == "ended", "ended", DEADLINE_S)
        assert not Path(f"/proc/{pid}").exists()
        assert stream["reason"] == "user_stop", stream
        await ready()
        assert state_of("strata-host") == "active"

        # Whoever kills what holds the group of the workers finds all in order afterwards.
        before = main_pid("strata-host")
        os.kill(main_pid("strata-workers"), signal.SIGKILL)
        await another_pid("strata-host", before)
        await ready()
        told = json.loads(run("strata", "doctor", "--json"))
        assert {each["level"] for each in told if each["name"] in ("host", "limits")} == {"ok"}

        id = (await api.start(record=True))["id"]
        await api.until(id, lambda stream: stream["state"] == "waiting", "waits", DEADLINE_S)
        pid = worker_of(id)
        is_as_it_should_be(pid, id)
        await asyncio.to_thread(run, "systemctl", "stop", "strata-workers")
        assert not Path(f"/proc/{pid}").exists()
        assert (state_of("strata-host"), state_of("strata-control")) == ("inactive", "active")
        run("systemctl", "start", "strata-host")
        stream = await api.until(id, lambda one: one["state"] == "ended", "ended", DEADLINE_S)
        assert stream["reason"] == "eos", stream
