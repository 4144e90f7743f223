from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from strata.control import agents as module
from strata.control.agents import Agents
from strata.errors import SenderOffline, StoreUnavailable
from strata.secrets import Secret
from strata.wire import agent as wire
from support.children import until
from support.control import eventually
from unit.control.field import CAMERA, DEADLINE_S, FakeAgent
from unit.control.stage import OWNER, Stage


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WRITE_DOWN_EACH_S", 0.02)


@pytest.fixture
def agents(stage: Stage) -> Agents:
    return stage.platform.agents


async def new(stage: Stage) -> tuple[str, Secret]:
    token, row = await stage.platform.senders.add(OWNER, "Van")
    async with FakeAgent(stage.platform, token, kind="enrollment") as agent:
        assert agent.answer is not None
        assert agent.answer.device_token is not None
        return row.id, Secret(agent.answer.device_token)


async def test_a_login_is_answered_with_who_it_is_and_how_it_is_to_behave(stage: Stage) -> None:
    id, token = await new(stage)
    agent = FakeAgent(stage.platform, token)
    answer = await agent.log_in()
    assert answer == wire.LoggedIn(True, id, None, wire.Config("Van", 10.0, 1.0))
    await agent.__aexit__()


async def test_a_connection_is_known_once_it_has_said_what_it_runs(
    stage: Stage, agents: Agents
) -> None:
    id, token = await new(stage)
    with pytest.raises(SenderOffline):
        agents.require(id)
    agent = FakeAgent(stage.platform, token)
    await agent.log_in()
    link = agents.require(id)
    assert link.state == "present"
    agent.say(wire.Status(cpu_percent=5.0))  # what is not there is not known
    agent.say(wire.StreamStats("str_1", 1.0))
    await until(lambda: link.stats is not None, DEADLINE_S, "numbers are kept")
    assert link.state == "present"
    agent.report()
    await until(lambda: link.state == "known", DEADLINE_S, "it is known")
    assert link.stats is None  # it sends nothing
    await agent.__aexit__()
    assert agents.link_of(id) is None


async def test_the_older_connection_takes_nothing_with_it(stage: Stage, agents: Agents) -> None:
    id, token = await new(stage)
    async with FakeAgent(stage.platform, token) as old, FakeAgent(stage.platform, token) as new_one:
        assert (await old.closed()).code == wire.CLOSE_REPLACED
        assert agents.link_of(id) is not None
        new_one.report()
        await until(lambda: agents.require(id).state == "known", DEADLINE_S, "it is heard")
        assert not new_one.end.done()
    assert agents.link_of(id) is None


async def test_a_wrong_token_is_answered_then_the_connection_is_closed(stage: Stage) -> None:
    agent = FakeAgent(stage.platform, Secret("snd_nobody.wrong"))
    answer = await agent.log_in()
    assert (answer.success, answer.code) == (False, "not_allowed")
    assert "new enrollment token" in (answer.message or "")
    assert (await agent.closed()).code == wire.CLOSE_NOT_ALLOWED
    assert agent.socket.closed == (wire.CLOSE_NOT_ALLOWED, "not_allowed")
    await agent.__aexit__()


async def test_a_token_that_no_database_can_hold_is_wrong(stage: Stage) -> None:
    agent = FakeAgent(stage.platform, Secret("snd_\0.wrong"))
    answer = await agent.log_in()
    assert (answer.success, answer.code) == (False, "not_allowed")
    await agent.__aexit__()


async def test_wrong_tokens_wait_and_right_ones_do_not(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, right = await new(stage)
    for _ in range(5):
        wrong = FakeAgent(stage.platform, Secret("snd_nobody.wrong"))
        await wrong.log_in()
        await wrong.__aexit__()
    slept: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        if seconds > 0.5:
            slept.append(seconds)
            seconds = 0.0
        await real(seconds)

    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    wrong = FakeAgent(stage.platform, Secret("snd_nobody.wrong"))
    await wrong.log_in()
    await wrong.__aexit__()
    assert len(slept) == 1
    slept.clear()
    async with FakeAgent(stage.platform, right):
        assert slept == []


async def test_who_asks_for_something_before_its_login(stage: Stage, agents: Agents) -> None:
    agent = FakeAgent(stage.platform, Secret("x"))
    agent.end = asyncio.create_task(agents.serve(agent.socket, "192.0.2.1"))
    agent.report()
    assert (await agent.closed()).code == wire.CLOSE_NOT_ALLOWED
    assert b"log in first" in (await agent.socket.sent.get()).encode()


async def test_who_says_nothing(stage: Stage, agents: Agents) -> None:
    agents._settings = agents._settings.model_copy(update={"login_timeout_s": 0.05})
    agent = FakeAgent(stage.platform, Secret("x"))
    agent.end = asyncio.create_task(agents.serve(agent.socket, "192.0.2.1"))
    closing = await agent.closed()
    assert (closing.code, closing.word) == (wire.CLOSE_LATE, "login_timeout")


async def test_a_database_that_is_away_is_not_the_agents_fault(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> Any:
        raise StoreUnavailable("the database does not answer")

    _, token = await new(stage)
    monkeypatch.setattr(type(stage.platform.senders), "let_in", fail)
    agent = FakeAgent(stage.platform, token)
    answer = await agent.log_in()
    assert (answer.success, answer.code) == (False, "database_unavailable")
    assert (await agent.closed()).code == wire.CLOSE_FAILED
    await agent.__aexit__()


async def test_a_second_login_changes_nothing(stage: Stage) -> None:
    _, token = await new(stage)
    async with FakeAgent(stage.platform, token) as agent:
        agent.say(wire.Login(device_token="snd_other.x"), "again")
        await agent.until(lambda: any(each.id == "again" for each in agent.heard), "answered")
        assert agent.heard[-1].type == "error"
        assert not agent.end.done()


async def test_a_sender_that_is_removed_is_cut_off(stage: Stage, agents: Agents) -> None:
    id, token = await new(stage)
    agents.cut("snd_nobody")
    async with FakeAgent(stage.platform, token) as agent:
        agents.cut(id)
        assert (await agent.closed()).code == wire.CLOSE_REMOVED


async def test_comings_and_goings_are_noted_and_numbers_only_told(stage: Stage) -> None:
    id, token = await new(stage)
    with stage.platform.bus.listen(lambda news: news.topic == f"sender:{id}") as news:
        async with FakeAgent(stage.platform, token) as agent:
            agent.say(wire.StreamStats("str_1", 1.0, 5000.0, [wire.LinkStats("1", "wwan0")]))
            heard = [await asyncio.wait_for(news.next(), DEADLINE_S) for _ in range(3)]
        assert [each.type for each in heard] == ["sender_online", "device.status", "stream.stats"]
        assert {each.owner_id for each in heard} == {OWNER.id}
        assert heard[1].data["media_inputs"] == [msgspec.to_builtins(CAMERA)]
        assert heard[2].data["links"][0]["interface"] == "wwan0"

    async def types() -> list[str]:
        return [each.type for each in await stage.platform.journal.latest(id, 100)]

    wanted = ["sender_added", "sender_enrolled", *["sender_online", "sender_offline"] * 2]

    async def is_noted() -> bool:
        return await types() == wanted

    await eventually(is_noted, DEADLINE_S, "all is noted")
    seen_at = (await stage.platform.senders.get(OWNER, id)).seen_at
    assert seen_at is not None
    assert (datetime.now(UTC) - seen_at).total_seconds() < DEADLINE_S


async def test_what_could_not_be_written_is_written_later(
    stage: Stage, agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    id, token = await new(stage)
    senders = type(stage.platform.senders)
    real = senders.write_down
    failed: list[float] = []

    async def fail(*_: Any) -> None:
        failed.append(time.monotonic())
        raise StoreUnavailable("the database does not answer")

    await until(lambda: not agents._came, DEADLINE_S, "what was is written")
    monkeypatch.setattr(senders, "write_down", fail)
    async with FakeAgent(stage.platform, token):
        await until(lambda: failed, DEADLINE_S, "it was tried")
    monkeypatch.setattr(senders, "write_down", real)

    async def is_written() -> bool:
        events = await stage.platform.journal.latest(id, 2)
        return [each.type for each in events] == ["sender_online", "sender_offline"]

    await eventually(is_written, DEADLINE_S, "it is written")


async def test_the_last_words_are_written_before_the_end(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    id, token = await new(stage)
    senders = type(stage.platform.senders)
    real = senders.write_down
    begun = asyncio.Event()

    async def slowly(*arguments: Any) -> None:
        begun.set()
        await asyncio.sleep(0.1)
        await real(*arguments)

    monkeypatch.setattr(senders, "write_down", slowly)
    async with FakeAgent(stage.platform, token):
        await asyncio.wait_for(begun.wait(), DEADLINE_S)  # it is at it when the end comes
    await stage.restart()
    events = await stage.platform.journal.latest(id, 2)
    assert [each.type for each in events] == ["sender_online", "sender_offline"]


async def test_who_stays_is_seen_again_and_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEEN_EACH_S", 0.05)
    id, token = await new(stage)
    async with FakeAgent(stage.platform, token):
        seen = set()

        async def is_seen_often() -> bool:
            seen.add((await stage.platform.senders.get(OWNER, id)).seen_at)
            return len(seen) > 3

        await eventually(is_seen_often, DEADLINE_S, "it is written that it is there")


WORDS = st.sampled_from(["str_1", "running", "ended", "eos", "", "x" * 65, "\0"])
FIELDS = st.sampled_from(
    ["stream_id", "state", "detail", "reason", "stream_state", "links", "media_inputs", "id"]
)
VALUES = st.recursive(
    WORDS | st.none() | st.integers() | st.booleans() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4),
    max_leaves=8,
)
TYPES = st.sampled_from(
    [*wire.REPORTS.values(), *wire.ORDERS.values(), "stream.start.response", "error", "other"]
)
FRAMES = st.builds(
    lambda type, id, payload: json.dumps({"type": type, "id": id, "payload": payload}),
    TYPES,
    WORDS,
    st.dictionaries(FIELDS, VALUES, max_size=5),
)


@given(st.lists(FRAMES | st.text(max_size=20), min_size=1, max_size=40))
@hypothesis_settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
)
async def test_whatever_an_agent_says_its_connection_goes_on(
    stage: Stage, caplog: pytest.LogCaptureFixture, frames: list[str]
) -> None:
    token, row = await stage.platform.senders.add(OWNER, "Van")
    async with FakeAgent(stage.platform, token, kind="enrollment") as agent:
        for each in frames:
            agent.socket.to_control.put_nowait(each)
        agent.say(wire.StreamEnded("str_nobody", "eos"), "the last")
        await agent.until(lambda: any(each.id == "the last" for each in agent.heard), "heard")
        assert not agent.end.done()
        assert stage.platform.agents.link_of(row.id) is not None
    assert "ended with an error" not in caplog.text
