"""The machines that run workers, as far as people have a say in it."""

from __future__ import annotations

from strata.control import tables
from strata.control.journal import Journal
from strata.control.observer import LOCAL_HOST
from strata.control.roles import User
from strata.control.store import Store
from strata.errors import NoCapacity, NotFound


class Hosts:
    """Which hosts take new streams."""

    def __init__(self, store: Store, journal: Journal) -> None:
        self._store = store
        self._journal = journal

    async def is_draining(self, host_id: str) -> bool:
        async with self._store.begin() as session:
            row = await session.get(tables.Host, host_id)
        return row is not None and row.is_draining

    async def require_open(self, host_id: str) -> None:
        """That the host takes new streams.

        Raises:
            NoCapacity: it is being drained.
        """
        if await self.is_draining(host_id):
            raise NoCapacity(why_drained(host_id))

    async def drain(self, user: User, host_id: str, *, is_draining: bool) -> None:
        """A host that is drained takes no new stream; those that it has go on.

        Raises:
            NotAllowed: that is for administrators.
            NotFound: there is no such host.
        """
        user.require("admin")
        if host_id != LOCAL_HOST:
            raise NotFound(f"there is no host {host_id[:64]!r}")
        async with self._journal.begin() as change:
            row = await change.session.get(tables.Host, host_id)
            if row is None:
                change.session.add(tables.Host(id=host_id, is_draining=is_draining))
            elif row.is_draining == is_draining:
                return
            else:
                row.is_draining = is_draining
            change.note("host_drain" if is_draining else "host_undrain", host_id, by=user)


def why_drained(host_id: str) -> str:
    return (
        f"the host {host_id} is draining: it takes no new streams, and those that run go on; let "
        f"an administrator undrain it (POST /api/hosts/{host_id}/undrain)"
    )
