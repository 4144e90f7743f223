"""Webhooks: addresses that are told of events, signed, and again until they have them.

A delivery is written in the transaction of its event, so that nothing is lost between the two,
and exactly one for each webhook; it is tried until it arrives or is a day old, across restarts.
A receiver may get one twice (its answer was lost) and knows it by ``X-Strata-Delivery``.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from strata import ids
from strata.control import courier, tables
from strata.control.bus import Bus, FellBehind
from strata.control.courier import Courier
from strata.control.journal import Journal
from strata.control.roles import User
from strata.control.seal import Seal
from strata.control.store import Store
from strata.control.users import user_of
from strata.errors import Conflict, NotFound, StoreUnavailable, StrataError
from strata.secrets import Secret
from strata.settings import Forward
from strata.tasks import TaskGroup

log = logging.getLogger(__name__)

LOOK_S: Final = 5.0
"""How soon something that is due again is seen."""

FIRST_WAIT_S: Final = 5.0
WAIT_MAX_S: Final = 3600.0
JITTER: Final = 0.25
GIVE_UP_AFTER: Final = timedelta(days=1)
KEPT: Final = timedelta(days=30)
"""Deliveries that have arrived, or were given up."""

AT_ONCE: Final = 200
WEBHOOKS_MAX: Final = 20
"""Of one user."""

SHOWN: Final = 100


def wait_s(attempts: int, chance: float) -> float:
    """How long until the next attempt, after so many.

    Args:
        chance: 0 to 1; many that failed together must not come back together.
    """
    wait = min(FIRST_WAIT_S * 2.0 ** min(attempts - 1, 20), WAIT_MAX_S)
    return wait * (1 + JITTER * chance)


class Webhooks:
    def __init__(
        self, rules: Forward, store: Store, seal: Seal, journal: Journal, bus: Bus
    ) -> None:
        self._rules = rules
        self._store = store
        self._seal = seal
        self._journal = journal
        self._bus = bus
        self._courier = Courier(rules)
        self._busy: set[str] = set()
        self._wake = asyncio.Event()
        self._tasks = TaskGroup()

    def start(self) -> None:
        self._journal.also = self._derive
        self._tasks.spawn("webhooks-news", self._listen())
        self._tasks.spawn("webhooks", self._run())

    async def close(self) -> None:
        self._journal.also = None
        await self._tasks.close()
        await self._courier.close()

    # What people ask for.

    async def visible_to(self, user: User) -> list[tables.Webhook]:
        query = select(tables.Webhook).order_by(tables.Webhook.id)
        if not user.sees_all:
            query = query.where(tables.Webhook.owner_id.in_(user.sees))
        async with self._store.begin() as session:
            return list(await session.scalars(query))

    async def add(
        self, user: User, url: str, types: Sequence[str]
    ) -> tuple[Secret, tables.Webhook]:
        """A webhook, and the secret that its deliveries are signed with, which is told this once.

        Raises:
            NotAllowed, BadUrl, AddressRefused, Conflict: it cannot be.
        """
        user.require("operator")
        parsed = courier.parse(url)
        await courier.allowed(parsed, self._rules)
        secret = Secret(f"whsec_{secrets.token_urlsafe(32)}")
        row = tables.Webhook(
            id=ids.new("whk"),
            owner_id=user.id,
            url=courier.shown(parsed),
            types=list(types),
            created_at=datetime.now(UTC),
        )
        row.url_sealed = self._seal.close(Secret(url), f"{row.id}.url")
        row.secret_sealed = self._seal.close(secret, f"{row.id}.secret")
        async with self._journal.begin() as change:
            mine = tables.Webhook.owner_id == user.id
            count = await change.session.scalar(
                select(func.count()).select_from(tables.Webhook).where(mine)
            )
            if (count or 0) >= WEBHOOKS_MAX:
                raise Conflict(f"you have {count} webhooks already; delete one that is not needed")
            change.session.add(row)
            change.note("webhook_added", row.id, user.id, user, url=row.url, types=row.types)
        return secret, row

    async def delete(self, user: User, webhook_id: str) -> None:
        """Ends a webhook, and what was on its way there.

        Raises:
            NotAllowed, NotFound: not this user's to end.
        """
        user.require("operator")
        async with self._journal.begin() as change:
            row = await self._own(change.session, user, webhook_id)
            await change.session.delete(row)
            change.note("webhook_deleted", row.id, row.owner_id, user, url=row.url)

    async def deliveries(self, user: User, webhook_id: str) -> list[tables.Delivery]:
        """The latest, the newest first.

        Raises:
            NotFound: there is no such webhook.
        """
        async with self._store.begin() as session:
            await self._own(session, user, webhook_id)
            query = select(tables.Delivery).where(tables.Delivery.webhook_id == webhook_id)
            newest = query.order_by(tables.Delivery.id.desc()).limit(SHOWN)
            return list(await session.scalars(newest))

    async def test(self, user: User, webhook_id: str) -> tables.Delivery:
        """Sends something that is no event, once; tells how it went.

        Raises:
            NotAllowed, NotFound: not this user's to try.
        """
        user.require("operator")
        async with self._journal.begin() as change:
            hook = await self._own(change.session, user, webhook_id)
            change.note("webhook_tested", hook.id, hook.owner_id, user)
            event = tables.Event(
                id=ids.new("evt"),
                at=datetime.now(UTC),
                type="test",
                subject=hook.id,
                user_id=user.id,
                data={},
            )
            one = _delivery(hook.id, event)
            one.due_at = None
            change.session.add(one)
        await self._attempt(hook, one, is_only=True)
        return one

    async def forget(self) -> None:
        """Deletes what has arrived, or was given up, long ago."""
        old = tables.Delivery.created_at < datetime.now(UTC) - KEPT
        async with self._store.begin() as session:
            await session.execute(
                delete(tables.Delivery).where(old, tables.Delivery.due_at.is_(None))
            )

    async def _own(self, session: AsyncSession, user: User, webhook_id: str) -> tables.Webhook:
        row = await session.get(tables.Webhook, webhook_id)
        if row is None or not user.may_see(row.owner_id):
            raise NotFound(f"there is no webhook {webhook_id[:64]!r}")
        return row

    # As it comes.

    async def _derive(self, session: AsyncSession, events: list[tables.Event]) -> None:
        """Writes the deliveries of events, in their own transaction."""
        query = select(tables.Webhook, tables.User).join(
            tables.User, tables.User.id == tables.Webhook.owner_id
        )
        for hook, owner in (await session.execute(query)).all():
            if owner.is_disabled:
                continue
            user = user_of(owner)
            for event in events:
                if user.may_see(event.owner_id) and (not hook.types or event.type in hook.types):
                    session.add(_delivery(hook.id, event))

    async def _listen(self) -> None:
        with self._bus.listen(lambda news: news.topic == "events") as listener:
            while True:
                try:
                    await listener.next()
                except FellBehind:
                    log.debug("more events than were looked at one by one")
                self._wake.set()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._begin_due()
            except StoreUnavailable:
                log.debug("the database is away; webhooks are told later")
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _begin_due(self) -> None:
        """Lets each webhook that has something due be told, beside the others."""
        due = tables.Delivery.due_at <= datetime.now(UTC)
        idle = tables.Webhook.id.not_in(self._busy)
        query = select(tables.Webhook).where(
            idle, select(1).where(tables.Delivery.webhook_id == tables.Webhook.id, due).exists()
        )
        async with self._store.begin() as session:
            hooks = list(await session.scalars(query))
        for hook in hooks:
            self._busy.add(hook.id)
            self._tasks.spawn(f"{hook.id}-deliver", self._deliver(hook))

    async def _deliver(self, hook: tables.Webhook) -> None:
        """Everything that is due to one webhook, one after the other."""
        try:
            one = tables.Delivery
            query = select(one).where(one.webhook_id == hook.id, one.due_at <= datetime.now(UTC))
            async with self._store.begin() as session:
                rows = list(await session.scalars(query.order_by(one.id).limit(AT_ONCE)))
            for row in rows:
                await self._attempt(hook, row)
        except StoreUnavailable:
            log.debug("the database is away; %s is told again later", hook.id)
        finally:
            self._busy.discard(hook.id)
            self._wake.set()

    async def _attempt(
        self, hook: tables.Webhook, one: tables.Delivery, *, is_only: bool = False
    ) -> None:
        error = None
        event = msgspec.json.decode(one.body)
        try:
            url = self._seal.open(hook.url_sealed, f"{hook.id}.url")
            secret = self._seal.open(hook.secret_sealed, f"{hook.id}.secret")
            await self._courier.carry(url, secret, one.id, event["type"], one.body)
        except StrataError as failed:
            error = failed.message[:500]
        now = datetime.now(UTC)
        one.attempts += 1
        one.error = error
        one.delivered_at = now if error is None else None
        is_last = is_only or now - one.created_at > GIVE_UP_AFTER
        wait = timedelta(seconds=wait_s(one.attempts, random.random()))
        one.due_at = now + wait if error is not None and not is_last else None
        if error is not None:
            log.warning("%s was not delivered to %s: %s", event["id"], hook.url, error)
        async with self._store.begin() as session:
            # Not merged: it may have been deleted with its webhook meanwhile.
            kept = await session.get(tables.Delivery, one.id)
            if kept is not None:
                for name in ("attempts", "error", "delivered_at", "due_at"):
                    setattr(kept, name, getattr(one, name))


def _delivery(webhook_id: str, event: tables.Event) -> tables.Delivery:
    told: dict[str, Any] = {
        "id": event.id,
        "at": event.at,
        "type": event.type,
        "subject": event.subject,
        "user_id": event.user_id,
        "data": event.data,
    }
    now = datetime.now(UTC)
    return tables.Delivery(
        id=ids.new("dlv"),
        webhook_id=webhook_id,
        body=msgspec.json.encode(told).decode(),
        attempts=0,
        created_at=now,
        due_at=now,
    )
