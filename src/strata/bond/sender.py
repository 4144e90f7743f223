"""A flow on real sockets: one for each link, each leaving by its interface."""

from __future__ import annotations

import asyncio
import errno
import logging
import secrets
import socket
import time
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

from strata.bond.cipher import Sealer
from strata.bond.flow import Flow
from strata.bond.packets import PAYLOAD_MAX
from strata.errors import BadArguments, HostError
from strata.secrets import Secret

log = logging.getLogger(__name__)

LINKS_MAX: Final = 8
READS_MAX: Final = 64
"""Datagrams that are read from a link in one go: no link may keep the others waiting."""
DATAGRAM_MAX: Final = 2048
SOCKET_BYTES: Final = 256 * 1024
RESOLVE_S: Final = 5.0
"""How long a name server may take to answer."""
MENDED_S: Final = 5.0
"""A trouble that was not met for so long is over. Where nobody listens each second packet seems to
be taken."""


@dataclass(frozen=True, slots=True)
class Way:
    """One link: where to, and by which interface or from which address of ours.

    Attributes:
        id: its name here and in what is told about it.
        host, port: of the receiver.
    """

    id: str
    host: str
    port: int
    interface: str | None = None
    address: str | None = None


@dataclass(slots=True)
class _Trouble:
    """What a link last failed with, and when."""

    text: str
    at: float


@dataclass(frozen=True, slots=True)
class LinkReport:
    """A link as it is now. ``kbps_max``: what it can carry, as far as it has shown; ``port``: of
    the receiver that it leads to."""

    id: str
    interface: str | None
    state: str
    rtt_ms: float | None
    loss: float
    sent_bytes: int
    kbps_max: float
    port: int


class Bond:
    """Sends one flow of MPEG-TS over several links, and repairs what the receiver asks for.

    It has no task of its own: whoever has media calls :meth:`pump` each 20 ms.

    Attributes:
        sent_bytes: of UDP payload, over all links that there ever were.

    Args:
        aes_bits: 128 or 256.
        buffer_ms: the receiver's recovery buffer.
        name: of this sender, told to the receiver.

    Raises:
        BadArguments: a key that cannot be used.
    """

    def __init__(self, psk: Secret, *, aes_bits: int, buffer_ms: int, name: str) -> None:
        self._began_at = time.monotonic()
        self.flow = Flow(
            Sealer(psk, aes_bits),
            secrets.randbits(31) << 1,
            name,
            buffer_ms / 1000,
            self._began_at,
            time.time,
        )
        self._ways: dict[str, tuple[Way, socket.socket]] = {}
        self._troubles: dict[str, _Trouble] = {}
        self.sent_bytes = 0

    async def add(self, way: Way) -> None:
        """Another link; it is used once the receiver has answered on it.

        Raises:
            BadArguments: its name does not resolve, its interface or address is not there; or
                there is one with that id.
            HostError: there are too many.
        """
        if way.id in self._ways:
            raise BadArguments(f"there is a link {way.id} already; remove it first")
        if len(self._ways) >= LINKS_MAX:
            raise HostError(f"more than {LINKS_MAX} links are not used; leave some out")
        sock = await _open(way)
        asyncio.get_running_loop().add_reader(sock, self._read, way.id, sock)
        self._ways[way.id] = (way, sock)
        self.flow.add_link(way.id, time.monotonic())

    def remove(self, id: str) -> None:
        """A link is not used any more."""
        _, sock = self._ways.pop(id)
        asyncio.get_running_loop().remove_reader(sock)
        sock.close()
        self.flow.remove_link(id)
        self._troubles.pop(id, None)

    @property
    def ways(self) -> dict[str, Way]:
        """The links that there are, by id."""
        return {id: way for id, (way, _) in self._ways.items()}

    def write(self, payload: bytes, is_key: bool = False) -> None:
        """Media to be sent: up to seven packets of a transport stream.

        Args:
            is_key: it is part of a key frame, which goes out twice where there is room.

        Raises:
            BadArguments: more than that.
        """
        if len(payload) > PAYLOAD_MAX:
            raise BadArguments(f"{len(payload)} bytes do not fit a packet of {PAYLOAD_MAX}")
        self.flow.write(time.monotonic(), payload, is_key)

    def pump(self) -> None:
        """Sends what is due."""
        for id, datagram in self.flow.due(time.monotonic()):
            self._send(id, datagram)

    @property
    def is_answered(self) -> bool:
        """Whether the receiver has answered on any link: media can go out."""
        return any(link.state == "up" for link in self.flow.links.values())

    def silent_s(self) -> float:
        """For how long nothing has come from the receiver, over any link."""
        return time.monotonic() - max(self.flow.heard_at, self._began_at)

    def reports(self) -> list[LinkReport]:
        """The links as they are now."""
        found = []
        for id, (way, _) in self._ways.items():
            link = self.flow.links[id]
            rtt_ms = link.rtt_s * 1000 if link.state != "joining" else None
            found.append(
                LinkReport(
                    id,
                    way.interface,
                    link.state,
                    rtt_ms,
                    link.loss,
                    link.sent_bytes,
                    link.capacity_kbps,
                    way.port,
                )
            )
        return found

    def close(self) -> None:
        """Gives the sockets back. Idempotent."""
        for id in tuple(self._ways):
            self.remove(id)

    def _read(self, id: str, sock: socket.socket) -> None:
        for _ in range(READS_MAX):
            try:
                datagram = sock.recv(DATAGRAM_MAX)
            except BlockingIOError:
                return
            except OSError as error:
                # Such as a port on which nobody listens any more. Silence says the same.
                return self._tell(id, error)
            for to, answer in self.flow.take(time.monotonic(), id, datagram):
                self._send(to, answer)

    def _send(self, id: str, datagram: bytes) -> None:
        way_sock = self._ways.get(id)
        if way_sock is None:
            return
        try:
            way_sock[1].send(datagram)
        except BlockingIOError:
            pass  # the modem takes no more: lost, as on any link that is too full
        except OSError as error:
            self._tell(id, error)
        else:
            self.sent_bytes += len(datagram)
            trouble = self._troubles.get(id)
            if trouble is not None and time.monotonic() - trouble.at > MENDED_S:
                del self._troubles[id]
                log.info("link %s takes packets again", id)

    def _tell(self, id: str, error: OSError) -> None:
        """Once for each trouble; a modem that is pulled out refuses each packet."""
        text = error.strerror or str(error)
        known = self._troubles.get(id)
        self._troubles[id] = _Trouble(text, time.monotonic())
        if known is None or known.text != text:
            log.warning("link %s: %s", id, text)


async def _open(way: Way) -> socket.socket:
    family, address = await _resolve(way)
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
        _bind(sock, way)
        sock.connect(address)
    except OSError as error:
        sock.close()
        raise BadArguments(
            f"link {way.id} cannot be opened towards {way.host} port {way.port}: {error.strerror}"
        ) from error
    except BaseException:
        sock.close()
        raise
    return sock


async def _resolve(way: Way) -> tuple[socket.AddressFamily, Any]:
    """Where the receiver is; of the family of our own address, where one is given."""
    try:
        async with asyncio.timeout(RESOLVE_S):
            found = await asyncio.get_running_loop().getaddrinfo(
                way.host, way.port, family=_family(way), type=socket.SOCK_DGRAM
            )
    except OSError as error:  # TimeoutError is one
        reason = error.strerror or f"no answer within {RESOLVE_S:.0f} s"
        raise BadArguments(
            f"the receiver's name {way.host!r} does not resolve ({reason}); check the "
            "address, and that this machine can ask for names"
        ) from error
    family, _, _, _, address = found[0]
    return family, address


def _family(way: Way) -> socket.AddressFamily:
    if way.address is None:
        return socket.AF_UNSPEC
    try:
        version = ip_address(way.address).version
    except ValueError as error:
        raise BadArguments(
            f"{way.address!r} is no IP address to send from; see: ip addr"
        ) from error
    return socket.AF_INET6 if version == 6 else socket.AF_INET


def _bind(sock: socket.socket, way: Way) -> None:
    if way.interface is not None:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, way.interface.encode())
        except OSError as error:
            hint = "; run it with CAP_NET_RAW" if error.errno == errno.EPERM else "; see: ip link"
            raise BadArguments(
                f"cannot send through interface {way.interface!r}: {error.strerror}{hint}"
            ) from error
    if way.address is not None:
        try:
            sock.bind((way.address, 0))
        except OSError as error:
            raise BadArguments(
                f"cannot send from address {way.address}: {error.strerror}; see: ip addr"
            ) from error
