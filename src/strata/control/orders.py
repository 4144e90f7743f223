"""Changes of a stream that runs: its forwards, and whether its slate is shown.

What is wanted is written down first, then the host is asked, and the answer comes when it has
been carried out. What the host refuses is taken back. Where its answer is lost, the row holds
both until the host is heard again (:mod:`strata.control.forwards`).
"""

from __future__ import annotations

import asyncio
import logging
import re
import weakref
from typing import Final

from strata.cluster.ends import ControlEnd
from strata.control import forwards, lifecycle, tables
from strata.control.destinations import Destinations
from strata.control.forwards import Forward, Forwards
from strata.control.ledger import Ledger
from strata.control.observer import Observer
from strata.control.roles import User
from strata.control.seal import Seal
from strata.control.streams import Streams
from strata.errors import (
    BadArguments,
    Conflict,
    HostUnreachable,
    NoPicture,
    NotFound,
    StoreUnavailable,
    StrataError,
)
from strata.wire import host as wire

log = logging.getLogger(__name__)

FORWARD_ID: Final = re.compile(r"fwd_[1-9][0-9]{0,8}")


class Orders:
    """What people change of streams that run."""

    def __init__(
        self, streams: Streams, ledger: Ledger, seal: Seal, destinations: Destinations
    ) -> None:
        self._streams = streams
        self._observer: Observer = streams.observer
        self._ledger = ledger
        self._seal = seal
        self._destinations = destinations
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._host: ControlEnd

    def start(self, host: ControlEnd) -> None:
        self._host = host

    async def add(
        self, user: User, stream_id: str, url: str | None, destination: str | None
    ) -> tuple[Forward, wire.Changed]:
        """One more forward, once its destination has taken media.

        Raises:
            NotFound: there is no such stream or destination that the user may see.
            Conflict: it does not run, or leads there already.
            StrataError: it cannot be; everything is as it was.
        """
        user.require("operator")
        await self._running(user, stream_id)
        new = await self._aim(user, url, destination)
        async with self._lock(stream_id):
            row = await self._running(user, stream_id)
            held = forwards.opened(self._seal, row)
            if len(held.now) >= forwards.FORWARDS_MAX:
                raise Conflict(f"{stream_id} has {forwards.FORWARDS_MAX} forwards; remove one")
            order = wire.AddForward(stream_id, new.url)
            changed = await self._carry_out(user, row, held, held.with_(new), order, new)
        return new, changed

    async def replace(
        self,
        user: User,
        stream_id: str,
        forward_id: str,
        url: str | None,
        destination: str | None,
    ) -> tuple[Forward, wire.Changed]:
        """Leads a forward to elsewhere; the old one stays on the air until that takes media.

        Raises:
            NotFound: there is no such stream, forward or destination that the user may see.
            Conflict: the stream does not run.
            StrataError: it cannot be; the old one is where it was.
        """
        user.require("operator")
        await self._running(user, stream_id)
        aimed = await self._aim(user, url, destination)
        new = Forward(aimed.url, forward_id, aimed.destination, aimed.name)
        async with self._lock(stream_id):
            row = await self._running(user, stream_id)
            held = self._held(row, forward_id)
            order = wire.ReplaceForward(stream_id, forward_id, new.url)
            changed = await self._carry_out(user, row, held, held.with_(new), order, new)
        return new, changed

    async def remove(self, user: User, stream_id: str, forward_id: str) -> None:
        """Closes a forward cleanly.

        Raises:
            NotFound: there is no such stream or forward that the user may see.
            Conflict: the stream does not run.
            StrataError: it cannot be; everything is as it was.
        """
        user.require("operator")
        async with self._lock(stream_id):
            row = await self._running(user, stream_id)
            held = self._held(row, forward_id)
            old = held.find(forward_id)
            order = wire.RemoveForward(stream_id, forward_id)
            await self._carry_out(user, row, held, held.without(forward_id), order, old)
            try:
                await self._observer.drop_forward(stream_id, forward_id)
            except StoreUnavailable:
                self._observer.catch_up_soon()

    async def show_slate(self, user: User, stream_id: str, *, now: bool) -> None:
        """Shows the slate now, whatever media comes, or no longer.

        Raises:
            NotFound: there is no such stream that the user may see.
            Conflict: it does not run.
            StrataError: it cannot be; everything is as it was.
        """
        user.require("operator")
        await self._running(user, stream_id)
        await self._ledger.note(stream_id, "slate_requested", {"now": now}, user)
        try:
            await self._host.request(wire.Configure(stream_id, slate_now=now))
        except StrataError as error:
            await self._ledger.note(stream_id, "slate_refused", _why(error))
            raise
        live = self._observer.live.get(stream_id)
        if live is not None:
            live.is_slate_held = now

    async def picture(self, user: User, stream_id: str) -> wire.Picture:
        """What a stream has on the air, small.

        Raises:
            NotFound: there is no such stream that the user may see.
            NoPicture: nothing is on the air.
            HostError: it cannot be shown.
        """
        row = await self._streams.own(user, stream_id)
        if row.state not in lifecycle.RUNNING:
            raise NoPicture(f"{stream_id} is {row.state}, so there is no picture of it")
        reply = await self._host.request(wire.Thumbnail(stream_id))
        assert isinstance(reply, wire.Picture)
        return reply

    async def _aim(self, user: User, url: str | None, destination: str | None) -> Forward:
        if url is not None and destination is None:
            return Forward(await self._destinations.check(url))
        if destination is not None and url is None:
            return await self._destinations.forward(user, destination)
        raise BadArguments("give either a url or a destination")

    async def _running(self, user: User, stream_id: str) -> tables.Stream:
        row = await self._streams.own(user, stream_id)
        if row.state not in lifecycle.RUNNING:
            raise Conflict(f"{stream_id} is {row.state}, so nothing of it can be changed")
        return row

    def _held(self, row: tables.Stream, forward_id: str) -> Forwards:
        """The forwards of a stream that has this one. One that somebody added at the machine is
        known from what its worker says."""
        held = forwards.opened(self._seal, row)
        live = self._observer.live.get(row.id)
        is_live = live is not None and forward_id in live.forwards
        if FORWARD_ID.fullmatch(forward_id) and (held.find(forward_id) or is_live):
            return held
        raise NotFound(f"{row.id} has no forward {forward_id[:32]!r}")

    def _lock(self, stream_id: str) -> asyncio.Lock:
        return self._locks.setdefault(stream_id, asyncio.Lock())

    async def _carry_out(
        self,
        user: User,
        row: tables.Stream,
        held: Forwards,
        wanted: Forwards,
        order: wire.AddForward | wire.ReplaceForward | wire.RemoveForward,
        about: Forward | None,
    ) -> wire.Changed:
        told = {"change": type(order).__struct_config__.tag, **_told(about)}
        if not isinstance(order, wire.AddForward):
            told["forward"] = order.forward
        both = Forwards(wanted.now, before=held.now)
        await self._write(row, both, "forward_requested", user, **told)
        try:
            reply = await self._host.request(order)
        except HostUnreachable:
            self._observer.catch_up_soon()  # it may have been carried out
            raise
        except StrataError as error:
            await self._conclude(row, held, "forward_refused", **told, **_why(error))
            raise
        assert isinstance(reply, wire.Changed)
        told |= {"forward": reply.forward, "overlap": reply.overlap}
        done = Forwards(
            tuple(
                each if each.id else Forward(each.url, reply.forward, each.destination, each.name)
                for each in wanted.now
            )
        )
        await self._conclude(row, done, "forward_changed", **told)
        return reply

    async def _conclude(self, row: tables.Stream, now: Forwards, type: str, **told: object) -> None:
        """Writes down how it ended; with the database away, that is found out later."""
        try:
            await self._write(row, now, type, None, **told)
        except StoreUnavailable:
            self._observer.catch_up_soon()

    async def _write(
        self, row: tables.Stream, now: Forwards, type: str, by: User | None, **told: object
    ) -> None:
        sealed = forwards.closed(self._seal, row.id, now)
        await self._ledger.set_forwards(row.id, sealed, type, by, **told)


def _told(forward: Forward | None) -> dict[str, object]:
    if forward is None:
        return {}
    return {"url": forward.shown, "destination": forward.destination, "name": forward.name}


def _why(error: StrataError) -> dict[str, object]:
    return {"code": error.code, "message": error.message}
