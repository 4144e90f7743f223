"""The field agent: keeps a connection to control, does what control tells it to, and reports.

What it sends (:mod:`strata.sender.post`) does not depend on the connection. When that is back,
control hears first of all what this machine sends, and then whatever it missed.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec

from strata.backoff import Backoff
from strata.errors import NotAllowed, StrataError
from strata.secrets import Secret
from strata.sender import again, device, inputs, orders
from strata.sender.connection import Connection, Parting, Socket, Unanswered
from strata.sender.dial import Unreachable, dial
from strata.sender.identity import Identity
from strata.sender.inputs import Inputs
from strata.sender.interfaces import Watch
from strata.sender.post import Begin, Post, Refused
from strata.sender.settings import SenderSettings, is_loopback
from strata.sender.signals import Signals
from strata.wire import agent as wire

log = logging.getLogger(__name__)

State: TypeAlias = Literal["away", "dialling", "greeting", "present"]

TRANSITIONS: Final[dict[State, frozenset[State]]] = {
    # Waits before it tries (again).
    "away": frozenset(("dialling",)),
    # Waits for control to answer at all.
    "dialling": frozenset(("greeting", "away")),
    # Has shown its token.
    "greeting": frozenset(("present", "away")),
    # Logged in: reports, and is told what to do.
    "present": frozenset(("away",)),
}

LOGIN_DEADLINE_S: Final = 20.0
"""Control lets a wrong token wait, and its database may be slow."""
ANSWER_DEADLINE_S: Final = 10.0
REPORT_AGAIN_S: Final = 5.0
LAST_WORDS_S: Final = 2.0

NOT_LET_IN: Final = 1011
"""Not let in for a reason that passes."""

Dial: TypeAlias = Callable[[SenderSettings, str | None], Awaitable[Socket]]


class Agent:
    """
    Args:
        begin: makes a broadcast of an order.
        dial: opens a connection.
        clock: seconds that never go back.
        chance: a random number from 0 to 1.
    """

    def __init__(
        self,
        settings: SenderSettings,
        identity: Identity,
        watch: Watch,
        begin: Begin,
        dial: Dial = dial,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.state: State = "away"
        self._is_different = asyncio.Event()
        self._has_news = asyncio.Event()
        self._all_is_known = asyncio.Event()
        self.post = Post(settings, begin, self._on_change)
        self._settings = settings
        self._is_near = is_loopback(urlsplit(settings.url).hostname or "")
        self._identity = identity
        self._watch = watch
        self._inputs = Inputs(settings.media_folders, settings.sources)
        self._signals = Signals()
        self._processor = device.Processor()
        self._dial = dial
        self._clock = clock
        self._chance = chance
        self._config = wire.Config()
        self._media: list[wire.MediaInput] = []
        self._strength: dict[str, float] = {}
        self._present_at = 0.0
        self._in_vain = 0
        self._connection: Connection | None = None

    async def run(self) -> None:
        """Dials, again and again, until it is cancelled.

        Raises:
            StrataError: no try will ever help; the message says what to do.
        """
        unlisten = self._watch.listen(self._on_change)
        backoff = Backoff()
        try:
            while True:
                self._advance("dialling", self._settings.url)
                parting = await self._connect()
                present_s = self._clock() - self._present_at if self.state == "present" else 0.0
                self._advance("away", parting.word)
                follows = again.after(backoff, parting, present_s, self._chance())
                backoff = follows.backoff
                self._tell(parting, follows)
                await asyncio.sleep(follows.wait_s)
        finally:
            unlisten()

    async def close(self, why: str) -> None:
        """Ends what is sent, and tells control where there is a connection."""
        await self.post.close(why)
        connection = self._connection
        if connection is not None and self.state == "present" and self.post.unreported:
            self._all_is_known.clear()
            try:
                async with asyncio.timeout(LAST_WORDS_S):
                    await self._all_is_known.wait()
            except TimeoutError:
                log.warning("control did not say that it knows of the end")

    def _advance(self, state: State, reason: str) -> None:
        if state not in TRANSITIONS[self.state]:
            raise AssertionError(f"control: {self.state} -> {state}")
        log.debug("control: %s -> %s: %s", self.state, state, reason)
        self.state = state

    def _tell(self, parting: Parting, follows: again.Next) -> None:
        if follows.advice:
            log.error("%s (%s)", follows.advice, parting.word)
        goes_on = "; what is sent goes on" if self.post.state == "sending" else ""
        log.warning(
            "no connection to control: %s; trying again in %.0f s%s",
            parting.word,
            follows.wait_s,
            goes_on,
        )

    # One connection.

    async def _connect(self) -> Parting:
        way = None if self._is_near else again.way(self._watch.now, self._in_vain)
        over = f" (over {way})" if way is not None else ""
        try:
            socket = await self._dial(self._settings, way)
        except Unreachable as error:
            self._in_vain += 1
            return Parting(1006, f"{error}{over}")
        self._advance("greeting", "it is open")
        self._connection = Connection(socket, self._obey)
        refused: list[StrataError] = []

        async def duty(connection: Connection) -> None:
            try:
                if await self._greet(connection):
                    await self._report_status(connection)
            except StrataError as error:
                refused.append(error)

        try:
            parting = await self._connection.run(duty)
        finally:
            self._connection = None
        if refused:
            raise refused[0]
        return parting

    async def _greet(self, connection: Connection) -> bool:
        """Logs in.

        Raises:
            NotAllowed: the enrollment token is not valid, and there is nothing else to show.
        """
        self._identity.keep()
        is_new = self._identity.enrollment_token is not None
        shown = device.login(self._identity.enrollment_token, self._identity.device_token)
        try:
            answer = await connection.ask(shown, LOGIN_DEADLINE_S)
        except Unanswered:
            connection.part(1006, f"the login is not answered within {LOGIN_DEADLINE_S:g} s")
            return False
        if not isinstance(answer, wire.LoggedIn) or not answer.success:
            self._on_refusal(connection, answer, is_new)
            return False
        self._on_welcome(answer, is_new)
        return True

    def _on_refusal(self, connection: Connection, answer: wire.Message, is_new: bool) -> None:
        code, words = "", "the login is answered with something else"
        if isinstance(answer, wire.LoggedIn | wire.Done | wire.Error):
            code, words = answer.code or "", wire.plain(answer.message or "it does not say why")
        if code != NotAllowed.code:
            connection.part(NOT_LET_IN, f"not let in: {words}")
            return
        if not is_new:
            connection.part(wire.CLOSE_NOT_ALLOWED, f"not let in: {words}")
            return
        self._identity.refuse_enrollment()
        if self._identity.device_token is None:
            raise NotAllowed(
                f"this machine is not let in: {words}; put the new one into the settings as "
                "enrollment_token, and start strata-sender again"
            )
        log.error("%s; going on with what this machine was enrolled with before", words)
        connection.part(NOT_LET_IN, "the enrollment token is not valid")

    def _on_welcome(self, answer: wire.LoggedIn, is_new: bool) -> None:
        if is_new and answer.device_token is not None and answer.sender_id is not None:
            self._identity.enroll(answer.sender_id, Secret(answer.device_token))
        if answer.config is not None:
            try:
                self._apply(answer.config)
            except StrataError as error:
                log.warning("what control wishes is not applied: %s", error.message)
        self._present_at = self._clock()
        self._advance("present", "logged in")
        log.info("logged in at control as %s", self._config.name or self._identity.sender_id)

    def _apply(self, config: wire.Config) -> None:
        orders.check_config(config)
        self._config = msgspec.structs.replace(config, name=wire.plain(config.name))
        self._on_change()

    # What control tells.

    async def _obey(self, order: wire.Order) -> wire.Done:
        try:
            await self._carry_out(order)
        except Refused as error:
            return self._no(order, error.code, str(error))
        except StrataError as error:
            return self._no(order, error.code, error.message)
        except Exception:  # a border: what is on the air does not depend on it
            log.exception("an order could not be carried out: %r", order)
            return wire.Done(False, "internal", "an internal failure of the sender; see its log")
        return wire.Done(True)

    def _no(self, order: wire.Order, code: str, words: str) -> wire.Done:
        log.warning("%r is refused: %s", order, words)
        return wire.Done(False, code, wire.plain(words))

    async def _carry_out(self, order: wire.Order) -> None:
        match order:
            case wire.StreamStart():
                await self._start(order)
            case wire.StreamStop():
                await self.post.stop(order.stream_id, wire.plain(order.reason))
            case wire.StreamMove():
                orders.check_move(order)
                await self.post.move(order)
            case wire.ConfigUpdate():
                self._apply(order.config)

    async def _start(self, order: wire.StreamStart) -> None:
        if not self.post.is_at(order.stream_id):  # else it has been looked at
            orders.check_start(order)
            source = await inputs.resolve(
                order.source, self._settings.media_folders, self._settings.sources
            )
            order = msgspec.structs.replace(order, source=source)
        await self.post.start(order)

    # What control is told.

    def _on_change(self) -> None:
        self._is_different.set()
        if self.post.unreported:
            self._has_news.set()

    async def _report_status(self, connection: Connection) -> None:
        # Disks and modems may be slow, and on this word control begins.
        await connection.say(wire.Status(stream_state=self.post.doing))
        connection.spawn("report-stats", self._report_stats)
        connection.spawn("report-ends", self._report_ends)
        look_at = self._clock()
        while True:
            if self._clock() >= look_at:
                self._strength, self._media = await self._signals.look(), await self._inputs.look()
                look_at = self._clock() + self._config.status_interval_s
            self._is_different.clear()
            await connection.say(self._status())
            try:
                async with asyncio.timeout(look_at - self._clock()):
                    await self._is_different.wait()
            except TimeoutError:
                continue

    def _status(self) -> wire.Status:
        named = (link.interface for link in self._settings.links)
        percent = self._processor.percent()
        return wire.Status(
            network_interfaces=device.told(self._watch.now, named, self._strength),
            media_inputs=self._media,
            stream_state=self.post.doing,
            cpu_percent=percent if percent is not None else msgspec.UNSET,
            uptime_s=device.uptime_s(),
        )

    async def _report_stats(self, connection: Connection) -> None:
        while True:
            stats = self.post.stats()
            if stats is not None:
                await connection.say(stats)
            await asyncio.sleep(self._config.stats_interval_s)

    async def _report_ends(self, connection: Connection) -> None:
        while True:
            for ended in tuple(self.post.unreported.values()):
                try:
                    await connection.ask(ended, ANSWER_DEADLINE_S)
                except Unanswered:
                    continue
                self.post.forget(ended.stream_id)
            if not self.post.unreported:
                self._all_is_known.set()
            try:
                async with asyncio.timeout(REPORT_AGAIN_S if self.post.unreported else None):
                    await self._has_news.wait()
            except TimeoutError:
                continue
            self._has_news.clear()
