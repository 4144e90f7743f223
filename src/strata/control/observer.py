"""What the host says of its streams, written down and compared with what should be."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from strata.cluster.ends import ControlEnd
from strata.control import forwards, lifecycle, policy, tables
from strata.control.ledger import Ledger
from strata.control.lifecycle import State
from strata.control.live import Live
from strata.control.seal import Seal
from strata.errors import NotFound, StoreUnavailable, StrataError
from strata.tasks import TaskGroup
from strata.wire import host as host_wire
from strata.wire import worker as wire

log = logging.getLogger(__name__)

LAST_WORDS_DEADLINE_S: Final = 5.0
LOCAL_HOST: Final = "local"

STORE_AGAIN_S: Final = 1.0
"""How often a database that is away is tried."""

Heard: TypeAlias = tuple[datetime, host_wire.Notice]

Explain: TypeAlias = Callable[[str, str, str], tuple[str, str]]
"""Stream, reason and detail of an end, as they are to be told."""


class Observer:
    """Follows one host.

    Attributes:
        live: what is known of each stream that runs, or is about to.
        load: how full the host is; None before it has said so.
        explain: adds to an end what the host cannot know of its cause.
    """

    def __init__(self, ledger: Ledger, seal: Seal) -> None:
        self.live: dict[str, Live] = {}
        self.load: host_wire.Load | None = None
        self.explain: Explain = lambda stream_id, reason, detail: (reason, detail)
        self._ledger = ledger
        self._seal = seal
        self._tasks = TaskGroup()
        # Kept while the database is away, so that the log of events has no hole; numbers, of
        # which there are many, do not come here.
        self._changes: asyncio.Queue[Heard] = asyncio.Queue()
        self._catching_up: asyncio.Task[None] | None = None
        # Held while the host's table is compared: notices that come meanwhile are newer.
        self._in_order = asyncio.Lock()
        self._host: ControlEnd

    def start(self, host: ControlEnd) -> None:
        """Begins to write down what the host says."""
        self._host = host
        self._tasks.spawn("stream-changes", self._follow())

    async def close(self) -> None:
        """Writes down what the host has said so far, and ends."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changes.join(), LAST_WORDS_DEADLINE_S)
        await self._tasks.close()

    def on_notice(self, notice: host_wire.Notice) -> None:
        match notice:
            case host_wire.Load():
                self.load = notice
            case host_wire.WorkerSaid(stream_id=stream_id, event=wire.Stats() as stats):
                live = self.live.get(stream_id)
                if live is None:
                    return
                if live.hear(stats):
                    self._changes.put_nowait((datetime.now(UTC), notice))
                self._ledger.tell("stats", stream_id, live.owner_id)
            case _:
                self._changes.put_nowait((datetime.now(UTC), notice))

    # After a connection.

    async def compare_notes(self) -> None:
        """What the host runs, against what the rows say.

        Where the database is away, it is done as soon as that is back.

        Raises:
            StrataError: the host did not tell; it is asked again after the next connection.
        """
        try:
            await self._compare_all()
        except StoreUnavailable:
            self.catch_up_soon()

    def catch_up_soon(self) -> None:
        """Compares notes once the database is back: something could not be written."""
        if self._catching_up is None or self._catching_up.done():
            self._catching_up = self._tasks.spawn("catch-up", self._catch_up())

    async def _catch_up(self) -> None:
        while True:
            await asyncio.sleep(STORE_AGAIN_S)
            try:
                await self._compare_all()
            except StoreUnavailable:
                continue
            except StrataError as error:
                log.warning("the host did not tell what it runs: %s", error.message)
            return

    async def _compare_all(self) -> None:
        async with self._in_order:
            expected = await self._expected()
            reply = await self._host.request(host_wire.List())
            assert isinstance(reply, host_wire.Streams)
            self.load = reply.load
            running = {snapshot.stream_id: snapshot for snapshot in reply.streams}
            ended = {each.stream_id: each for each in reply.ended}
            for stream_id in expected | running.keys():
                if stream_id not in running and stream_id in ended:
                    await self._take_in(None, ended[stream_id])
                else:
                    await self._compare(stream_id, running.get(stream_id))

    async def _expected(self) -> set[str]:
        """What the host should run. A start that is under way here has its own end."""
        rows = await self._ledger.unfinished()
        return {row.id for row in rows if row.state != "starting" or row.id not in self.live}

    async def _compare(self, stream_id: str, snapshot: host_wire.Snapshot | None) -> None:
        row = await self._ledger.get(stream_id)
        if row is None or row.state in lifecycle.OVER:
            if snapshot is not None:
                log.warning("the host runs %s, which nobody wants; stopping it", stream_id)
                self.stop_soon(stream_id)
            return
        if row.state == "stopping":
            self._spawn(f"{stream_id}-finish", self.finish(stream_id))
        elif snapshot is None:
            self._spawn(f"{stream_id}-lost", self._lose(row))
        if snapshot is None:
            return
        is_ours = stream_id in self.live  # then its start is under way, and tells
        known = self.live.get(stream_id) or Live()
        live = self.live[stream_id] = Live(
            row.owner_id,
            alarms=snapshot.alarms,
            sender_alarms=known.sender_alarms,
            policy=policy.of_row(row.policy),
            is_slate_held=snapshot.slate_now,
            is_slate_ours=snapshot.slate_now and policy.holds(row.policy),
        )
        for event in snapshot.events:
            live.hear(event)
        if snapshot.forward_ids:
            shown = {id: each.url for id, each in live.forwards.items()}
            row = await self._settle(row, {id: shown.get(id) for id in snapshot.forward_ids})
        if snapshot.needs_secrets:
            self._spawn(f"{stream_id}-entrust", self._entrust(row))
        if row.state == "starting" and not is_ours:
            await self._ledger.advance(stream_id, "waiting", ports=snapshot.ports, host=LOCAL_HOST)
        await self._observe(stream_id)

    async def _entrust(self, row: tables.Stream) -> None:
        """Tells a host that was started anew what the stream's next worker has to know."""
        known = [each for each in forwards.opened(self._seal, row).now if each.id]
        psk = self._seal.open(row.psk_sealed, f"{row.id}.psk")
        urls, ids = [each.url for each in known], [each.id for each in known]
        await self._host.request(host_wire.Entrust(row.id, psk.reveal(), urls, ids))

    async def _settle(self, row: tables.Stream, there: dict[str, str | None]) -> tables.Stream:
        """Writes down what became of a change whose answer was lost."""
        held = forwards.opened(self._seal, row)
        if held.before is None:
            return row
        settled = forwards.closed(self._seal, row.id, held.settled(there))
        await self._ledger.set_forwards(row.id, settled, "forwards_settled", forwards=list(there))
        return await self._ledger.get(row.id) or row

    async def finish(self, stream_id: str) -> None:
        """Has the host stop a stream that is to stop, and writes down how it ended.

        Raises:
            StrataError: the host does not answer; it is told again once it is back.
        """
        try:
            reply = await self._host.request(host_wire.Stop(stream_id))
        except NotFound:
            # The host does not know it: it ended while nobody looked.
            await self.end(stream_id, "user_stop", "the host did not run it any more")
        else:
            assert isinstance(reply, host_wire.Stopped)
            await self.end(stream_id, reply.reason, reply.detail)

    def stop_soon(self, stream_id: str) -> None:
        """Ends what there may be of a stream that has no business to run."""
        self._tasks.spawn(f"{stream_id}-unwanted", self.stop(stream_id))

    def give_up(self, stream_id: str) -> None:
        """Ends a start that could not be written down; its row follows when it can be."""
        self.live.pop(stream_id, None)
        self.stop_soon(stream_id)
        self.catch_up_soon()

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Does what is done again where it fails: the host is there again, or the database."""
        self._tasks.spawn(name, self._try(work))

    async def _try(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except StoreUnavailable:
            self.catch_up_soon()
        except StrataError as error:
            log.warning("the host could not do it: %s", error.message)
        finally:
            work.close()  # where this was cancelled before it began

    async def end(
        self, stream_id: str, reason: str, detail: str, at: datetime | None = None
    ) -> None:
        """Writes down that a stream is over."""
        reason, detail = self.explain(stream_id, reason, detail)
        await self._ledger.end(stream_id, reason, detail, at)
        gone = self.live.pop(stream_id, None)
        self._ledger.tell("ended", stream_id, gone.owner_id if gone is not None else None)

    async def drop_forward(self, stream_id: str, forward: str) -> None:
        """A forward has been removed, and what was wrong with it no longer counts."""
        async with self._in_order:
            live = self.live.get(stream_id)
            if live is not None:
                live.drop(forward)
                await self._observe(stream_id)

    async def _lose(self, row: tables.Stream) -> None:
        await self.stop(row.id)
        if row.state == "starting":
            await self.end(row.id, "start_failed", "it was never told whether the start succeeded")
            return
        await self.end(
            row.id,
            "host_lost",
            "the host was started anew and did not know the stream any more; what was "
            "left of its worker has been ended",
        )

    async def stop(self, stream_id: str) -> None:
        """Ends what there may be of a stream on the host; returns when it has gone."""
        try:
            await self._host.request(host_wire.Stop(stream_id))
        except NotFound:
            log.debug("the host did not run %s", stream_id)
        except StrataError as error:
            log.warning("%s may still run on the host: %s", stream_id, error.message)

    # As it comes.

    async def _follow(self) -> None:
        while True:
            at, notice = await self._changes.get()
            try:
                await self._store_at_last(at, notice)
            except Exception:
                # One notice that cannot be stored must not end the observation of all.
                log.exception("a notice of the host was lost: %s", type(notice).__name__)
            finally:
                self._changes.task_done()

    async def _store_at_last(self, heard_at: datetime, notice: host_wire.Notice) -> None:
        """Takes it in, as often as it takes until the database is there."""
        at = None  # when it is written down, so that the log is in the order of its moments
        while True:
            try:
                async with self._in_order:
                    return await self._take_in(at, notice)
            except StoreUnavailable:
                at = heard_at
                await asyncio.sleep(STORE_AGAIN_S)

    async def _take_in(self, at: datetime | None, notice: host_wire.Notice) -> None:
        match notice:
            case host_wire.Ended():
                await self.end(notice.stream_id, notice.reason, notice.detail, at)
            case host_wire.WorkerSaid():
                await self._hear(at, notice.stream_id, notice.event)
            case host_wire.Restarting():
                if (dead := self.live.get(notice.stream_id)) is not None:
                    # Nothing of what the dead worker said of itself holds any more.
                    self.live[notice.stream_id] = dead.for_next_worker()
                    await self._ledger.note(
                        notice.stream_id, "worker_restart", {"detail": notice.detail}, at=at
                    )
                    await self._observe(notice.stream_id, at)
            case host_wire.Alarms():
                await self._hear_alarms(at, notice.stream_id, notice.alarms)

    async def _hear(self, at: datetime | None, stream_id: str, event: wire.Event) -> None:
        live = self.live.get(stream_id)
        if live is None:
            return
        is_news = event != live.program  # a worker greets with what is on the air
        if is_news and isinstance(event, wire.Forward | wire.Error | wire.Input | wire.Program):
            await self._ledger.note(stream_id, *_told(event), at=at)
        # Numbers were heard when they came, and are here because something follows from them.
        if isinstance(event, wire.Stats) or live.hear(event):
            await self._observe(stream_id, at)

    async def _hear_alarms(
        self, at: datetime | None, stream_id: str, alarms: list[host_wire.Alarm]
    ) -> None:
        live = self.live.get(stream_id)
        if live is None:
            return
        live.alarms = alarms
        await self._tell_alarms(at, stream_id, live.standing)

    async def hear_sender(self, stream_id: str, alarms: list[host_wire.Alarm]) -> None:
        """What is wrong with the sender of a stream now.

        Raises:
            StoreUnavailable: it is to be told again.
        """
        live = self.live.get(stream_id)
        if live is None or live.sender_alarms == alarms:
            return
        before, live.sender_alarms = live.sender_alarms, alarms
        try:
            await self._tell_alarms(datetime.now(UTC), stream_id, live.standing)
        except StoreUnavailable:
            live.sender_alarms = before  # or it would not be told again
            raise

    async def _tell_alarms(
        self, at: datetime | None, stream_id: str, alarms: list[host_wire.Alarm]
    ) -> None:
        told = [
            {"kind": each.kind, "detail": each.detail, "forward": each.forward} for each in alarms
        ]
        await self._ledger.note(stream_id, "alarms", {"alarms": told}, at=at)
        await self._observe(stream_id, at)

    async def observe(self, stream_id: str) -> None:
        """Looks anew at the state of a stream: something else is known of it.

        Raises:
            StoreUnavailable: it could not be written down.
        """
        async with self._in_order:
            await self._observe(stream_id)

    async def _observe(self, stream_id: str, at: datetime | None = None) -> None:
        live = self.live.get(stream_id)
        row = await self._ledger.get(stream_id)
        if live is None or row is None:
            return  # it has ended meanwhile
        old: State = row.state  # type: ignore[assignment]
        new = lifecycle.observed(
            old, live.input.state, live.forward_states(), has_alarm=live.has_alarm
        )
        if new != old:
            await self._ledger.advance(stream_id, new, at)
        self._ledger.tell("changed", stream_id, row.owner_id)


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
