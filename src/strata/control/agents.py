"""The agents that are connected: which connection is which sender's, and what they report."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Protocol

import msgspec

from strata.control.agent_link import Closing, Link, Socket
from strata.control.bus import Bus, News
from strata.control.senders import Came, Senders
from strata.control.throttle import Throttle
from strata.errors import NotAllowed, SenderOffline, StoreUnavailable, StrataError
from strata.settings import Agents as AgentsSettings
from strata.tasks import TaskGroup
from strata.wire import agent as wire

log = logging.getLogger(__name__)

WRITE_DOWN_EACH_S: Final = 1.0
SEEN_EACH_S: Final = 60.0
"""How exactly it is written down when a sender that stays was there last."""

CAME_MAX: Final = 10_000
"""Kept while the database is away; of more, the oldest are forgotten."""

WRONG_WAIT_MAX_S: Final = 5.0
LAST_WORDS_DEADLINE_S: Final = 5.0


class Foreman(Protocol):
    """Who gives the orders. Each of these returns at once."""

    def on_here(self, sender_id: str) -> None:
        """It is connected."""

    def on_status(self, link: Link) -> None:
        """It has said what it runs."""

    def on_ended(self, link: Link, frame: wire.Frame, ended: wire.StreamEnded) -> None:
        """It sends no more, by itself; to be answered once that is written down."""

    def on_gone(self, sender_id: str) -> None:
        """No connection of it is left."""


class Agents:
    """
    Args:
        clock: seconds that never go back.
    """

    def __init__(
        self,
        settings: AgentsSettings,
        senders: Senders,
        bus: Bus,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._senders = senders
        self._bus = bus
        self._clock = clock
        self._links: dict[str, Link] = {}
        self._throttle = Throttle()
        self._seen: dict[str, datetime] = {}
        self._came: list[Came] = []
        self._is_closing = asyncio.Event()
        self._tasks = TaskGroup()
        self._writing: asyncio.Task[None]
        self._foreman: Foreman

    def start(self, foreman: Foreman) -> None:
        self._foreman = foreman
        self._writing = self._tasks.spawn("senders-seen", self._write_down())

    async def close(self) -> None:
        """Ends all connections, and writes down who came and went."""
        for link in tuple(self._links.values()):
            link.close(wire.CLOSE_FAILED, "ending")
        self._is_closing.set()
        await asyncio.wait({self._writing}, timeout=LAST_WORDS_DEADLINE_S)
        await self._tasks.close()

    def link_of(self, sender_id: str) -> Link | None:
        """The connection of a sender; None where it is not connected."""
        return self._links.get(sender_id)

    def require(self, sender_id: str) -> Link:
        """The connection of a sender.

        Raises:
            SenderOffline: there is none.
        """
        link = self._links.get(sender_id)
        if link is None:
            raise SenderOffline(
                "the sender is not connected, so it cannot be told to send; switch it on, see "
                "that it has a way to this server, and try again"
            )
        return link

    def cut(self, sender_id: str) -> None:
        """Ends the connection of a sender that is known no more."""
        link = self._links.get(sender_id)
        if link is not None:
            link.close(wire.CLOSE_REMOVED, "removed")

    async def serve(self, socket: Socket, address: str) -> Closing:
        """Everything between a connection and its end; returns why it ended."""
        link = Link(socket, address, self._settings.messages_per_s, self._clock)
        try:
            return await link.run(self._converse)
        finally:
            self._leave(link)

    async def _converse(self, link: Link) -> None:
        if await self._greet(link):
            while True:
                self._take(link, await link.next())

    # Logging in.

    async def _greet(self, link: Link) -> bool:
        """Takes in the first message, which has to be a right login; else the end is near."""
        try:
            async with asyncio.timeout(self._settings.login_timeout_s):
                frame = await link.next()
        except TimeoutError:
            link.close(wire.CLOSE_LATE, "login_timeout")
            return False
        if not isinstance(frame.message, wire.Login):
            link.say(
                wire.Frame(frame.id, "error", wire.Error("not_allowed", "log in first: auth.login"))
            )
            link.close(wire.CLOSE_NOT_ALLOWED, "not_allowed")
            return False
        try:
            row, device_token = await self._senders.let_in(frame.message, link.address)
        except StoreUnavailable as error:  # not its fault: it comes again after a while
            self._turn_away(link, frame, error, wire.CLOSE_FAILED)
            return False
        except StrataError as error:
            await self._hold(link.address, frame.message)
            self._turn_away(link, frame, error, wire.CLOSE_NOT_ALLOWED)
            return False
        link.sender_id, link.owner_id = row.id, row.owner_id
        link.advance("present", f"logged in from {link.address}")
        config = wire.Config(name=row.name)
        token = device_token.reveal() if device_token is not None else None
        link.say(frame.answered(wire.LoggedIn(True, row.id, token, config)))
        self._enter(link)
        return True

    def _turn_away(self, link: Link, frame: wire.Frame, error: StrataError, code: int) -> None:
        log.info("an agent from %s is not let in: %s", link.address, error.message)
        said = NotAllowed.code if code == wire.CLOSE_NOT_ALLOWED else error.code
        link.say(frame.answered(wire.LoggedIn(False, code=said, message=error.message)))
        link.close(code, said)

    async def _hold(self, address: str, login: wire.Login) -> None:
        """Lets a wrong token wait for its answer. A right one never waits: nobody guesses one,
        and many boxes may share an address with one that has been removed."""
        token = login.enrollment_token or login.device_token or ""
        account = token.partition(".")[0][:64]
        wait_s = self._throttle.wait_s(address, account, self._clock())
        self._throttle.failed(address, account, self._clock())
        await asyncio.sleep(min(wait_s, WRONG_WAIT_MAX_S))

    def _enter(self, link: Link) -> None:
        older = self._links.get(link.sender_id)
        self._links[link.sender_id] = link
        if older is not None:
            older.close(wire.CLOSE_REPLACED, "replaced")
        self._note(link, "sender_online", f"connected from {link.address}")
        self._foreman.on_here(link.sender_id)

    def _leave(self, link: Link) -> None:
        if self._links.get(link.sender_id) is link:  # else a newer one has taken its place
            del self._links[link.sender_id]
            self._note(link, "sender_offline", link.why_closed)
            self._foreman.on_gone(link.sender_id)

    def _note(self, link: Link, type: str, detail: str) -> None:
        now = datetime.now(UTC)
        self._seen[link.sender_id] = now
        self._came.append(Came(type, link.sender_id, link.owner_id, now, detail))
        del self._came[:-CAME_MAX]
        self._publish(link, type, {"detail": detail})

    # Reports.

    def _take(self, link: Link, frame: wire.Frame) -> None:
        match frame.message:
            case wire.Status() as status:
                self._take_status(link, status)
            case wire.StreamStats() as stats:
                link.stats = stats
                self._publish(link, frame.type, msgspec.to_builtins(stats))
            case wire.StreamEnded() as ended:
                self._foreman.on_ended(link, frame, ended)
            case wire.Login():
                text = "this connection has logged in already"
                link.say(wire.Frame(frame.id, "error", wire.Error("conflict", text)))

    def _take_status(self, link: Link, status: wire.Status) -> None:
        link.status = status
        self._publish(link, "device.status", msgspec.to_builtins(status))
        if isinstance(status.stream_state, msgspec.UnsetType):
            return
        link.doing = status.stream_state
        if status.stream_state is None:
            link.stats = None
        if link.state == "present":
            link.advance("known", "said what it runs")
        self._foreman.on_status(link)

    def _publish(self, link: Link, type: str, data: object) -> None:
        self._bus.publish(News(f"sender:{link.sender_id}", type, data, link.owner_id))

    # Writing down, all at once: after a restart everybody comes in the same second.

    async def _write_down(self) -> None:
        seen_at = self._clock()
        is_last = False
        while not is_last:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._is_closing.wait(), WRITE_DOWN_EACH_S)
            is_last = self._is_closing.is_set()
            if self._clock() - seen_at >= SEEN_EACH_S:
                seen_at = self._clock()
                self._seen |= dict.fromkeys(self._links, datetime.now(UTC))
            await self._write_once()

    async def _write_once(self) -> None:
        seen, came = self._seen, self._came
        if not seen and not came:
            return
        self._seen, self._came = {}, []
        try:
            await self._senders.write_down(seen, came)
        except StoreUnavailable:
            self._seen, self._came = seen | self._seen, (came + self._came)[-CAME_MAX:]
