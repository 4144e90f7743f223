"""A UDP relay that loses what a test tells it to lose."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Self, TypeAlias, cast

from support.ports import free_udp_port

MEDIA_SIZE: Final = 200
"""Datagrams of at least so many bytes carry media: control packets of librist are smaller,
and one transport-stream packet with all its headers is 224 bytes."""

Address: TypeAlias = tuple[str | Any, int]
Passes: TypeAlias = Callable[[bytes], bool]


def always(_: bytes) -> bool:
    return True


def never(_: bytes) -> bool:
    return False


class UdpRelay:
    """Stands in for ``target``, a UDP port of this machine, for one peer.

    Attributes:
        there: whether a datagram to the target passes.
        back: whether an answer passes.
    """

    def __init__(self, target: int) -> None:
        self.port = free_udp_port()
        self.there: Passes = always
        self.back: Passes = always
        self._target = target

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        near, self._near = await loop.create_datagram_endpoint(
            lambda: _End(self._from_peer), ("127.0.0.1", self.port)
        )
        far, self._far = await loop.create_datagram_endpoint(
            lambda: _End(self._from_target), remote_addr=("127.0.0.1", self._target)
        )
        self._transports = (near, far)
        return self

    async def __aexit__(self, *_: object) -> None:
        for transport in self._transports:
            transport.close()

    def _from_peer(self, data: bytes) -> None:
        if self.there(data):
            self._far.send(data, None)

    def _from_target(self, data: bytes) -> None:
        if self.back(data):
            self._near.send(data, self._near.last_from)


class _End(asyncio.DatagramProtocol):
    def __init__(self, on_data: Callable[[bytes], None]) -> None:
        self._on_data = on_data
        self.last_from: Address | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self.last_from = addr
        self._on_data(data)

    def send(self, data: bytes, to: Address | None) -> None:
        self._transport.sendto(data, to)


class LoseMedia:
    """Passes all but the media datagrams with these numbers, counted from 0 since it was made."""

    def __init__(self, *numbers: int) -> None:
        self._numbers = frozenset(numbers)
        self._next = 0

    def __call__(self, data: bytes) -> bool:
        if len(data) < MEDIA_SIZE:
            return True
        number, self._next = self._next, self._next + 1
        return number not in self._numbers
