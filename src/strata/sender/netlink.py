"""Which addresses this machine has, and that something about its network is different: asked of
the kernel itself (rtnetlink(7)), in microseconds."""

from __future__ import annotations

import ipaddress
import socket
import struct
from typing import Final

RTM_NEWADDR: Final = 20
RTM_GETADDR: Final = 22
NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
REQUEST_DUMP: Final = 0x301
"""``NLM_F_REQUEST | NLM_F_DUMP``."""
IFA_ADDRESS: Final = 1
IFA_LOCAL: Final = 2
IFA_FLAGS: Final = 8
UNFIT: Final = 0x40 | 0x20 | 0x08
"""Tentative, deprecated, or somebody else's already (``IFA_F_*``)."""
GROUPS: Final = 0x1 | 0x10 | 0x100
"""``RTMGRP_LINK``, ``RTMGRP_IPV4_IFADDR``, ``RTMGRP_IPV6_IFADDR``."""

READ_BYTES: Final = 64 * 1024
DEADLINE_S: Final = 1.0

_header: Final = struct.Struct("=IHHII")
_address: Final = struct.Struct("=BBBBI")
_attribute: Final = struct.Struct("=HH")
_flags: Final = struct.Struct("=I")


def addresses() -> dict[int, tuple[str, ...]]:
    """The addresses of each interface, by its index.

    Raises:
        OSError: the kernel does not say.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(DEADLINE_S)
        size = _header.size + _address.size
        kernel.send(
            _header.pack(size, RTM_GETADDR, REQUEST_DUMP, 1, 0) + _address.pack(0, 0, 0, 0, 0)
        )
        found: dict[int, list[str]] = {}
        while not parse(kernel.recv(READ_BYTES), found):
            pass
    return {index: tuple(each) for index, each in found.items()}


def parse(data: bytes, found: dict[int, list[str]]) -> bool:
    """Takes the addresses of one piece of the answer; True after the last.

    Raises:
        OSError: the kernel refuses, or what it says cannot be read.
    """
    try:
        while data:
            size, kind, *_ = _header.unpack_from(data)
            if kind == NLMSG_DONE:
                return True
            if kind == NLMSG_ERROR or size < _header.size:
                raise OSError("the kernel does not tell the addresses of this machine")
            if kind == RTM_NEWADDR:
                _take(data[_header.size : size], found)
            data = data[_aligned(size) :]
    except struct.error:
        raise OSError("the kernel tells addresses in an unknown form") from None
    return False


def _take(message: bytes, found: dict[int, list[str]]) -> None:
    _, _, flags, _, index = _address.unpack_from(message)
    attributes = _attributes(message[_address.size :])
    if IFA_FLAGS in attributes:
        [flags] = _flags.unpack_from(attributes[IFA_FLAGS])
    # Between two ends of a line ADDRESS is the other one's.
    data = attributes.get(IFA_LOCAL) or attributes.get(IFA_ADDRESS)
    if data is not None and len(data) in (4, 16) and not flags & UNFIT:
        found.setdefault(index, []).append(str(ipaddress.ip_address(data)))


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while len(data) >= _attribute.size:
        size, kind = _attribute.unpack_from(data)
        if size < _attribute.size:
            break
        found[kind] = data[_attribute.size : size]
        data = data[_aligned(size) :]
    return found


def _aligned(size: int) -> int:
    return (size + 3) & ~3


class Changes:
    """A socket that can be read when an interface or an address came, went or changed."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        try:
            self._socket.setblocking(False)
            self._socket.bind((0, GROUPS))
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def drain(self) -> None:
        """Takes what is there; what it says is not of interest, only that it was said."""
        try:
            while self._socket.recv(READ_BYTES):
                pass
        except BlockingIOError:
            pass
        except OSError:  # more came than was kept; that, too, says that something is different
            pass

    def close(self) -> None:
        self._socket.close()
