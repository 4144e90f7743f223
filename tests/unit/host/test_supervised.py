"""The life of a worker; the workers are processes of a few lines (``fake_worker``)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import get_args

import pytest

from strata.errors import (
    BadArguments,
    HostError,
    PartMissing,
    PortTaken,
    StrataError,
    WorkerFailed,
)
from strata.host import supervised
from strata.host.supervised import TRANSITIONS, Outcome, State, SupervisedWorker
from strata.settings import Host
from strata.wire import worker as wire
from support import fake_worker
from support.children import until
from support.control import halt

PORTS = (15000, 15002)
DEADLINE_S = 20.0
SECRETS = wire.Secrets("a-psk-of-the-tests", [])


class Stage:
    """One fake worker under supervision, and all that was told of it."""

    def __init__(self, folder: Path, mode: str, settings: Host) -> None:
        self.socket = folder / "str_1.sock"
        self.log = folder / "str_1.log"
        self.events: list[wire.Event] = []
        self.ends: list[Outcome] = []
        self._mode = mode
        self.worker = SupervisedWorker(
            "str_1",
            PORTS,
            self.socket,
            settings,
            lambda worker, event: self.events.append(event),
            lambda worker, outcome: self.ends.append(outcome),
        )

    async def start(self) -> None:
        script = str(Path(fake_worker.__file__))
        ports = ",".join(map(str, PORTS))
        command = [sys.executable, "-I", script, self._mode, str(self.socket), "str_1", ports]
        async with asyncio.timeout(DEADLINE_S):
            await self.worker.start(command, SECRETS, self.log)

    async def stop(self) -> Outcome:
        async with asyncio.timeout(DEADLINE_S):
            return await self.worker.stop()

    async def ended(self) -> Outcome:
        async with asyncio.timeout(DEADLINE_S):
            return await asyncio.shield(self.worker.outcome)

    def is_gone(self) -> bool:
        return not Path(f"/proc/{self.worker.pid}").exists() and not self.socket.exists()


@contextlib.asynccontextmanager
async def stage(folder: Path, mode: str, **settings: float) -> AsyncIterator[Stage]:
    one = Stage(folder, mode, Host(**{"ready_timeout_s": 15.0, "stop_timeout_s": 15.0} | settings))
    try:
        yield one
    finally:
        if one.worker.pid and not one.worker.outcome.done():
            os.kill(one.worker.pid, signal.SIGKILL)
            await one.ended()


def test_the_table_of_transitions_is_whole() -> None:
    states = set(get_args(State))
    assert set(TRANSITIONS) == states
    assert {each for row in TRANSITIONS.values() for each in row} == states - {"spawning"}
    assert not TRANSITIONS["ended"]


async def test_from_start_to_stop(tmp_path: Path) -> None:
    async with stage(tmp_path, "obedient") as one:
        assert one.worker.state == "spawning"
        assert one.worker.pid == 0
        await one.start()
        assert one.worker.state == "ready"
        assert one.events[0] == wire.Ready(list(PORTS), "str_1", one.worker.pid, "0")
        await until(lambda: len(one.events) == 2, DEADLINE_S, "both events came")
        assert one.worker.snapshot().events == one.events
        assert one.worker.snapshot().ports == list(PORTS)
        assert one.worker.snapshot().pid == one.worker.pid
        assert await one.stop() == Outcome("user_stop", "stopped on request")
        assert one.ends == [Outcome("user_stop", "stopped on request")]
        assert one.events[-1] == wire.Stopped("eos")
        assert one.worker.state == "ended"
        assert one.is_gone()


async def test_stopping_twice_has_one_end(tmp_path: Path) -> None:
    async with stage(tmp_path, "obedient") as one:
        await one.start()
        first, second = await asyncio.gather(one.stop(), one.stop())
        assert first == second == await one.stop()
        assert one.ends == [first]


async def test_a_snapshot_holds_the_latest_of_each_and_every_forward(tmp_path: Path) -> None:
    async with stage(tmp_path, "obedient") as one:
        for event in (
            wire.Input("waiting", 0.0),
            wire.Input("receiving", 0.0),
            wire.Forward("fwd_1", "rtmp", "connecting", "rtmp://a/b/****"),
            wire.Forward("fwd_1", "rtmp", "live", "rtmp://a/b/****"),
            wire.Forward("fwd_2", "file", "live", "file:///x.ts"),
            wire.Error("RTMP connection refused", "unreachable"),
            wire.Ok("stats"),
        ):
            one.worker._hear(event)
        assert one.worker.snapshot().events == [
            wire.Input("receiving", 0.0),
            wire.Forward("fwd_1", "rtmp", "live", "rtmp://a/b/****"),
            wire.Forward("fwd_2", "file", "live", "file:///x.ts"),
        ]
        assert len(one.events) == 7  # and everything is handed on


async def test_nothing_is_stopped_before_it_was_started(tmp_path: Path) -> None:
    async with stage(tmp_path, "obedient") as one:
        with pytest.raises(HostError, match="no process"):
            await one.stop()


@pytest.mark.parametrize(
    ("mode", "kind", "words"),
    [
        ("exit:3:strata-receiver: error: UDP port 15002 is held", PortTaken, "UDP port 15002 is"),
        ("exit:4:strata-receiver: error: rtmp2sink is missing", PartMissing, "rtmp2sink is miss"),
        ("exit:2:strata-receiver: error: a bad URL", BadArguments, "^a bad URL$"),
        ("exit:70:strata-receiver: error: internal", WorkerFailed, "^internal$"),
        ("exit:1:Traceback", WorkerFailed, "^Traceback$"),
        ("exit:0:", WorkerFailed, "fake got"),
    ],
)
async def test_a_worker_that_ends_before_it_is_ready_says_why(
    tmp_path: Path, mode: str, kind: type[StrataError], words: str
) -> None:
    async with stage(tmp_path, mode) as one:
        with pytest.raises(kind, match=words) as raised:
            await one.start()
        assert type(raised.value) is kind
        assert not one.ends  # start() has told
        assert one.is_gone()
        assert one.worker.state == "ended"


async def test_a_worker_that_ends_without_a_word_is_told_by_its_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strata.host.process.Process.last_words", lambda self: "")
    async with stage(tmp_path, "exit:9:") as one:
        with pytest.raises(WorkerFailed, match="ended at its start by exit status 9 and said noth"):
            await one.start()


async def test_a_worker_that_is_not_ready_in_time_is_killed(tmp_path: Path) -> None:
    async with stage(tmp_path, "silent", ready_timeout_s=1.5) as one:
        with pytest.raises(WorkerFailed, match=r"not ready in 2 s and was killed; .*fake got"):
            await one.start()
        assert one.is_gone()
        assert not one.ends


async def test_a_start_that_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    async with stage(tmp_path, "silent") as one:
        start = asyncio.create_task(one.start())
        await until(lambda: one.worker.pid, DEADLINE_S, "it is spawned")
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start
        assert one.is_gone()
        assert not one.ends


async def test_a_worker_can_be_stopped_before_it_is_ready(tmp_path: Path) -> None:
    async with stage(tmp_path, "silent") as one:
        start = asyncio.create_task(one.start())
        await until(lambda: one.log.exists() and one.log.read_text(), DEADLINE_S, "it runs")
        outcome = await one.stop()
        assert outcome.reason == "user_stop"
        assert "SIGTERM" in outcome.detail
        with pytest.raises(WorkerFailed):
            await start
        assert one.is_gone()


async def test_one_that_does_not_hear_stop_gets_a_signal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with stage(tmp_path, "deaf", stop_timeout_s=0.2) as one:
        await one.start()
        outcome = await one.stop()
        assert outcome == Outcome(
            "user_stop", "stopped on request; the worker had to be ended by signal SIGTERM"
        )
        assert "does not stop; SIGTERM" in caplog.text
        assert one.is_gone()


@pytest.mark.parametrize("mode", ["stubborn", "stopped by SIGSTOP"])
async def test_one_that_does_not_hear_the_signal_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr(supervised, "TERM_DEADLINE_S", 0.2)
    kind = "stubborn" if mode == "stubborn" else "obedient"
    async with stage(tmp_path, kind, stop_timeout_s=0.2) as one:
        await one.start()
        if mode != kind:
            await halt(one.worker.pid)
        outcome = await one.stop()
        assert outcome.reason == "user_stop"
        assert outcome.detail.endswith("signal SIGKILL")
        assert one.is_gone()


async def test_a_crash_is_told_with_its_last_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with stage(tmp_path, "crash:70:strata-receiver: error: internal failure") as one:
        await one.start()
        os.kill(one.worker.pid, signal.SIGUSR1)
        outcome = await one.ended()
        assert outcome == Outcome(
            "worker_crash", "the worker ended by exit status 70; internal failure"
        )
        assert one.ends == [outcome]
        assert one.is_gone()
        assert "worker_crash" in caplog.text


async def test_a_kill_is_a_crash(tmp_path: Path) -> None:
    async with stage(tmp_path, "obedient") as one:
        await one.start()
        os.kill(one.worker.pid, signal.SIGKILL)
        outcome = await one.ended()
        assert outcome.reason == "worker_crash"
        assert outcome.detail.startswith("the worker ended by signal SIGKILL; ")
        assert one.is_gone()


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [
        ("crash:10:", Outcome("no_input", "no media came in time")),
        ("crash:0:", Outcome("eos", "the worker was told to stop by someone on its machine")),
    ],
)
async def test_an_end_that_nobody_asked_for(tmp_path: Path, mode: str, wanted: Outcome) -> None:
    async with stage(tmp_path, mode) as one:
        await one.start()
        os.kill(one.worker.pid, signal.SIGUSR1)
        assert await one.ended() == wanted


async def test_one_that_leaves_right_after_ready_is_told_exactly_once(tmp_path: Path) -> None:
    async with stage(tmp_path, "leaver") as one:
        error = None
        try:
            await one.start()
        except WorkerFailed as raised:
            error = raised
        assert (await one.ended()).reason == "eos"
        was_heard = bool(one.events)  # whether its end overtook its first word
        assert len(one.ends) == int(was_heard)
        assert was_heard or error is not None
        assert one.is_gone()


async def test_what_it_says_last_is_heard_before_its_end_is_told(tmp_path: Path) -> None:
    async with stage(tmp_path, "talker") as one:
        await one.start()
        heard: list[int] = []
        one.worker._on_end = lambda worker, outcome: heard.append(len(one.events))
        await one.stop()
        assert one.events[-1] == wire.Stopped("eos")
        assert heard == [len(one.events)]
        assert len([event for event in one.events if isinstance(event, wire.Error)]) == 1000


async def test_a_socket_that_is_left_behind_is_removed(tmp_path: Path) -> None:
    async with stage(tmp_path, "littering") as one:
        await one.start()
        assert one.socket.exists()
        await one.stop()
        assert not one.socket.exists()


async def test_what_is_not_a_socket_at_its_path_does_not_keep_the_end_from_being_told(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, "obedient") as one:
        one.socket.mkdir()
        with pytest.raises(WorkerFailed):
            await one.start()
        assert one.worker.state == "ended"


async def test_a_step_that_the_table_does_not_know_is_a_defect(tmp_path: Path) -> None:
    async with stage(tmp_path, "obedient") as one:
        one.worker._advance("ended")
        with pytest.raises(AssertionError, match="str_1: ended -> ready"):
            one.worker._advance("ready")


async def test_a_second_ready_changes_nothing(tmp_path: Path) -> None:
    async with stage(tmp_path, "obedient") as one:
        await one.start()
        one.worker._hear(wire.Ready(list(PORTS), "str_1", 1, "0"))
        assert one.worker.state == "ready"
        assert (await one.stop()).reason == "user_stop"
