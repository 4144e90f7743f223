"""A part of a page that lives in the browser, and its other half here.

The browser asks (``ask`` in ``look/panel.js``), an action here answers. Each action asks anew who
that is and what the user may do: what a page shows is no protection. Numbers are sent beside
that, each second, and are not kept for a browser that was away: the next second has newer ones.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Final, TypeAlias

from nicegui import core
from nicegui.element import Element
from nicegui.events import GenericEventArguments
from pydantic import ValidationError

from strata.control.bus import News
from strata.control.roles import User
from strata.dashboard.seat import Seat
from strata.errors import NotAllowed, StrataError

log = logging.getLogger(__name__)

Arguments: TypeAlias = dict[str, Any]
Action: TypeAlias = Callable[[Any, User, Arguments], Awaitable[Any]]

ASKED_MAX: Final = 8
"""Questions of one panel that are being answered; a person asks one at a time."""

DEEP_MAX: Final = 20
"""Levels of what is asked, one within the other: far more than any page has."""

TOO_DEEP: Final = f"What was asked is nested more than {DEEP_MAX} levels deep; nothing was done."
ENDED: Final = "Your login has ended. Log in again: what is on the air is not touched by that."
OURS: Final = "An internal failure; the control plane's log has the details. Nothing more is known."


class Panel(Element):
    """
    Attributes:
        actions: by the names that the browser asks with.
    """

    actions: ClassVar[dict[str, Action]] = {}

    def __init__(self, seat: Seat) -> None:
        super().__init__()
        self.seat = seat
        self._asked = 0
        self._is_sending = False
        self.on("ask", self._on_ask)
        seat.overview.add_page(self)
        self.client.on_delete(self._leave)

    def listens(self, listener_id: str) -> bool:
        """Whether that is a listener of this panel."""
        return listener_id in self._event_listeners

    def _leave(self) -> None:
        self.seat.overview.drop_page(self)

    # What is told by ourselves.

    def tick(self) -> Any:
        """What to send this second; None: nothing."""
        return None

    def hear(self, news: News) -> None:
        """Something was told."""

    def hear_news(self, news: News) -> None:
        if self.client.has_socket_connection and not self.seat.has_ended:
            self.hear(news)

    def take_second(self) -> None:
        if not self.client.has_socket_connection or self._is_sending or self.seat.has_ended:
            return
        told = self.tick()
        if told is not None:
            self.send("tick", told)

    def anew(self) -> None:
        """The browser asks again for all of it: something may have been missed."""
        if self.client.has_socket_connection and not self.seat.has_ended:
            self.send("anew", None)

    def send(self, what: str, data: Any) -> None:
        """To the browser, if it is there; ``on_<what>`` takes it."""
        self._is_sending = True
        self.seat.overview.tasks.spawn(f"send-{what}", self._emit(what, data))

    async def _emit(self, what: str, data: Any) -> None:
        try:
            told = {"panel": self.id, "what": what, "data": data}
            await core.sio.emit("strata", told, room=self.client.id)
        finally:
            self._is_sending = False

    # What is asked.

    async def _on_ask(self, event: GenericEventArguments) -> None:
        match event.args:
            case {"id": int(id), "what": str(what), "args": dict(args)}:
                pass
            case _:
                return
        result, problem = await self._answer(what, args)
        self.run_method("answer", id, result, problem)

    async def _answer(self, what: str, args: Arguments) -> tuple[Any, str | None]:
        action = self.actions.get(what)
        if action is None:
            return None, f"There is nothing called {what[:40]!r}."
        if is_deeper(args, DEEP_MAX):
            return None, TOO_DEEP
        if self._asked >= ASKED_MAX:
            return None, "Too much was asked for at once; wait until that is answered."
        self._asked += 1
        try:
            try:
                user = await self.seat.ask()
            except NotAllowed:
                return None, ENDED
            return await action(self, user, args), None
        except StrataError as error:
            return None, sentence(error.message)
        except ValidationError as error:
            return None, sentence(faults(error))
        except asyncio.CancelledError:
            raise
        except Exception:  # a border: the page says so, the log has it
            log.exception("%s of %s failed", what, type(self).__name__)
            return None, OURS
        finally:
            self._asked -= 1


def is_deeper(value: Any, levels: int) -> bool:
    """Whether lists and mappings are nested deeper than that. Goes no deeper itself."""
    if not isinstance(value, (dict, list)):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(is_deeper(each, levels - 1) for each in inner)


def faults(error: ValidationError) -> str:
    """What cannot be taken of what was filled in; without the input, which may be a secret."""
    found = error.errors(include_input=False, include_url=False, include_context=False)
    told = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in found]
    return "this cannot be taken: " + "; ".join(told)


def sentence(text: str) -> str:
    """As a sentence: with a capital, and with a full stop."""
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."
