"""UDP sockets with large buffers, and what the kernel says about them."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any, Final, NamedTuple

from strata.errors import BadArguments, PortTaken
from strata.impair.address import Address

LARGEST: Final = 65_535
"""Bytes; no datagram is larger."""

_BUFFER: Final = 4 * 1024 * 1024
"""Asked for; the kernel gives up to net.core.rmem_max and wmem_max."""


class Place(NamedTuple):
    """Where a name or a literal address is."""

    family: socket.AddressFamily
    address: Any


async def find(address: Address, family: int = socket.AF_UNSPEC) -> Place:
    """Resolves; prefers ``family`` where the name stands for several.

    Raises:
        BadArguments: there is no such name, or no such address.
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(*address, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        raise BadArguments(f"{address} cannot be found: {error}") from None
    found.sort(key=lambda info: info[0] != family)
    return Place(found[0][0], found[0][4])


def listening(place: Place, asked: Address) -> socket.socket:
    """Bound alone: without SO_REUSEADDR, which would let two share a UDP port.

    Raises:
        PortTaken: another program listens there.
        BadArguments: the address is not one of this machine.
    """
    sock = _buffered(place.family)
    try:
        sock.bind(place.address)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(asked.port) from error
        raise BadArguments(
            f"cannot listen on {asked}: {error.strerror}; choose an address of this machine "
            "and a port that this user may open"
        ) from error
    return sock


def connected(place: Place) -> socket.socket:
    """Hears nobody else, and is told when nobody listens there.

    Raises:
        OSError: too many sockets, or no way there.
    """
    sock = _buffered(place.family)
    try:
        sock.connect(place.address)
    except OSError:
        sock.close()
        raise
    return sock


def send(sock: socket.socket, data: bytes, to: Any = None) -> bool:
    """Whether the kernel took it; ``to`` for a socket that is not connected."""
    for _ in range(2):
        try:
            if to is None:
                sock.send(data)
            else:
                sock.sendto(data, to)
        except ConnectionRefusedError:
            continue  # news about a packet before; this one was not looked at
        except OSError:
            return False  # ENOBUFS, EAGAIN, ENETUNREACH, or closed meanwhile
        return True
    return False


def _buffered(family: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setblocking(False)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
    return sock
