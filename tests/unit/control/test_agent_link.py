from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from strata.control import agent_link as module
from strata.control.agent_link import TRANSITIONS, Allowance, Closing, Gone, Link
from strata.errors import SenderOffline, SenderRefused
from strata.wire import agent as wire
from unit.control.field import DEADLINE_S, FakeSocket

STOP = wire.StreamStop("str_1", "user_stop")


def text(frame: wire.Frame) -> str:
    return wire.encode(frame, datetime.now(UTC))


class Talk:
    """A link and who reads from it."""

    def __init__(self, per_s: float = 50.0) -> None:
        self.socket = FakeSocket()
        self.now = 0.0
        self.link = Link(self.socket, "192.0.2.1", per_s, lambda: self.now)
        self.read: asyncio.Queue[wire.Frame] = asyncio.Queue()
        self.ran: asyncio.Task[Closing]

    async def __aenter__(self) -> Talk:
        self.ran = asyncio.create_task(self.link.run(self._work))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.link.close(1000, "over")
        await asyncio.wait_for(self.ran, DEADLINE_S)

    async def _work(self, link: Link) -> None:
        while True:
            self.read.put_nowait(await link.next())

    def say(self, data: str | None) -> None:
        self.socket.to_control.put_nowait(data)

    async def heard(self) -> wire.Frame:
        return wire.decode_from_control(await asyncio.wait_for(self.socket.sent.get(), DEADLINE_S))

    async def closing(self) -> Closing:
        return await asyncio.wait_for(asyncio.shield(self.ran), DEADLINE_S)


async def test_an_order_is_carried_out_when_it_is_answered() -> None:
    async with Talk() as talk:
        asked = asyncio.create_task(talk.link.ask(STOP, DEADLINE_S))
        frame = await talk.heard()
        assert (frame.type, frame.message) == ("stream.stop", STOP)
        assert not asked.done()
        talk.say(text(frame.answered(wire.Done(True))))
        await asyncio.wait_for(asked, DEADLINE_S)
        talk.say(text(frame.answered(wire.Done(False))))  # nobody waits for it any more
        assert talk.read.empty()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (wire.Done(False, "busy", "it sends another"), "the sender refuses: it sends another"),
        (wire.Done(False, "busy"), "the sender refuses: busy"),
        (wire.Done(False), "it does not say why"),
        (wire.Error("unknown_type", "what is that"), "what is that"),
    ],
)
async def test_an_order_that_is_refused(answer: wire.Done | wire.Error, words: str) -> None:
    async with Talk() as talk:
        asked = asyncio.create_task(talk.link.ask(STOP, DEADLINE_S))
        frame = await talk.heard()
        type = "error" if isinstance(answer, wire.Error) else frame.type + wire.ANSWER
        talk.say(text(wire.Frame(frame.id, type, answer)))
        with pytest.raises(SenderRefused, match=words):
            await asked


async def test_an_order_without_an_answer() -> None:
    async with Talk() as talk:
        with pytest.raises(SenderOffline, match=r"did not answer within 0\.05 s"):
            await talk.link.ask(STOP, 0.05)
        asked = asyncio.create_task(talk.link.ask(STOP, DEADLINE_S))
        await talk.heard()
        await talk.heard()
        talk.say(None)
        with pytest.raises(SenderOffline, match="went away before it answered"):
            await asked
        with pytest.raises(SenderOffline):
            await talk.link.ask(STOP, DEADLINE_S)


async def test_what_cannot_be_read_is_answered_and_nothing_is_lost() -> None:
    async with Talk() as talk:
        talk.say("{")
        talk.say('{"type": "device.dance", "id": "7"}')
        talk.say(text(wire.frame("8", wire.Status())))
        assert (await talk.heard()).message.code == "bad_frame"  # type: ignore[union-attr]
        answer = await talk.heard()
        assert (answer.id, answer.type) == ("7", "error")
        assert (await asyncio.wait_for(talk.read.get(), DEADLINE_S)).id == "8"


async def test_many_that_come_at_once_are_all_answered() -> None:
    async with Talk() as talk:
        for number in range(4 * module.UNSENT_MAX):
            talk.say(f'{{"type": "device.dance", "id": "{number}"}}')
        heard = [(await talk.heard()).id for _ in range(4 * module.UNSENT_MAX)]
        assert heard == [str(number) for number in range(4 * module.UNSENT_MAX)]
        assert not talk.ran.done()


async def test_the_first_reason_to_close_counts_and_what_was_said_before_goes_out() -> None:
    async with Talk() as talk:
        talk.link.say(wire.Frame("7", "error", wire.Error("x", "y")))
        talk.link.close(wire.CLOSE_REMOVED, "removed")
        talk.link.close(wire.CLOSE_REPLACED, "replaced")
        assert await talk.closing() == Closing(wire.CLOSE_REMOVED, "removed")
        assert (await talk.heard()).id == "7"
        assert talk.socket.closed == (wire.CLOSE_REMOVED, "removed")
        assert talk.link.state == "closed"


async def test_a_connection_that_breaks_says_so() -> None:
    async with Talk() as talk:
        talk.say(None)
        assert await talk.closing() == Closing(wire.CLOSE_FAILED, "the connection broke")


async def test_who_reads_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEND_DEADLINE_S", 0.05)
    monkeypatch.setattr(module, "CLOSE_DEADLINE_S", 0.05)
    async with Talk() as talk:
        talk.socket.is_stuck = True
        talk.link.say(wire.Frame("7", "error", wire.Error("x", "y")))
        assert (await talk.closing()).word == "does_not_read"
    async with Talk() as talk:
        for _ in range(module.UNSENT_MAX + 1):
            talk.link.say(wire.Frame("7", "error", wire.Error("x", "y")))
        assert await talk.closing() == Closing(wire.CLOSE_LATE, "does_not_read")


async def test_who_says_too_much_is_cut_off() -> None:
    async with Talk(per_s=1.0) as talk:
        for number in range(11):
            talk.say(text(wire.frame(str(number), wire.Status())))
        assert await talk.closing() == Closing(wire.CLOSE_TOO_MANY, "too_many_messages")
        assert talk.read.qsize() == 10


async def test_a_failure_of_ours_closes_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    socket = FakeSocket()
    link = Link(socket, "", 50.0)

    async def fail(link: Link) -> None:
        raise RuntimeError("ours")

    assert (await asyncio.wait_for(link.run(fail), DEADLINE_S)).word == "failed"
    assert "ended with an error" in caplog.text
    assert socket.closed == (wire.CLOSE_FAILED, "failed")


async def test_one_that_is_cancelled_leaves_nothing() -> None:
    async with Talk() as talk:
        asked = asyncio.create_task(talk.link.ask(STOP, DEADLINE_S))
        await talk.heard()
        talk.ran.cancel()
        with pytest.raises(asyncio.CancelledError):
            await talk.ran
        with pytest.raises(SenderOffline):
            await asked
        assert talk.socket.closed is not None
        talk.ran = asyncio.create_task(asyncio.sleep(0))  # type: ignore[arg-type]


def test_the_allowance_fills_up_again() -> None:
    allowance = Allowance(2.0, 0.0)
    assert [allowance.take(0.0) for _ in range(21)] == [True] * 20 + [False]
    assert not allowance.take(0.5)  # what was too much counts, too
    assert allowance.take(3.0)
    assert [allowance.take(1000.0) for _ in range(21)].count(True) == 20


def test_a_connection_does_not_go_back() -> None:
    link = Link(FakeSocket(), "", 50.0)
    with pytest.raises(AssertionError):
        link.advance("known", "")
    link.advance("present", "")
    link.advance("known", "")
    link.advance("closed", "")
    with pytest.raises(AssertionError):
        link.advance("present", "")
    assert all("closed" in TRANSITIONS[state] for state in TRANSITIONS if state != "closed")
    assert str(Gone("x")) == "x"
