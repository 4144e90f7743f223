"""Sending one flow over several links."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from strata.errors import BadArguments, HostError
from strata.rist import ports
from strata.rist.context import PROFILE_MAIN, Context, ffi, lib, peer_config, set_secret
from strata.secrets import Secret

MAX_LINKS: Final = 16
MAX_PAYLOAD: Final = 7 * 188
"""Seven transport-stream packets fit an Ethernet frame (TR-06-1 section 5.2)."""

INBOX_BYTES: Final = 64 * 1024
"""A sender's inbox holds reports and log lines only."""

REPORT_MS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Link:
    """One way to the receiver.

    Attributes:
        host, port: where the receiver listens for this link.
        weight: share of the packets, relative to the other links. Use equal weights of at
            least 100: with weight W a dead link still swallows one packet in W + 1 until it
            is noticed. 0 sends everything on this link too (duplication).
        interface: name of the network interface that the packets must leave by, or None.
    """

    host: str
    port: int
    weight: int = 100
    interface: str | None = None


@dataclass(slots=True)
class _Peer:
    link: Link
    pointer: Any = field(repr=False)


class Sender:
    """Sends MPEG-TS to one receiver over ``links``, repairing what it asks for.

    Args:
        links: 1 to 16 ways.
        psk: pre-shared key, or None to send in the clear.
        aes_bits: 128 or 256.
        buffer_ms: how long packets are kept for repair; the receiver's buffer or more.
        max_bitrate_kbps: what repairs may add up to at most, per link.

    Raises:
        BadArguments: a link or key that cannot work.
    """

    def __init__(
        self,
        links: Sequence[Link],
        psk: Secret | None,
        *,
        aes_bits: int = 256,
        buffer_ms: int = 1_000,
        max_bitrate_kbps: int = 100_000,
    ) -> None:
        if not 1 <= len(links) <= MAX_LINKS:
            raise BadArguments(f"a sender takes 1 to {MAX_LINKS} links")
        for link in links:
            if not 1 <= link.port <= 65535:
                raise BadArguments(f"{link.port} is no UDP port; ports go from 1 to 65535")
        self.links = tuple(links)
        self._psk = psk
        config = peer_config(psk, aes_bits)
        config.initiate_conn = 1
        config.recovery_length_min = config.recovery_length_max = buffer_ms
        config.recovery_maxbitrate = max_bitrate_kbps
        config.session_timeout = 250
        self._config = config
        self._context: Context | None = None
        self._peers: list[_Peer] = []
        self._block = ffi.new("struct rist_data_block *")

    def start(self) -> None:
        """Opens one socket per link and starts the handshakes.

        Raises:
            BadArguments: a host name does not resolve, an interface does not exist.
            HostError: librist or the machine refused.
        """
        set_secret(self._config, self._psk)
        flow_id = lib.rist_flow_id_create()
        context = Context(
            lambda holder, logging: lib.rist_sender_create(holder, PROFILE_MAIN, flow_id, logging),
            INBOX_BYTES,
            REPORT_MS,
        )
        try:
            lib.inbox_watch_stats(context.inbox, context.ctx, REPORT_MS)
            for link in self.links:
                self._peers.append(_Peer(link, self._open(context, link)))
            context.start()
        except BaseException:
            context.close()
            self._peers.clear()
            raise
        finally:
            set_secret(self._config, None)
        self._context = context

    def _open(self, context: Context, link: Link) -> Any:
        family, address = _resolve(link)
        self._config.address_family = family
        self._config.address = address.encode()
        self._config.physical_port = link.port
        self._config.weight = link.weight
        before = {ports.inode(sock) for sock in ports.udp_sockets()}
        pointer = context.make_peer(self._config)
        if pointer is None:
            raise HostError(f"librist could not open a socket towards {address} port {link.port}")
        if link.interface is not None:
            # librist 0.2.7 ignores `miface` for unicast: the new socket is bound here instead.
            for sock in ports.udp_sockets():
                if ports.inode(sock) not in before:
                    _bind_to(sock, link.interface)
        return pointer

    def write(self, payload: bytes) -> None:
        """Sends up to seven transport-stream packets (1316 bytes).

        Raises:
            BadArguments: more than that.
            HostError: librist's queue is full, or the sender is not running.
        """
        if len(payload) > MAX_PAYLOAD:
            raise BadArguments(f"{len(payload)} bytes do not fit a packet of {MAX_PAYLOAD}")
        if self._context is None:
            raise HostError("this RIST sender is not running; call start() first")
        keep = ffi.from_buffer(payload)
        self._block.payload = keep
        self._block.payload_len = len(payload)
        if lib.rist_sender_data_write(self._context.ctx, self._block) < 0:
            raise HostError("librist did not take a packet; its send queue is full")

    def set_weight(self, link: int, weight: int) -> None:
        """Changes the share of the link with that index (see :class:`Link`)."""
        if self._context is None:
            raise HostError("this RIST sender is not running; call start() first")
        lib.rist_peer_weight_set(self._context.ctx, self._peers[link].pointer, weight)

    def take_reports(self) -> list[dict[str, Any]]:
        """``peer`` objects of librist's reports since the last call: one a second and link."""
        if self._context is None:
            return []
        return [
            report["sender-stats"]["peer"]
            for report in self._context.take_reports()
            if "sender-stats" in report
        ]

    def take_logs(self) -> list[tuple[str, str]]:
        """librist's warnings since the last call, as (level, message)."""
        return self._context.take_logs() if self._context is not None else []

    def close(self) -> None:
        """Ends librist's threads and sockets. Idempotent."""
        if self._context is not None:
            self._context.close()
            self._context = None
            self._peers.clear()


def _resolve(link: Link) -> tuple[int, str]:
    try:
        found = socket.getaddrinfo(link.host, link.port, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise BadArguments(
            f"the receiver's name {link.host!r} does not resolve ({error}); check the address"
        ) from error
    family, _, _, _, address = found[0]
    return int(family), str(address[0])


def _bind_to(sock: socket.socket, interface: str) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
    except OSError as error:
        raise BadArguments(
            f"cannot send through interface {interface!r}: {error.strerror}; see: ip link"
        ) from error
