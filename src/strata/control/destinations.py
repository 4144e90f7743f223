"""Destinations: where pictures may go, kept with their keys.

The whole URL is sealed; what is shown of it never holds a key. Each is held against the rules
on addresses when it is stored, and again each time that it is used: a name may lead elsewhere
by then.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import select

from strata import ids
from strata.cluster.ends import ControlEnd
from strata.control import addresses, forwards, tables
from strata.control.destination_url import DestinationUrl, made
from strata.control.forwards import Forward
from strata.control.journal import Journal
from strata.control.ledger import Ledger
from strata.control.roles import User
from strata.control.seal import Seal
from strata.control.store import Store
from strata.errors import Conflict, NotFound
from strata.secrets import Secret
from strata.settings import Settings, split_range
from strata.wire import forward_url
from strata.wire import host as host_wire

TEST_S: Final = 10.0
"""Of colour bars."""


@dataclass(frozen=True, slots=True)
class View:
    """A destination as its owner sees it."""

    row: tables.Destination
    has_key: bool


class Destinations:
    """The destinations of this installation, and URLs that are no destination's."""

    def __init__(
        self, settings: Settings, store: Store, seal: Seal, journal: Journal, ledger: Ledger
    ) -> None:
        self._settings = settings
        self._store = store
        self._seal = seal
        self._journal = journal
        self._ledger = ledger
        self._testing: set[str] = set()
        self._host: ControlEnd

    def start(self, host: ControlEnd) -> None:
        """Tests are made by this host."""
        self._host = host

    # What people ask for.

    async def visible_to(self, user: User) -> list[View]:
        """The destinations that the user may see, the oldest first."""
        query = select(tables.Destination).order_by(tables.Destination.id)
        if not user.sees_all:
            query = query.where(tables.Destination.owner_id.in_(user.sees))
        async with self._store.begin() as session:
            return [self._view(row) for row in await session.scalars(query)]

    async def get(self, user: User, destination_id: str) -> View:
        """
        Raises:
            NotFound: there is none, or it is another user's.
        """
        return self._view(await self._own(user, destination_id))

    async def add(self, user: User, name: str, url: str, key: str | None) -> View:
        """
        Raises:
            BadUrl, AddressRefused: nothing can be forwarded there.
        """
        user.require("operator")
        given = made(url, key)
        await self.check(given.whole)
        row = tables.Destination(
            id=ids.new("dst"), owner_id=user.id, name=name, created_at=datetime.now(UTC)
        )
        self._put(row, given)
        async with self._journal.begin() as change:
            change.session.add(row)
            change.note("destination_added", row.id, row.owner_id, user, name=name, url=row.url)
        return self._view(row)

    async def change(
        self, user: User, destination_id: str, name: str, url: str, key: str | None
    ) -> View:
        """Streams that run go on to where they lead.

        Args:
            key: None: the one there is goes on, where the new URL has a place for it.

        Raises:
            NotFound: there is none, or it is another user's.
            BadUrl, AddressRefused: nothing can be forwarded there; it stays as it is.
        """
        user.require("operator")
        old = self._url(await self._own(user, destination_id))
        new = old.changed(url, key)
        await self.check(new.whole)
        async with self._journal.begin() as change:
            row = await change.session.get(tables.Destination, destination_id, with_for_update=True)
            if row is None:
                raise _unknown(destination_id)
            row.name = name
            self._put(row, new)
            change.note(
                "destination_changed",
                row.id,
                row.owner_id,
                user,
                name=name,
                url=row.url,
                is_new_key=new.whole != old.whole,
            )
        return self._view(row)

    async def remove(self, user: User, destination_id: str) -> None:
        """
        Raises:
            NotFound: there is none, or it is another user's.
            Conflict: a stream that runs leads there.
        """
        user.require("operator")
        await self._own(user, destination_id)
        users = [id for id, each in await self.in_use() if each.destination == destination_id]
        if users:
            raise Conflict(
                f"{', '.join(sorted(set(users)))} leads there at the moment; stop it, or remove "
                "its forward first"
            )
        async with self._journal.begin() as change:
            row = await change.session.get(tables.Destination, destination_id)
            if row is None:
                raise _unknown(destination_id)
            await change.session.delete(row)
            change.note("destination_removed", row.id, row.owner_id, user, name=row.name)

    async def test(self, user: User, destination_id: str) -> host_wire.Tested:
        """Sends colour bars there and says what the other end answered.

        Raises:
            NotFound: there is none, or it is another user's.
            Conflict: it is on the air, or being tested.
            StrataError: it could not be tried, which says nothing about the destination.
        """
        user.require("operator")
        row = await self._own(user, destination_id)
        if destination_id in self._testing:
            raise Conflict(f"{row.name} is being tested already; wait for what that says")
        self._testing.add(destination_id)
        try:
            forward = await self.forward(user, destination_id)
            await self._check_off_air(forward)
            told = await self._host.request(host_wire.TestPush(forward.url, TEST_S))
        finally:
            self._testing.discard(destination_id)
        assert isinstance(told, host_wire.Tested)
        async with self._journal.begin() as change:
            change.note(
                "destination_tested",
                row.id,
                row.owner_id,
                user,
                ok=told.ok,
                code=told.code,
                message=told.message,
            )
        return told

    # What others need of it.

    async def check(self, url: str) -> str:
        """The URL as a worker is to get it.

        Raises:
            BadUrl, AddressRefused: nothing can be forwarded there.
        """
        reserved = split_range(self._settings.host.port_range)
        media = self._settings.media_dir
        return await addresses.check(url, self._settings.forward, media, reserved)

    async def forward(self, user: User, destination_id: str) -> Forward:
        """A forward to a destination.

        Raises:
            NotFound: there is none, or it is another user's.
            BadUrl, AddressRefused: nothing can be forwarded there (any more).
        """
        row = await self._own(user, destination_id)
        url = await self.check(self._url(row).whole)
        return Forward(url, destination=row.id, name=row.name)

    async def in_use(self) -> list[tuple[str, Forward]]:
        """Every forward of every stream that is not over, with the id of that."""
        rows = await self._ledger.unfinished()
        return [(row.id, each) for row in rows for each in forwards.opened(self._seal, row).any]

    async def _check_off_air(self, forward: Forward) -> None:
        """That bars would not take the place of a broadcast."""
        if forward.place is not None:
            for _, other in await self.in_use():
                if other.place == forward.place:
                    raise Conflict(
                        f"a stream that runs leads to {forward.shown}, and the bars would take "
                        "its place; look at the state of its forward instead"
                    )

    async def _own(self, user: User, destination_id: str) -> tables.Destination:
        async with self._store.begin() as session:
            row = await session.get(tables.Destination, destination_id)
        if row is None or not user.may_see(row.owner_id):
            raise _unknown(destination_id)
        return row

    def _put(self, row: tables.Destination, url: DestinationUrl) -> None:
        row.kind = forward_url.parse(url.whole).kind
        row.url = url.shown
        held = json.dumps({"url": url.template, "key": url.key})
        row.url_sealed = self._seal.close(Secret(held), f"{row.id}.url")

    def _url(self, row: tables.Destination) -> DestinationUrl:
        held = json.loads(self._seal.open(row.url_sealed, f"{row.id}.url").reveal())
        return DestinationUrl(held["url"], held["key"])

    def _view(self, row: tables.Destination) -> View:
        return View(row, self._url(row).key is not None)


def _unknown(destination_id: str) -> NotFound:
    return NotFound(f"there is no destination {destination_id[:64]!r}")
