"""A policy that is carried out, on a host that does as it is told."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from strata.control.policies import Policies
from strata.control.policy import Policy, of_row
from strata.control.streams import StartRequest
from strata.errors import Conflict, HostUnreachable, NotAllowed, NotFound
from strata.wire import host as wire
from unit.control.stage import DEADLINE_S, ON_AIR, OTHER, OWNER, RECEIVING, URL, VIEWER, Stage
from unit.control.test_alerts import PICTURE, on_air
from unit.control.test_troubles import stats

AT_ONCE = Policy(2500, 800, 3000, for_s=0.0, back_for_s=0.0)


async def begun(stage: Stage, wanted: Policy | None = AT_ONCE) -> str:
    id = (
        await stage.streams.begin(OWNER, StartRequest((URL,), 2, "Derby", False, policy=wanted))
    ).row.id
    await stage.hear(id, RECEIVING, PICTURE, ON_AIR)
    return id


async def arrives(stage: Stage, id: str, kbps: float) -> None:
    await stage.hear(id, msgspec.structs.replace(stats(), bitrate_in_kbps=kbps))


def orders(stage: Stage) -> list[bool | None]:
    return [each.slate_now for each in stage.host.asked if isinstance(each, wire.Configure)]


async def ordered(stage: Stage, *wanted: bool) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while orders(stage) != list(wanted):
            await asyncio.sleep(0.01)


async def is_said(stage: Stage, id: str, type: str) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while type not in [each.type for each in await stage.platform.journal.latest(id, 100)]:
            await asyncio.sleep(0.01)


async def person(stage: Stage, id: str, now: bool) -> None:
    """Somebody speaks about the slate."""
    async with stage.platform.journal.begin() as change:
        change.note("slate_requested", id, OWNER.id, OWNER, now=now)
    stage.streams.observer.live[id].is_slate_held = now
    await asyncio.sleep(0.05)


async def test_an_alarm_the_slate_and_back(stage: Stage) -> None:
    id = await begun(stage)
    await arrives(stage, id, 5000)
    await arrives(stage, id, 2000)
    await stage.becomes(id, "degraded")
    assert "2500 kb/s" in stage.streams.observer.live[id].low
    assert orders(stage) == []
    await arrives(stage, id, 500)
    await ordered(stage, True)
    await is_said(stage, id, "policy_slate")
    await arrives(stage, id, 2900)
    await arrives(stage, id, 3500)
    await ordered(stage, True, False)
    await stage.becomes(id, "live")


async def test_nothing_before_the_first_media_and_without_numbers(stage: Stage) -> None:
    id = (
        await stage.streams.begin(OWNER, StartRequest((URL,), 2, "", False, policy=AT_ONCE))
    ).row.id
    await stage.hear(id, ON_AIR)
    await arrives(stage, id, 0)
    other = await begun(stage)
    await arrives(stage, other, 100)
    await ordered(stage, True)
    assert [each.stream_id for each in stage.host.asked if isinstance(each, wire.Configure)] == [
        other
    ]


async def test_a_slate_that_a_person_asked_for_stays(stage: Stage) -> None:
    id = await begun(stage)
    await person(stage, id, True)
    await arrives(stage, id, 100)
    await arrives(stage, id, 5000)
    await stage.becomes(id, "live")
    assert orders(stage) == []


async def test_a_persons_word_ends_ours(stage: Stage) -> None:
    id = await begun(stage)
    await arrives(stage, id, 100)
    await ordered(stage, True)
    await person(stage, id, True)
    await is_said(stage, id, "policy_overruled")
    await arrives(stage, id, 5000)
    await stage.becomes(id, "live")
    assert orders(stage) == [True], "it is the person's now"
    await person(stage, id, False)
    await arrives(stage, id, 100)
    await ordered(stage, True, True)
    await person(stage, id, False)
    await arrives(stage, id, 100)
    await arrives(stage, id, 100)
    assert orders(stage) == [True, True], "not again, against what was said"


async def test_it_is_tried_again_where_the_host_could_not(stage: Stage) -> None:
    id = await begun(stage)
    stage.host.fail = HostUnreachable("canary")
    await arrives(stage, id, 100)
    await ordered(stage, True)
    stage.host.fail = None
    await arrives(stage, id, 100)
    await ordered(stage, True, True)


async def test_across_a_restart_it_is_still_ours(stage: Stage) -> None:
    id = await begun(stage)
    await arrives(stage, id, 100)
    await ordered(stage, True)
    await is_said(stage, id, "policy_slate")
    stage.host.running[id] = [RECEIVING, PICTURE, ON_AIR]
    stage.host.slates_held.add(id)
    await stage.restart()
    await stage.streams.observer.compare_notes()
    live = stage.streams.observer.live[id]
    assert (live.is_slate_held, live.is_slate_ours, live.policy) == (True, True, AT_ONCE)
    await arrives(stage, id, 5000)
    await ordered(stage, True, False)


async def test_another_policy_and_none(stage: Stage) -> None:
    id = await begun(stage, None)
    await arrives(stage, id, 100)
    policies: Policies = stage.platform.policies
    await policies.set(OWNER, id, AT_ONCE)
    await arrives(stage, id, 100)
    await ordered(stage, True)
    assert of_row((await stage.row(id)).policy) == AT_ONCE
    await policies.set(OWNER, id, None)
    assert orders(stage) == [True, False], "what it put on it takes off"
    assert (await stage.row(id)).policy is None
    await stage.becomes(id, "live")


async def test_who_may(stage: Stage) -> None:
    id = await on_air(stage)
    policies: Policies = stage.platform.policies
    with pytest.raises(NotAllowed):
        await policies.set(VIEWER, id, AT_ONCE)
    with pytest.raises(NotFound):
        await policies.set(OTHER, id, AT_ONCE)
    await stage.end(id, "eos", "it was told to")
    with pytest.raises(Conflict):
        await policies.set(OWNER, id, AT_ONCE)
