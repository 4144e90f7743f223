"""Streams: what people ask for.

The row is what should be; the host says what is (:mod:`strata.control.observer`). A row is
written before anything is spawned, and its end is written only on the word of the host.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from strata import ids
from strata.cluster.ends import ControlEnd
from strata.control import addresses, lifecycle, tables
from strata.control.journal import Journal
from strata.control.ledger import Ledger
from strata.control.live import Live
from strata.control.observer import LOCAL_HOST, Observer
from strata.control.policy import Policy, to_row
from strata.control.roles import User
from strata.control.seal import Seal
from strata.control.store import Store
from strata.errors import (
    BadArguments,
    Conflict,
    HostUnreachable,
    NoCapacity,
    NotFound,
    StoreUnavailable,
    StrataError,
    WorkerFailed,
)
from strata.secrets import Secret, make_psk
from strata.settings import Settings, split_range
from strata.wire import host as host_wire

log = logging.getLogger(__name__)

EVENTS_SHOWN: Final = 100


@dataclass(frozen=True, slots=True)
class StartRequest:
    """What a start was asked for; URLs may hold stream keys."""

    forward_to: tuple[str, ...]
    links: int
    name: str
    record: bool
    slate: str = "on"
    policy: Policy | None = None


@dataclass(frozen=True, slots=True)
class View:
    """A stream as its owner sees it.

    Attributes:
        psk: there right after the start only.
        is_observed: whether the host is there to tell how it is.
    """

    row: tables.Stream
    live: Live | None
    events: list[tables.Event]
    psk: Secret | None = None
    is_observed: bool = True


class Streams:
    """The streams of this installation."""

    def __init__(self, settings: Settings, store: Store, seal: Seal, journal: Journal) -> None:
        self._settings = settings
        self._seal = seal
        self._ledger = Ledger(store, journal)
        self.observer = Observer(self._ledger, seal)
        self._host: ControlEnd

    def start(self, host: ControlEnd) -> None:
        """Begins to follow what the host says."""
        self._host = host
        self.observer.start(host)

    async def close(self) -> None:
        """Writes down what the host has said so far, and ends."""
        await self.observer.close()

    @property
    def can_start(self) -> bool:
        """Whether the host is there to take a start."""
        return self._host.connected

    # What people ask for.

    async def begin(self, user: User, request: StartRequest) -> View:
        """Starts a stream; when it returns, a sender may start.

        Raises:
            BadUrl, AddressRefused, BadArguments: nothing was begun.
            StrataError: the host could not; the row says why.
        """
        user.require("operator")
        forwards = await self._check(request)
        slate = addresses.slate(request.slate, self._settings.media_dir)
        psk = make_psk()
        row = tables.Stream(
            id=ids.new("str"),
            owner_id=user.id,
            name=request.name,
            state="starting",
            ports=[],
            policy=to_row(request.policy),
            created_at=datetime.now(UTC),
        )
        if request.record:
            media = self._settings.media_dir
            forwards.append(addresses.file_url(media, f"{row.id}-%Y%m%dT%H%M%S.ts"))
        row.psk_sealed = self._seal.close(psk, f"{row.id}.psk")
        row.forwards_sealed = self._seal.close(Secret(json.dumps(forwards)), f"{row.id}.forwards")
        # Before the row: a start that is under way is ours.
        self.observer.live[row.id] = Live(user.id, policy=request.policy)
        try:
            await self._ledger.add(row, user)
        except BaseException:
            del self.observer.live[row.id]
            raise
        order = host_wire.Start(
            row.id,
            psk.reveal(),
            forwards,
            request.links,
            request.name,
            slate,
            self._settings.host.first_media_timeout_s,
        )
        try:
            await self._start_on_host(order)
        except StoreUnavailable:
            self.observer.give_up(row.id)
            raise
        view = await self.view(user, row.id)
        return View(view.row, view.live, view.events, psk)

    async def _start_on_host(self, order: host_wire.Start) -> None:
        """Returns when the worker is ready; else the row is over, and says why.

        Raises:
            StrataError: what went wrong, or that somebody stopped the stream meanwhile.
        """
        id = order.stream_id
        try:
            reply = await self._host.request(order)
        except StrataError as error:
            row = await self._ledger.get(id)
            if row is not None and row.state != "starting":
                raise _stopped_meanwhile(id) from None
            reason = "no_capacity" if isinstance(error, NoCapacity) else "start_failed"
            await self.observer.end(id, reason, error.message)
            if isinstance(error, HostUnreachable):  # it may have started all the same
                self.observer.stop_soon(id)
            raise
        assert isinstance(reply, host_wire.Started)
        await self._ledger.advance(id, "waiting", ports=reply.ports, host=LOCAL_HOST)
        row = await self._ledger.get(id)
        if row is None or row.state in lifecycle.RUNNING:
            return
        self.observer.stop_soon(id)
        if row.state == "failed":  # it came up, and died before that was told
            raise WorkerFailed(row.detail or "the worker ended at once")
        raise _stopped_meanwhile(id)

    async def stop(self, user: User, stream_id: str) -> View:
        """Ends a stream and waits until it has ended. One that has is left as it is.

        Raises:
            NotAllowed, NotFound: not this user's to stop.
            HostUnreachable: the host does not answer; it is told again once it is back.
        """
        user.require("operator")
        row = await self._own(user, stream_id)
        if row.state in lifecycle.OVER:
            return await self.view(user, stream_id)
        await self._ledger.note(stream_id, "stop_requested", {}, user)
        await self._ledger.advance(stream_id, "stopping")
        try:
            await self.observer.finish(stream_id)
        except StoreUnavailable:  # it has ended, and that is written down later
            self.observer.catch_up_soon()
            raise
        return await self.view(user, stream_id)

    async def view(self, user: User, stream_id: str) -> View:
        """One stream with its latest events.

        Raises:
            NotFound: there is none, or it is another user's.
        """
        row = await self._own(user, stream_id)
        events = await self._ledger.latest(stream_id, EVENTS_SHOWN)
        return View(row, self.observer.live.get(stream_id), events, is_observed=self.can_start)

    async def visible_to(self, user: User) -> list[View]:
        """The streams that the user may see, the newest first."""
        return [self.view_of(row) for row in await self._ledger.visible_to(user)]

    def view_of(self, row: tables.Stream) -> View:
        """A stream as it is known now, without its events."""
        return View(row, self.observer.live.get(row.id), [], is_observed=self.can_start)

    async def running(self, user: User) -> list[View]:
        """The streams that run and that the user may see, the newest first."""
        rows = [row for row in await self._ledger.unfinished() if user.may_see(row.owner_id)]
        return [self.view_of(row) for row in sorted(rows, key=lambda row: row.id, reverse=True)]

    async def rows(self, ids: Collection[str]) -> list[tables.Stream]:
        """The rows of those streams, whoever owns them."""
        return await self._ledger.rows(ids) if ids else []

    async def _check(self, request: StartRequest) -> list[str]:
        if not request.forward_to and not request.record:
            raise BadArguments(
                "the stream would go nowhere; give at least one URL in forward_to, or record"
            )
        rules, media = self._settings.forward, self._settings.media_dir
        reserved = split_range(self._settings.host.port_range)
        return [await addresses.check(url, rules, media, reserved) for url in request.forward_to]

    async def _own(self, user: User, stream_id: str) -> tables.Stream:
        row = await self._ledger.get(stream_id)
        if row is None or not user.may_see(row.owner_id):
            raise NotFound(f"there is no stream {stream_id[:64]!r}")
        return row


def _stopped_meanwhile(stream_id: str) -> Conflict:
    return Conflict(f"{stream_id} was stopped while it was starting")
