from __future__ import annotations

import asyncio

import pytest

from strata.control import bus as module
from strata.control.bus import Bus, FellBehind, News

DEADLINE_S = 5.0


def news(number: int, topic: str = "streams") -> News:
    return News(topic, "state", number)


async def test_who_listens_hears_it_in_order() -> None:
    bus = Bus()
    with bus.listen() as one, bus.listen() as other:
        for number in range(3):
            bus.publish(news(number))
        for listener in (one, other):
            assert [(await listener.next()).data for _ in range(3)] == [0, 1, 2]


async def test_who_waits_is_woken() -> None:
    bus = Bus()
    with bus.listen() as listener:
        waiting = asyncio.ensure_future(listener.next())
        await asyncio.sleep(0)
        bus.publish(news(7))
        assert (await asyncio.wait_for(waiting, DEADLINE_S)).data == 7


async def test_only_what_is_wanted_is_heard() -> None:
    bus = Bus()
    with bus.listen(lambda each: each.topic == "hosts") as listener:
        bus.publish(news(1))
        bus.publish(news(2, "hosts"))
        assert (await listener.next()).data == 2


async def test_what_came_before_or_after_is_not_heard() -> None:
    bus = Bus()
    bus.publish(news(1))
    with bus.listen() as listener:
        bus.publish(news(2))
        assert (await listener.next()).data == 2
    bus.publish(news(3))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(listener.next(), 0.01)


async def test_who_does_not_keep_up_is_told_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNREAD_MAX", 3)
    bus = Bus()
    with bus.listen() as slow, bus.listen() as quick:
        for number in range(5):
            bus.publish(news(number))
            assert (await quick.next()).data == number
        with pytest.raises(FellBehind):
            await slow.next()
        assert [(await slow.next()).data for _ in range(2)] == [3, 4]
