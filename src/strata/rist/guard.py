"""Keeping packets in the clear away from an encrypted receiver.

librist 0.2.7 rejects an unencrypted packet only where its GRE header carries a sequence
number. Without one (which is how librist itself sends in the clear) the packet skips every
check and its media goes out beside, or instead of, the encrypted stream. So the kernel
drops, before librist reads, each datagram that does not say it is encrypted: one filter on
the socket, no cost per packet worth measuring, no privilege needed.

The GRE header (TR-06-2 section 5.1) starts with a flag byte: 0x20 is K, a key is used;
0x10 is S, a sequence number is present. Encrypted packets carry both. Bytes 2 and 3 name
the protocol; EAPOL (0x888e) is the one that librist does not decrypt, and is dropped too:
we use no user names. Then comes the nonce, behind the four bytes of a checksum where there
is one (0x80, C). A nonce of zero says "not encrypted" to librist, whatever the flags say:
such a packet would pass as it is, and is dropped.
"""

from __future__ import annotations

import socket
import struct
from typing import Final

from strata.errors import HostError
from strata.rist._librist import ffi

SO_ATTACH_FILTER: Final = 26
"""``asm-generic/socket.h``; Python's socket module does not name it."""

_UDP_HEADER: Final = 8
_KEY_AND_SEQUENCE: Final = 0x30
_CHECKSUM: Final = 0x80
_EAPOL: Final = 0x888E

# Classic BPF, linux/filter.h: (code, jump if true, jump if false, operand). On a UDP socket
# offset 0 is the UDP header. A load beyond the end of the packet drops it.
_PROGRAM: Final = (
    (0x30, 0, 0, _UDP_HEADER),  # A = flag byte
    (0x54, 0, 0, _KEY_AND_SEQUENCE),  # A &= K | S
    (0x15, 0, 9, _KEY_AND_SEQUENCE),  # both set, else drop
    (0x28, 0, 0, _UDP_HEADER + 2),  # A = protocol
    (0x15, 7, 0, _EAPOL),  # EAPOL: drop
    (0x30, 0, 0, _UDP_HEADER),  # A = flag byte
    (0x54, 0, 0, _CHECKSUM),  # A &= C
    (0x15, 2, 0, 0),  # no checksum: the nonce is nearer
    (0x20, 0, 0, _UDP_HEADER + 8),  # A = nonce
    (0x05, 0, 0, 1),
    (0x20, 0, 0, _UDP_HEADER + 4),  # A = nonce
    (0x15, 0, 1, 0),  # zero: drop, else accept
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0xFFFFFFFF),  # accept whole
)


def drop_clear_packets(sock: socket.socket) -> None:
    """From now on ``sock`` receives encrypted RIST packets only; what waits is discarded.

    Raises:
        HostError: the kernel refuses socket filters; nothing may be received then.
    """
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in _PROGRAM)
    buffer = ffi.new("char[]", code)
    program = struct.pack("HP", len(_PROGRAM), int(ffi.cast("uintptr_t", buffer)))
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
    except OSError as error:
        raise HostError(
            f"this kernel refuses a socket filter ({error.strerror}), and without it anyone "
            "could put an unencrypted stream on the air; run on a Linux with CONFIG_NET"
        ) from error
    try:
        while True:
            sock.recv(65535, socket.MSG_DONTWAIT)
    except BlockingIOError:
        pass
