"""A transport stream that comes in datagrams (``udp://``), as it is.

No pipeline, no thread: the kernel keeps what comes until somebody looks, which is every few
milliseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Final

from strata.errors import SourceUnavailable
from strata.sender.source.pipeline import Failure
from strata.sender.source.uri import SourceUri

ROOM_BYTES: Final = 4 * 1024 * 1024
"""Asked for; the kernel gives what net.core.rmem_max allows, twice that as root."""
RESOLVE_DEADLINE_S: Final = 3.0
_DATAGRAM: Final = 65_536
_AT_ONCE: Final = 2000
"""Datagrams that one look takes at most: 2.6 MB."""
_SO_RCVBUFFORCE: Final = 33


class Datagrams:
    """One socket."""

    is_encoding: Final = False
    encoder: Final = None

    def __init__(self, uri: SourceUri, on_end: Callable[[Failure | None], None]) -> None:
        self.has_overflown = False
        self._uri = uri
        self._on_end = on_end
        self._socket: socket.socket | None = None
        self._on_first: Callable[[], None] | None = None

    async def start(self, on_media: Callable[[], None]) -> None:
        """Listens. ``on_media`` is called when the first has come.

        Raises:
            SourceUnavailable: the port is taken, or the address is none of this machine.
        """
        port = self._uri.port or 0
        loop = asyncio.get_running_loop()
        host = self._uri.host or "0.0.0.0"
        try:
            async with asyncio.timeout(RESOLVE_DEADLINE_S):
                found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        except OSError:  # with TimeoutError, which is one
            raise SourceUnavailable(
                f"{self._uri.shown} names no address of this machine; write udp://:{port}"
            ) from None
        family, _, _, _, address = found[0]
        one = socket.socket(family, socket.SOCK_DGRAM)
        try:
            one.setblocking(False)
            try:
                one.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, ROOM_BYTES)
            except OSError:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM_BYTES)
            if _is_multicast(family, str(address[0])):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                _join(one, family, str(address[0]))
            one.bind(address)
        except OSError as error:
            one.close()
            raise SourceUnavailable(
                f"{self._uri.shown} cannot be listened on: {error.strerror}; another program may "
                f"hold the port (see: ss -ulpn 'sport = :{port}'), or the address is not this "
                "machine's"
            ) from None
        self._socket = one

        def first() -> None:
            self._on_first = None
            loop.remove_reader(one.fileno())
            on_media()

        self._on_first = first
        loop.add_reader(one.fileno(), first)

    def pull(self) -> list[bytes]:
        found: list[bytes] = []
        if self._socket is not None:
            with contextlib.suppress(BlockingIOError):
                while len(found) < _AT_ONCE:
                    found.append(self._socket.recv(_DATAGRAM))
        if found and self._on_first is not None:
            self._on_first()  # read before the loop has seen it
        return found

    def set_bitrate(self, total_kbps: int) -> None:
        """It is what it is."""

    async def stop(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None


def _is_multicast(family: int, host: str) -> bool:
    if family == socket.AF_INET6:
        return host.lower().startswith("ff")
    return 224 <= int(host.partition(".")[0]) <= 239


def _join(one: socket.socket, family: int, host: str) -> None:
    group = socket.inet_pton(family, host)
    if family == socket.AF_INET6:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group + struct.pack("@I", 0))
    else:
        one.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group + struct.pack("=I", 0))
