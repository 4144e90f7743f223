"""What :mod:`strata.cluster.ends` says of every transport, held against each of them."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import pytest

from strata.cluster import exchange
from strata.cluster.ends import ControlEnd, Handler, HostEnd
from strata.errors import HostUnreachable, NotFound, PortTaken, StrataError
from strata.wire import host as wire
from strata.wire import worker
from support.children import until
from support.ends import DEADLINE_S, Control, Direct, Transport, Unix, answer

LONG_S = 3600.0
QUICK_S = 0.1


class Stage:
    """One transport, and all the ends that a test makes of it."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._ends: list[Any] = []

    async def host(self, handler: Handler = answer) -> HostEnd:
        one = self._transport.host()
        self._ends.append(one)
        await one.start(handler)
        return one

    def control(self, request_timeout_s: float = LONG_S) -> Control:
        """One that has not begun to connect."""
        one = Control(self._transport, request_timeout_s)
        self._ends.append(one.end)
        return one

    async def connected(self, request_timeout_s: float = LONG_S) -> Control:
        one = self.control(request_timeout_s)
        one.end.start()
        await one.connected()
        await known(one)
        return one

    async def close(self) -> None:
        for one in self._ends:
            await asyncio.wait_for(one.close(), DEADLINE_S)


async def known(control: Control) -> None:
    """Returns when the host has seen that this control plane is connected."""
    await control.ask(wire.Stop("str_known"))


class Never:
    """A handler that answers only what :func:`known` asks."""

    def __init__(self) -> None:
        self.asked = 0
        self.cancelled = 0
        self.gate = asyncio.Event()

    async def __call__(self, request: wire.Request) -> wire.Reply:
        if request == wire.Stop("str_known"):
            return await answer(request)
        self.asked += 1
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return await answer(request)

    async def is_asked(self, times: int = 1) -> None:
        await until(lambda: self.asked == times, DEADLINE_S, f"asked {times} times")


def descriptors() -> list[str]:
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found.append(os.fspath(entry.readlink()))
        except FileNotFoundError:
            continue  # the one of this folder
    return sorted(found)


def tasks() -> set[str]:
    mine = asyncio.current_task()
    return {task.get_name() for task in asyncio.all_tasks() if task is not mine}


@pytest.fixture(params=["unix", "direct"])
async def stage(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stage]:
    """Whatever a test does with it, nothing is left when its ends have been closed."""
    monkeypatch.setattr(exchange, "RECONNECT_S", 0.01)
    one = Stage(Unix(tmp_path / "host.sock") if request.param == "unix" else Direct())
    files, running = descriptors(), tasks()
    yield one
    await one.close()
    # A moment, for a connection that was let in while the host closed.
    await until(
        lambda: tasks() <= running and descriptors() == files,
        DEADLINE_S,
        f"nothing is left: {tasks() - running}, {descriptors()} were {files}",
    )


def numbered(numbers: range) -> list[wire.Notice]:
    return [
        wire.WorkerSaid("str_1", worker.Input("receiving", float(number))) for number in numbers
    ]


# --- requests ------------------------------------------------------------------------


async def test_a_request_is_answered(stage: Stage) -> None:
    await stage.host()
    control = await stage.connected()
    assert await control.ask(wire.List()) == wire.Streams([])
    assert await control.ask(wire.Stop("str_1")) == wire.Stopped("user_stop", "str_1")


@pytest.mark.parametrize(
    ("order", "reply"),
    [
        (wire.Entrust("str_1", "psk", ["rtmp://h/a/b"], ["fwd_2"]), wire.Done()),
        (wire.AddForward("str_1", "rtmp://h/a/b"), wire.Changed("fwd_9")),
        (wire.ReplaceForward("str_1", "fwd_2", "rtmp://h/a/b"), wire.Changed("fwd_2", True)),
        (wire.RemoveForward("str_1", "fwd_2"), wire.Changed("fwd_2")),
        (wire.Configure("str_1", slate_now=False, max_egress_kbps=0), wire.Done()),
    ],
    ids=lambda message: type(message).__name__,
)
async def test_what_changes_a_stream_arrives_as_it_was_given(
    stage: Stage, order: wire.Request, reply: wire.Reply
) -> None:
    got: list[wire.Request] = []

    async def keep(request: wire.Request) -> wire.Reply:
        got.append(request)
        return await answer(request)

    await stage.host(keep)
    control = await stage.connected()
    assert await control.ask(order) == reply
    assert got[-1] == order


async def test_each_request_gets_its_own_answer_whatever_the_order(stage: Stage) -> None:
    names = [f"str_{number}" for number in range(100)]
    turns = {name: asyncio.Event() for name in names}

    async def in_turn(request: wire.Request) -> wire.Reply:
        assert isinstance(request, wire.Stop)
        if request.stream_id in turns:
            await turns[request.stream_id].wait()
        return await answer(request)

    await stage.host(in_turn)
    control = await stage.connected()
    asked = {name: asyncio.create_task(control.ask(wire.Stop(name))) for name in names}
    for name in reversed(names):
        turns[name].set()
        assert await asked[name] == wire.Stopped("user_stop", name)


async def test_two_control_planes_do_not_get_each_others_answers(stage: Stage) -> None:
    await stage.host()
    one, other = await stage.connected(), await stage.connected()
    asked = [
        asyncio.create_task(control.ask(wire.Stop(f"str_{name}-{number}")))
        for number in range(20)
        for name, control in (("one", one), ("other", other))
    ]
    expected = [f"str_{name}-{number}" for number in range(20) for name in ("one", "other")]
    assert await asyncio.gather(*asked) == [wire.Stopped("user_stop", name) for name in expected]


async def test_large_messages_arrive_whole(stage: Stage) -> None:
    detail = "x" * 3_000_000

    async def much(request: wire.Request) -> wire.Reply:
        return wire.Stopped("user_stop", detail)

    await stage.host(much)
    control = await stage.connected()
    assert await control.ask(wire.List()) == wire.Stopped("user_stop", detail)
    start = wire.Start("str_1", "psk", [detail], 2)
    assert await control.ask(start) == wire.Stopped("user_stop", detail)


async def test_neither_end_holds_an_object_of_the_others(stage: Stage) -> None:
    seen: list[wire.Request] = []
    reply = wire.Streams([wire.Snapshot("str_1", [15000], 1, [])])

    async def keep(request: wire.Request) -> wire.Reply:
        seen.append(request)
        return reply

    host = await stage.host(keep)
    control = await stage.connected()
    request = wire.Start("str_1", "psk", ["rtmp://h/a/b"], 2)
    got = await control.ask(request)
    assert (seen[-1], got) == (request, reply)
    assert isinstance(seen[-1], wire.Start)
    assert isinstance(got, wire.Streams)
    seen[-1].forwards.clear()
    got.streams[0].ports.clear()
    assert request.forwards == ["rtmp://h/a/b"]
    assert reply.streams[0].ports == [15000]
    notice = wire.Alarms("str_1", [])
    host.notify(notice)
    notice.alarms.append(wire.Alarm("stalled", "later"))
    assert await control.heard(1) == [wire.Alarms("str_1", [])]


# --- errors --------------------------------------------------------------------------


def all_kinds(kind: type[StrataError] = StrataError) -> list[type[StrataError]]:
    return [kind, *(each for child in kind.__subclasses__() for each in all_kinds(child))]


@pytest.mark.parametrize("kind", all_kinds(), ids=lambda kind: kind.__name__)
async def test_an_error_of_the_host_is_raised_here_by_its_class(
    stage: Stage, kind: type[StrataError]
) -> None:
    raised = PortTaken(15000) if issubclass(kind, PortTaken) else kind("in plain words")

    async def fail(request: wire.Request) -> wire.Reply:
        if request == wire.List():
            raise raised
        return await answer(request)

    await stage.host(fail)
    control = await stage.connected()
    with pytest.raises(StrataError) as found:
        await control.ask(wire.List())
    assert type(found.value) is kind
    assert found.value is not raised
    assert (found.value.message, found.value.code) == (raised.message, raised.code)
    await known(control)


async def test_an_error_that_this_side_does_not_know_keeps_its_words(stage: Stage) -> None:
    async def fail(request: wire.Request) -> wire.Reply:
        if request == wire.List():
            return wire.Failed("of_a_later_version", "what that version says")
        return await answer(request)

    await stage.host(fail)
    control = await stage.connected()
    with pytest.raises(StrataError, match=r"^what that version says$") as found:
        await control.ask(wire.List())
    assert type(found.value) is StrataError


@pytest.mark.parametrize(
    "raised", [ValueError("canary"), TimeoutError("canary"), OSError("canary")]
)
async def test_an_error_nobody_expected_is_internal_and_tells_no_secret(
    stage: Stage, caplog: pytest.LogCaptureFixture, raised: Exception
) -> None:
    async def fail(request: wire.Request) -> wire.Reply:
        if isinstance(request, wire.Start):
            raise raised
        return await answer(request)

    await stage.host(fail)
    control = await stage.connected()
    with pytest.raises(StrataError, match=r"^the host failed internally; its log has") as found:
        await control.ask(wire.Start("str_1", "canary-psk", ["rtmp://h/a/canary-key"], 2))
    assert (type(found.value), found.value.code) == (StrataError, "internal")
    assert "request Start(str_1, 2 links, 1 forwards) failed" in caplog.text
    assert "canary-" not in caplog.text
    await known(control)


async def test_an_answer_that_cannot_be_sent_is_internal(stage: Stage) -> None:
    unsendable: Any = object()

    async def fail(request: wire.Request) -> wire.Reply:
        if request == wire.List():
            return wire.Stopped("user_stop", unsendable)
        return await answer(request)

    await stage.host(fail)
    control = await stage.connected()
    with pytest.raises(StrataError, match=r"^the host failed internally"):
        await control.ask(wire.List())
    await known(control)


async def test_what_cannot_be_sent_is_refused_where_it_is_given(stage: Stage) -> None:
    unsendable: Any = object()
    host = await stage.host()
    control = await stage.connected()
    with pytest.raises(TypeError):
        await control.ask(wire.Stop(unsendable))
    with pytest.raises(TypeError):
        host.notify(wire.Ended("str_1", "eos", unsendable))
    host.notify(wire.Ended("str_1", "eos", "told to"))
    assert await control.heard(1) == [wire.Ended("str_1", "eos", "told to")]
    await known(control)


async def test_a_host_that_does_not_answer_is_told_after_the_deadline(stage: Stage) -> None:
    never = Never()
    host = await stage.host(never)
    control = await stage.connected(QUICK_S)
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(HostUnreachable, match="has not answered for 0 s; see its log"):
        await control.ask(wire.Stop("str_1"))
    assert QUICK_S <= loop.time() - began < DEADLINE_S
    never.gate.set()  # the answer comes after all, and is nobody's
    host.notify(wire.Ended("str_1", "eos", "told to"))
    await control.heard(1)
    assert control.connections == 1
    assert await control.ask(wire.Stop("str_2")) == wire.Stopped("user_stop", "str_2")


async def test_who_gives_up_asking_harms_nobody(stage: Stage) -> None:
    never = Never()
    await stage.host(never)
    control = await stage.connected()
    asking = asyncio.create_task(control.ask(wire.Stop("str_1")))
    other = asyncio.create_task(control.ask(wire.Stop("str_2")))
    await never.is_asked(2)
    asking.cancel()
    await asyncio.wait({asking})
    never.gate.set()
    assert await other == wire.Stopped("user_stop", "str_2")


# --- either end goes and comes back --------------------------------------------------


async def test_without_a_host_a_request_fails_at_once(stage: Stage) -> None:
    control = stage.control()
    for _ in range(2):  # before it has begun to connect, and after
        assert not control.end.connected
        with pytest.raises(HostUnreachable, match="streams that run go on"):
            await control.ask(wire.List())
        control.end.start()
        await asyncio.sleep(QUICK_S)


async def test_the_host_may_come_later(stage: Stage) -> None:
    control = stage.control()
    control.end.start()
    await asyncio.sleep(QUICK_S)
    assert (control.end.connected, control.connections) == (False, 0)
    await stage.host()
    await control.connected()
    assert await control.ask(wire.List()) == wire.Streams([])


async def test_a_host_that_goes_while_it_is_asked_is_told_at_once(stage: Stage) -> None:
    never = Never()
    host = await stage.host(never)
    control = await stage.connected()
    asking = [asyncio.create_task(control.end.request(wire.Stop(f"str_{n}"))) for n in range(10)]
    await never.is_asked(10)
    await host.close()
    done, _ = await asyncio.wait(asking, timeout=DEADLINE_S)
    assert done == set(asking)
    for each in asking:
        with pytest.raises(HostUnreachable, match="went away before it answered"):
            await each
    assert never.cancelled == 10
    assert not control.end.connected


async def test_a_host_that_comes_back_is_found_again_and_greeted(stage: Stage) -> None:
    control = stage.control()
    found: list[wire.Reply] = []

    async def greet() -> None:
        found.append(await control.end.request(wire.Stop(f"str_{control.connections}")))

    control.greet = greet
    control.end.start()
    for times in range(1, 6):
        host = await stage.host()
        await control.connected(times)
        await until(lambda times=times: len(found) == times, DEADLINE_S, "greeted")
        assert found[-1] == wire.Stopped("user_stop", f"str_{times}")
        await host.close()
        await until(lambda: not control.end.connected, DEADLINE_S, "the loss is noticed")
        with pytest.raises(HostUnreachable):
            await control.ask(wire.List())
    assert control.connections == 5


async def test_a_greeting_that_fails_does_not_end_the_connection(stage: Stage) -> None:
    control = stage.control()

    async def greet() -> None:
        raise NotFound("the list")

    control.greet = greet
    control.end.start()
    host = await stage.host()
    await control.connected()
    await known(control)
    await host.close()
    await stage.host()
    await control.connected(2)
    await known(control)


async def test_a_control_plane_that_comes_back_is_served_again(stage: Stage) -> None:
    host = await stage.host()
    for number in range(5):
        control = await stage.connected()
        host.notify(wire.Ended(f"str_{number}", "eos", "told to"))
        assert await control.heard(1) == [wire.Ended(f"str_{number}", "eos", "told to")]
        await control.end.close()
        assert not control.end.connected


async def test_what_was_asked_is_carried_out_though_the_asker_has_gone(stage: Stage) -> None:
    never = Never()
    await stage.host(never)
    control = await stage.connected()
    asking = asyncio.create_task(control.end.request(wire.Stop("str_1")))
    await never.is_asked()
    await control.end.close()
    with pytest.raises(HostUnreachable, match="went away before it answered"):
        await asking
    never.gate.set()
    other = await stage.connected()
    assert await other.ask(wire.List()) == wire.Streams([])
    assert never.cancelled == 0


# --- notices -------------------------------------------------------------------------


async def test_notices_arrive_once_and_in_their_order(stage: Stage) -> None:
    host = await stage.host()
    one, other = await stage.connected(), await stage.connected()
    notices = numbered(range(2000))
    for number, notice in enumerate(notices):
        host.notify(notice)
        if number % 100 == 0:
            await one.ask(wire.List())
        if number % 7 == 0 and number > 1000:
            await asyncio.sleep(0)
    for each in (one, other):
        await each.heard(2000)
        await known(each)
        assert each.notices == notices


async def test_notices_are_lost_while_nobody_is_connected(stage: Stage) -> None:
    before, between, after = numbered(range(3))
    host = await stage.host()
    host.notify(before)
    control = await stage.connected()
    await host.close()
    await until(lambda: not control.end.connected, DEADLINE_S, "the loss is noticed")
    host.notify(between)
    host = await stage.host()
    await control.connected(2)
    await known(control)
    host.notify(after)
    assert await control.heard(1) == [after]


async def test_what_was_said_before_the_host_ends_arrives(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    host = await stage.host()
    control = await stage.connected()
    # 4 MB: more than a socket takes in one go.
    notices: list[wire.Notice] = [
        wire.Ended(f"str_{number}", "eos", "x" * 20_000) for number in range(200)
    ]
    for notice in notices:
        host.notify(notice)
    await host.close()
    assert await control.heard(200) == notices
    await stage.close()
    gc.collect()  # the failure of a task that nobody awaits is told when it is collected
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_an_answer_and_the_notices_around_it_keep_their_order(stage: Stage) -> None:
    """Whoever has a list knows of what came before it, and hears of what comes after."""
    before, after = numbered(range(2))
    order: list[object] = []

    async def tell(request: wire.Request) -> wire.Reply:
        if request == wire.List():
            host.notify(before)
            asyncio.get_running_loop().call_later(QUICK_S, host.notify, after)
        return await answer(request)

    host = await stage.host(tell)
    control = await stage.connected()
    control.take = order.append
    order.append(await control.ask(wire.List()))
    await control.heard(2)
    assert order == [before, wire.Streams([]), after]


async def test_a_notice_that_cannot_be_taken_in_does_not_end_the_connection(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    host = await stage.host()
    control = await stage.connected()

    def fail(notice: wire.Notice) -> None:
        raise ValueError("no")

    control.take = fail
    notices = numbered(range(3))
    for notice in notices:
        host.notify(notice)
    assert await control.heard(3) == notices
    assert "a notice could not be taken in" in caplog.text
    await known(control)
    assert control.connections == 1


async def test_a_control_plane_that_reads_too_slowly_is_cut_and_comes_back(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(exchange, "UNREAD_BYTES_MAX", 200_000)
    never = Never()
    host = await stage.host(never)
    control = await stage.connected()
    asking = asyncio.create_task(control.end.request(wire.Stop("str_1")))
    await never.is_asked()
    told = [wire.Ended(f"str_{number}", "eos", "x" * 20_000) for number in range(200)]
    for notice in told:  # without a break: nobody in this loop can read
        host.notify(notice)
    assert caplog.text.count("control does not read") == 1
    with pytest.raises(HostUnreachable, match="went away before it answered"):
        await asyncio.wait_for(asking, DEADLINE_S)
    await control.connected(2)
    await known(control)
    heard = len(control.notices)
    assert heard < len(told)
    assert control.notices == told[:heard]
    host.notify(told[-1])
    assert await control.heard(heard + 1) == [*told[:heard], told[-1]]


# --- the end -------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["host", "control", "both"])
@pytest.mark.parametrize("busy", [False, True])
async def test_closing_leaves_no_task_and_no_descriptor(
    stage: Stage, first: Literal["host", "control", "both"], busy: bool
) -> None:
    files, running = descriptors(), tasks()
    never = Never()
    host = await stage.host(never)
    control = stage.control()
    asking = []
    if busy:

        async def greet() -> None:
            await control.end.request(wire.List())

        control.greet = greet
    control.end.start()
    await control.connected()
    await known(control)
    if busy:
        asking = [asyncio.create_task(control.end.request(wire.List())) for _ in range(10)]
        await never.is_asked(11)
        for notice in numbered(range(100)):
            host.notify(notice)
    ends: list[HostEnd | ControlEnd] = [host, control.end]
    if first != "host":
        ends.reverse()
    if first == "both":
        await asyncio.wait_for(asyncio.gather(*(end.close() for end in ends)), DEADLINE_S)
    else:
        for end in ends:
            await asyncio.wait_for(end.close(), DEADLINE_S)
    assert tasks() <= running | {task.get_name() for task in asking}
    assert descriptors() == files
    assert never.cancelled == never.asked
    for each in asking:
        with pytest.raises(HostUnreachable):
            await each
    for end in ends:
        await end.close()  # once more is nothing
    await asyncio.sleep(QUICK_S)
    assert (control.connections, control.end.connected) == (1, False)
    assert tasks() <= running


@pytest.mark.parametrize("rounds", range(6))
async def test_either_end_may_be_closed_while_it_connects(stage: Stage, rounds: int) -> None:
    for order in (False, True):
        host = await stage.host()
        control = stage.control()
        control.end.start()
        for _ in range(rounds):
            await asyncio.sleep(0)
        for end in (control.end, host) if order else (host, control.end):
            await asyncio.wait_for(end.close(), DEADLINE_S)


async def test_closing_what_never_began_is_nothing(stage: Stage) -> None:
    control = stage.control()
    await control.end.close()
    assert not control.end.connected
