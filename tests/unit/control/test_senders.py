from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from strata.control import tables
from strata.control.senders import Came, Senders
from strata.errors import Conflict, NotAllowed, NotFound
from strata.secrets import Secret
from strata.wire import agent as wire
from unit.control.stage import ADMIN, OTHER, OWNER, VIEWER, Stage

ADDRESS = "192.0.2.1"


@pytest.fixture
def senders(stage: Stage) -> Senders:
    return stage.platform.senders


def first(token: Secret) -> wire.Login:
    return wire.Login(enrollment_token=token.reveal(), hostname="box", arch="aarch64")


def later(token: Secret) -> wire.Login:
    return wire.Login(device_token=token.reveal(), hostname="box", arch="aarch64")


async def took_on(senders: Senders) -> tuple[str, Secret]:
    token, row = await senders.add(OWNER, "Van")
    _, device_token = await senders.let_in(first(token), ADDRESS)
    assert device_token is not None
    return row.id, device_token


async def types(stage: Stage, sender_id: str) -> list[str]:
    return [each.type for each in await stage.platform.journal.latest(sender_id, 100)]


async def test_a_box_enrols_and_is_known_from_then_on(stage: Stage, senders: Senders) -> None:
    token, made = await senders.add(OWNER, "Van")
    assert (made.owner_id, made.name, made.enrolled_at) == (OWNER.id, "Van", None)
    row, device_token = await senders.let_in(first(token), ADDRESS)
    assert row.id == made.id
    assert device_token is not None
    assert device_token != token
    row, none = await senders.let_in(later(device_token), ADDRESS)
    assert none is None
    found = await senders.get(OWNER, made.id)
    assert (found.hostname, found.arch, found.agent_version) == ("box", "aarch64", None)
    assert found.enrolled_at is not None
    assert found.enrollment_expires_at is None
    assert await types(stage, made.id) == ["sender_added", "sender_enrolled"]


async def test_no_token_is_stored(stage: Stage, senders: Senders) -> None:
    token, row = await senders.add(OWNER, "Van")
    _, device_token = await senders.let_in(first(token), ADDRESS)
    assert device_token is not None
    async with stage.store.begin() as session:
        stored = await session.get(tables.Sender, row.id)
        events = await stage.platform.journal.latest(row.id, 100)
    assert stored is not None
    for each in (token, device_token):
        secret = each.reveal().partition(".")[2]
        assert secret not in str(vars(stored))
        assert secret not in str([event.data for event in events])


async def test_an_enrollment_token_works_once_however_many_come_at_once(senders: Senders) -> None:
    token, _ = await senders.add(OWNER, "Van")
    results = await asyncio.gather(
        *(senders.let_in(first(token), ADDRESS) for _ in range(5)), return_exceptions=True
    )
    refused = [each for each in results if isinstance(each, NotAllowed)]
    assert len(refused) == 4, results
    with pytest.raises(NotAllowed, match="works once"):
        await senders.let_in(first(token), ADDRESS)


async def test_an_enrollment_token_expires(stage: Stage, senders: Senders) -> None:
    token, row = await senders.add(OWNER, "Van")
    assert row.enrollment_expires_at is not None
    life = row.enrollment_expires_at - datetime.now(UTC)
    assert timedelta(days=6.9) < life < timedelta(days=7)
    late = Senders(stage.store, stage.platform.journal, enrollment_days=-1.0)
    token, _ = await late.enroll(OWNER, row.id)
    with pytest.raises(NotAllowed, match="for some days"):
        await senders.let_in(first(token), ADDRESS)


@pytest.mark.parametrize("token", ["", ".", "snd_nobody.x", "x" * 200, "snd_1"])
async def test_wrong_tokens(senders: Senders, token: str) -> None:
    id, right = await took_on(senders)
    for each in (Secret(token), Secret(f"{id}.wrong"), Secret(f"{id}.")):
        with pytest.raises(NotAllowed):
            await senders.let_in(first(each), ADDRESS)
        with pytest.raises(NotAllowed):
            await senders.let_in(later(each), ADDRESS)
    with pytest.raises(NotAllowed):  # each for its own
        await senders.let_in(first(right), ADDRESS)
    with pytest.raises(NotAllowed):
        await senders.let_in(wire.Login(), ADDRESS)
    await senders.let_in(later(right), ADDRESS)


async def test_another_box_takes_its_place_once_it_comes(senders: Senders) -> None:
    id, old = await took_on(senders)
    token, _ = await senders.enroll(OWNER, id)
    await senders.let_in(later(old), ADDRESS)  # a mistake must not lock it out
    _, new = await senders.let_in(first(token), ADDRESS)
    assert new is not None
    with pytest.raises(NotAllowed, match="not valid"):
        await senders.let_in(later(old), ADDRESS)
    await senders.let_in(later(new), ADDRESS)


async def test_a_newer_enrollment_token_ends_the_older(senders: Senders) -> None:
    old, row = await senders.add(OWNER, "Van")
    new, _ = await senders.enroll(OWNER, row.id)
    with pytest.raises(NotAllowed):
        await senders.let_in(first(old), ADDRESS)
    await senders.let_in(first(new), ADDRESS)


async def test_everybody_sees_and_changes_what_is_theirs(senders: Senders) -> None:
    _, row = await senders.add(OWNER, "Van")
    assert [each.id for each in await senders.visible_to(OWNER)] == [row.id]
    assert [each.id for each in await senders.visible_to(ADMIN)] == [row.id]
    assert await senders.visible_to(OTHER) == []
    for work in (senders.get, senders.enroll, senders.remove):
        with pytest.raises(NotFound):
            await work(OTHER, row.id)
    with pytest.raises(NotAllowed):
        await senders.add(VIEWER, "Van")
    for work in (senders.enroll, senders.remove):
        with pytest.raises(NotAllowed):
            await work(VIEWER, row.id)
    assert (await senders.get(ADMIN, row.id)).name == "Van"


async def test_one_that_is_removed_is_let_in_no_more(stage: Stage, senders: Senders) -> None:
    id, token = await took_on(senders)
    await senders.remove(OWNER, id)
    with pytest.raises(NotAllowed):
        await senders.let_in(later(token), ADDRESS)
    with pytest.raises(NotFound):
        await senders.get(OWNER, id)
    assert (await types(stage, id))[-1] == "sender_removed"


async def test_one_that_sends_is_not_removed(stage: Stage, senders: Senders) -> None:
    id, _ = await took_on(senders)
    view = await stage.begin()
    async with stage.store.begin() as session:
        row = await session.get(tables.Stream, view.row.id)
        assert row is not None
        row.sender_id = id
    with pytest.raises(Conflict, match=view.row.id):
        await senders.remove(OWNER, id)
    await stage.streams.stop(OWNER, view.row.id)
    await senders.remove(OWNER, id)


async def test_comings_and_goings_are_written_down_together(stage: Stage, senders: Senders) -> None:
    rows = [(await senders.add(OWNER, str(number)))[1] for number in range(3)]
    now = datetime.now(UTC)
    await senders.write_down(
        {row.id: now for row in rows} | {"snd_removed": now},
        [Came("sender_online", row.id, OWNER.id, now, "connected") for row in rows],
    )
    assert [each.seen_at for each in await senders.visible_to(OWNER)] == [now] * 3
    for row in rows:
        assert await types(stage, row.id) == ["sender_added", "sender_online"]
