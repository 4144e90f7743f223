"""Streams: started, observed and stopped.

The row is what should be; the host says what is. A row is written before anything is
spawned, and its end is written only on the word of the host.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import select

from strata import ids
from strata.cluster.unix import HostClient
from strata.control import addresses, lifecycle, tables
from strata.control.accounts import User
from strata.control.lifecycle import State
from strata.control.live import Live
from strata.control.seal import Seal
from strata.control.store import Store
from strata.errors import (
    BadArguments,
    Conflict,
    HostUnreachable,
    NoCapacity,
    NotAllowed,
    NotFound,
    StrataError,
)
from strata.secrets import Secret, make_psk
from strata.settings import Settings, split_range
from strata.tasks import TaskGroup
from strata.wire import host as host_wire
from strata.wire import worker as wire

log = logging.getLogger(__name__)

EVENTS_SHOWN: Final = 100
LAST_WORDS_DEADLINE_S: Final = 5.0
LOCAL_HOST: Final = "local"


@dataclass(frozen=True, slots=True)
class StartRequest:
    """What a start was asked for; URLs may hold stream keys."""

    forward_to: tuple[str, ...]
    links: int
    name: str
    record: bool
    slate: str = "on"


@dataclass(frozen=True, slots=True)
class View:
    """A stream as its owner sees it. ``psk`` is there right after the start only."""

    row: tables.Stream
    live: Live | None
    events: list[tables.Event]
    psk: Secret | None = None


class Streams:
    """The streams of this installation."""

    def __init__(self, settings: Settings, store: Store, seal: Seal) -> None:
        self._settings = settings
        self._store = store
        self._seal = seal
        self._live: dict[str, Live] = {}
        self._tasks = TaskGroup()
        self._changes: asyncio.Queue[host_wire.Notice] = asyncio.Queue()
        # Held while the host's table is compared: notices that come meanwhile are newer.
        self._in_order = asyncio.Lock()
        # SQLite locks no row that is read: two steps at once would both start from the old
        # state, and the later would undo the earlier.
        self._one_step = asyncio.Lock()
        self._host: HostClient

    def start(self, host: HostClient) -> None:
        """Begins to follow what the host says."""
        self._host = host
        self._tasks.spawn("stream-changes", self._follow())

    async def close(self) -> None:
        """Writes down what the host has said so far, and ends."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changes.join(), LAST_WORDS_DEADLINE_S)
        await self._tasks.close()

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
        if not user.may_operate:
            raise NotAllowed("a viewer cannot start streams; ask for the role of an operator")
        forwards = await self._check(request)
        slate = addresses.slate(request.slate, self._settings.media_dir)
        psk = make_psk()
        row = tables.Stream(
            id=ids.new("str"),
            owner_id=user.id,
            name=request.name,
            state="starting",
            ports=[],
            created_at=datetime.now(UTC),
        )
        if request.record:
            media = self._settings.media_dir
            forwards.append(addresses.file_url(media, f"{row.id}-%Y%m%dT%H%M%S.ts"))
        row.psk_sealed = self._seal.close(psk, f"{row.id}.psk")
        row.forwards_sealed = self._seal.close(Secret(json.dumps(forwards)), f"{row.id}.forwards")
        self._live[row.id] = Live()  # before the row: a start that is under way is ours
        async with self._store.begin() as session:
            session.add(row)
            session.add(_event(row.id, user.id, "start_requested", {"name": row.name}))
        try:
            reply = await self._host.request(
                host_wire.Start(row.id, psk.reveal(), forwards, request.links, request.name, slate)
            )
        except StrataError as error:
            reason = "no_capacity" if isinstance(error, NoCapacity) else "start_failed"
            await self._end(row.id, reason, error.message)
            if isinstance(error, HostUnreachable):  # it may have started all the same
                self._tasks.spawn(f"{row.id}-unwind", self._stop_on_host(row.id))
            raise
        assert isinstance(reply, host_wire.Started)
        await self._advance(row.id, "waiting", ports=reply.ports, host=LOCAL_HOST)
        view = await self.view(user, row.id)
        return View(view.row, view.live, view.events, psk)

    async def stop(self, user: User, stream_id: str) -> View:
        """Ends a stream and waits until it has ended. One that has is left as it is.

        Raises:
            NotFound, NotAllowed: not this user's to stop.
            Conflict: it is still starting.
            HostUnreachable: the host does not answer; it is told again once it is back.
        """
        row = await self._own(user, stream_id)
        if not user.may_operate:
            raise NotAllowed("a viewer cannot stop streams; ask for the role of an operator")
        if row.state in lifecycle.OVER:
            return await self.view(user, stream_id)
        if row.state == "starting":
            raise Conflict(f"{stream_id} is still starting; stop it in a moment")
        async with self._store.begin() as session:
            session.add(_event(stream_id, user.id, "stop_requested", {}))
        await self._advance(stream_id, "stopping")
        await self._finish(stream_id)
        return await self.view(user, stream_id)

    async def view(self, user: User, stream_id: str) -> View:
        """One stream with its latest events.

        Raises:
            NotFound: there is none, or it is another user's.
        """
        row = await self._own(user, stream_id)
        async with self._store.begin() as session:
            events = await session.scalars(
                select(tables.Event)
                .where(tables.Event.stream_id == stream_id)
                .order_by(tables.Event.id.desc())
                .limit(EVENTS_SHOWN)
            )
        return View(row, self._live.get(stream_id), list(events)[::-1])

    async def visible_to(self, user: User) -> list[View]:
        """The streams that the user may see, the newest first."""
        query = select(tables.Stream).order_by(tables.Stream.id.desc())
        if user.role != "admin":
            query = query.where(tables.Stream.owner_id == user.id)
        async with self._store.begin() as session:
            rows = list(await session.scalars(query))
        return [View(row, self._live.get(row.id), []) for row in rows]

    async def _check(self, request: StartRequest) -> list[str]:
        if not request.forward_to and not request.record:
            raise BadArguments(
                "the stream would go nowhere; give at least one URL in forward_to, or record"
            )
        rules, media = self._settings.forward, self._settings.media_dir
        reserved = split_range(self._settings.host.port_range)
        return [await addresses.check(url, rules, media, reserved) for url in request.forward_to]

    async def _own(self, user: User, stream_id: str) -> tables.Stream:
        async with self._store.begin() as session:
            row = await session.get(tables.Stream, stream_id)
        if row is None or not user.may_see(row.owner_id):
            raise NotFound(f"there is no stream {stream_id[:64]!r}")
        return row

    # What the host says.

    def on_notice(self, notice: host_wire.Notice) -> None:
        self._changes.put_nowait(notice)

    async def compare_notes(self) -> None:
        """After a connection: what the host runs, against what the rows say.

        Raises:
            StrataError: the host did not tell; it is asked again after the next connection.
        """
        async with self._in_order:
            expected = await self._expected()
            reply = await self._host.request(host_wire.List())
            assert isinstance(reply, host_wire.Streams)
            running = {snapshot.stream_id: snapshot for snapshot in reply.streams}
            ended = {each.stream_id: each for each in reply.ended}
            for stream_id in expected | running.keys():
                if stream_id not in running and stream_id in ended:
                    await self._take_in(ended[stream_id])
                else:
                    await self._compare(stream_id, running.get(stream_id))

    async def _expected(self) -> set[str]:
        """What the host should run. A start that is under way here has its own end."""
        async with self._store.begin() as session:
            rows = await session.scalars(
                select(tables.Stream).where(tables.Stream.state.not_in(lifecycle.OVER))
            )
            return {row.id for row in rows if row.state != "starting" or row.id not in self._live}

    async def _compare(self, stream_id: str, snapshot: host_wire.Snapshot | None) -> None:
        async with self._store.begin() as session:
            row = await session.get(tables.Stream, stream_id)
        if row is None or row.state in lifecycle.OVER:
            if snapshot is not None:
                log.warning("the host runs %s, which nobody wants; stopping it", stream_id)
                self._tasks.spawn(f"{stream_id}-unwanted", self._stop_on_host(stream_id))
            return
        if row.state == "stopping":
            self._tasks.spawn(f"{stream_id}-finish", self._finish(stream_id))
        elif snapshot is None:
            self._tasks.spawn(f"{stream_id}-lost", self._lose(stream_id))
        if snapshot is None:
            return
        is_ours = stream_id in self._live  # then its start is under way, and tells
        live = self._live[stream_id] = Live()
        for event in snapshot.events:
            live.hear(event)
        if row.state == "starting" and not is_ours:
            await self._advance(stream_id, "waiting", ports=snapshot.ports, host=LOCAL_HOST)
        await self._observe(stream_id)

    async def _finish(self, stream_id: str) -> None:
        """Has the host stop a stream that is to stop, and writes down how it ended."""
        try:
            reply = await self._host.request(host_wire.Stop(stream_id))
        except NotFound:
            # The host does not know it: it ended while nobody looked.
            await self._end(stream_id, "user_stop", "the host did not run it any more")
        else:
            assert isinstance(reply, host_wire.Stopped)
            await self._end(stream_id, reply.reason, reply.detail)

    async def _lose(self, stream_id: str) -> None:
        await self._stop_on_host(stream_id)
        await self._end(
            stream_id,
            "host_lost",
            "the host was started anew and did not know the stream any more; what was "
            "left of its worker has been ended",
        )

    async def _stop_on_host(self, stream_id: str) -> None:
        """Ends what there may be of a stream that has no business to run."""
        try:
            await self._host.request(host_wire.Stop(stream_id))
        except NotFound:
            log.debug("the host did not run %s", stream_id)
        except StrataError as error:
            log.warning("%s may still run on the host: %s", stream_id, error.message)

    async def _follow(self) -> None:
        while True:
            notice = await self._changes.get()
            try:
                async with self._in_order:
                    await self._take_in(notice)
            except Exception:
                # One notice that cannot be stored must not end the observation of all.
                log.exception("a notice about %s was lost", notice.stream_id)
            finally:
                self._changes.task_done()

    async def _take_in(self, notice: host_wire.Notice) -> None:
        if isinstance(notice, host_wire.Ended):
            await self._end(notice.stream_id, notice.reason, notice.detail)
            return
        live = self._live.get(notice.stream_id)
        if live is None:
            return
        event = notice.event
        is_news = event != live.program  # a worker greets with what is on the air
        if is_news and isinstance(event, wire.Forward | wire.Error | wire.Input | wire.Program):
            async with self._store.begin() as session:
                session.add(_event(notice.stream_id, None, *_told(event)))
        if live.hear(event):
            await self._observe(notice.stream_id)

    async def _observe(self, stream_id: str) -> None:
        live = self._live.get(stream_id)
        async with self._store.begin() as session:
            row = await session.get(tables.Stream, stream_id)
        if live is None or row is None:
            return  # it has ended meanwhile
        old: State = row.state  # type: ignore[assignment]
        new = lifecycle.observed(
            old, live.input.state, live.forward_states(), has_alarm=live.has_alarm
        )
        if new != old:
            await self._advance(stream_id, new)

    async def _end(self, stream_id: str, reason: str, detail: str) -> None:
        await self._advance(
            stream_id,
            lifecycle.end_state(reason),
            reason=reason,
            detail=detail,
            ended_at=datetime.now(UTC),
        )
        self._live.pop(stream_id, None)

    async def _advance(self, stream_id: str, state: State, **columns: Any) -> None:
        """The one place where a stream changes its state; a step that the table of
        transitions does not know is left out, because the later word came first."""
        async with self._one_step, self._store.begin() as session:
            row = await session.get(tables.Stream, stream_id, with_for_update=True)
            if row is None:
                return
            old: State = row.state  # type: ignore[assignment]
            if not lifecycle.may_advance(old, state):
                return
            row.state = state
            for name, value in columns.items():
                setattr(row, name, value)
            told: dict[str, Any] = {k: columns[k] for k in ("reason", "detail") if k in columns}
            session.add(_event(stream_id, None, "state", {"from": old, "to": state, **told}))
        level = logging.WARNING if state in ("degraded", "failed") else logging.INFO
        log.log(
            level,
            "%s: %s -> %s%s",
            stream_id,
            old,
            state,
            f": {columns['reason']}: {columns['detail']}" if "reason" in columns else "",
        )


def _event(
    stream_id: str | None, user_id: str | None, type: str, data: dict[str, Any]
) -> tables.Event:
    return tables.Event(
        id=ids.new("evt"),
        at=datetime.now(UTC),
        stream_id=stream_id,
        user_id=user_id,
        type=type,
        data=data,
    )


def _told(
    event: wire.Forward | wire.Error | wire.Input | wire.Program,
) -> tuple[str, dict[str, Any]]:
    match event:
        case wire.Forward():
            return "forward", {
                "forward": event.forward,
                "state": event.state,
                "url": event.url,
                "message": event.message,
            }
        case wire.Input():
            return "input", {"state": event.state}
        case wire.Program():
            return "program", {"video": event.video, "audio": event.audio}
        case wire.Error():
            return "error", {
                "forward": event.forward,
                "code": event.code,
                "message": event.message,
            }
