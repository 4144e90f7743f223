"""News within the control plane: who changes something tells, who shows it listens.

Nothing is kept: whoever comes later looks at the state of things first. A listener that does
not keep up loses all of it at once and is told so, instead of slowing down who tells.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

UNREAD_MAX: Final = 4096


class FellBehind(Exception):
    """News were lost; look at the state of things again."""


@dataclass(frozen=True, slots=True)
class News:
    """Something changed.

    Attributes:
        topic: ``events``, ``streams``, ``stream:str_...``, ``sender:snd_...``, ``hosts`` or
            ``alerts``.
        type: what happened, as the log of events names it.
        data: the thing as it is now, or what there is to say.
        owner_id: whose it is; None for what concerns administrators alone.
    """

    topic: str
    type: str
    data: Any
    owner_id: str | None = None


class Listener:
    """News that somebody has not read yet.

    Args:
        wants: which of them.
    """

    def __init__(self, wants: Callable[[News], bool]) -> None:
        self._wants = wants
        self._unread: deque[News] = deque()
        self._some = asyncio.Event()
        self._fell_behind = False

    @property
    def has_more(self) -> bool:
        """Whether there is one that is not read."""
        return bool(self._unread)

    async def next(self) -> News:
        """The oldest that is not read; waits for one.

        Raises:
            FellBehind: too many came; those that were not read are lost.
        """
        while not self._unread and not self._fell_behind:
            self._some.clear()
            await self._some.wait()
        if self._fell_behind:
            self._fell_behind = False
            raise FellBehind
        return self._unread.popleft()

    def _hear(self, news: News) -> None:
        if not self._wants(news):
            return
        if len(self._unread) >= UNREAD_MAX:
            self._unread.clear()
            self._fell_behind = True
        self._unread.append(news)
        self._some.set()


class Bus:
    def __init__(self) -> None:
        self._listeners: set[Listener] = set()

    def publish(self, news: News) -> None:
        """Tells all who listen; never waits."""
        for listener in self._listeners:
            listener._hear(news)

    @contextmanager
    def listen(self, wants: Callable[[News], bool] = lambda news: True) -> Iterator[Listener]:
        """News from now on."""
        listener = Listener(wants)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
