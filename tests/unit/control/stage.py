"""The platform with a real database and a host that does as it is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from argon2 import PasswordHasher
from sqlalchemy import select

from strata.control import lifecycle, platform, tables
from strata.control.platform import Platform
from strata.control.roles import User
from strata.control.store import Store
from strata.control.streams import StartRequest, Streams, View
from strata.settings import Settings
from strata.wire import host as wire
from strata.wire import worker as worker_wire
from support.fake_host import FakeHost

DEADLINE_S = 20.0
KEY = "canary-stream-key"
URL = f"rtmp://127.0.0.1/live/{KEY}"
PASSWORD = "canary-password"
PASSWORD_HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)

ADMIN = User("usr_admin", "admin@example.org", "admin")
OWNER = User("usr_owner", "owner@example.org", "operator")
OTHER = User("usr_other", "other@example.org", "operator")
VIEWER = User("usr_viewer", "viewer@example.org", "viewer")

RECEIVING = worker_wire.Input("receiving", 0.0)
STALLED = worker_wire.Input("stalled", 30.0)
CONNECTING = worker_wire.Forward("fwd_1", "rtmp", "connecting", "rtmp://127.0.0.1/live/****")
ON_AIR = worker_wire.Forward("fwd_1", "rtmp", "live", "rtmp://127.0.0.1/live/****")
CLOSED = worker_wire.Forward("fwd_1", "rtmp", "stopped", "rtmp://127.0.0.1/live/****")


class Stage:
    """A platform with some people and a host in memory."""

    def __init__(self, loaded: Settings) -> None:
        self.settings = loaded
        self.host = FakeHost()
        self.platform: Platform
        self._running = contextlib.AsyncExitStack()

    async def open(self) -> None:
        self.platform = await self._running.enter_async_context(
            platform.opened(self.settings, lambda observer: self.host)
        )

    async def close(self) -> None:
        await self._running.aclose()

    async def restart(self) -> None:
        """As when the control plane is started anew; the host knows nothing of it."""
        await self.close()
        await self.open()

    @property
    def store(self) -> Store:
        return self.platform.store

    @property
    def streams(self) -> Streams:
        return self.platform.streams

    async def add_people(self) -> None:
        async with self.store.begin() as session:
            for user in (ADMIN, OWNER, OTHER, VIEWER):
                session.add(
                    tables.User(
                        id=user.id,
                        email=user.email,
                        password_hash=PASSWORD_HASH,
                        role=user.role,
                        sees=list(user.others),
                        created_at=datetime.now(UTC),
                    )
                )

    async def begin(self, user: User = OWNER, *urls: str, record: bool = False) -> View:
        request = StartRequest(urls or (URL,), 2, "Derby", record)
        return await self.streams.begin(user, request)

    async def hear(self, stream_id: str, *events: worker_wire.Event) -> None:
        """Has the host say all that, and waits until it has been taken in."""
        await self.tell(*(wire.WorkerSaid(stream_id, event) for event in events))

    async def tell(self, *notices: wire.Notice) -> None:
        for notice in notices:
            self.streams.observer.on_notice(notice)
        await self.taken_in()

    async def taken_in(self) -> None:
        await asyncio.wait_for(self.streams.observer._changes.join(), DEADLINE_S)

    async def end(self, stream_id: str, reason: wire.EndReason, detail: str) -> None:
        self.host.running.pop(stream_id, None)
        await self.tell(wire.Ended(stream_id, reason, detail))

    async def row(self, stream_id: str) -> tables.Stream:
        async with self.store.begin() as session:
            row = await session.get(tables.Stream, stream_id)
        assert row is not None
        return row

    async def only_row(self) -> tables.Stream:
        async with self.store.begin() as session:
            [row] = await session.scalars(select(tables.Stream))
        return row

    async def becomes(self, stream_id: str, state: lifecycle.State) -> tables.Stream:
        async with asyncio.timeout(DEADLINE_S):
            while (row := await self.row(stream_id)).state != state:
                await asyncio.sleep(0.01)
        return row

    async def states(self, stream_id: str) -> list[str]:
        """The steps that the log of events tells."""
        view = await self.streams.view(ADMIN, stream_id)
        return [each.data["to"] for each in view.events if each.type == "state"]


@contextlib.asynccontextmanager
async def staged(loaded: Settings) -> AsyncIterator[Stage]:
    one = Stage(loaded)
    await one.open()
    try:
        await one.add_people()
        yield one
    finally:
        await one.close()
