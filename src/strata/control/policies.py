"""Carries out what is to be done when little arrives (:mod:`strata.control.policy`).

The slate that was put on the air here is taken off here; one that a person asked for is left
alone, and a person's word about the slate ends ours.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from strata.cluster.ends import ControlEnd
from strata.control import lifecycle, policy, tables
from strata.control.bus import Bus, FellBehind, News
from strata.control.journal import Journal
from strata.control.live import Live
from strata.control.policy import Policy, Watch
from strata.control.roles import User
from strata.control.streams import Streams
from strata.errors import Conflict, NotFound, StoreUnavailable, StrataError
from strata.tasks import TaskGroup
from strata.wire import host as wire

log = logging.getLogger(__name__)

GAP_S: Final = 5.0
"""Numbers that lie further apart are no evidence for what was between them."""

REQUESTED: Final = "slate_requested"
"""What the log of events calls a person's word about the slate."""


@dataclass(slots=True)
class Case:
    """One stream.

    Attributes:
        is_overruled: a person has spoken about the slate since it became too little.
    """

    watch: Watch = field(default_factory=Watch)
    heard_s: float = 0.0
    is_overruled: bool = False


class Policies:
    """
    Args:
        clock: seconds that never go back.
    """

    def __init__(
        self,
        journal: Journal,
        bus: Bus,
        streams: Streams,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._journal = journal
        self._bus = bus
        self._streams = streams
        self._host: ControlEnd
        self._clock = clock or asyncio.get_running_loop().time
        self._cases: dict[str, Case] = {}
        self._tasks = TaskGroup()

    def start(self, host: ControlEnd) -> None:
        """Looks after streams of this host."""
        self._host = host
        self._tasks.spawn("policies", self._run())

    async def close(self) -> None:
        await self._tasks.close()

    async def set(self, user: User, stream_id: str, wanted: Policy | None) -> None:
        """Another policy from now on; None: nothing is done any more.

        Raises:
            NotAllowed, NotFound: not this user's to change.
            Conflict: the stream is over.
        """
        user.require("operator")
        async with self._journal.begin() as change:
            row = await change.session.get(tables.Stream, stream_id, with_for_update=True)
            if row is None or not user.may_see(row.owner_id):
                raise NotFound(f"there is no stream {stream_id[:64]!r}")
            if row.state in lifecycle.OVER:
                raise Conflict(f"{stream_id} is over; nothing arrives any more")
            holds = policy.holds(row.policy)
            row.policy = policy.to_row(wanted, holds=holds)
            change.note("policy_set", stream_id, row.owner_id, user, policy=row.policy)
        live = self._streams.observer.live.get(stream_id)
        if live is not None:
            live.policy = wanted
            if wanted is None:
                self._cases.pop(stream_id, None)
                await self._settle(stream_id, live, Case(), None)

    # As it comes.

    async def _run(self) -> None:
        with self._bus.listen(_is_wanted) as listener:
            while True:
                try:
                    news = await listener.next()
                except FellBehind:
                    continue  # what comes next is looked at as it is
                try:
                    await self.take(news)
                except Exception:
                    # What cannot be done for one stream must not end it for all.
                    log.exception("the policy of a stream was not carried out")

    async def take(self, news: News) -> None:
        """Something was said of a stream."""
        if news.topic == "events":
            await self._overrule(news.data.subject)
            return
        id: str = news.data
        live = self._streams.observer.live.get(id)
        if live is None:
            self._cases.pop(id, None)
        elif live.policy is not None and live.stats is not None:
            await self._judge(id, live, live.policy)

    async def _judge(self, id: str, live: Live, wanted: Policy) -> None:
        assert live.stats is not None
        now_s = self._clock()
        case = self._cases.get(id)
        if case is None:  # after a start of the control plane: what it held, it holds
            case = self._cases[id] = Case(Watch("slate" if live.is_slate_ours else "fine"))
        # Before the first media nothing is too little yet.
        kbps = live.stats.bitrate_in_kbps if live.input.state != "waiting" else None
        if now_s - case.heard_s > GAP_S:
            case.watch = policy.step(wanted, case.watch, None, now_s)
        case.heard_s = now_s
        before, case.watch = case.watch.level, policy.step(wanted, case.watch, kbps, now_s)
        if case.watch.level == "fine":
            case.is_overruled = False
        if case.watch.level != before:
            log.info("%s: %s -> %s at %s kb/s", id, before, case.watch.level, kbps)
        await self._settle(id, live, case, kbps)

    async def _settle(self, id: str, live: Live, case: Case, kbps: float | None) -> None:
        """Makes it so: the alarm, and the slate."""
        level = case.watch.level
        words = _words(live.policy, level)
        is_news, live.low = words != live.low, words
        wants = level == "slate" and not case.is_overruled
        if wants and not live.is_slate_ours and not live.is_slate_held:
            await self._hold(id, live, True, kbps)
        elif live.is_slate_ours and not wants:
            await self._hold(id, live, False, kbps)
        if is_news:
            try:
                await self._streams.observer.observe(id)
            except StoreUnavailable:
                self._streams.observer.catch_up_soon()

    async def _hold(self, id: str, live: Live, now: bool, kbps: float | None) -> None:
        if now:  # before it is done: a slate of ours must not be taken for a person's
            await self._note(id, "policy_slate", True, now=True, kbps=kbps)
        try:
            await self._host.request(wire.Configure(id, slate_now=now))
        except StrataError as error:
            log.warning("%s: the slate could not be switched: %s", id, error.message)
            return  # the next number tries again
        live.is_slate_held = live.is_slate_ours = now
        if not now:
            await self._note(id, "policy_slate", False, now=False, kbps=kbps)

    async def _overrule(self, id: str) -> None:
        case = self._cases.setdefault(id, Case())
        case.is_overruled = case.watch.level == "slate"
        live = self._streams.observer.live.get(id)
        if live is not None and live.is_slate_ours:
            live.is_slate_ours = False
            await self._note(id, "policy_overruled", False)

    async def _note(self, id: str, type: str, holds: bool, **data: Any) -> None:
        """Writes down whose slate it is. Without a database it is done all the same."""
        try:
            async with self._journal.begin() as change:
                row = await change.session.get(tables.Stream, id, with_for_update=True)
                if row is not None:
                    row.policy = policy.to_row(policy.of_row(row.policy), holds=holds)
                    change.note(type, id, row.owner_id, **data)
        except StoreUnavailable:
            log.warning("%s: %s could not be written down", id, type)


def _is_wanted(news: News) -> bool:
    return news.topic == "streams" or (news.topic == "events" and news.type == REQUESTED)


def _words(wanted: Policy | None, level: policy.Level) -> str:
    if wanted is None or level == "fine":
        return ""
    below = wanted.slate_below_kbps if level == "slate" else wanted.alarm_below_kbps
    shown = "; viewers see the slate" if level == "slate" else ""
    return f"less than {below} kb/s arrive{shown}; it ends above {wanted.back_above_kbps} kb/s"
