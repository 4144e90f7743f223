"""With real, small processes: what is spawned is a shell or a Python of a few lines."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from strata.errors import WorkerFailed
from strata.host import process
from strata.host.process import Exit, Identity, Process
from strata.settings import Worker
from strata.wire.worker import Secrets
from strata.worker import cli as worker_cli
from support.children import until

SECRETS = Secrets("a-psk-of-the-tests", ["rtmp://host/live/stream-key"])
DEADLINE_S = 20.0

spawned: list[Process] = []


@pytest.fixture(autouse=True)
async def _end_what_is_left(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    yield
    while spawned:
        one = spawned.pop()
        one.signal(signal.SIGKILL)
        await asyncio.wait_for(one.exit, DEADLINE_S)


def spawn(log: Path, *command: str, secrets: Secrets = SECRETS) -> Process:
    spawned.append(Process.spawn(list(command), secrets, log))
    return spawned[-1]


async def ended(one: Process) -> Exit:
    return await asyncio.wait_for(asyncio.shield(one.exit), DEADLINE_S)


def test_the_command_line_is_one_that_the_worker_takes(tmp_path: Path) -> None:
    settings = Worker(buffer_ms=500, max_egress_kbps=0, stall_timeout_s=7.5, orphan_timeout_s=0)
    command = process.argv(
        *("str_1", (15000, 15002), tmp_path / "str_1.sock", "::", settings),
        name="-the derby",
        slate="off",
    )
    assert not {"--slate-now", "--keep-damaged"} & set(command)
    assert command[:4] == [sys.executable, "-I", "-m", "strata.worker"]
    assert command[-1] == "--secrets-stdin"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker_cli, "_read_secrets", lambda: (SECRETS.psk, SECRETS.forwards, (), 0))
        config = worker_cli.parse(command[4:], {})
    assert config.stream_id == "str_1"
    assert config.ports == (15000, 15002)
    assert config.control_socket == tmp_path / "str_1.sock"
    assert config.bind == "::"
    assert (config.slate.name, config.slate.wanted) == ("-the derby", False)
    assert config.buffer_ms == 500
    assert config.stats_interval_ms == 1000
    assert config.max_egress_kbps == 0
    assert config.stall_timeout_s == 7.5
    assert config.orphan_timeout_s == 0
    assert config.no_input_timeout_s == 0
    assert config.aes_bits == 256


def test_what_was_set_while_it_ran_is_set_from_the_beginning(tmp_path: Path) -> None:
    command = process.argv(
        *("str_1", (15000,), tmp_path / "str_1.sock", "::", Worker()),
        slate_now=True,
        max_egress_kbps=7000,
        keep_damaged=True,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker_cli, "_read_secrets", lambda: (SECRETS.psk, SECRETS.forwards, (), 0))
        config = worker_cli.parse(command[4:], {})
    assert (config.slate.holds, config.max_egress_kbps, config.keep_damaged) == (True, 7000, True)


def test_a_worker_inherits_what_it_needs_and_nothing_else() -> None:
    own = {
        "PATH": "/bin",
        "LANG": "C",
        "GST_DEBUG": "2",
        "GST_PLUGIN_SYSTEM_PATH_1_0": "/x",
        "STRATA_ADMIN_PASSWORD": "canary",
        "STRATA_DATABASE__URL": "canary",
        "AWS_SECRET_ACCESS_KEY": "canary",
        "LD_PRELOAD": "canary",
        "PYTHONPATH": "canary",
    }
    assert process.environment(own) == {
        "MALLOC_ARENA_MAX": "1",
        "PATH": "/bin",
        "LANG": "C",
        "GST_DEBUG": "2",
        "GST_PLUGIN_SYSTEM_PATH_1_0": "/x",
    }


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "exit status 0"),
        (70, "exit status 70"),
        (-9, "signal SIGKILL"),
        (-11, "signal SIGSEGV"),
        (None, "an unknown exit status"),
    ],
)
def test_how_an_exit_is_told(status: int | None, words: str) -> None:
    assert str(Exit(status)) == words


async def test_secrets_go_to_standard_input_as_one_line(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "str_1.log"
    one = spawn(log, "sh", "-c", 'read -r line; echo "$line"; read -r more || echo closed')
    assert await ended(one) == Exit(0)
    said, end = log.read_text().splitlines()
    assert json.loads(said) == {
        "psk": SECRETS.psk,
        "forwards": SECRETS.forwards,
        "forward_ids": [],
        "last_forward": 0,
    }
    assert end == "closed"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


async def test_the_process_has_a_session_and_a_root_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRATA_ADMIN_PASSWORD", "canary")
    one = spawn(tmp_path / "log", "sleep", "60")
    assert os.getsid(one.pid) == one.pid
    assert Path(f"/proc/{one.pid}/cwd").readlink() == Path("/")
    await until(lambda: Path(f"/proc/{one.pid}/comm").read_text() == "sleep\n", 5.0, "it runs")
    assert b"canary" not in Path(f"/proc/{one.pid}/environ").read_bytes()
    one.signal(signal.SIGTERM)
    assert await ended(one) == Exit(-signal.SIGTERM)


async def test_a_signal_to_one_that_has_ended_is_nothing(tmp_path: Path) -> None:
    one = spawn(tmp_path / "log", "true")
    assert await ended(one) == Exit(0)
    one.signal(signal.SIGKILL)
    assert await ended(one) == Exit(0)


async def test_a_signal_before_its_end_was_noticed_is_nothing(tmp_path: Path) -> None:
    one = spawn(tmp_path / "log", "true")
    # Reaped behind its back, as if the number had been given to somebody else by now.
    os.waitid(os.P_PID, one.pid, os.WEXITED | os.WNOWAIT)
    one._popen.wait()
    one.signal(signal.SIGKILL)
    assert (await ended(one)).status == 0


async def test_one_that_reads_nothing_and_ends_is_no_error(tmp_path: Path) -> None:
    long = Secrets("a-psk-of-the-tests", ["rtmp://host/live/" + "k" * 1000] * 16)
    assert await ended(spawn(tmp_path / "log", "false", secrets=long)) == Exit(1)


async def test_a_command_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(WorkerFailed, match="could not be spawned: No such file or directory"):
        Process.spawn(["/nonexistent/python"], SECRETS, tmp_path / "log")


async def test_a_machine_that_refuses_another_process_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(WorkerFailed, match="temporarily unavailable; see the limits on processes"):
        Process.spawn(["true"], SECRETS, tmp_path / "log")


async def test_a_log_that_cannot_be_written_is_told_and_nothing_is_spawned(tmp_path: Path) -> None:
    (tmp_path / "logs").touch()
    with pytest.raises(WorkerFailed, match=r"logs/str_1\.log, cannot be written: .*df -h"):
        Process.spawn(["true"], SECRETS, tmp_path / "logs" / "str_1.log")


async def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    await ended(spawn(tmp_path / "log", "true"))
    before = sorted(os.listdir("/proc/self/fd"))
    for _ in range(5):
        await ended(spawn(tmp_path / "log", "true"))
    assert sorted(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("exit 3", ""),
        ("echo hello; echo; echo '  '", "hello"),
        ("echo one; echo two", "two"),
        ("echo 'strata-receiver: error: no port'; echo 'Traceback'; echo '  more'", "no port"),
        ("echo 'strata-receiver: error: a'; echo 'strata-receiver: error: b'", "b"),
        ("printf 'broken \\377 bytes'", "broken \N{REPLACEMENT CHARACTER} bytes"),
    ],
)
async def test_last_words(tmp_path: Path, script: str, words: str) -> None:
    one = spawn(tmp_path / "log", "sh", "-c", script)
    await ended(one)
    assert one.last_words() == words


async def test_last_words_are_its_own_not_those_of_one_before(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("strata-receiver: error: of the one before\n")
    one = spawn(log, "true")
    await ended(one)
    assert one.last_words() == ""
    other = spawn(log, "echo", "mine")
    await ended(other)
    assert other.last_words() == "mine"
    assert log.read_text().startswith("strata-receiver: error: of the one before\n")


async def test_last_words_are_found_at_the_end_of_a_long_log(tmp_path: Path) -> None:
    one = spawn(tmp_path / "log", "sh", "-c", "seq 100000; echo 'strata-receiver: error: late'")
    await ended(one)
    assert one.last_words() == "late"


async def test_a_log_that_was_taken_away_has_no_words(tmp_path: Path) -> None:
    one = spawn(tmp_path / "log", "echo", "hello")
    await ended(one)
    (tmp_path / "log").unlink()
    assert one.last_words() == ""


# Processes that somebody else has spawned.


async def test_a_process_is_known_by_more_than_its_number(tmp_path: Path) -> None:
    one = spawn(tmp_path / "log", "sleep", "60")
    assert one.identity.pid == one.pid
    assert one.identity.boot == process.boot_id()
    assert Identity.of(one.pid) == one.identity


async def test_a_dead_process_that_nobody_has_waited_for_yet_is_gone(tmp_path: Path) -> None:
    one = spawn(tmp_path / "log", "true")
    os.waitid(os.P_PID, one.pid, os.WEXITED | os.WNOWAIT)
    assert Identity.of(one.pid) is None
    await ended(one)
    assert Identity.of(one.pid) is None


async def test_who_has_adopted_a_process_sees_its_end_and_hears_its_last_words(
    tmp_path: Path,
) -> None:
    log = tmp_path / "log"
    one = spawn(log, "sh", "-c", "echo 'strata-receiver: error: no port'; read -r more; sleep 60")
    await until(lambda: log.read_text(), DEADLINE_S, "it runs")
    heir = Process.adopt(one.identity, log)
    assert heir is not None
    assert heir.identity == one.identity
    heir.signal(signal.SIGKILL)
    assert await ended(heir) == Exit(None)  # only its parent is told how
    assert heir.last_words() == "no port"
    heir.signal(signal.SIGKILL)
    assert await ended(one) == Exit(-signal.SIGKILL)


@pytest.mark.parametrize("change", [{"started": 1}, {"boot": "of last week"}])
async def test_whoever_has_the_number_of_another_is_left_alone(
    tmp_path: Path, change: dict[str, object]
) -> None:
    one = spawn(tmp_path / "log", "sleep", "60")
    before = sorted(os.listdir("/proc/self/fd"))
    stranger = dataclasses.replace(one.identity, **change)  # type: ignore[arg-type]
    assert Process.adopt(stranger, tmp_path / "log") is None
    assert sorted(os.listdir("/proc/self/fd")) == before


async def test_a_process_that_has_gone_cannot_be_adopted(tmp_path: Path) -> None:
    one = spawn(tmp_path / "log", "true")
    await ended(one)
    assert Process.adopt(one.identity, tmp_path / "log") is None


async def test_one_whose_log_is_gone_can_be_adopted(tmp_path: Path) -> None:
    one = spawn(tmp_path / "log", "sleep", "60")
    heir = Process.adopt(one.identity, tmp_path / "nowhere")
    assert heir is not None
    assert heir.last_words() == ""
    heir.leave()


async def test_one_that_is_left_goes_on_and_no_descriptor_stays_open(tmp_path: Path) -> None:
    one = spawn(tmp_path / "log", "sleep", "60")
    before = sorted(os.listdir("/proc/self/fd"))
    heir = Process.adopt(one.identity, tmp_path / "log")
    assert heir is not None
    heir.leave()
    heir.leave()
    heir.signal(signal.SIGKILL)
    assert heir.exit.cancelled()
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert Identity.of(one.pid) == one.identity


async def test_a_worker_is_found_by_the_socket_on_its_command_line(tmp_path: Path) -> None:
    path = tmp_path / "str_1.sock"
    command = ("sh", "-c", "sleep 60; :", "strata.worker", "--control-socket", str(path), "--x")
    one = spawn(tmp_path / "log", *command)
    spawn(tmp_path / "log", "sh", "-c", "sleep 60; :", "other", "--control-socket", str(path), "-")
    assert process.find(path) == one.identity
    assert process.find(tmp_path / "str_2.sock") is None
    assert process.find(tmp_path / "str_1.soc") is None
