"""Which sender should send which stream, and what is done so that it does.

Nothing is told once and believed: the table says what should be, the sender says what is
(``stream_state``), and whenever either changes, and every few seconds, the difference is told
again. That covers a lost answer, a sender that was switched off and on, and a control plane that
was killed, without a word of the past.

A sender that is silent ends nothing. What ends a stream is its host, for want of media; here its
cause is added, where it is known.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from strata.control import lifecycle, posts, tables
from strata.control.agent_link import Link
from strata.control.agents import Agents
from strata.control.bus import Bus, FellBehind, News
from strata.control.ledger import Ledger
from strata.control.posts import Crew, Post
from strata.control.roles import User
from strata.control.seal import Seal
from strata.control.senders import Senders
from strata.errors import SenderBusy, StoreUnavailable, StrataError
from strata.secrets import Secret
from strata.settings import Settings
from strata.tasks import TaskGroup
from strata.wire import agent as wire
from strata.wire.host import Alarm

log = logging.getLogger(__name__)

ROUND_S: Final = 5.0
"""How often what was told in vain is told again."""

DETAIL_CHARS_MAX: Final = 2000


class Stage(Protocol):
    """Where streams are watched."""

    async def hear_sender(self, stream_id: str, alarms: list[Alarm]) -> None:
        """What is wrong with the sender of a stream now."""


class Assignments:
    """
    Args:
        clock: seconds that never go back.
    """

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        seal: Seal,
        senders: Senders,
        agents: Agents,
        bus: Bus,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._seal = seal
        self._senders = senders
        self._agents = agents
        self._bus = bus
        self._clock = clock
        self._posts: dict[str, Post] = {}
        # One tells a sender at a time: a stop and a start must not overtake each other.
        self._turns: dict[str, asyncio.Lock] = {}
        self._tasks = TaskGroup()
        self._stage: Stage

    async def start(self, stage: Stage) -> None:
        """Looks up what should be sent now, and begins to see to it."""
        self._stage = stage
        is_listening = asyncio.Event()
        self._tasks.spawn("assignments-ends", self._follow_ends(is_listening))
        await is_listening.wait()  # from here on no end is missed
        for row in await self._ledger.unfinished():
            if row.sender_id is not None:
                self._posts[row.sender_id] = Post(row.id, lost_at=self._clock())
        self._tasks.spawn("assignments-round", self._go_round())
        self._agents.start(self)

    async def close(self) -> None:
        await self._tasks.close()

    def stream_of(self, sender_id: str) -> str | None:
        """What a sender should send."""
        post = self._posts.get(sender_id)
        return post.stream_id if post is not None else None

    # A start.

    async def require(self, user: User, crew: Crew) -> tuple[tables.Sender, wire.Source]:
        """A sender that could begin now, and what it would send.

        Raises:
            NotFound: there is no such sender, or it is another user's.
            SenderOffline: it is not connected.
            SenderBusy: it sends another stream.
            BadArguments: no source was named, and the sender has none.
        """
        sender = await self._senders.get(user, crew.sender_id)
        link = self._agents.require(sender.id)
        source = crew.source or posts.first_input(link.status)
        stream_id = self._post(sender.id).stream_id
        if stream_id is not None:
            name = sender.name or sender.id
            raise SenderBusy(f"{name} sends {stream_id} already; stop that stream first")
        return sender, source

    async def claim(
        self, user: User, row: tables.Stream, crew: Crew, undo: contextlib.AsyncExitStack
    ) -> None:
        """Has a sender for a new stream, and writes into its row what it is to do.

        Args:
            undo: gives the sender back.

        Raises:
            StrataError: as :meth:`require`.
        """
        sender, source = await self.require(user, crew)
        post = self._post(sender.id)
        post.claim(row.id)
        undo.callback(post.release, row.id)
        row.sender_id = sender.id
        told = msgspec.json.encode(source).decode()
        row.source_sealed = self._seal.close(Secret(told), f"{row.id}.source")
        row.request = {
            **(row.request or {}),
            "source": posts.shown(source),
            "encoder": msgspec.to_builtins(crew.encoder),
        }

    async def begin(self, row: tables.Stream, undo: contextlib.AsyncExitStack) -> None:
        """Tells the sender to send, and returns when it does.

        Args:
            row: with its ports.
            undo: has the sender stop.

        Raises:
            SenderOffline, SenderRefused: it does not.
        """
        assert row.sender_id is not None
        post = self._post(row.sender_id)
        undo.callback(self._recall, row.sender_id, row.id, "start_failed")
        async with self._turn(row.sender_id):
            link = self._agents.require(row.sender_id)
            await self._stop_all(post, link)
            if post.stream_id == row.id:  # else it was stopped meanwhile
                await self._order_start(link, row)
        post.is_starting = False
        self._settle_soon(row.sender_id)

    def _recall(self, sender_id: str, stream_id: str, reason: str) -> None:
        """The stream is over: the sender is told until it is known to have stopped."""
        self._post(sender_id).recall(stream_id, reason)
        self._settle_soon(sender_id)

    def _post(self, sender_id: str) -> Post:
        return self._posts.setdefault(sender_id, Post())

    def _turn(self, sender_id: str) -> asyncio.Lock:
        return self._turns.setdefault(sender_id, asyncio.Lock())

    # What the sender says.

    def on_here(self, sender_id: str) -> None:
        self._post(sender_id).lost_at = None

    def on_gone(self, sender_id: str) -> None:
        self._post(sender_id).lost_at = self._clock()

    def on_status(self, link: Link) -> None:
        self._post(link.sender_id).hear(link.doing)
        self._settle_soon(link.sender_id)

    def on_ended(self, link: Link, frame: wire.Frame, ended: wire.StreamEnded) -> None:
        self._tasks.spawn(f"{link.sender_id}-ended", self._take_ended(link, frame, ended))

    async def _take_ended(self, link: Link, frame: wire.Frame, ended: wire.StreamEnded) -> None:
        detail = wire.plain(ended.detail)
        if link.doing is None or link.doing.stream_id == ended.stream_id:
            why = f"{ended.reason}: {detail}" if detail else ended.reason
            link.doing = wire.StreamState(ended.stream_id, "ended", why)
            self.on_status(link)
        told = {
            "sender_id": link.sender_id,
            "reason": ended.reason,
            "detail": detail,
            "duration_s": ended.duration_s,
            "total_bytes": ended.total_bytes,
        }
        try:
            row = await self._ledger.get(ended.stream_id)
            if row is not None and row.sender_id == link.sender_id:
                await self._ledger.note(row.id, "sender_ended", told)
        except StrataError as error:  # it says so again, for want of an answer
            log.warning("the end at sender %s is not noted: %s", link.sender_id, error.message)
        else:
            link.say(frame.answered(wire.Done(True)))

    # What the sender is told.

    def _settle_soon(self, sender_id: str) -> None:
        self._tasks.spawn(f"{sender_id}-settle", self._settle(sender_id))

    async def _settle(self, sender_id: str) -> None:
        """Tells a sender the difference between what it should do and what it does, and people
        what is wrong with it."""
        post, turn = self._post(sender_id), self._turn(sender_id)
        if turn.locked():
            return  # whoever is at it sees to it, or the next round does
        async with turn:
            link = self._agents.link_of(sender_id)
            try:
                if link is not None:
                    await self._stop_all(post, link)
                    await self._start_again(post, link)
            except StrataError as error:
                log.warning("sender %s: %s", sender_id, error.message)
        if post.stream_id is not None and not post.is_starting:
            with contextlib.suppress(StoreUnavailable):  # the next round tells
                await self._stage.hear_sender(post.stream_id, self._alarms(post))

    async def _stop_all(self, post: Post, link: Link) -> None:
        for stream_id, reason in tuple(post.to_stop.items()):
            if reason == posts.NOT_WANTED:
                reason = await self._why_over(stream_id)
            order = wire.StreamStop(stream_id, reason)
            await link.ask(order, self._settings.agents.answer_timeout_s)
            post.to_stop.pop(stream_id, None)
            if link.doing is not None and link.doing.stream_id == stream_id:
                link.doing, link.stats = None, None
            log.info("sender %s has stopped %s: %s", link.sender_id, stream_id, reason)

    async def _why_over(self, stream_id: str) -> str:
        """Of a stream that ended before this control plane was started."""
        try:
            row = await self._ledger.get(stream_id)
        except StoreUnavailable:
            row = None
        return (row.reason if row is not None else None) or posts.NOT_WANTED

    async def _start_again(self, post: Post, link: Link) -> None:
        """Tells a sender that was switched off and on what it was doing."""
        if post.stream_id is None or link.state != "known" or not post.should_begin(link.doing):
            return
        row = await self._ledger.get(post.stream_id)
        if row is None or row.state not in lifecycle.RUNNING or post.stream_id != row.id:
            return
        try:
            await self._order_start(link, row)
        except StrataError as error:
            if error.message != post.refusal:
                post.refusal = error.message
                await self._ledger.note(row.id, "sender_refused", {"detail": error.message})
        else:
            post.refusal = None
            await self._ledger.note(row.id, "sender_started_again", {"sender_id": link.sender_id})

    async def _order_start(self, link: Link, row: tables.Stream) -> None:
        assert row.source_sealed is not None
        source = self._seal.open(row.source_sealed, f"{row.id}.source")
        order = wire.StreamStart(
            stream_id=row.id,
            source=msgspec.json.decode(source.reveal(), type=wire.Source),
            encoder=msgspec.convert(row.request["encoder"], wire.Encoder),
            destinations=self._settings.host.receive_urls(row.ports),
            psk=self._seal.open(row.psk_sealed, f"{row.id}.psk").reveal(),
            buffer_ms=self._settings.worker.buffer_ms,
        )
        await link.ask(order, self._settings.agents.answer_timeout_s)
        if link.doing is None or link.doing.stream_id != row.id:  # else it has told more already
            link.doing = wire.StreamState(row.id, "starting")

    # What people are told.

    def _trouble(self, post: Post) -> posts.Trouble | None:
        return post.trouble(self._clock(), self._settings.agents.offline_alarm_s)

    def _alarms(self, post: Post) -> list[Alarm]:
        trouble = self._trouble(post)
        return [Alarm(trouble.kind, trouble.cause)] if trouble is not None else []

    def explain(self, stream_id: str, reason: str, detail: str) -> tuple[str, str]:
        """An end for want of media, with its cause where the sender is that."""
        for post in self._posts.values() if reason == "no_input" else ():
            if post.stream_id == stream_id and (trouble := self._trouble(post)) is not None:
                return "sender_lost", f"{trouble.cause}; {detail}"[:DETAIL_CHARS_MAX]
        return reason, detail

    # Over and over.

    async def _go_round(self) -> None:
        while True:
            await asyncio.sleep(ROUND_S)
            for sender_id, post in self._posts.items():
                if post.stream_id is not None or post.to_stop:
                    self._settle_soon(sender_id)

    async def _follow_ends(self, is_listening: asyncio.Event) -> None:
        with self._bus.listen(_is_end) as ends:
            is_listening.set()
            while True:
                try:
                    event = (await ends.next()).data
                except FellBehind:
                    await self._look_again()
                else:
                    self._on_over({event.subject: event.data.get("reason", "user_stop")})

    async def _look_again(self) -> None:
        """What has ended, where the news of it were too many."""
        assigned = {post.stream_id for post in self._posts.values() if not post.is_starting}
        while True:
            try:
                unfinished = {row.id for row in await self._ledger.unfinished()}
            except StoreUnavailable:
                await asyncio.sleep(ROUND_S)
            else:
                ended = {id: "user_stop" for id in assigned - unfinished if id is not None}
                return self._on_over(ended)

    def _on_over(self, ended: dict[str, str]) -> None:
        for sender_id, post in self._posts.items():
            if post.stream_id is not None and post.stream_id in ended:
                self._recall(sender_id, post.stream_id, ended[post.stream_id])


def _is_end(news: News) -> bool:
    return (
        news.topic == "events" and news.type == "state" and news.data.data["to"] in lifecycle.OVER
    )
