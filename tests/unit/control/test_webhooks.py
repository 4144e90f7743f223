"""Webhooks that are delivered over real connections."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from strata.control import courier, tables, webhooks
from strata.errors import AddressRefused, BadUrl, Conflict, NotAllowed, NotFound
from strata.secrets import Secret
from strata.settings import Forward
from support.served import served
from unit.control.stage import ADMIN, DEADLINE_S, OTHER, OWNER, VIEWER, Stage
from unit.control.test_alerts import on_air


class Receiver:
    """What a customer runs.

    Attributes:
        heard: what came, in its order.
        answers: the status of the next answers; 200 when there is none left.
    """

    def __init__(self) -> None:
        self.heard: asyncio.Queue[tuple[dict[str, str], str]] = asyncio.Queue()
        self.answers: list[int] = []
        self.hold = asyncio.Event()
        self.hold.set()
        self.app = FastAPI()
        self.app.post("/{path:path}")(self._take)
        self.url = ""

    async def _take(self, request: Request) -> Response:
        body = (await request.body()).decode()
        await self.hold.wait()
        self.heard.put_nowait((dict(request.headers), body))
        status = self.answers.pop(0) if self.answers else 200
        return Response(status_code=status, headers={"Location": "http://127.0.0.1:1/"})

    async def next(self) -> tuple[dict[str, str], dict[str, Any], str]:
        headers, body = await asyncio.wait_for(self.heard.get(), DEADLINE_S)
        return headers, json.loads(body), body


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    one = Receiver()
    async with served(one.app) as address:
        one.url = f"http://{address}/hooks/canary-path"
        yield one
        one.hold.set()


async def hook(stage: Stage, url: str, *types: str) -> tuple[Secret, str]:
    secret, row = await stage.platform.webhooks.add(OWNER, url, types)
    return secret, row.id


async def settled(stage: Stage, id: str) -> list[tables.Delivery]:
    """The deliveries, once the attempts under way have been written down."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            rows = await stage.platform.webhooks.deliveries(ADMIN, id)
            if rows and all(row.attempts for row in rows):
                return rows
            await asyncio.sleep(0.02)


async def test_an_event_arrives_signed(stage: Stage, receiver: Receiver) -> None:
    secret, id = await hook(stage, receiver.url, "start_requested")
    stream = await on_air(stage)
    headers, told, body = await receiver.next()
    assert (told["type"], told["subject"], told["user_id"]) == (
        "start_requested",
        stream,
        OWNER.id,
    )
    assert headers["x-strata-event"] == "start_requested"
    assert headers["host"] == receiver.url.split("/")[2]
    stamp, _, digest = headers["x-strata-signature"].partition(",")
    signed = f"{stamp.removeprefix('t=')}.{body}".encode()
    wanted = hmac.new(secret.reveal().encode(), signed, hashlib.sha256).hexdigest()
    assert digest == f"v1={wanted}"
    [row] = await settled(stage, id)
    assert (row.id, row.due_at, row.error) == (headers["x-strata-delivery"], None, None)
    assert row.delivered_at is not None


async def test_tried_again_until_it_arrives(
    stage: Stage, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "FIRST_WAIT_S", 0.05)
    monkeypatch.setattr(webhooks, "LOOK_S", 0.05)
    await hook(stage, receiver.url, "start_requested")
    receiver.answers = [500, 302, 404]
    await on_air(stage)
    heard = [await receiver.next() for _ in range(4)]
    assert len({headers["x-strata-delivery"] for headers, _, _ in heard}) == 1


async def test_what_does_not_arrive_says_why(stage: Stage, receiver: Receiver) -> None:
    _, id = await hook(stage, receiver.url, "start_requested")
    receiver.answers = [302]
    await on_air(stage)
    [row] = await settled(stage, id)
    assert row.error == "answered 302; redirects are not followed"
    assert row.due_at is not None
    assert receiver.heard.qsize() == 1


async def test_nothing_is_lost_across_a_restart(
    stage: Stage, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "LOOK_S", 0.05)
    await hook(stage, receiver.url, "start_requested")
    receiver.hold.clear()
    ids = [await on_air(stage) for _ in range(3)]
    await stage.restart()
    receiver.hold.set()
    heard = {(await receiver.next())[1]["subject"] for _ in range(3)}
    while heard != set(ids):  # one that was under way came twice
        heard.add((await receiver.next())[1]["subject"])


async def test_one_that_is_slow_does_not_delay_the_other(stage: Stage, receiver: Receiver) -> None:
    slow = Receiver()
    slow.hold.clear()
    async with served(slow.app) as address:
        await hook(stage, f"http://{address}/", "start_requested")
        await hook(stage, receiver.url, "start_requested")
        for _ in range(3):
            await on_air(stage)
            await receiver.next()
        assert slow.heard.empty()
        slow.hold.set()
        await slow.next()


async def test_only_what_its_owner_may_see(stage: Stage, receiver: Receiver) -> None:
    await hook(stage, receiver.url, "start_requested")
    await stage.begin(OTHER)
    mine = await on_air(stage)
    _, told, _ = await receiver.next()
    assert told["subject"] == mine


async def test_an_event_that_was_not_committed_is_not_told(
    stage: Stage, receiver: Receiver
) -> None:
    _, id = await hook(stage, receiver.url, "start_requested")

    async def fail() -> None:
        async with stage.platform.journal.begin() as change:
            change.note("start_requested", "str_none", OWNER.id)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await stage.platform.webhooks.deliveries(OWNER, id) == []


async def test_it_can_be_tried(stage: Stage, receiver: Receiver) -> None:
    _, id = await hook(stage, receiver.url, "state")
    receiver.answers = [200, 503]
    done = await stage.platform.webhooks.test(OWNER, id)
    assert (done.error, done.due_at) == (None, None)
    assert (await receiver.next())[1]["type"] == "test"
    failed = await stage.platform.webhooks.test(OWNER, id)
    assert (failed.error, failed.due_at) == ("answered 503", None), "once, and not again"


async def test_nobody_listens_there(stage: Stage, unused_tcp_port: int) -> None:
    _, id = await hook(stage, f"http://127.0.0.1:{unused_tcp_port}/canary", "state")
    done = await stage.platform.webhooks.test(OWNER, id)
    assert done.error is not None
    assert done.error.startswith("not reached: the connection was refused")


async def test_one_that_never_answers(
    stage: Stage, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier, "DEADLINE_S", 0.2)
    receiver.hold.clear()
    _, id = await hook(stage, receiver.url, "state")
    assert (await stage.platform.webhooks.test(OWNER, id)).error == "no answer within 0 s"


async def test_not_into_the_own_network(stage: Stage, receiver: Receiver) -> None:
    rules = Forward(allow_private=False)
    for url in (receiver.url, "http://[::1]/", "http://169.254.169.254/", "http://localhost/"):
        with pytest.raises(AddressRefused):
            await courier.allowed(courier.parse(url), rules)
    port = courier.parse(receiver.url).port
    rules = Forward(allow_private=False, allow=(f"127.0.0.1:{port}",))
    assert await courier.allowed(courier.parse(receiver.url), rules) == "127.0.0.1"
    # What was public when it was added, and is not any more.
    one = courier.Courier(Forward(allow_private=False))
    with pytest.raises(AddressRefused):
        await one.carry(Secret(receiver.url), Secret("s"), "dlv_1", "state", "{}")
    await one.close()
    assert receiver.heard.empty()


@pytest.mark.parametrize(
    "url",
    ["ftp://host/", "https://", "nonsense", "https://user:word@host/", "http://[::1", "x" * 9],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(BadUrl):
        courier.parse(url)


def test_a_path_is_not_shown() -> None:
    assert courier.shown(courier.parse("https://host:8443/key?k=v")) == "https://host:8443/****"
    assert courier.shown(courier.parse("https://host")) == "https://host/"


async def test_who_may(stage: Stage, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotAllowed):
        await stage.platform.webhooks.add(VIEWER, receiver.url, ())
    _, id = await hook(stage, receiver.url, "state")
    assert await stage.platform.webhooks.visible_to(OTHER) == []
    [row] = await stage.platform.webhooks.visible_to(OWNER)
    assert row.url.endswith("/****")
    for work in (
        stage.platform.webhooks.delete(OTHER, id),
        stage.platform.webhooks.test(OTHER, id),
        stage.platform.webhooks.deliveries(OTHER, id),
    ):
        with pytest.raises(NotFound):
            await work
    monkeypatch.setattr(webhooks, "WEBHOOKS_MAX", 1)
    with pytest.raises(Conflict):
        await hook(stage, receiver.url)
    await stage.platform.webhooks.test(OWNER, id)
    await stage.platform.webhooks.delete(ADMIN, id)
    async with stage.store.begin() as session:
        assert list(await session.scalars(select(tables.Delivery))) == []
    assert await stage.platform.webhooks.visible_to(ADMIN) == []


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_the_wait_grows_to_an_hour(attempts: int, chance: float) -> None:
    wait = webhooks.wait_s(attempts, chance)
    assert 5 <= wait <= 3600 * 1.25
    assert wait <= webhooks.wait_s(attempts + 1, chance)
