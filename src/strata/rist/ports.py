"""Holding a UDP port alone.

librist binds with SO_REUSEADDR, so a second receiver on the same port *succeeds* and takes
the packets of the first. A port is therefore probed with a plain socket that fails where
anyone else is bound; that socket stays until librist has bound beside it, and then the
option is cleared on librist's own descriptor, which shuts the door behind us.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

from strata.errors import BadArguments, PortTaken
from strata.rist import guard

_INTERNET = (socket.AF_INET, socket.AF_INET6)


def family_of(address: str) -> socket.AddressFamily:
    """AF_INET or AF_INET6 of a literal address.

    Raises:
        BadArguments: the text is no address.
    """
    try:
        version = ip_address(address).version
    except ValueError as error:
        raise BadArguments(
            f"{address!r} is no IP address to listen on; use 0.0.0.0 for all of IPv4"
        ) from error
    return socket.AF_INET6 if version == 6 else socket.AF_INET


@contextmanager
def held(address: str, port: int, *, encrypted_only: bool) -> Iterator[None]:
    """While inside, ``port`` is bound by us and open to sockets that set SO_REUSEADDR.

    On leaving, whatever this process bound inside is made exclusive and, if asked, guarded
    against packets in the clear (:mod:`strata.rist.guard`).

    Raises:
        PortTaken: anyone holds the port, also one who set SO_REUSEADDR.
        BadArguments: the address is not one of this machine.
    """
    with socket.socket(family_of(address), socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortTaken(port) from error
            raise BadArguments(
                f"cannot listen on {address} port {port}: {error.strerror}; "
                "choose an address of this machine and a port that this user may open"
            ) from error
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        yield
    ours = set()
    for sock in udp_sockets():
        if sock.getsockname()[1] != port:
            continue
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        if encrypted_only:
            guard.drop_clear_packets(sock)
        ours.add(inode(sock))
    if _holders(port) - ours:
        # Somebody with SO_REUSEADDR slipped in between: the packets would go to one of two.
        raise PortTaken(port)


def udp_sockets() -> Iterator[socket.socket]:
    """This process's UDP sockets, each a duplicate that is closed when the next is asked for.

    librist keeps its descriptors to itself; a duplicate shares the options of the socket.
    """
    for entry in os.listdir("/proc/self/fd"):
        try:
            duplicate = os.dup(int(entry))
        except OSError:
            continue  # closed meanwhile
        try:
            sock = socket.socket(fileno=duplicate)
        except OSError:
            os.close(duplicate)  # no socket
            continue
        with sock:
            if sock.type == socket.SOCK_DGRAM and sock.family in _INTERNET:
                yield sock


def inode(sock: socket.socket) -> int:
    """What tells one socket from another, also through a duplicate."""
    return os.fstat(sock.fileno()).st_ino


def _holders(port: int) -> set[int]:
    """Inodes of all UDP sockets on ``port`` in this network namespace (proc(5), net/udp)."""
    inodes = set()
    for table in ("udp", "udp6"):
        path = Path("/proc/self/net") / table
        if not path.exists():
            continue  # a kernel without IPv6
        for line in path.read_text().splitlines()[1:]:
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(int(fields[9]))
    return inodes
