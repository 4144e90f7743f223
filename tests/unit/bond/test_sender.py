"""The sockets of a bond, without a receiver."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import time
from typing import Any

import pytest

from strata.bond import Bond, Way, sender
from strata.bond.packets import PAYLOAD_MAX
from strata.bond.sender import LINKS_MAX
from strata.errors import BadArguments, HostError
from strata.secrets import Secret
from support.ports import free_udp_port
from support.udp import Peer

PSK = Secret("a-psk-of-the-tests-0123")


def bond() -> Bond:
    return Bond(PSK, aes_bits=256, buffer_ms=1000, name="test")


async def test_each_link_has_a_socket_of_its_own_and_says_that_it_is_there() -> None:
    async with Peer() as one, Peer() as two:
        sending = bond()
        await sending.add(Way("a", *one.address))
        await sending.add(Way("b", *two.address))
        assert set(sending.ways) == {"a", "b"}
        sending.pump()
        (first, port), (second, other) = await one.hear(), await two.hear()
        assert first[:4] == second[:4] == b"\x30\x48\x88\xb6"
        assert port != other
        states = [(each.id, each.state, each.rtt_ms) for each in sending.reports()]
        assert states == [("a", "joining", None), ("b", "joining", None)]
        sending.remove("a")
        assert set(sending.ways) == {"b"}
        sending.close()
        sending.close()
        assert sending.ways == {}
        assert sending.reports() == []
        sending.pump()


async def test_a_link_may_leave_from_an_address_of_ours() -> None:
    async with Peer() as peer:
        sending = bond()
        await sending.add(Way("a", *peer.address, address="127.0.0.9"))
        _, sock = sending._ways["a"]
        assert sock.getsockname()[0] == "127.0.0.9"
        sending.close()


async def test_an_address_chooses_its_family_where_a_name_has_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []

    async def getaddrinfo(self: Any, host: str, port: int, *, family: int = 0, **_: Any) -> Any:
        asked.append(family)
        six = (socket.AF_INET6, socket.SOCK_DGRAM, 17, "", ("::1", port, 0, 0))
        four = (socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("127.0.0.1", port))
        return [each for each in (six, four) if family in (0, each[0])]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    for address, family in (
        (None, socket.AF_INET6),
        ("127.0.0.1", socket.AF_INET),
        ("::1", socket.AF_INET6),
    ):
        sending = bond()
        await sending.add(Way("a", "both.example", 5000, address=address))
        assert sending._ways["a"][1].family == family
        sending.close()


@pytest.mark.parametrize(
    ("way", "says"),
    [
        (Way("a", "no-such-host.invalid", 5000), "does not resolve"),
        (Way("a", "127.0.0.1", 5000, interface="no-such-if"), "no-such-if"),
        (Way("a", "127.0.0.1", 5000, address="192.0.2.77"), "192.0.2.77"),
        (Way("a", "127.0.0.1", 5000, address="no address"), "no address"),
        (Way("a", "255.255.255.255", 5000), "link a"),
    ],
)
async def test_a_way_that_is_not_there_is_refused(way: Way, says: str) -> None:
    sending = bond()
    with pytest.raises(BadArguments, match=says):
        await sending.add(way)
    assert sending.ways == {}
    assert sending.flow.links == {}


async def test_a_name_server_that_does_not_answer_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def getaddrinfo(self: Any, *_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(sender, "RESOLVE_S", 0.05)
    with pytest.raises(BadArguments, match="does not resolve"):
        await bond().add(Way("a", "slow.example", 5000))


async def test_a_link_is_added_once_and_not_too_many() -> None:
    sending = bond()
    for number in range(LINKS_MAX):
        await sending.add(Way(str(number), "127.0.0.1", 5000))
    with pytest.raises(HostError, match="8 links"):
        await sending.add(Way("more", "127.0.0.1", 5000))
    sending.remove("3")
    with pytest.raises(BadArguments, match="there is a link 4"):
        await sending.add(Way("4", "127.0.0.1", 5000))
    sending.close()


async def test_what_does_not_fit_a_packet_is_refused() -> None:
    with pytest.raises(BadArguments, match=str(PAYLOAD_MAX + 1)):
        bond().write(bytes(PAYLOAD_MAX + 1))


def test_a_key_that_cannot_be_used_is_refused() -> None:
    with pytest.raises(BadArguments):
        Bond(Secret("short"), aes_bits=256, buffer_ms=1000, name="x")


async def test_silence_is_counted_from_the_beginning() -> None:
    before = time.monotonic()
    sending = bond()
    assert 0 <= sending.silent_s() <= time.monotonic() - before


async def pumped(sending: Bond, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sending.pump()
        await asyncio.sleep(0.01)


async def test_a_port_where_nobody_listens_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "strata.bond.sender")
    sending = bond()
    await sending.add(Way("a", "127.0.0.1", free_udp_port()))
    await pumped(sending, 0.6)
    assert [record.getMessage() for record in caplog.records] == ["link a: Connection refused"]
    sending.close()


async def test_a_link_that_takes_packets_again_is_told_too(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "strata.bond.sender")
    monkeypatch.setattr(sender, "MENDED_S", 0.2)
    async with Peer() as peer:
        sending = bond()
        await sending.add(Way("a", *peer.address))
        way, sock = sending._ways["a"]
        sending._ways["a"] = way, Refuses(sock)  # type: ignore[assignment]
        await pumped(sending, 0.3)
        sending._ways["a"] = way, sock
        await pumped(sending, 0.4)
        sending.close()
    assert [record.getMessage() for record in caplog.records] == [
        "link a: Network is unreachable",
        "link a takes packets again",
    ]


class Refuses:
    """A socket of a modem that was pulled out."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def send(self, _: bytes) -> int:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


async def test_a_full_modem_loses_and_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with Peer() as peer:
        sending = bond()
        await sending.add(Way("a", *peer.address))
        way, sock = sending._ways["a"]

        class Full(Refuses):
            def send(self, _: bytes) -> int:
                raise BlockingIOError

        sending._ways["a"] = way, Full(sock)  # type: ignore[assignment]
        await pumped(sending, 0.1)
        assert peer.heard_nothing()
        sending.close()
    assert not caplog.records
