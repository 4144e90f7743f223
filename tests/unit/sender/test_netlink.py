from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.sender import netlink
from support.children import readable

DONE = struct.pack("=IHHIIi", 20, netlink.NLMSG_DONE, 0, 1, 0, 0)


def attribute(kind: int, data: bytes) -> bytes:
    size = 4 + len(data)
    return struct.pack("=HH", size, kind) + data + b"\0" * (-size % 4)


def address(index: int, *attributes: bytes, flags: int = 0) -> bytes:
    body = struct.pack("=BBBBI", 2, 24, flags, 0, index) + b"".join(attributes)
    return struct.pack("=IHHII", 16 + len(body), netlink.RTM_NEWADDR, 0, 1, 0) + body


def packed(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


def test_the_kernel_of_this_machine_tells_its_addresses() -> None:
    found = netlink.addresses()
    assert "127.0.0.1" in found[socket.if_nametoindex("lo")]


def test_addresses_by_interface() -> None:
    found: dict[int, list[str]] = {}
    data = (
        address(2, attribute(1, packed("192.0.2.1")), attribute(3, b"eth0\0"))
        + address(2, attribute(1, packed("2001:db8::1")))
        + address(3, attribute(1, packed("10.0.0.2")), attribute(2, packed("10.0.0.1")))
    )
    assert not netlink.parse(data, found)
    assert netlink.parse(DONE, found)
    assert found == {2: ["192.0.2.1", "2001:db8::1"], 3: ["10.0.0.1"]}  # not the other end's


def test_what_cannot_be_sent_from_is_left_out() -> None:
    found: dict[int, list[str]] = {}
    fit = attribute(1, packed("2001:db8::1"))
    netlink.parse(address(2, fit, flags=0x40), found)
    netlink.parse(address(2, fit, attribute(8, struct.pack("=I", 0x20))), found)
    netlink.parse(address(2, attribute(1, b"\0\0\0")), found)
    netlink.parse(address(2, attribute(3, b"eth0\0")), found)
    assert found == {}
    netlink.parse(address(2, fit, attribute(8, struct.pack("=I", 0x200)), flags=0x40), found)
    assert found == {2: ["2001:db8::1"]}


@pytest.mark.parametrize(
    "data",
    [
        b"\0",
        struct.pack("=IHHII", 16, netlink.NLMSG_ERROR, 0, 1, 0),
        struct.pack("=IHHII", 0, netlink.RTM_NEWADDR, 0, 1, 0),
        struct.pack("=IHHII", 16, netlink.RTM_NEWADDR, 0, 1, 0),
    ],
)
def test_an_answer_that_is_none(data: bytes) -> None:
    with pytest.raises(OSError, match="the kernel"):
        netlink.parse(data, {})


@given(st.binary(max_size=200))
def test_no_answer_hangs_or_breaks_it(data: bytes) -> None:
    try:
        netlink.parse(data, {})
        netlink._attributes(data)
    except OSError:
        pass


class Fake:
    """A socket of which the tests say what it gives."""

    def __init__(self, *gives: object) -> None:
        self.gives = list(gives)

    def recv(self, size: int) -> bytes:
        one = self.gives.pop(0)
        if isinstance(one, Exception):
            raise one
        assert isinstance(one, bytes)
        return one


@pytest.mark.parametrize("last", [BlockingIOError(), OSError(105, "No buffer space available")])
def test_changes_are_taken_to_the_last(last: Exception) -> None:
    changes = netlink.Changes()
    changes.close()
    fake = Fake(b"one", b"two", last)
    changes._socket = fake  # type: ignore[assignment]
    changes.drain()
    assert not fake.gives


async def test_a_change_can_be_waited_for() -> None:
    changes = netlink.Changes()
    try:
        changes.drain()
        # Its own messages are what the kernel says to all that listen.
        sender = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        try:
            sender.bind((0, 0))
            sender.sendto(b"\0" * 16, (changes._socket.getsockname()[0], 0))
            await asyncio.wait_for(readable(changes.fileno(), 5.0), 5.0)
        finally:
            sender.close()
        changes.drain()
    finally:
        changes.close()


def test_where_nobody_may_listen_nothing_is_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[socket.socket] = []

    class Refusing(socket.socket):
        def bind(self, address: object) -> None:
            made.append(self)
            raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(socket, "socket", Refusing)
    with pytest.raises(PermissionError):
        netlink.Changes()
    assert made[0].fileno() == -1
