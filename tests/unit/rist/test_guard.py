"""The filter, with real sockets: the kernel is what interprets it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strata.errors import HostError
from strata.rist import guard

EAPOL = b"\x88\x8e"
ENCRYPTED = b"\x30\x00\x00\x00" + b"nonce, sequence, payload"
END = b"\x30\x00\x00\x00\x00\x00\x00\x01end"
"""Passes the filter, so that a test knows when all before it has been looked at."""


class Guarded:
    """A socket with the filter, and one that sends to it."""

    def __init__(self) -> None:
        self.receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.receiver.bind(("127.0.0.1", 0))
        self.sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sender.connect(self.receiver.getsockname())

    def received(self, *datagrams: bytes) -> list[bytes]:
        """Which of these come through."""
        found = []
        self.receiver.settimeout(5.0)
        for datagram in (*datagrams, END):
            self.sender.send(datagram)
        while (datagram := self.receiver.recv(65535)) != END:
            found.append(datagram)
        return found

    def close(self) -> None:
        self.receiver.close()
        self.sender.close()


@pytest.fixture
def guarded() -> Iterator[Guarded]:
    sockets = Guarded()
    guard.drop_clear_packets(sockets.receiver)
    yield sockets
    sockets.close()


def test_encrypted_packets_pass_whole(guarded: Guarded) -> None:
    long = ENCRYPTED + bytes(1400)
    assert guarded.received(ENCRYPTED, long) == [ENCRYPTED, long]


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\x30",
        b"\x30\x00\x00",
        b"\x00\x00\x00\x00clear, without a sequence number",
        b"\x10\x00\x00\x00clear, with a sequence number",
        b"\x20\x00\x00\x00a key, but no sequence number",
        b"\x30\x00" + EAPOL + b"authentication, which is not encrypted",
        b"\x30\x00\x00\x00" + bytes(4) + b"says that it is encrypted, and is not",
        b"\xb0\x00\x00\x00" + b"sum." + bytes(4) + b"the same behind a checksum",
        b"\x30\x00\x00\x00non",
        b"G" + bytes(187),
    ],
)
def test_anything_else_is_dropped(guarded: Guarded, datagram: bytes) -> None:
    assert guarded.received(datagram) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=64).filter(lambda datagram: datagram != END))
def test_what_passes_says_that_it_is_encrypted(guarded: Guarded, datagram: bytes) -> None:
    flags = datagram[:1] or b"\0"
    nonce = datagram[8:12] if flags[0] & 0x80 else datagram[4:8]
    says_so = flags[0] & 0x30 == 0x30 and datagram[2:4] != EAPOL
    encrypted = says_so and len(nonce) == 4 and nonce != bytes(4)
    assert guarded.received(datagram) == ([datagram] if encrypted else [])


def test_what_came_before_the_filter_is_discarded() -> None:
    sockets = Guarded()
    try:
        sockets.sender.send(b"in the clear")
        sockets.sender.send(ENCRYPTED)
        guard.drop_clear_packets(sockets.receiver)
        assert sockets.received() == []
    finally:
        sockets.close()


def test_without_a_filter_nothing_may_be_received() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        os.close(sock.detach())
        with pytest.raises(HostError, match="refuses a socket filter"):
            guard.drop_clear_packets(sock)
