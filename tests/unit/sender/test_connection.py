from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from strata.sender import connection as module
from strata.sender.connection import GOING_AWAY, Connection, Gone, Parting, Unanswered
from strata.wire import agent as wire
from unit.sender.double import DEADLINE_S, FakeSocket, order

STOP = wire.StreamStop("str_1", "user_stop")


class Talk:
    """A connection, and what it was told to obey."""

    def __init__(self) -> None:
        self.socket = FakeSocket()
        self.orders: list[wire.Order] = []
        self.may_obey = asyncio.Event()
        self.may_obey.set()
        self.connection = Connection(self.socket, self._obey)
        self.ends = asyncio.Event()
        self.ran = asyncio.create_task(self.connection.run(self._duty))

    async def _obey(self, order: wire.Order) -> wire.Done:
        self.orders.append(order)
        await self.may_obey.wait()
        return wire.Done(True)

    async def _duty(self, connection: Connection) -> None:
        await self.ends.wait()

    async def parting(self) -> Parting:
        return await asyncio.wait_for(asyncio.shield(self.ran), DEADLINE_S)


@pytest.fixture
async def talk() -> AsyncIterator[Talk]:
    one = Talk()
    yield one
    one.ends.set()
    await asyncio.wait_for(asyncio.gather(one.ran, return_exceptions=True), DEADLINE_S)


async def test_what_is_asked_is_answered(talk: Talk) -> None:
    asked = asyncio.create_task(talk.connection.ask(wire.StreamEnded("str_1", "eos"), DEADLINE_S))
    frame = await talk.socket.heard()
    assert (frame.type, frame.message) == ("stream.ended", wire.StreamEnded("str_1", "eos"))
    talk.socket.say(wire.Frame("other", frame.type + wire.ANSWER, wire.Done(False)))
    talk.socket.say(frame.answered(wire.Done(True)))
    assert await asyncio.wait_for(asked, DEADLINE_S) == wire.Done(True)
    talk.socket.say(frame.answered(wire.Done(False)))  # nobody waits for it any more
    assert await talk.socket.obeyed(STOP) == wire.Done(True)


async def test_what_is_not_answered(talk: Talk) -> None:
    with pytest.raises(Unanswered):
        await talk.connection.ask(wire.StreamEnded("str_1", "eos"), 0.01)


async def test_an_order_is_answered_when_it_is_carried_out(talk: Talk) -> None:
    talk.may_obey.clear()
    id = talk.socket.tell(STOP)
    other = talk.socket.tell(wire.ConfigUpdate(wire.Config("Van")))
    await talk.connection.say(wire.Status())
    assert (await talk.socket.heard()).type == "device.status"  # others do not wait for it
    assert talk.socket.sent.empty()
    talk.may_obey.set()
    assert await talk.socket.answer_to(id) == wire.Done(True)
    assert await talk.socket.answer_to(other) == wire.Done(True)
    assert talk.orders == [STOP, wire.ConfigUpdate(wire.Config("Van"))]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "bad_frame"),
        ("[" * 60_000, "bad_frame"),
        (b"\xff\xfe", "bad_frame"),
        ('{"type": "stream.dance", "id": "7"}', "unknown_type"),
        ('{"type": "stream.start", "id": "7", "payload": {}}', "bad_frame"),
        ("x" * (wire.MAX_FRAME_BYTES + 1), "too_long"),
    ],
)
async def test_what_is_not_understood_is_answered_and_nothing_is_lost(
    talk: Talk, text: str | bytes, code: str
) -> None:
    talk.socket.to_agent.put_nowait(text)
    frame = await talk.socket.heard()
    assert isinstance(frame.message, wire.Error)
    assert frame.message.code == code
    assert await talk.socket.obeyed(STOP) == wire.Done(True)


async def test_an_error_is_not_answered(talk: Talk) -> None:
    talk.socket.to_agent.put_nowait('{"type": "error", "id": "7", "payload": 7}')
    assert await talk.socket.obeyed(STOP) == wire.Done(True)
    assert talk.socket.sent.empty()


async def test_only_so_many_orders_at_once(talk: Talk) -> None:
    talk.may_obey.clear()
    ids = [talk.socket.tell(STOP) for _ in range(module.ORDERS_MAX)]
    refused = await talk.socket.obeyed(STOP)
    assert (refused.success, refused.code) == (False, "too_many")
    talk.may_obey.set()
    for id in ids:
        assert await talk.socket.answer_to(id) == wire.Done(True)
    assert await talk.socket.obeyed(STOP) == wire.Done(True)


async def test_the_other_end_is_gone(talk: Talk) -> None:
    talk.socket.drop(1012, "control ends")
    assert await talk.parting() == Parting(1012, "control ends")
    assert talk.socket.closed == GOING_AWAY


async def test_the_first_reason_counts(talk: Talk) -> None:
    assert talk.connection.part(4401, "one") == talk.connection.part(4409, "two")
    assert await talk.parting() == Parting(4401, "one")


async def test_it_ends_with_its_duty(talk: Talk) -> None:
    talk.ends.set()
    assert (await talk.parting()).word == "its work is done"


async def test_it_ends_with_any_further_duty(talk: Talk) -> None:
    async def fail(connection: Connection) -> None:
        raise Gone(1006, "no more")

    talk.connection.spawn("further", fail)
    assert await talk.parting() == Parting(1006, "no more")


async def test_what_is_not_taken_ends_it(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEND_DEADLINE_S", 0.01)
    talk.socket.is_stuck = True
    with pytest.raises(Gone, match=r"nothing was taken for 0\.01 s"):
        await talk.connection.say(wire.Status())
    talk.socket.tell(STOP)
    assert await talk.parting() == Parting(1006, "nothing was taken for 0.01 s")


async def test_a_report_that_is_too_long_is_left_out(
    talk: Talk, caplog: pytest.LogCaptureFixture
) -> None:
    await talk.connection.say(wire.StreamEnded("str_1", "eos", "x" * wire.MAX_FRAME_BYTES))
    assert "stream.ended is not sent" in caplog.text
    assert talk.socket.sent.empty()


async def test_a_socket_that_does_not_close_is_left(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLOSE_DEADLINE_S", 0.01)

    async def hang(code: int) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(talk.socket, "close", hang)
    talk.connection.part(1011, "over")
    assert await talk.parting() == Parting(1011, "over")


async def test_it_is_closed_when_the_program_ends(talk: Talk) -> None:
    await asyncio.sleep(0)
    talk.ran.cancel()
    with pytest.raises(asyncio.CancelledError):
        await talk.ran
    assert talk.socket.closed == GOING_AWAY


def test_no_order_shows_its_key() -> None:
    assert "canary" not in repr(order())
