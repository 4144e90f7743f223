"""How two processes are kept running; here they are shells that note what happens to them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from strata import up
from strata.up import Child
from support.children import until

DEADLINE_S = 20.0


def shell(name: str, script: str) -> Child:
    child = Child(name, [])
    child._command = ["sh", "-c", script]
    return child


async def keep(child: Child) -> list[int]:
    """What it gave up with."""
    given_up: list[int] = []
    await asyncio.wait_for(child.keep_running(given_up.append), DEADLINE_S)
    return given_up


def test_each_half_is_started_as_the_command_of_its_name() -> None:
    child = Child("host", ["--data-dir", "/x"])
    assert child._command == [
        *(sys.executable, "-I", "-m", "strata", "host"),
        *("--parent", str(os.getpid()), "--data-dir", "/x"),
    ]


@pytest.mark.parametrize(("script", "status"), [("exit 2", 2), ("exit 0", 70)])
async def test_one_that_ends_at_once_is_given_up(
    script: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    assert await keep(shell("host", script)) == [status]
    assert "host ended at its start with status" in caplog.text


async def test_one_that_is_killed_is_started_again_however_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each time after a longer pause."""
    monkeypatch.setattr(up, "AGAIN_S", 0.01)
    await starts_three_times(tmp_path / "starts", "kill -9 $$")
    assert "status -9; starting it again in 0.02 s" in caplog.text
    assert "status -9; starting it again in 0.04 s" in caplog.text


async def test_one_that_has_run_for_a_while_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(up, "STEADY_S", 0.0)
    monkeypatch.setattr(up, "AGAIN_S", 0.01)
    await starts_three_times(tmp_path / "starts", "exit 1")
    assert "host ended with status 1; starting it again" in caplog.text


async def starts_three_times(starts: Path, ends: str) -> None:
    """A half that ends like that is started at least so often."""
    child = shell("host", f"echo start >>{starts}; {ends}")
    keeping = asyncio.create_task(keep(child))
    await until(
        lambda: starts.exists() and len(starts.read_text().splitlines()) >= 3, DEADLINE_S, "3 times"
    )
    await child.stop(signal.SIGTERM)
    keeping.cancel()
    await asyncio.wait({keeping}, timeout=DEADLINE_S)


async def started(child: Child, path: Path) -> asyncio.Task[list[int]]:
    keeping = asyncio.create_task(keep(child))
    await until(path.exists, DEADLINE_S, "it runs")
    return keeping


async def test_one_that_is_stopped_is_not_started_again(tmp_path: Path) -> None:
    child = shell("host", f"touch {tmp_path}/up; exec sleep 60")
    keeping = await started(child, tmp_path / "up")
    process = child._process
    assert process is not None
    assert os.getsid(process.pid) == process.pid  # Ctrl-C does not reach it
    await asyncio.wait_for(child.stop(signal.SIGTERM), DEADLINE_S)
    assert process.returncode == -signal.SIGTERM
    assert await keeping == []
    await child.stop(signal.SIGTERM)


async def test_one_that_does_not_stop_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(up, "STOP_DEADLINE_S", 0.2)
    child = shell("host", f"trap '' TERM; touch {tmp_path}/up; while :; do sleep 0.1; done")
    keeping = await started(child, tmp_path / "up")
    await asyncio.wait_for(child.stop(signal.SIGTERM), DEADLINE_S)
    assert child._process is not None
    assert child._process.returncode == -signal.SIGKILL
    assert await keeping == []
    assert "host did not stop in 0 s and is killed" in caplog.text


async def test_stopping_what_was_never_started_is_nothing() -> None:
    child = shell("host", "true")
    await child.stop(signal.SIGTERM)
    assert await keep(child) == []


class Halves:
    """Stands for both: notes each start and end in a file, in their order."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, **ends: str) -> None:
        self._notes = folder / "notes"
        self._parents = folder / "parents"
        cases = "".join(f"{name}) {script} ;;\n" for name, script in ends.items())
        script = folder / "strata"
        script.write_text(
            "#!/bin/sh\n"
            "shift 3; name=$1; shift\n"
            f'[ "$1" = --parent ] && echo "$2" >>{self._parents} && shift 2\n'
            f"trap 'sleep 0.1; echo \"$name stopped\" >>{self._notes}; exit 0' TERM\n"
            f"trap 'sleep 0.1; echo \"$name left\" >>{self._notes}; exit 0' HUP\n"
            f'echo "$name $*" >>{self._notes}\n'
            f'case "$name" in\n{cases}esac\n'
            "while :; do sleep 0.05; done\n"
        )
        script.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(script))

    def parents(self) -> set[int]:
        """Without which of their parents they have been told not to go on."""
        return {int(line) for line in self._parents.read_text().splitlines()}

    def noted(self) -> list[str]:
        return self._notes.read_text().splitlines() if self._notes.exists() else []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_both_run_until_a_signal_and_the_host_ends_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """Control is there to hear how each stream ended."""
    halves = Halves(tmp_path, monkeypatch)
    running = asyncio.create_task(up.run(["--listen", "a:1", "--demo"], demo=True))
    await until(lambda: len(halves.noted()) == 2, DEADLINE_S, "both run")
    assert sorted(halves.noted()) == ["control --listen a:1 --demo", "host --listen a:1"]
    assert halves.parents() == {os.getpid()}
    os.kill(os.getpid(), number)
    assert await asyncio.wait_for(running, DEADLINE_S) == 0
    assert halves.noted()[2:] == ["host stopped", "control stopped"]


async def test_a_terminal_that_is_closed_is_handed_on_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host leaves its streams on the air when it hears of a SIGHUP."""
    halves = Halves(tmp_path, monkeypatch)
    running = asyncio.create_task(up.run([], demo=False))
    await until(lambda: len(halves.noted()) == 2, DEADLINE_S, "both run")
    os.kill(os.getpid(), signal.SIGHUP)
    assert await asyncio.wait_for(running, DEADLINE_S) == 0
    assert halves.noted()[2:] == ["host left", "control left"]


async def test_without_the_demonstration_neither_is_told_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    halves = Halves(tmp_path, monkeypatch)
    running = asyncio.create_task(up.run([], demo=False))
    await until(lambda: len(halves.noted()) == 2, DEADLINE_S, "both run")
    assert sorted(halves.noted()) == ["control ", "host "]
    os.kill(os.getpid(), signal.SIGTERM)
    assert await asyncio.wait_for(running, DEADLINE_S) == 0


@pytest.mark.parametrize(
    ("ends", "status", "other"),
    [({"control": "exit 2"}, 2, "host"), ({"host": "exit 3"}, 3, "control")],
)
async def test_one_half_alone_is_not_kept(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ends: dict[str, str],
    status: int,
    other: str,
) -> None:
    delayed = {
        name: f"while ! grep -q '^{other} ' {tmp_path}/notes; do sleep 0.02; done; {script}"
        for name, script in ends.items()
    }
    halves = Halves(tmp_path, monkeypatch, **delayed)
    found = await asyncio.wait_for(up.run([], demo=False), DEADLINE_S)
    assert found == status
    assert halves.noted()[-1] == f"{other} stopped"


async def test_a_half_that_cannot_be_started_at_all_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere"))
    assert await asyncio.wait_for(up.run([], demo=False), DEADLINE_S) == 70
    assert "task host ended with an error" in caplog.text


def test_the_host_gets_no_password_of_what_it_does_not_use() -> None:
    own = {
        "PATH": "/bin",
        "STRATA_ADMIN_PASSWORD": "canary",
        "STRATA_ADMIN__PASSWORD": "canary",
        "strata_database__url": "canary",
        "STRATA_HOST__BIND": "10.0.0.1",
    }
    assert up.environment("control", own) == own
    assert up.environment("host", own) == {"PATH": "/bin", "STRATA_HOST__BIND": "10.0.0.1"}
