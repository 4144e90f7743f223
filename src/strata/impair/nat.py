"""Who sends through a relay, each with a socket, and so a source port, of its own."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any, Final

from strata.impair import sockets
from strata.impair.sockets import Place

log = logging.getLogger(__name__)

SENDERS: Final = 256
"""Above this, the one that has been quiet for longest makes room."""


class Sender:
    """One remote address.

    Attributes:
        upstream: stands for it towards the target; another one after a rebinding.
        used_s: when it was last heard, or answered.
    """

    __slots__ = ("address", "upstream", "used_s")

    def __init__(self, address: Any, upstream: socket.socket, now_s: float) -> None:
        self.address = address
        self.upstream = upstream
        self.used_s = now_s


class Nat:
    """The senders of one relay.

    Args:
        target: where all of them send.
        on_answer: called when the socket of a sender can be read.
    """

    def __init__(self, target: Place, on_answer: Callable[[Sender], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._target = target
        self._on_answer = on_answer
        self._senders: dict[Any, Sender] = {}

    def source_ports(self) -> tuple[int, ...]:
        return tuple(one.upstream.getsockname()[1] for one in self._senders.values())

    def sender(self, address: Any, now_s: float) -> Sender | None:
        """The one with that address, new or known; None where the kernel has no socket."""
        one = self._senders.get(address)
        if one is not None:
            one.used_s = now_s
            return one
        if len(self._senders) >= SENDERS:
            self._forget(min(self._senders.values(), key=lambda each: each.used_s))
        upstream = self._open()
        if upstream is None:
            return None
        one = self._senders[address] = Sender(address, upstream, now_s)
        self._loop.add_reader(upstream, self._on_answer, one)
        return one

    def rebind(self) -> None:
        """A new source port for each; where the kernel has no socket, the old one stays."""
        for one in self._senders.values():
            upstream = self._open()
            if upstream is None:
                continue
            self._drop(one.upstream)  # after the new one has its port: they differ
            one.upstream = upstream
            self._loop.add_reader(upstream, self._on_answer, one)

    def forget_quiet(self, since_s: float) -> None:
        """Those that were not used since then."""
        for one in tuple(self._senders.values()):
            if one.used_s <= since_s:
                self._forget(one)

    def close(self) -> None:
        for one in tuple(self._senders.values()):
            self._forget(one)

    def _open(self) -> socket.socket | None:
        try:
            return sockets.connected(self._target)
        except OSError as error:
            log.warning("no socket towards %s: %s", self._target.address[:2], error.strerror)
            return None

    def _forget(self, one: Sender) -> None:
        del self._senders[one.address]
        self._drop(one.upstream)

    def _drop(self, upstream: socket.socket) -> None:
        self._loop.remove_reader(upstream)
        upstream.close()
