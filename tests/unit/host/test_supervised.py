"""The life of a worker; the workers are processes of a few lines (``fake_worker``)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import get_args

import pytest

from strata.errors import (
    BadArguments,
    Conflict,
    DestinationRefused,
    HostError,
    PartMissing,
    PortTaken,
    StrataError,
    WorkerFailed,
)
from strata.host import supervised
from strata.host.limits import NoGroup
from strata.host.process import Identity, Process
from strata.host.supervised import TRANSITIONS, Outcome, State, SupervisedWorker
from strata.settings import Host
from strata.wire import worker as wire
from support import fake_worker
from support.children import until
from support.control import halt

PORTS = (15000, 15002)
DEADLINE_S = 20.0
SECRETS = wire.Secrets("a-psk-of-the-tests", [])


class CountingGroup(NoGroup):
    """No limits, but a kernel that kills."""

    def __init__(self) -> None:
        self.killed = 0

    def kills(self) -> int:
        return self.killed


class Stage:
    """One fake worker under supervision, and all that was told of it."""

    def __init__(self, folder: Path, mode: str, settings: Host) -> None:
        self.socket = folder / "str_1.sock"
        self.log = folder / "str_1.log"
        self.events: list[wire.Event] = []
        self._mode = mode
        self.group = CountingGroup()
        self.identities: list[Identity] = []
        self._settings = settings
        self.worker = self.new_worker()

    def new_worker(self) -> SupervisedWorker:
        """As the next host has it."""
        return SupervisedWorker(
            "str_1", PORTS, self.socket, self.group, self._settings, self.events.append
        )

    async def start(self) -> None:
        script = str(Path(fake_worker.__file__))
        ports = ",".join(map(str, PORTS))
        command = [sys.executable, "-I", script, self._mode, str(self.socket), "str_1", ports]
        async with asyncio.timeout(DEADLINE_S):
            await self.worker.start(command, SECRETS, self.log, self.identities.append)

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
        assert one.worker.latest == one.events
        assert one.identities == [one.worker.identity]
        assert one.identities[0].pid == one.worker.pid
        assert await one.stop() == Outcome("user_stop", "stopped on request")
        assert one.events[-1] == wire.Stopped("eos")
        assert one.worker.state == "ended"
        assert one.is_gone()


async def test_stopping_twice_has_one_end(tmp_path: Path) -> None:
    async with stage(tmp_path, "obedient") as one:
        await one.start()
        first, second = await asyncio.gather(one.stop(), one.stop())
        assert first == second == await one.stop()


async def test_the_latest_of_each_event_and_every_forward_is_kept(tmp_path: Path) -> None:
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
        assert one.worker.latest == [
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
        ("exit:0:", WorkerFailed, "and said nothing$"),
    ],
)
async def test_a_worker_that_ends_before_it_is_ready_says_why(
    tmp_path: Path, mode: str, kind: type[StrataError], words: str
) -> None:
    async with stage(tmp_path, mode) as one:
        with pytest.raises(kind, match=words) as raised:
            await one.start()
        assert type(raised.value) is kind
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
        with pytest.raises(WorkerFailed, match=r"not ready in 2 s and was killed; it said nothing"):
            await one.start()
        assert one.is_gone()


async def test_a_start_that_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    async with stage(tmp_path, "silent") as one:
        start = asyncio.create_task(one.start())
        await until(lambda: one.worker.pid, DEADLINE_S, "it is spawned")
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start
        assert one.is_gone()


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
        ("crash:11:", Outcome("no_input", "no media came while its host was away")),
        ("crash:0:", Outcome("eos", "the worker was told to stop by someone on its machine")),
    ],
)
async def test_an_end_that_nobody_asked_for(tmp_path: Path, mode: str, wanted: Outcome) -> None:
    async with stage(tmp_path, mode) as one:
        await one.start()
        os.kill(one.worker.pid, signal.SIGUSR1)
        assert await one.ended() == wanted


async def test_one_that_leaves_right_after_ready_has_an_end(tmp_path: Path) -> None:
    async with stage(tmp_path, "leaver") as one:
        error = None
        try:
            await one.start()
        except WorkerFailed as raised:
            error = raised
        assert (await one.ended()).reason == "eos"
        # Whether its end overtook its first word.
        assert bool(one.events) or error is not None
        assert one.is_gone()


async def test_what_it_says_last_is_heard_before_its_end_is_told(tmp_path: Path) -> None:
    async with stage(tmp_path, "talker") as one:
        await one.start()
        heard: list[int] = []
        one.worker.outcome.add_done_callback(lambda _: heard.append(len(one.events)))
        await one.stop()
        await asyncio.sleep(0)
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


async def test_one_that_is_to_end_for_want_of_media_is_told_so(tmp_path: Path) -> None:
    async with stage(tmp_path, "obedient") as one:
        await one.start()
        why = Outcome("no_input", "no media came for 60 s")
        assert await asyncio.wait_for(one.worker.stop(why), DEADLINE_S) == why
        assert one.events[-1] == wire.Stopped("no_input")
        assert await one.stop() == why  # the first to ask decides


async def test_one_that_is_killed_as_useless_is_a_crash_with_that_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with stage(tmp_path, "stubborn") as one:
        one.worker.kill("too early")  # nothing is there to kill
        await one.start()
        one.worker.kill("the worker has reported nothing for 15 s and was killed")
        outcome = await one.ended()
        assert outcome == Outcome(
            "worker_crash", "the worker has reported nothing for 15 s and was killed"
        )
        assert "is killed: the worker has reported nothing" in caplog.text
        assert one.is_gone()


async def test_what_the_kernel_kills_for_want_of_memory_is_told_as_such(tmp_path: Path) -> None:
    async with stage(tmp_path, "obedient") as one:
        await one.start()
        one.group.killed = 1
        os.kill(one.worker.pid, signal.SIGKILL)
        outcome = await one.ended()
        assert outcome.reason == "out_of_memory"
        assert "limits.memory_mb" in outcome.detail


async def test_a_helper_that_the_kernel_killed_earlier_does_not_explain_a_crash(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, "obedient") as one:
        await one.start()
        one.group.killed = 1
        for _ in range(2):  # what was found last may be the worker's own end
            one.worker.look()
        os.kill(one.worker.pid, signal.SIGKILL)
        assert (await one.ended()).reason == "worker_crash"
        one.group.killed = 2
        one.worker.look()  # of no use any more, and no error


async def test_a_worker_outlives_who_follows_it_and_is_followed_by_the_next(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, "obedient") as one:
        await one.start()
        first, identity = one.worker, one.worker.identity
        assert identity is not None
        await first.leave()
        assert Path(f"/proc/{identity.pid}").exists()
        one.events.clear()
        one.worker = one.new_worker()
        process = Process.adopt(identity, one.log)
        assert process is not None
        one.worker.adopt(process)
        await until(lambda: one.worker.state == "ready", DEADLINE_S, "it greets the next")
        assert one.worker.pid == identity.pid
        assert await one.stop() == Outcome("user_stop", "stopped on request")
        first._process._popen.wait()  # it was our child all the same
        assert one.is_gone()
        assert not first.outcome.done()


async def test_one_that_is_left_is_not_waited_for_any_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with stage(tmp_path, "obedient") as one:
        before = sorted(os.listdir("/proc/self/fd"))
        await one.start()
        await one.worker.leave()
        await asyncio.sleep(0)
        assert sorted(os.listdir("/proc/self/fd")) == before
        os.kill(one.worker.pid, signal.SIGKILL)
        one.worker._process._popen.wait()
        await asyncio.sleep(0.01)
        assert not one.worker.outcome.done()
        assert "Exception in callback" not in caplog.text
        one.socket.unlink()
        one.worker.outcome.cancel()


async def test_one_that_was_never_started_can_be_left(tmp_path: Path) -> None:
    async with stage(tmp_path, "obedient") as one:
        await one.worker.leave()
        assert one.worker.identity is None
        assert one.worker.latest == []


# What it is asked.


def nothing(ok: wire.Ok) -> None:
    pass


async def asked(one: Stage, url: str, on_ok: Callable[[wire.Ok], None] = nothing) -> wire.Ok:
    async with asyncio.timeout(DEADLINE_S):
        return await one.worker.ask(wire.AddForward(url), on_ok)


async def test_a_command_is_answered_and_its_effect_is_told_first(tmp_path: Path) -> None:
    async with stage(tmp_path, "obedient") as one:
        await one.start()
        done: list[wire.Ok] = []
        answer = await asked(one, "rtmp://one/live/key", done.append)
        assert (answer.cmd, answer.forward) == ("add_forward", "fwd_1")
        assert done == [answer]
        assert (await asked(one, "rtmp://two/live/key")).forward == "fwd_2"
        assert answer not in one.events
        one.worker.forget_forward("fwd_1")
        one.worker.forget_forward("fwd_9")  # nobody has ever told of it
        told = [event for event in one.worker.latest if isinstance(event, wire.Forward)]
        assert [event.forward for event in told] == ["fwd_2"]


async def test_a_refusal_is_raised_as_what_it_is(tmp_path: Path) -> None:
    async with stage(tmp_path, "obedient") as one:
        await one.start()
        done: list[wire.Ok] = []
        with pytest.raises(DestinationRefused, match=r"^no$"):
            await asked(one, "rtmp://refused/live/key", done.append)
        assert not done
        assert not [event for event in one.events if isinstance(event, wire.Error)]


async def test_one_that_ends_before_it_has_answered_is_told_to_all_who_wait(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, "obedient") as one:
        await one.start()
        waiting = [asyncio.create_task(asked(one, "rtmp://slow/live/key")) for _ in range(2)]
        await asyncio.sleep(0)
        one.worker.kill("the test wants it")
        for each in waiting:
            with pytest.raises(
                WorkerFailed, match=r"ended before .* \(the test wants it\), so not"
            ):
                await each
        with pytest.raises(Conflict, match="cannot be asked just now"):
            await asked(one, "rtmp://one/live/key")


async def test_one_that_is_not_ready_is_not_asked(tmp_path: Path) -> None:
    async with stage(tmp_path, "obedient") as one:
        with pytest.raises(Conflict, match="so nothing was changed; try again in a moment"):
            await asked(one, "rtmp://one/live/key")
