"""Over a real server, with a real client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from strata.control import following, tables
from strata.control.api import feed
from strata.control.api import socket as module
from strata.control.bus import News
from strata.control.roles import User
from support.served import served
from unit.control.api.stage import ApiStage
from unit.control.stage import ADMIN, DEADLINE_S, ON_AIR, OTHER, OWNER, RECEIVING
from unit.control.test_alerts import FAILED, LOAD, PICTURE, on_air
from unit.control.test_troubles import stats


class Watching:
    """Clients of one server."""

    def __init__(self, api: ApiStage, address: str) -> None:
        self.api = api
        self.url = f"ws://{address}/api/ws"
        self.open: list[Client] = []

    async def client(self, user: User | None = OWNER, **options: Any) -> Client:
        headers = await self.api.log_in(user) if user is not None else {}
        socket = await connect(
            self.url, additional_headers=headers, proxy=None, close_timeout=0.5, **options
        )
        self.open.append(Client(socket))
        return self.open[-1]


class Client:
    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def say(self, **command: Any) -> None:
        await self.socket.send(json.dumps(command))

    async def next(self) -> dict[str, Any]:
        heard: dict[str, Any] = json.loads(await asyncio.wait_for(self.socket.recv(), DEADLINE_S))
        assert set(heard) == {"topic", "type", "ts", "data"}
        return heard

    async def subscribe(self, *topics: str) -> list[Any]:
        """What the snapshots hold."""
        await self.say(subscribe=topics)
        heard = [await self.next() for _ in topics]
        assert [(each["topic"], each["type"]) for each in heard] == [
            (topic, "snapshot") for topic in topics
        ]
        return [each["data"] for each in heard]

    async def until(self, kind: str, **data: Any) -> dict[str, Any]:
        while True:
            heard = await self.next()
            if heard["type"] == kind and data.items() <= heard["data"].items():
                return heard

    async def closed(self) -> tuple[int, str]:
        with pytest.raises(ConnectionClosed) as caught:
            await asyncio.wait_for(self.socket.recv(), DEADLINE_S)
        assert caught.value.rcvd is not None
        return caught.value.rcvd.code, caught.value.rcvd.reason


@pytest.fixture
async def watching(api: ApiStage) -> AsyncIterator[Watching]:
    async with served(api.app, ws_per_message_deflate=False) as address:
        one = Watching(api, address)
        yield one
        for client in one.open:
            await client.socket.close()


async def test_a_snapshot_and_then_what_changes(watching: Watching, api: ApiStage) -> None:
    client = await watching.client()
    assert await client.subscribe("streams", "alerts", "hosts") == [[], [], [await _host(api)]]
    id = await on_air(api.stage)
    heard = await client.until("changed", id=id, state="live", on_air=True)
    assert heard["topic"] == "streams"
    login = await api.log_in(OWNER)
    rest = (await api.http.get("/api/streams", headers=login)).json()
    assert heard["data"] == rest[0], "the same that REST tells"
    await api.stage.hear(id, FAILED)
    alert = await client.until("alert_raised", subject=id)
    assert (alert["topic"], alert["data"]["kind"]) == ("alerts", "forward_failed")
    await api.stage.end(id, "eos", "it was told to")
    assert (await client.until("changed", id=id, state="ended"))["data"]["reason"] == "eos"


async def _host(api: ApiStage) -> dict[str, Any]:
    [host] = await module.hosts.listed(api.stage.platform)
    return host.model_dump(mode="json")


async def test_one_stream_with_its_events(watching: Watching, api: ApiStage) -> None:
    ids = [await on_air(api.stage) for _ in range(2)]
    client = await watching.client()
    [found] = await client.subscribe(f"stream:{ids[0]}")
    assert found["events"][0]["type"] == "start_requested"
    await api.stage.hear(ids[1], FAILED)
    await api.stage.hear(ids[0], FAILED)
    event = await client.until("event", type="forward")
    assert event["data"]["subject"] == ids[0]
    changed = await client.until("changed", state="degraded")
    assert (changed["data"]["id"], changed["data"]["events"]) == (ids[0], [])


async def test_numbers_come_once_a_second(
    watching: Watching, api: ApiStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "TICK_S", 0.3)
    id = await on_air(api.stage)
    client = await watching.client()
    await client.subscribe("streams")
    await api.stage.hear(id, FAILED)
    await client.until("changed", state="degraded")
    for rate in range(10):
        await api.stage.hear(id, msgspec.structs.replace(stats(), bitrate_in_kbps=float(rate)))
    rates = []
    while 9.0 not in rates:
        said = await client.next()
        if said["type"] in ("stats", "changed"):  # a change brings the number along
            rates.append((said["data"]["stats"] or {}).get("bitrate_in_kbps"))
    assert len(rates) <= 3, "ten numbers within one tick, or two"


async def test_each_sees_its_own(watching: Watching, api: ApiStage) -> None:
    owner, other, admin = [await watching.client(user) for user in (OWNER, OTHER, ADMIN)]
    for client in (owner, other, admin):
        await client.subscribe("streams", "alerts")
    id = await on_air(api.stage)
    await api.stage.hear(id, FAILED)
    for client in (owner, admin):
        await client.until("alert_raised", subject=id)
    mine = (await api.stage.begin(OTHER)).row.id
    heard = await other.next()
    assert heard["data"]["id"] == mine, "nothing of another's came before"
    await other.say(subscribe=[f"stream:{id}"])
    while (refused := await other.next())["type"] != "error":
        assert refused["data"]["id"] == mine
    assert (refused["topic"], refused["data"]["code"]) == (f"stream:{id}", "not_found")


async def test_a_host_that_fills_or_goes(
    watching: Watching, api: ApiStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "TICK_S", 0.05)
    id = await on_air(api.stage)
    client = await watching.client()
    [[host], _] = await client.subscribe("hosts", "streams")
    assert (host["connected"], host["streams"]) == (True, None)
    await asyncio.sleep(0.2)  # a tick has seen the host as it was
    api.stage.streams.observer.on_notice(LOAD)
    assert (await client.until("changed", id="local"))["data"]["streams"] == 0
    api.host.connected = False
    await client.until("changed", id="local", connected=False)
    assert (await client.until("changed", id=id, observed=False))["topic"] == "streams"


async def test_a_browser_tells_its_token_first(watching: Watching, api: ApiStage) -> None:
    token = (await api.log_in(OWNER))["Authorization"].removeprefix("Bearer ")
    client = await watching.client(None)
    await client.say(token=token)
    assert await client.subscribe("streams") == [[]]


@pytest.mark.parametrize("said", ['{"token": "tok_x.y"}', '{"subscribe": []}', "{", "[" * 9000])
async def test_who_does_not_log_in_is_shown_out(watching: Watching, said: str) -> None:
    client = await watching.client(None)
    await client.socket.send(said)
    assert (await client.closed())[0] == module.NOT_LOGGED_IN


async def test_who_says_nothing_is_shown_out(
    watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOGIN_DEADLINE_S", 0.1)
    code, reason = await (await watching.client(None)).closed()
    assert (code, "token" in reason) == (module.NOT_LOGGED_IN, True)


async def test_the_end_of_a_login_ends_its_sockets(
    watching: Watching, api: ApiStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RIGHTS_EACH_S", 0.1)
    login = await api.log_in(OWNER)
    client = await watching.client(None)
    await client.say(token=login["Authorization"].removeprefix("Bearer "))
    await client.subscribe("streams")
    await api.http.post("/api/auth/logout", headers=login)
    assert (await client.closed())[0] == module.NOT_LOGGED_IN


async def test_what_cannot_be_read_is_answered_and_the_socket_stays(watching: Watching) -> None:
    client = await watching.client()
    for bad in ("nonsense", "[]", '{"subscribe": 5}', '{"sing": []}', b"\xff"):
        await client.socket.send(bad)
        heard = await client.next()
        assert (heard["topic"], heard["type"]) == (None, "error")
        assert heard["data"]["code"] == "bad_request"
    for topic in ("weather", "stream:str_1", "stream:str_" + "0" * 32):
        await client.say(subscribe=[topic])
        heard = await client.next()
        assert (heard["topic"], heard["data"]["code"]) == (topic, "not_found")
    assert await client.subscribe("alerts") == [[]]


async def test_no_more_of_what_is_unsubscribed(watching: Watching, api: ApiStage) -> None:
    client = await watching.client()
    await client.subscribe("streams")
    await client.say(unsubscribe=["streams", "alerts"])
    await client.subscribe("alerts")
    id = await on_air(api.stage)
    await api.stage.hear(id, FAILED)
    assert (await client.next())["topic"] == "alerts"


async def test_so_many_topics_and_no_more(
    watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TOPICS_MAX", 1)
    client = await watching.client()
    await client.subscribe("streams")
    await client.subscribe("streams")
    await client.say(subscribe=["alerts"])
    assert (await client.next())["data"]["code"] == "too_many"


async def test_who_does_not_read_is_cut_and_the_others_are_not(
    watching: Watching, api: ApiStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "UNSENT_MAX", 5)
    slow = await watching.client(max_queue=1)
    good = await watching.client()
    for client in (slow, good):
        await client.subscribe("alerts")
    slow.socket.transport.pause_reading()
    words = "x" * 500_000  # more than the kernel keeps for it, after a few
    row = tables.Alert(
        id="alr_1", subject="str_1", kind="slate", detail=words, raised_at=datetime.now(UTC)
    )
    seen = 0
    async with asyncio.timeout(DEADLINE_S):
        while api.app.state.feed.watching > 1:
            api.stage.platform.bus.publish(News("alerts", "alert_raised", row, OWNER.id))
            await good.until("alert_raised")
            seen += 1
    assert seen > 5
    slow.socket.transport.resume_reading()
    await api.stage.hear(await on_air(api.stage), FAILED)
    await good.until("alert_raised", detail="refused")


async def test_nobody_watches_any_more(watching: Watching, api: ApiStage) -> None:
    client = await watching.client()
    await client.subscribe("streams")
    assert api.app.state.feed.watching == 1
    before = len(api.stage.platform.bus._listeners)
    await client.socket.close()
    async with asyncio.timeout(DEADLINE_S):
        while api.app.state.feed.watching:
            await asyncio.sleep(0.01)
    assert len(api.stage.platform.bus._listeners) == before - 1


async def test_made_once_for_all_who_watch(
    watching: Watching, api: ApiStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = 0
    of = feed.StreamOut.of

    def count(*args: Any) -> Any:
        nonlocal made
        made += 1
        return of(*args)

    clients = [await watching.client() for _ in range(5)]
    for client in clients:
        await client.subscribe("streams")
    id = (await api.stage.begin()).row.id
    for client in clients:
        await client.until("changed", id=id, state="waiting")
    monkeypatch.setattr(feed.StreamOut, "of", count)
    await api.stage.hear(id, RECEIVING, PICTURE, ON_AIR)
    for client in clients:
        await client.until("changed", id=id, state="live")
    assert made < 2 * len(clients), "not once for each"


async def test_a_failure_of_ours_is_told_and_over_with_the_next_connection(
    watching: Watching, api: ApiStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await watching.client()
    await client.subscribe("streams")

    def fail(*_: Any) -> Any:
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr(feed.StreamOut, "of", fail)
        await api.stage.begin()
        assert (await client.closed())[0] == feed.FAILED
    again = await watching.client()
    [streams] = await again.subscribe("streams")
    assert len(streams) == 1
    id = await on_air(api.stage)
    await again.until("changed", id=id, on_air=True)
