"""What forwards wait for."""

from __future__ import annotations

import asyncio

from strata.worker.flow import Flow
from strata.worker.formats import Program
from unit.worker.fakes import AUDIO, H265, VIDEO

PROGRAM = Program(VIDEO, AUDIO)
OTHER = Program(H265, AUDIO)


async def test_before_any_media_it_is_closed() -> None:
    flow = Flow()
    assert (flow.program, flow.is_open, flow.change.done()) == (None, False, False)


async def test_who_waits_is_told_of_each_change() -> None:
    flow = Flow()
    first = flow.change
    flow.open(PROGRAM)
    assert (flow.program, flow.is_open) == (PROGRAM, True)
    second = flow.change
    assert first.done()
    assert not second.done()
    flow.open(OTHER)
    third = flow.change
    assert (flow.program, flow.is_open) == (OTHER, True)
    assert second.done()
    flow.close()
    assert third.done()
    assert not flow.is_open
    assert not flow.change.done()


async def test_what_changes_nothing_is_not_told() -> None:
    flow = Flow()
    change = flow.change
    flow.close()
    assert not change.done()
    flow.open(PROGRAM)
    change = flow.change
    flow.open(Program(VIDEO, AUDIO))
    assert flow.change is change
    flow.close()
    change = flow.change
    flow.close()
    assert flow.change is change


async def test_other_formats_are_there_for_who_comes_next_and_told_to_nobody() -> None:
    flow = Flow()
    flow.open(PROGRAM)
    change = flow.change
    flow.update(OTHER)
    assert (flow.program, flow.is_open) == (OTHER, True)
    assert flow.change is change
    assert not change.done()
    flow.open(OTHER)
    assert flow.change is change


async def test_the_tracks_are_known_still_when_it_is_closed_and_opens_with_the_same() -> None:
    flow = Flow()
    flow.open(PROGRAM)
    flow.close()
    assert flow.program == PROGRAM
    flow.update(OTHER)
    assert (flow.program, flow.is_open) == (OTHER, False)
    change = flow.change
    flow.open(OTHER)
    assert flow.is_open
    assert change.done()


async def test_any_number_can_wait_for_one_change() -> None:
    flow = Flow()

    async def waits() -> bool:
        await asyncio.wait({flow.change})
        return flow.is_open

    waiting = [asyncio.create_task(waits()) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    flow.open(PROGRAM)
    assert await asyncio.gather(*waiting) == [True] * 3
