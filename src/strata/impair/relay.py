"""One link: a UDP relay with a path in each direction.

What the target answers goes back to the sender whose source port it answers to. All packets
that are on their way lie in one heap with one timer: a task for each would cost more than
carrying them.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import socket
from collections.abc import Iterable
from typing import Final, Self

from strata.impair import sockets
from strata.impair.address import Address
from strata.impair.nat import Nat, Sender
from strata.impair.path import PERFECT, Direction, Impairment, Outage, Path

IDLE_S: Final = 60.0
"""A sender that is quiet for so long loses its source port, as behind a usual NAT."""

_BATCH: Final = 64
"""Packets read at once before the loop may do something else."""
_IN_FLIGHT: Final = 100_000
"""A minute of 15 Mbps; what comes on top is not sent on."""


class Relay:
    """Listens on one address and carries what comes there to another, impaired.

    Args:
        listen: port 0 lets the kernel choose; :attr:`address` tells.
        to: the receiver.
        impairment: of both directions, unless ``back`` gives the way back one of its own.
        outages: counted from :meth:`start`, or from :meth:`begin`.
        seed: each direction makes one of its own from it.
        idle_s: after so long without a packet a sender is forgotten.

    Attributes:
        forward: the path towards the receiver.
        back: the path of its answers.
        unsent: packets that the kernel did not take, or that were too many in flight.
        refused: how often the kernel told that nobody listens at the target.
    """

    def __init__(
        self,
        listen: tuple[str, int],
        to: tuple[str, int],
        impairment: Impairment = PERFECT,
        *,
        back: Impairment | None = None,
        outages: Iterable[Outage] = (),
        seed: int | str = 0,
        idle_s: float = IDLE_S,
    ) -> None:
        self.listen = Address(*listen)
        self.to = Address(*to)
        outages = tuple(outages)
        there = (one for one in outages if one.direction != "return")
        answers = (one for one in outages if one.direction != "forward")
        self.forward = Path(impairment, there, f"{seed} forward")
        self.back = Path(impairment if back is None else back, answers, f"{seed} return")
        self.unsent = 0
        self.refused = 0
        self._idle_s = idle_s
        self._socket: socket.socket | None = None
        self._heap: list[tuple[float, int, Sender, bytes, bool]] = []
        self._serial = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def address(self) -> Address:
        """Where it listens; what was asked for while it does not."""
        if self._socket is None:
            return self.listen
        return Address(*self._socket.getsockname()[:2])

    @property
    def in_flight(self) -> int:
        """Packets on their way, in both directions."""
        return len(self._heap)

    @property
    def source_ports(self) -> tuple[int, ...]:
        """What the receiver sees, one for each sender, the oldest first."""
        return self._nat.source_ports() if self._socket is not None else ()

    async def start(self) -> None:
        """Listens.

        Raises:
            PortTaken: another program does.
            BadArguments: an address that cannot be found, or not be listened on.
        """
        self._loop = asyncio.get_running_loop()
        here = await sockets.find(self.listen)
        target = await sockets.find(self.to, here.family)
        self._socket = sockets.listening(here, self.listen)
        self._nat = Nat(target, self._take_from_target)
        self._loop.add_reader(self._socket, self._take_from_senders, self._socket)
        self._sweep()
        self.begin(self._loop.time())

    async def close(self) -> None:
        """Lets go of all ports; what is in flight is lost."""
        if self._socket is None:
            return
        self._sweeper.cancel()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._heap.clear()
        self._nat.close()
        self._loop.remove_reader(self._socket)
        self._socket.close()
        self._socket = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def begin(self, now_s: float) -> None:
        """Outages count from here, on the loop's clock; several links may begin as one."""
        self.forward.begin(now_s)
        self.back.begin(now_s)

    def set(self, impairment: Impairment, direction: Direction = "both") -> None:
        """From the next packet on."""
        for path in self._paths(direction):
            path.set(impairment)

    def cut(self, direction: Direction = "both") -> None:
        """Nothing enters until :meth:`restore`."""
        for path in self._paths(direction):
            path.cut()

    def restore(self, direction: Direction = "both") -> None:
        """Ends a :meth:`cut`."""
        for path in self._paths(direction):
            path.restore()

    def rebind(self) -> None:
        """Each sender gets another source port, as when a NAT forgot it.

        What is answered to the old port does not come back.
        """
        if self._socket is not None:
            self._nat.rebind()

    def _paths(self, direction: Direction) -> tuple[Path, ...]:
        if direction == "both":
            return (self.forward, self.back)
        return (self.forward if direction == "forward" else self.back,)

    def _sweep(self) -> None:
        now_s = self._loop.time()
        self._nat.forget_quiet(now_s - self._idle_s)
        self._sweeper = self._loop.call_at(now_s + self._idle_s / 4, self._sweep)

    def _take_from_senders(self, sock: socket.socket) -> None:
        for _ in range(_BATCH):
            try:
                data, address = sock.recvfrom(sockets.LARGEST)
            except OSError:
                break
            now_s = self._loop.time()
            sender = self._nat.sender(address, now_s)
            if sender is None:
                self.unsent += 1
            else:
                self._plan(sender, data, self.forward.send(now_s, len(data)), True)
        self._release()

    def _take_from_target(self, sender: Sender) -> None:
        for _ in range(_BATCH):
            try:
                data = sender.upstream.recv(sockets.LARGEST)
            except OSError as error:
                self.refused += isinstance(error, ConnectionRefusedError)
                break
            now_s = sender.used_s = self._loop.time()
            self._plan(sender, data, self.back.send(now_s, len(data)), False)
        self._release()

    def _plan(self, sender: Sender, data: bytes, times: list[float], is_forward: bool) -> None:
        for at_s in times:
            if len(self._heap) >= _IN_FLIGHT:
                self.unsent += 1
                continue
            heapq.heappush(self._heap, (at_s, next(self._serial), sender, data, is_forward))

    def _release(self) -> None:
        """Sends on what is due, and sets the timer to what is next."""
        now_s = self._loop.time()
        while self._heap and self._heap[0][0] <= now_s:
            _, _, sender, data, is_forward = heapq.heappop(self._heap)
            self._send(sender, data, is_forward)
        if not self._heap:
            return
        due_s = self._heap[0][0]
        if self._timer is not None:
            if self._timer.when() <= due_s:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(due_s, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self._release()

    def _send(self, sender: Sender, data: bytes, is_forward: bool) -> None:
        assert self._socket is not None
        if is_forward:
            was_taken = sockets.send(sender.upstream, data)
        else:
            was_taken = sockets.send(self._socket, data, sender.address)
        self.unsent += not was_taken
