"""The two ends of the way between control and a host, whatever lies between them.

A transport moves the messages of :mod:`strata.wire.host`; :mod:`strata.cluster.unix` is one
for one machine, :mod:`strata.cluster.direct` one within a process. One suite of tests holds
them all to this:

- a request has one reply, or an error of :mod:`strata.errors`, the host's own or
  ``HostUnreachable`` after a deadline; a host that is gone is told at once;
- notices arrive in the order in which they were given, once, and are lost while nobody is
  connected: whoever connects asks for the list;
- a connection that broke is made anew for ever, and each is greeted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

from strata.wire import host as wire

Handler: TypeAlias = Callable[[wire.Request], Awaitable[wire.Reply]]


class HostEnd(Protocol):
    """The host's side: answers requests and sends notices to whoever is connected."""

    async def start(self, handler: Handler) -> None:
        """Begins to serve.

        Args:
            handler: answers each request; the StrataErrors that it raises become ``failed``.
        """

    def notify(self, notice: wire.Notice) -> None:
        """Tells every control plane that is connected."""

    async def close(self) -> None:
        """Ends all connections."""


class ControlEnd(Protocol):
    """Control's side."""

    @property
    def connected(self) -> bool: ...

    def start(self) -> None:
        """Begins to connect, and to stay connected."""

    async def request(self, request: wire.Request) -> wire.Reply:
        """The host's answer.

        Raises:
            HostUnreachable: no connection, or no answer in time.
            StrataError: whatever the host raised.
        """

    async def close(self) -> None:
        """Ends the connection for good."""
