from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from strata.backoff import LONGEST_S
from strata.errors import NotAllowed
from strata.secrets import Secret
from strata.sender import agent as module
from strata.sender.agent import Agent
from strata.sender.connection import Socket
from strata.sender.dial import Unreachable
from strata.sender.identity import Identity
from strata.sender.interfaces import Interface, Watch
from strata.sender.settings import SenderSettings
from strata.wire import agent as wire
from support.children import until
from unit.sender.double import DEADLINE_S, Broadcasts, FakeSocket, order

ONCE, DEVICE = Secret("snd_1.canary-once"), Secret("snd_1.canary-device")
WWAN0 = Interface("wwan0", "cellular", True, ("10.0.0.1",))


class Stage:
    """An agent of which the tests are control.

    Attributes:
        waits: how long it wanted to wait before each next try.
        over: the interface of each try.
        way: what becomes of its tries to dial; connections that were opened wait in ``open``.
    """

    def __init__(self, folder: Path, token: Secret | None = ONCE) -> None:
        self.settings = SenderSettings(control="https://control.example", state_dir=folder)
        self.identity = Identity(folder, token)
        self.identity.open()
        self.broadcasts = Broadcasts()
        self.interfaces = [WWAN0]
        self.watch = Watch(lambda: list(self.interfaces))
        self.now = 0.0
        self.open: asyncio.Queue[FakeSocket] = asyncio.Queue()
        self.way: Exception | None = None
        self.waits: list[float] = []
        self.over: list[str | None] = []
        self.agent = Agent(
            self.settings,
            self.identity,
            self.watch,
            self.broadcasts.begin,
            self._dial,
            lambda: self.now,
            lambda: 0.0,
        )
        self.running: asyncio.Task[None]

    def start(self) -> None:
        self.running = asyncio.create_task(self.agent.run())

    async def _dial(self, settings: SenderSettings, interface: str | None) -> Socket:
        self.over.append(interface)
        if self.way is not None:
            raise self.way
        socket = FakeSocket()
        self.open.put_nowait(socket)
        return socket

    async def called(self) -> FakeSocket:
        """The next connection."""
        return await asyncio.wait_for(self.open.get(), DEADLINE_S)

    async def known(self) -> FakeSocket:
        """The next connection, once the agent is let in and has said what it sends."""
        socket = await self.called()
        await socket.log_in(device_token=DEVICE.reveal())
        await socket.heard_of(wire.Status)
        return socket


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    one = Stage(tmp_path)
    async with running(one, monkeypatch):
        yield one


class running:  # noqa: N801
    """It runs, and waits for nothing before its next try."""

    def __init__(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        self._stage = stage
        real = asyncio.sleep

        async def sleep(seconds: float) -> None:
            if asyncio.current_task() is stage.running:
                stage.waits.append(seconds)
                seconds = 0.0
            await real(seconds)

        monkeypatch.setattr(module.asyncio, "sleep", sleep)
        self._monkeypatch = monkeypatch

    async def __aenter__(self) -> Stage:
        self._stage.start()
        return self._stage

    async def __aexit__(self, *_: object) -> None:
        self._monkeypatch.setattr(module, "LAST_WORDS_S", 0.0)
        await self._stage.agent.close("the test is over")
        self._stage.running.cancel()
        await asyncio.gather(self._stage.running, return_exceptions=True)


def of_state(state: str | None, stream_id: str = "str_1") -> Callable[[wire.Status], bool]:
    def holds(status: wire.Status) -> bool:
        told = status.stream_state
        if state is None or not isinstance(told, wire.StreamState):
            return told is None and state is None
        return (told.stream_id, told.state) == (stream_id, state)

    return holds


async def status(socket: FakeSocket, holds: Callable[[wire.Status], bool]) -> wire.Status:
    """The next status for which that is so."""
    while True:
        message = (await socket.heard_of(wire.Status)).message
        assert isinstance(message, wire.Status)
        if holds(message):
            return message


# Logging in.


async def test_it_enrols_and_shows_its_own_token_from_then_on(stage: Stage) -> None:
    socket = await stage.called()
    login = await socket.log_in(device_token=DEVICE.reveal())
    assert (login.enrollment_token, login.device_token) == (ONCE.reveal(), None)
    first = (await socket.heard_of(wire.Status)).message
    assert first == wire.Status(stream_state=None)  # before anything that may be slow
    again = Identity(stage.settings.state_dir)
    again.open()
    assert again.device_token == DEVICE
    socket.drop()
    login = await (await stage.called()).log_in()
    assert (login.enrollment_token, login.device_token) == (None, DEVICE.reveal())


async def test_an_enrollment_token_that_is_refused_ends_it_with_a_word(stage: Stage) -> None:
    socket = await stage.called()
    frame = await socket.heard_of(wire.Login)
    answer = wire.LoggedIn(False, code="not_allowed", message="the token is used up")
    socket.say(frame.answered(answer))
    with pytest.raises(NotAllowed, match=r"not let in: the token is used up; .*start strata-send"):
        await asyncio.wait_for(asyncio.shield(stage.running), DEADLINE_S)
    assert socket.closed is not None


async def test_a_new_token_that_is_refused_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = Identity(tmp_path, ONCE)
    before.open()
    before.enroll("snd_1", DEVICE)
    async with running(Stage(tmp_path, Secret("snd_1.mistyped")), monkeypatch) as stage:
        socket = await stage.called()
        frame = await socket.heard_of(wire.Login)
        assert isinstance(frame.message, wire.Login)
        assert frame.message.enrollment_token == "snd_1.mistyped"
        socket.say(frame.answered(wire.LoggedIn(False, code="not_allowed", message="no")))
        login = await (await stage.called()).log_in()
        assert login.device_token == DEVICE.reveal()
        assert "going on with what this machine was enrolled with before" in caplog.text


async def test_a_machine_that_is_known_no_more_says_so_and_goes_on_trying(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = Identity(tmp_path, ONCE)
    before.open()
    before.enroll("snd_1", DEVICE)
    async with running(Stage(tmp_path), monkeypatch) as stage:
        for _ in range(2):
            socket = await stage.called()
            frame = await socket.heard_of(wire.Login)
            socket.say(frame.answered(wire.LoggedIn(False, code="not_allowed", message="no")))
        await stage.called()
        assert stage.waits == [LONGEST_S, LONGEST_S]
        assert "makes a new enrollment token" in caplog.text


@pytest.mark.parametrize(
    "answer",
    [
        wire.LoggedIn(False, code="database_unavailable", message="come again"),
        wire.LoggedIn(False),
        wire.Error("unknown_type", "what is that"),
        wire.Done(True),
    ],
)
async def test_who_is_not_let_in_for_now_comes_again_soon(
    stage: Stage, answer: wire.LoggedIn | wire.Error | wire.Done
) -> None:
    socket = await stage.called()
    frame = await socket.heard_of(wire.Login)
    if isinstance(answer, wire.Error):
        socket.say(wire.Frame(frame.id, "error", answer))
    elif isinstance(answer, wire.Done):
        socket.to_agent.put_nowait(f'{{"type":"stream.ended.response","id":"{frame.id}"}}')
        socket.drop()
    else:
        socket.say(frame.answered(answer))
    await stage.called()
    assert stage.waits == [1.0]


async def test_a_login_that_is_not_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "LOGIN_DEADLINE_S", 0.01)
    async with running(Stage(tmp_path), monkeypatch) as stage:
        await stage.called()
        await stage.called()
    assert "the login is not answered" in caplog.text


# Coming back.


async def test_where_control_is_not_reached_it_is_tried_again_and_again(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    socket = await stage.called()
    stage.way = Unreachable("it does not answer")
    socket.drop()
    await until(lambda: len(stage.waits) >= 7, DEADLINE_S, "it tries again")
    assert stage.waits[:7] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert "no connection to control: it does not answer; trying again in 30 s" in caplog.text
    assert "what is sent goes on" not in caplog.text
    stage.way = None
    await stage.known()


async def test_another_way_is_tried_where_the_routes_lead_nowhere(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.interfaces.append(Interface("wwan1", "cellular", True, ("10.1.0.1",)))
    stage.watch._look_again()
    socket = await stage.known()
    stage.way = Unreachable("it does not answer")
    socket.drop()
    await until(lambda: len(stage.over) >= 5, DEADLINE_S, "it tries again")
    assert stage.over[:5] == [None, None, "wwan0", "wwan1", None]
    assert "it does not answer (over wwan1); trying again" in caplog.text
    stage.way = None
    await (found := await stage.called()).log_in(device_token=DEVICE.reveal())
    way = stage.over[-1]
    found.drop()
    await stage.called()
    assert stage.over[-1] == way  # that is how it was reached


async def test_after_it_was_there_for_long_the_next_try_is_soon(stage: Stage) -> None:
    socket = await stage.known()
    socket.drop()
    socket = await stage.known()
    socket.drop()
    socket = await stage.known()
    stage.now += 1000.0
    socket.drop()
    await stage.known()
    assert stage.waits == [1.0, 2.0, 1.0]


async def test_one_that_is_replaced_waits_longest(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    socket = await stage.known()
    socket.drop(wire.CLOSE_REPLACED, "replaced")
    await stage.known()
    assert stage.waits == [LONGEST_S]
    assert "another machine logs in as this one" in caplog.text


async def test_a_broadcast_goes_on_while_control_is_away(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    socket = await stage.known()
    assert await socket.obeyed(order()) == wire.Done(True)
    stage.way = Unreachable("it does not answer")
    socket.drop()
    await until(lambda: len(stage.waits) >= 3, DEADLINE_S, "it tries again")
    assert "what is sent goes on" in caplog.text
    assert stage.broadcasts.latest.log == ["start"]
    stage.way = None
    socket = await stage.called()
    await socket.log_in()
    assert (await socket.heard()).message == wire.Status(
        stream_state=wire.StreamState("str_1", "running")
    )
    assert await socket.obeyed(order()) == wire.Done(True)  # it is the same one
    assert len(stage.broadcasts.made) == 1
    assert await socket.obeyed(wire.StreamStop("str_1", "user_stop")) == wire.Done(True)
    assert stage.broadcasts.latest.log == ["start", "stop"]


# Orders.


async def test_orders_that_are_refused_say_why(stage: Stage) -> None:
    socket = await stage.known()
    await socket.obeyed(order())
    for told, code in (
        (order("str_2"), "busy"),
        (order("str_2", "file", path="/etc/passwd"), "bad_arguments"),
        (order("str_2", "uri", uri="source://none"), "not_found"),
        (wire.StreamMove("str_2", ["rist://h:1"], "x" * 8), "not_sending"),
        (wire.StreamMove("str_1", ["udp://h:1"], "x" * 8), "bad_arguments"),
        (wire.ConfigUpdate(wire.Config("Van", 0.0)), "bad_arguments"),
    ):
        answer = await socket.obeyed(told)
        assert (answer.success, answer.code) == (False, code), told
        assert answer.message
    assert stage.agent.post.state == "sending"


async def test_a_stop_of_what_it_does_not_send_has_succeeded(stage: Stage) -> None:
    socket = await stage.known()
    assert await socket.obeyed(wire.StreamStop("str_9", "user_stop")) == wire.Done(True)


async def test_it_moves(stage: Stage) -> None:
    socket = await stage.known()
    await socket.obeyed(order())
    move = wire.StreamMove("str_1", ["rist://192.0.2.9:16000"], "another-key")
    assert await socket.obeyed(move) == wire.Done(True)
    assert stage.broadcasts.latest.log[-1] == "move to rist://192.0.2.9:16000"


async def test_a_defect_in_an_order_is_an_answer(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    socket = await stage.known()

    async def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(stage.agent.post, "start", fail)
    answer = await socket.obeyed(order())
    assert (answer.success, answer.code) == (False, "internal")
    assert "canary" not in caplog.text


async def test_files_are_given_with_their_real_paths(tmp_path: Path, stage: Stage) -> None:
    folder = tmp_path / "media"
    folder.mkdir()
    (folder / "show.ts").touch()
    stage.agent._settings = stage.settings.model_copy(update={"media_folders": (folder,)})
    socket = await stage.known()
    assert (await socket.obeyed(order(mode="file", path="show.ts"))).success
    assert stage.broadcasts.latest.order.source.path == str(folder / "show.ts")


# Reports.


async def test_it_reports_what_it_does_as_that_changes(stage: Stage) -> None:
    socket = await stage.known()
    full = await status(socket, lambda it: it.uptime_s is not msgspec.UNSET)
    assert full.network_interfaces == [
        wire.NetworkInterface("wwan0", "cellular", True, ["10.0.0.1"])
    ]
    assert full.media_inputs == []
    socket.tell(order())
    await status(socket, of_state("running"))
    stage.interfaces.append(Interface("wwan1", "cellular", True))
    stage.watch._look_again()
    await status(socket, lambda it: len(it.network_interfaces or ()) == 2)  # type: ignore[arg-type]
    stage.broadcasts.latest.end("source", "no camera")
    told = await status(socket, of_state("ended"))
    assert told.stream_state == wire.StreamState("str_1", "ended", "source: no camera")
    socket.tell(wire.StreamStop("str_1", "user_stop"))
    await status(socket, of_state(None))


async def test_it_reports_as_often_as_control_wishes(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    socket = await stage.called()
    await socket.log_in(config=wire.Config("Van", status_interval_s=1.0, stats_interval_s=0.2))
    await socket.heard_of(wire.Status)
    assert "logged in at control as Van" in caplog.text
    await socket.obeyed(order())
    for _ in range(3):
        frame = await socket.heard_of(wire.StreamStats)
        assert frame.message == wire.StreamStats("str_1", 12.5, 5000.0)
    assert await socket.obeyed(wire.ConfigUpdate(wire.Config("Bus", 2.0, 0.3))) == wire.Done(True)
    assert stage.agent._config == wire.Config("Bus", 2.0, 0.3)


async def test_wishes_that_cannot_be_are_left(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    socket = await stage.called()
    await socket.log_in(config=wire.Config("Van", status_interval_s=0.0))
    await socket.heard_of(wire.Status)
    assert "status_interval_s 0.0 is not between" in caplog.text
    assert stage.agent._config == wire.Config()


async def test_a_login_without_wishes(stage: Stage) -> None:
    socket = await stage.called()
    await socket.log_in(config=None)
    await socket.heard_of(wire.Status)
    assert stage.agent._config == wire.Config()


async def test_what_it_sends_already_is_not_looked_at_again(tmp_path: Path, stage: Stage) -> None:
    file = tmp_path / "show.ts"
    file.touch()
    stage.agent._settings = stage.settings.model_copy(update={"media_folders": (tmp_path,)})
    socket = await stage.known()
    assert (await socket.obeyed(order(mode="file", path="show.ts"))).success
    file.unlink()  # it is open
    assert (await socket.obeyed(order(mode="file", path="show.ts"))).success
    assert len(stage.broadcasts.made) == 1


async def test_its_look_comes_with_the_interval(stage: Stage) -> None:
    socket = await stage.called()
    looked: list[float] = []

    async def look() -> dict[str, float]:
        looked.append(stage.now)
        return {"wwan0": 62.0}

    stage.agent._signals.look = look  # type: ignore[method-assign]
    await socket.log_in(config=wire.Config("Van", status_interval_s=5.0))
    full = await status(socket, lambda it: bool(it.network_interfaces))
    assert full.network_interfaces[0].signal_percent == 62.0  # type: ignore[union-attr, index]
    await socket.obeyed(order())
    await socket.obeyed(wire.StreamStop("str_1", "user_stop"))
    assert looked == [0.0]  # a change alone is told with what was seen before
    stage.now = 5.0
    stage.watch._listeners[0]()
    await until(lambda: looked == [0.0, 5.0], DEADLINE_S, "it looks again")


async def test_an_end_is_told_until_it_is_answered_over_reconnects(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER_DEADLINE_S", 0.02)
    monkeypatch.setattr(module, "REPORT_AGAIN_S", 0.02)
    socket = await stage.known()
    await socket.obeyed(order())
    stage.broadcasts.latest.end()
    wanted = wire.StreamEnded("str_1", "eos", "the file is over", 12.5, 4711)
    for _ in range(2):
        assert (await socket.heard_of(wire.StreamEnded)).message == wanted
    socket.drop()
    socket = await stage.known()
    frame = await socket.heard_of(wire.StreamEnded)
    assert frame.message == wanted
    socket.say(frame.answered(wire.Done(True)))
    await until(lambda: not stage.agent.post.unreported, DEADLINE_S, "it is known")
    await socket.obeyed(order("str_2"))
    stage.broadcasts.latest.end("encoder", "broken")
    told = await socket.heard_of(wire.StreamEnded)
    while told.message.stream_id == "str_1":  # type: ignore[union-attr]
        told = await socket.heard_of(wire.StreamEnded)
    assert told.message.stream_id == "str_2"  # type: ignore[union-attr]


# The end of the program.


async def test_the_end_of_the_program_is_told(stage: Stage) -> None:
    socket = await stage.known()
    await socket.obeyed(order())
    closing = asyncio.create_task(stage.agent.close("told to end"))
    frame = await socket.heard_of(wire.StreamEnded)
    assert frame.message.reason == "shutdown"  # type: ignore[union-attr]
    assert not closing.done()
    socket.say(frame.answered(wire.Done(True)))
    await asyncio.wait_for(closing, DEADLINE_S)
    assert stage.broadcasts.latest.log == ["start", "stop"]


async def test_the_end_of_the_program_waits_not_for_ever(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "LAST_WORDS_S", 0.01)
    socket = await stage.known()
    await socket.obeyed(order())
    await stage.agent.close("told to end")
    assert "did not say that it knows" in caplog.text


async def test_a_step_that_is_none_is_a_defect(stage: Stage) -> None:
    await stage.known()
    with pytest.raises(AssertionError, match="present -> greeting"):
        stage.agent._advance("greeting", "because")


async def test_nothing_that_is_secret_is_in_the_log(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    socket = await stage.known()
    await socket.obeyed(order())
    await socket.obeyed(order("str_2"))
    await socket.obeyed(wire.StreamStop("str_1", "user_stop"))
    socket.drop()
    await stage.known()
    assert "told to stop: user_stop" in caplog.text
    assert "canary" not in caplog.text
