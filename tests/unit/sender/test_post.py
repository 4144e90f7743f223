from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from strata.errors import BadArguments, HostError
from strata.sender import post as module
from strata.sender.post import Post, Refused
from strata.sender.settings import SenderSettings
from strata.wire import agent as wire
from support.children import until
from unit.sender.double import DEADLINE_S, Broadcasts, order

MOVE = wire.StreamMove("str_1", ["rist://192.0.2.9:16000"], "another-key-of-the-tests")


class Stage:
    def __init__(self) -> None:
        self.broadcasts = Broadcasts()
        self.states: list[str] = []
        self.post = Post(SenderSettings(), self.broadcasts.begin, self._on_change)

    def _on_change(self) -> None:
        self.states.append(self.post.state)

    async def until(self, state: str) -> None:
        await until(lambda: self.post.state == state, DEADLINE_S, state)

    def doing(self) -> tuple[str, str, str] | None:
        told = self.post.doing
        return (told.stream_id, told.state, told.detail) if told is not None else None


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    one = Stage()
    yield one
    await one.post.close("the test is over")


async def test_from_order_to_order(stage: Stage) -> None:
    assert stage.doing() is None
    assert stage.post.stats() is None
    await stage.post.start(order())
    assert stage.doing() == ("str_1", "running", "")
    stats = stage.post.stats()
    assert stats is not None
    assert stats.stream_id == "str_1"
    await stage.post.stop("str_1", "user_stop")
    assert stage.doing() is None
    assert stage.post.stats() is None
    assert stage.broadcasts.latest.log == ["start", "stop"]
    assert stage.states == ["starting", "sending", "stopping", "idle"]
    assert not stage.post.unreported


async def test_the_same_order_again_is_no_new_broadcast(stage: Stage) -> None:
    stage.broadcasts.slow = True
    one, two = (asyncio.create_task(stage.post.start(order())) for _ in range(2))
    await stage.until("starting")
    assert stage.doing() == ("str_1", "starting", "")
    stage.broadcasts.latest.begins.set()
    await asyncio.gather(one, two)
    await stage.post.start(order())
    assert len(stage.broadcasts.made) == 1


async def test_another_stream_is_refused_while_one_is_sent(stage: Stage) -> None:
    await stage.post.start(order())
    with pytest.raises(Refused, match="sends str_1 already") as raised:
        await stage.post.start(order("str_2"))
    assert raised.value.code == "busy"
    assert stage.doing() == ("str_1", "running", "")
    assert len(stage.broadcasts.made) == 1


async def test_a_stop_of_something_else_does_nothing(stage: Stage) -> None:
    await stage.post.stop("str_1", "user_stop")
    await stage.post.start(order())
    await stage.post.stop("str_2", "user_stop")
    assert stage.doing() == ("str_1", "running", "")


@pytest.mark.parametrize(
    ("problem", "code", "words"),
    [
        (BadArguments("no such camera"), "bad_arguments", "no such camera"),
        (TimeoutError(), "late", "gave no picture within"),
        (ZeroDivisionError(), "internal", "an internal failure"),
    ],
)
async def test_one_that_cannot_begin_says_why(
    stage: Stage, problem: Exception, code: str, words: str
) -> None:
    stage.broadcasts.problem = problem
    with pytest.raises(Refused, match=words) as raised:
        await stage.post.start(order())
    assert raised.value.code == code
    assert stage.doing() is None
    assert stage.broadcasts.latest.log == ["start", "stop"]
    assert stage.states == ["starting", "idle"]
    stage.broadcasts.problem = None
    await stage.post.start(order())  # and the next one may


async def test_one_that_cannot_be_made_says_why(stage: Stage) -> None:
    stage.broadcasts.refuse = HostError("no encoder")
    with pytest.raises(Refused, match="no encoder"):
        await stage.post.start(order())
    assert stage.doing() is None


async def test_one_that_does_not_begin_in_time(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEGIN_DEADLINE_S", 0.01)
    stage.broadcasts.slow = True
    with pytest.raises(Refused, match=r"within 0\.01 s"):
        await stage.post.start(order())
    assert stage.broadcasts.latest.log == ["start", "stop"]


async def test_a_stop_goes_before_a_start_that_has_not_begun(stage: Stage) -> None:
    stage.broadcasts.slow = True
    starting = asyncio.create_task(stage.post.start(order()))
    await stage.until("starting")
    await stage.post.stop("str_1", "user_stop")
    with pytest.raises(Refused, match="stopped before it had begun"):
        await starting
    assert stage.doing() is None
    assert stage.states == ["starting", "stopping", "idle"]
    assert stage.broadcasts.latest.log == ["start", "stop"]


async def test_a_stop_right_after_the_start_of_which_nothing_was_done(stage: Stage) -> None:
    starting = asyncio.create_task(stage.post.start(order()))
    await asyncio.sleep(0)  # its task has been made, and has not run
    assert stage.post.state == "starting"
    await stage.post.stop("str_1", "user_stop")
    with pytest.raises(Refused):
        await starting
    assert stage.doing() is None


async def test_what_nobody_waits_for_goes_on(stage: Stage) -> None:
    """The connection over which the order came has broken."""
    stage.broadcasts.slow = True
    starting = asyncio.create_task(stage.post.start(order()))
    await stage.until("starting")
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    stage.broadcasts.latest.begins.set()
    await stage.until("sending")
    assert stage.doing() == ("str_1", "running", "")


async def test_a_start_waits_for_the_stop_before_it(stage: Stage) -> None:
    await stage.post.start(order())
    first = stage.broadcasts.latest
    first.stops.clear()
    stops = [asyncio.create_task(stage.post.stop("str_1", "user_stop")) for _ in range(2)]
    await stage.until("stopping")
    assert stage.doing() == ("str_1", "stopping", "")
    starting = asyncio.create_task(stage.post.start(order("str_2")))
    await asyncio.sleep(0.01)
    assert not starting.done()
    first.stops.set()
    await asyncio.gather(*stops, starting)
    assert stage.doing() == ("str_2", "running", "")


async def test_one_that_ends_by_itself_is_told_until_it_is_known(stage: Stage) -> None:
    await stage.post.start(order())
    stage.broadcasts.latest.end("source", "the camera\nis gone")
    await stage.until("ended")
    assert stage.doing() == ("str_1", "ended", "source: the camerais gone")
    assert stage.post.unreported == {
        "str_1": wire.StreamEnded("str_1", "source", "the camerais gone", 12.5, 4711)
    }
    assert stage.broadcasts.latest.log == ["start", "stop"]
    stage.post.forget("str_1")
    stage.post.forget("str_1")
    assert not stage.post.unreported
    assert stage.doing() == ("str_1", "ended", "source: the camerais gone")
    await stage.post.stop("str_1", "user_stop")
    assert stage.doing() is None


async def test_the_same_stream_sent_anew_has_not_ended(stage: Stage) -> None:
    await stage.post.start(order())
    stage.broadcasts.latest.end()
    await stage.until("ended")
    await stage.post.start(order())
    assert not stage.post.unreported
    assert stage.doing() == ("str_1", "running", "")
    assert len(stage.broadcasts.made) == 2


async def test_the_end_of_one_is_told_while_the_next_is_sent(stage: Stage) -> None:
    for number in range(module.UNREPORTED_MAX + 2):
        await stage.post.start(order(f"str_{number}"))
        stage.broadcasts.latest.end()
        await stage.until("ended")
    await stage.post.start(order("str_x"))
    assert list(stage.post.unreported) == [
        f"str_{number}" for number in range(2, module.UNREPORTED_MAX + 2)
    ]


async def test_one_that_fails_has_ended(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    await stage.post.start(order())
    stage.broadcasts.latest.fail(ZeroDivisionError())
    await stage.until("ended")
    assert stage.post.unreported["str_1"].reason == "failed"
    assert "ZeroDivisionError" in caplog.text


async def test_one_that_does_not_stop_is_left_behind(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "STOP_DEADLINE_S", 0.01)
    await stage.post.start(order())
    stage.broadcasts.latest.stops.clear()
    await stage.post.stop("str_1", "user_stop")
    assert stage.doing() is None
    assert "restart strata-sender" in caplog.text


async def test_one_that_does_not_stop_cleanly_has_stopped(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await stage.post.start(order())

    async def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(stage.broadcasts.latest, "stop", fail)
    await stage.post.stop("str_1", "user_stop")
    assert stage.doing() is None
    assert "did not stop cleanly" in caplog.text


async def test_it_moves(stage: Stage) -> None:
    with pytest.raises(Refused, match="does not send") as raised:
        await stage.post.move(MOVE)
    assert raised.value.code == "not_sending"
    stage.broadcasts.slow = True
    starting = asyncio.create_task(stage.post.start(order()))
    await stage.until("starting")
    moving = asyncio.create_task(stage.post.move(MOVE))
    await asyncio.sleep(0)
    stage.broadcasts.latest.begins.set()
    await asyncio.gather(starting, moving)
    assert stage.broadcasts.latest.log == ["start", "move to rist://192.0.2.9:16000"]
    with pytest.raises(Refused):
        await stage.post.move(wire.StreamMove("str_2", ["rist://h:1"], "x" * 8))
    stage.broadcasts.latest.problem = HostError("no such name")
    with pytest.raises(Refused, match="no such name"):
        await stage.post.move(MOVE)
    assert stage.doing() == ("str_1", "running", "")


async def test_a_move_of_what_cannot_begin(stage: Stage) -> None:
    stage.broadcasts.slow, stage.broadcasts.problem = True, HostError("no camera")
    starting = asyncio.create_task(stage.post.start(order()))
    await stage.until("starting")
    moving = asyncio.create_task(stage.post.move(MOVE))
    await asyncio.sleep(0)
    stage.broadcasts.latest.begins.set()
    for each in (starting, moving):
        with pytest.raises(Refused, match="no camera"):
            await each


async def test_the_end_of_the_program_is_an_end_that_is_told(stage: Stage) -> None:
    await stage.post.start(order())
    await stage.post.close("told to end")
    assert stage.doing() == ("str_1", "ended", "shutdown: told to end")
    assert stage.post.unreported["str_1"].reason == "shutdown"
    assert stage.broadcasts.latest.log == ["start", "stop"]
    await stage.post.close("told to end")


async def test_the_end_of_the_program_before_it_has_begun(stage: Stage) -> None:
    stage.broadcasts.slow = True
    starting = asyncio.create_task(stage.post.start(order()))
    await stage.until("starting")
    await stage.post.close("told to end")
    with pytest.raises(Refused):
        await starting
    assert not stage.post.unreported
    assert stage.broadcasts.latest.log == ["start", "stop"]


async def test_no_key_is_in_the_log(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await stage.post.start(order())
    await stage.post.move(MOVE)
    await stage.post.stop("str_1", "user_stop")
    assert "told to stop: user_stop" in caplog.text
    for secret in ("canary", MOVE.psk):
        assert secret not in caplog.text


async def test_a_step_that_is_none_is_a_defect(stage: Stage) -> None:
    with pytest.raises(AssertionError, match="idle -> sending"):
        stage.post._advance("sending", "str_1", "because")
