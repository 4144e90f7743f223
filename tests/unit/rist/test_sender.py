from __future__ import annotations

import pytest

from strata.errors import BadArguments, HostError
from strata.rist import Link, Sender
from strata.rist.sender import MAX_PAYLOAD
from strata.secrets import Secret
from support.ports import free_udp_port

PSK = Secret("abcd-efgh-1234")


def here(interface: str | None = None) -> Link:
    return Link("127.0.0.1", free_udp_port(), interface=interface)


@pytest.mark.parametrize("count", [0, 17])
def test_the_number_of_links(count: int) -> None:
    with pytest.raises(BadArguments, match="1 to 16 links"):
        Sender([here()] * count, PSK)


@pytest.mark.parametrize("port", [0, 65_536])
def test_a_port_that_is_none(port: int) -> None:
    with pytest.raises(BadArguments, match=f"{port} is no UDP port"):
        Sender([Link("127.0.0.1", port)], PSK)


def test_a_key_that_cannot_work() -> None:
    with pytest.raises(BadArguments, match="200 bytes"):
        Sender([here()], Secret("x" * 200))


def test_before_the_start_nothing_can_be_sent() -> None:
    sender = Sender([here()], PSK)
    with pytest.raises(HostError, match=r"call start\(\) first"):
        sender.write(bytes(188))
    with pytest.raises(HostError, match=r"call start\(\) first"):
        sender.set_weight(0, 5)
    assert sender.take_reports() == []
    assert sender.take_logs() == []
    sender.close()


def test_more_than_a_frame_is_refused() -> None:
    sender = Sender([here()], PSK)
    with pytest.raises(BadArguments, match="1317 bytes do not fit"):
        sender.write(bytes(MAX_PAYLOAD + 1))


def test_a_name_that_does_not_resolve() -> None:
    sender = Sender([Link("no-such-host.invalid", 20_000)], PSK)
    with pytest.raises(BadArguments, match=r"'no-such-host\.invalid' does not resolve"):
        sender.start()
    sender.close()


def test_an_interface_that_does_not_exist() -> None:
    sender = Sender([here(), here("no-such-if0")], PSK)
    with pytest.raises(BadArguments, match="cannot send through interface 'no-such-if0'"):
        sender.start()
    with pytest.raises(HostError):
        sender.write(bytes(188))


def test_a_sender_takes_packets_and_weights() -> None:
    sender = Sender([here(), here()], PSK)
    sender.start()
    try:
        sender.write(bytes(MAX_PAYLOAD))
        sender.set_weight(1, 0)
    finally:
        sender.close()
    sender.close()
    with pytest.raises(HostError):
        sender.write(bytes(188))
