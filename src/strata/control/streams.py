"""Streams: what people ask for.

The row is what should be; the host says what is (:mod:`strata.control.observer`). A row is
written before anything is spawned, and its end is written only on the word of the host.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from strata import ids
from strata.cluster.ends import ControlEnd
from strata.control import addresses, forwards, lifecycle, policy, tables
from strata.control.assignments import Assignments
from strata.control.destinations import Destinations
from strata.control.forwards import Forward, Forwards
from strata.control.hosts import Hosts
from strata.control.ledger import LISTED, Ledger
from strata.control.live import Live
from strata.control.observer import LOCAL_HOST, Observer
from strata.control.policy import Policy
from strata.control.posts import Crew
from strata.control.previews import Previews
from strata.control.roles import User
from strata.control.seal import Seal
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
from strata.settings import Settings
from strata.wire import host as host_wire

log = logging.getLogger(__name__)

EVENTS_SHOWN: Final = 100
GOES_NOWHERE: Final = (
    "the stream would go nowhere; give at least one URL in forward_to, a destination, record or "
    "preview"
)


@dataclass(frozen=True, slots=True)
class StartRequest:
    """What a start was asked for; URLs may hold stream keys.

    Attributes:
        crew: a sender of ours, and what it is to send; None: any encoder.
        destinations: ids.
    """

    forward_to: tuple[str, ...]
    links: int
    name: str
    record: bool
    slate: str = "on"
    crew: Crew | None = None
    destinations: tuple[str, ...] = ()
    preview: bool = False
    policy: Policy | None = None


@dataclass(frozen=True, slots=True)
class View:
    """A stream as its owner sees it.

    Attributes:
        psk: there right after the start only, and without a sender of ours.
        is_observed: whether the host is there to tell how it is.
        forwards: what is wanted of those of a stream that runs, by their ids.
    """

    row: tables.Stream
    live: Live | None
    events: list[tables.Event]
    psk: Secret | None = None
    is_observed: bool = True
    forwards: Mapping[str, Forward] = field(default_factory=dict)


class Streams:
    """The streams of this installation."""

    def __init__(
        self,
        settings: Settings,
        seal: Seal,
        ledger: Ledger,
        destinations: Destinations,
        previews: Previews,
        hosts: Hosts,
    ) -> None:
        self._settings = settings
        self._seal = seal
        self._ledger = ledger
        self._destinations = destinations
        self._previews = previews
        self._hosts = hosts
        self.observer = Observer(ledger, seal)
        self._host: ControlEnd
        self._assignments: Assignments

    def start(self, host: ControlEnd, assignments: Assignments) -> None:
        """Begins to follow what the host says."""
        self._host = host
        self._assignments = assignments
        self.observer.explain = assignments.explain
        self.observer.start(host)

    @property
    def ledger(self) -> Ledger:
        return self._ledger

    async def close(self) -> None:
        """Writes down what the host has said so far, and ends."""
        await self.observer.close()

    @property
    def can_start(self) -> bool:
        """Whether the host is there to take a start."""
        return self._host.connected

    # What people ask for.

    async def begin(self, user: User, request: StartRequest) -> View:
        """Starts a stream; when it returns, a sender may start, or one of ours has.

        Raises:
            BadUrl, AddressRefused, BadArguments: nothing was begun.
            NoCapacity: the host takes no new streams; nothing was begun.
            NotFound, SenderOffline, Conflict: nothing was begun, because of the sender.
            SenderRefused: it was, and has been ended; the row says so.
            StrataError: the host could not; the row says why.
        """
        user.require("operator")
        await self._hosts.require_open(LOCAL_HOST)
        wanted = await self._check(user, request)
        slate = addresses.slate(request.slate, self._settings.media_dir)
        psk = make_psk()
        row = tables.Stream(
            id=ids.new("str"),
            owner_id=user.id,
            name=request.name,
            state="starting",
            ports=[],
            policy=policy.to_row(request.policy),
            created_at=datetime.now(UTC),
        )
        held = self._complete(row.id, request, wanted)
        row.psk_sealed = self._seal.close(psk, f"{row.id}.psk")
        row.forwards_sealed = forwards.closed(self._seal, row.id, held)
        order = host_wire.Start(
            row.id,
            psk.reveal(),
            [each.url for each in held.now],
            request.links,
            request.name,
            slate,
            self._first_media_s(request),
        )
        async with contextlib.AsyncExitStack() as undo:
            await self._carry_out(user, request.crew, row, order, undo)
            undo.pop_all()
        view = await self.view(user, row.id)
        return replace(view, psk=psk if request.crew is None else None)

    async def _carry_out(
        self,
        user: User,
        crew: Crew | None,
        row: tables.Stream,
        order: host_wire.Start,
        undo: contextlib.AsyncExitStack,
    ) -> None:
        """The steps of a start; what a step has done is undone where a later one fails."""
        if crew is not None:
            await self._assignments.claim(user, row, crew, undo)
        # Before the row: a start that is under way is ours.
        self.observer.live[row.id] = Live(row.owner_id, policy=policy.of_row(row.policy))
        try:
            await self._ledger.add(row, user)
        except BaseException:
            del self.observer.live[row.id]
            raise
        try:
            await self._start_on_host(order)
        except StoreUnavailable:
            self.observer.give_up(row.id)
            raise
        if crew is not None:
            undo.push_async_exit(functools.partial(self._take_back, row.id))
            await self._start_sender(row.id, undo)

    def _first_media_s(self, request: StartRequest) -> float:
        if request.crew is None:  # a person has to start the encoder
            return self._settings.host.first_media_timeout_s
        return self._settings.agents.first_media_timeout_s

    async def _start_sender(self, id: str, undo: contextlib.AsyncExitStack) -> None:
        """Returns when the sender has begun.

        Raises:
            SenderOffline, SenderRefused: it does not.
            Conflict: somebody stopped the stream meanwhile.
        """
        row = await self._ledger.get(id)
        assert row is not None
        await self._assignments.begin(row, undo)
        row = await self._ledger.get(id)
        if row is None or row.state not in lifecycle.RUNNING:
            raise _stopped_meanwhile(id)

    async def _take_back(
        self, id: str, _: type[BaseException] | None, error: BaseException | None, *__: object
    ) -> None:
        """Ends on the host what its sender did not begin."""
        if not isinstance(error, Exception):
            return  # cancelled: this process ends, and the next goes on with the stream
        detail = error.message if isinstance(error, StrataError) else "an internal failure"
        try:
            await self.observer.end(id, "start_failed", detail)
        except StoreUnavailable:
            self.observer.give_up(id)
        else:
            await self.observer.stop(id)

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
        row = await self.own(user, stream_id)
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
        row = await self.own(user, stream_id)
        events = await self._ledger.latest(stream_id, EVENTS_SHOWN)
        return self._view(row, events)

    async def visible_to(
        self, user: User, before: str | None = None, limit: int = LISTED
    ) -> list[View]:
        """The streams that the user may see, the newest first; see :class:`Ledger`."""
        rows = await self._ledger.visible_to(user, before, limit)
        return [self.view_of(row) for row in rows]

    async def past(self, user: User, before: str | None, limit: int) -> list[View]:
        """The streams that are over, the newest first; see :class:`Ledger`."""
        return [self.view_of(row) for row in await self._ledger.past(user, before, limit)]

    def view_of(self, row: tables.Stream) -> View:
        """A stream as it is known now, without its events."""
        return self._view(row, [])

    async def running(self, user: User) -> list[View]:
        """The streams that run and that the user may see, the newest first."""
        rows = [row for row in await self._ledger.unfinished() if user.may_see(row.owner_id)]
        return [self.view_of(row) for row in sorted(rows, key=lambda row: row.id, reverse=True)]

    async def rows(self, ids: Collection[str]) -> list[tables.Stream]:
        """The rows of those streams, whoever owns them."""
        return await self._ledger.rows(ids) if ids else []

    def _view(self, row: tables.Stream, events: list[tables.Event]) -> View:
        live = self.observer.live.get(row.id)
        held = forwards.opened(self._seal, row).now if live is not None else ()
        return View(
            row,
            live,
            events,
            is_observed=self.can_start,
            forwards={each.id: each for each in held},
        )

    async def _check(self, user: User, request: StartRequest) -> list[Forward]:
        asked = (*request.forward_to, *request.destinations)
        if not (asked or request.record or request.preview):
            raise BadArguments(GOES_NOWHERE)
        if len(asked) + request.record + request.preview > forwards.FORWARDS_MAX:
            raise BadArguments(f"a stream takes {forwards.FORWARDS_MAX} forwards at most")
        check = self._destinations
        found = [Forward(await check.check(url)) for url in request.forward_to]
        found += [await check.forward(user, id) for id in request.destinations]
        places = [each.place for each in found if each.place is not None]
        for each in found:
            if places.count(each.place or "") > 1:
                raise Conflict(f"two forwards lead to {each.shown}; give it once")
        await self._check_free(found)
        return found

    async def _check_free(self, wanted: list[Forward]) -> None:
        """That no other stream leads to a destination: one of the two would lose its place.

        What is given as a URL is not looked at: nobody has said that it is one and the same.
        """
        places = {each.place: each for each in wanted if each.destination and each.place}
        for id, other in await self._destinations.in_use() if places else ():
            if other.place in places:
                name = places[other.place].name or places[other.place].shown
                raise Conflict(
                    f"{id} is on its way to {name} already, and the platform would throw one of "
                    "the two out; stop that stream, or take its forward away first"
                )

    def _complete(self, id: str, request: StartRequest, wanted: list[Forward]) -> Forwards:
        """All forwards of a new stream: with those that stay on this machine."""
        if request.record:
            url = addresses.file_url(self._settings.media_dir, f"{id}-%Y%m%dT%H%M%S.ts")
            wanted = [*wanted, Forward(url, name="recording")]
        if request.preview:
            wanted = [*wanted, Forward(self._previews.url(id), name="preview")]
        return forwards.begun(wanted)

    async def own(self, user: User, stream_id: str) -> tables.Stream:
        """The row of a stream.

        Raises:
            NotFound: there is none, or it is another user's.
        """
        row = await self._ledger.get(stream_id)
        if row is None or not user.may_see(row.owner_id):
            raise NotFound(f"there is no stream {stream_id[:64]!r}")
        return row


def _stopped_meanwhile(stream_id: str) -> Conflict:
    return Conflict(f"{stream_id} was stopped while it was starting")
