"""Agents over real WebSockets, against ``strata up``."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import time
from collections.abc import Iterator

import pytest

from strata import ids
from strata import up as up_module
from strata.control.logins import digest
from strata.wire import agent as wire
from support.agent import Agent
from support.children import until
from support.control import Api, Json, StrataUp, age_s, eventually, place

PING_INTERVAL_S = 0.5
PING_TIMEOUT_S = 1.0
BACK_DEADLINE_S = 60.0
CROWD = 200
CROWD_DEADLINE_S = 20.0
"""0.6 s were measured, on two cores that did nothing else."""


@pytest.fixture(scope="module")
def running() -> Iterator[StrataUp]:
    environment = {
        "STRATA_SERVER__PING_INTERVAL_S": str(PING_INTERVAL_S),
        "STRATA_SERVER__PING_TIMEOUT_S": str(PING_TIMEOUT_S),
        "STRATA_AGENTS__LOGIN_TIMEOUT_S": "2",
        "STRATA_FORWARD__ALLOW_PRIVATE": "true",
    }
    with place() as here:
        one = StrataUp(here, ports=32, environment=environment)
        try:
            asyncio.run(one.ready())
            yield one
        finally:
            asyncio.run(one.__aexit__())


async def new_sender(api: Api, name: str = "Van") -> Json:
    answer = await api.http.post("/api/senders", json={"name": name})
    assert answer.status_code == 201, answer.text
    sender: Json = answer.json()
    return sender


async def sender(api: Api, id: str) -> Json:
    answer = await api.http.get(f"/api/senders/{id}")
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


async def is_online(api: Api, id: str, *, online: bool = True) -> None:
    async def holds() -> bool:
        return bool((await sender(api, id))["online"] is online)

    await eventually(holds, BACK_DEADLINE_S, f"online: {online}")


async def enrolled(running: StrataUp, api: Api) -> tuple[str, str]:
    """A sender and its device token."""
    made = await new_sender(api)
    async with Agent(running.port, enrollment_token=made["enrollment_token"]) as agent:
        assert agent.device_token is not None
    return made["id"], agent.device_token


async def begin(api: Api, sender_id: str) -> Json:
    return await api.start(record=True, sender_id=sender_id, source={"mode": "test"})


async def test_a_box_enrols_once_and_shows_its_own_token_from_then_on(running: StrataUp) -> None:
    async with await running.log_in() as api:
        made = await new_sender(api)
        token = made["enrollment_token"]
        async with Agent(running.port, enrollment_token=token) as agent:
            found = await sender(api, made["id"])
            assert (found["online"], found["hostname"], found["arch"]) == (True, "box", "aarch64")
            assert "enrollment_token" not in found
        async with Agent(running.port, device_token=agent.device_token):
            await is_online(api, made["id"])
        again = Agent(running.port, enrollment_token=token)
        await again.connect()
        answer = await again.log_in()
        assert (answer.success, answer.code) == (False, "not_allowed")
        assert await again.until_closed() == (wire.CLOSE_NOT_ALLOWED, "not_allowed")
        await again.close()
        await is_online(api, made["id"], online=False)


async def test_a_broadcast_with_a_sender(running: StrataUp) -> None:
    async with await running.log_in() as api:
        id, token = await enrolled(running, api)
        refused = await api.http.post(
            "/api/streams", json={"record": True, "sender_id": id, "source": {"mode": "test"}}
        )
        assert (refused.status_code, refused.json()["code"]) == (409, "sender_offline")
        assert not running.place.workers()
        async with Agent(running.port, device_token=token) as agent:
            stream = await begin(api, id)
            assert (stream["state"], stream["psk"], stream["sender_command"]) == (
                "waiting",
                None,
                None,
            )
            assert (stream["sender_id"], stream["source"]["mode"]) == (id, "test")
            [order] = agent.ordered
            assert order.stream_id == stream["id"]
            assert order.destinations == stream["receive_urls"]
            assert len(order.psk) == 32
            assert (await sender(api, id))["stream_id"] == stream["id"]
            stats = wire.StreamStats(stream["id"], 1.0, 5000.0, [wire.LinkStats("1", "wwan0")])
            await agent.say(stats)

            async def tells_links() -> bool:
                found = (await sender(api, id))["stats"]
                return found is not None and found["links"][0]["interface"] == "wwan0"

            await eventually(tells_links, BACK_DEADLINE_S, "its links are shown")
            await api.stop(stream["id"])
            await agent.until(lambda: agent.doing is None, "it is told to stop")
            assert agent.ordered[-1] == wire.StreamStop(stream["id"], "user_stop")
            assert order.psk not in str(await api.get(stream["id"]))


async def test_a_newer_connection_takes_the_place_of_the_older(running: StrataUp) -> None:
    async with await running.log_in() as api:
        id, token = await enrolled(running, api)
        async with (
            Agent(running.port, device_token=token) as old,
            Agent(running.port, device_token=token) as new,
        ):
            assert await old.until_closed() == (wire.CLOSE_REPLACED, "replaced")
            assert (await sender(api, id))["online"]
            stream = await begin(api, id)
            assert [each.stream_id for each in new.ordered] == [stream["id"]]
            assert old.ordered == []
            await api.stop(stream["id"])


async def test_a_connection_that_is_half_open_is_noticed(running: StrataUp) -> None:
    async with await running.log_in() as api:
        id, token = await enrolled(running, api)
        async with Agent(running.port, device_token=token) as agent:
            await is_online(api, id)
            agent.go_deaf()
            begun = time.monotonic()
            await is_online(api, id, online=False)
            assert time.monotonic() - begun < 10 * (PING_INTERVAL_S + PING_TIMEOUT_S)


async def test_who_does_not_log_in_or_sends_nonsense(running: StrataUp) -> None:
    async with await running.log_in() as api:
        silent = Agent(running.port)
        await silent.connect()
        assert await silent.until_closed() == (wire.CLOSE_LATE, "login_timeout")
        await silent.close()
        id, token = await enrolled(running, api)
        async with Agent(running.port, device_token=token) as agent:
            for text in ("{", "[" * 60_000, '{"type": "device.dance", "id": "7"}', b"\xff\xfe"):
                count = len(agent.frames)
                await agent.say_raw(text)
                await agent.until(lambda count=count: len(agent.frames) > count, "it is answered")
                assert agent.frames[-1].type == "error"
            stream = await begin(api, id)  # and nothing is lost
            await api.stop(stream["id"])
            await agent.say_raw("x" * (wire.MAX_FRAME_BYTES + 1))
            assert (await agent.until_closed())[0] == 1009
        async with Agent(running.port, device_token=token) as agent:
            for _ in range(2000):
                if agent.closed is not None:
                    break
                await agent.report()
            assert await agent.until_closed() == (wire.CLOSE_TOO_MANY, "too_many_messages")


async def test_control_is_killed_and_its_senders_go_on(running: StrataUp) -> None:
    async with await running.log_in() as api:
        goes_on, stops, forgot = [await enrolled(running, api) for _ in range(3)]
        agents = [Agent(running.port, device_token=token) for _, token in (goes_on, stops, forgot)]
        for agent in agents:
            await agent.__aenter__()
        streams = [await begin(api, id) for id, _ in (goes_on, stops, forgot)]
        workers = running.place.workers()
        pid = running.pid_of("control")
        assert pid is not None
        await until(lambda: age_s(pid) > up_module.STEADY_S + 0.5, 30.0, "it has run for long")
        os.kill(pid, signal.SIGKILL)
        for agent in agents:
            await agent.until_closed()
            await agent.close()
        await until(
            lambda: running.pid_of("control") not in (None, pid), BACK_DEADLINE_S, "it is back"
        )
        await running.ready()
        assert running.place.workers() == workers
        await api.stop(streams[1]["id"])  # while its sender is away
        orders = [agent.ordered[0] for agent in agents]
        states = [agent.doing for agent in agents]
        assert None not in states
        states[2] = None  # its box was switched off and on
        agents = [
            Agent(running.port, device_token=token, doing=doing)
            for (_, token), doing in zip((goes_on, stops, forgot), states, strict=True)
        ]
        try:
            for agent in agents:
                await agent.__aenter__()
            one, two, three = agents
            await two.until(lambda: two.doing is None, "what is over is stopped")
            assert two.ordered == [wire.StreamStop(streams[1]["id"], "user_stop")]
            await three.until(lambda: three.doing is not None, "what should run is started")
            assert three.ordered == [orders[2]]  # the same ports and the same key
            await api.stop(streams[0]["id"])
            await one.until(lambda: one.doing is None, "it is told")
            assert one.ordered == [wire.StreamStop(streams[0]["id"], "user_stop")]
            await api.stop(streams[2]["id"])
        finally:
            for agent in agents:
                await agent.close()


def add_crowd(running: StrataUp) -> list[str]:
    """Many senders that have enrolled; their tokens."""
    connection = sqlite3.connect(running.place.data / "strata.db")
    [owner_id] = connection.execute("SELECT id FROM users").fetchone()
    tokens = []
    for _ in range(CROWD):
        id = ids.new("snd")
        tokens.append(f"{id}.secret")
        connection.execute(
            "INSERT INTO senders (id, owner_id, name, device_hash, created_at)"
            " VALUES (?, ?, 'Van', ?, '2026-01-31 12:00:00')",
            (id, owner_id, digest("secret")),
        )
    connection.commit()
    connection.close()
    return tokens


async def test_a_crowd_that_comes_at_once_is_let_in(running: StrataUp) -> None:
    agents = [Agent(running.port, device_token=token) for token in add_crowd(running)]
    async with await running.log_in() as api:
        try:
            async with asyncio.timeout(CROWD_DEADLINE_S):
                await asyncio.gather(*(agent.__aenter__() for agent in agents))
            shown = (await api.http.get("/api/senders")).json()
            assert sum(each["online"] for each in shown) == CROWD
            # That they came is written down, and that they went.
            for agent in agents:
                await agent.close()

            async def is_noted() -> bool:
                events = (await api.http.get("/api/events?limit=1000")).json()
                types = [each["type"] for each in events]
                return types.count("sender_online") >= CROWD <= types.count("sender_offline")

            await eventually(is_noted, BACK_DEADLINE_S, "it is in the log of events")
        finally:
            await asyncio.gather(*(agent.close() for agent in agents))


async def test_a_signal_ends_connections_too() -> None:
    with place() as here:
        async with StrataUp(here) as one:
            async with await one.log_in() as api:
                id, token = await enrolled(one, api)
                async with Agent(one.port, device_token=token) as agent:
                    await begin(api, id)
                    assert await one.stop(signal.SIGTERM) == 0
                    assert (await agent.until_closed())[0] == 1012
            assert "Traceback" not in one.said()
            assert not here.processes()
            connection = sqlite3.connect(here.data / "strata.db")
            query = "SELECT data FROM events WHERE subject = ? AND type = 'sender_offline'"
            details = [row[0] for row in connection.execute(query, (id,))]
            connection.close()
            assert "the control plane ended" in details[-1]
