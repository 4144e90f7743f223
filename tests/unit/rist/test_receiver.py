from __future__ import annotations

import pytest

from strata.errors import BadArguments, HostError
from strata.rist import Receiver
from strata.rist.receiver import FIRST_REPORT_MS, REPORT_MS
from strata.secrets import Secret
from support.ports import free_udp_ports

PSK = Secret("abcd-efgh-1234")


@pytest.mark.parametrize(
    ("ports", "says"),
    [
        ((), "1 to 16 different ports"),
        (tuple(range(20_000, 20_017)), "1 to 16 different ports"),
        ((20_000, 20_000), "1 to 16 different ports"),
        ((0,), "0 is no UDP port"),
        ((65_536,), "65536 is no UDP port"),
    ],
)
def test_ports_that_cannot_work(ports: tuple[int, ...], says: str) -> None:
    with pytest.raises(BadArguments, match=says):
        Receiver(ports, PSK)


def test_an_address_that_is_none() -> None:
    with pytest.raises(BadArguments, match="is no IP address"):
        Receiver((20_000,), PSK, bind="localhost")


def test_a_key_that_cannot_work() -> None:
    with pytest.raises(BadArguments, match="7 bytes"):
        Receiver((20_000,), Secret("tooshort"[:7]))


def test_before_the_start_nothing_can_be_asked() -> None:
    receiver = Receiver(free_udp_ports(), PSK)
    for ask in (receiver.fileno, receiver.take, receiver.take_marked, receiver.counters):
        with pytest.raises(HostError, match=r"call start\(\) first"):
            ask()
    receiver.close()


def test_a_fresh_receiver_has_received_nothing() -> None:
    ports = free_udp_ports()
    receiver = Receiver(ports, PSK)
    receiver.start()
    try:
        assert receiver.ports == ports
        assert receiver.fileno() >= 0
        assert receiver.take() == b""
        assert receiver.take_marked() == (b"", [])
        assert receiver.take_reports() == []
        counters = receiver.counters()
        assert (counters.packets, counters.bytes, counters.lost) == (0, 0, 0)
        assert counters.last_packet_ns == 0
        assert [link.port for link in counters.links] == list(ports)
        assert all(link.peer is None and link.packets == 0 for link in counters.links)
    finally:
        receiver.close()
    receiver.close()
    with pytest.raises(HostError):
        receiver.counters()


def test_the_first_report_comes_early_and_the_others_seldom(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    receiver = Receiver(free_udp_ports(), PSK)
    receiver.start()
    try:
        reports: list[dict[str, object]] = [{"sender-stats": {}}]
        assert receiver._context is not None
        monkeypatch.setattr(receiver._context, "take_reports", lambda: reports)
        assert receiver.take_reports() == []
        assert receiver._report_ms == FIRST_REPORT_MS
        empty = {"stats": {"avg_buffer_time": 0}}
        reports.append({"receiver-stats": {"flowinstant": empty}})
        assert receiver.take_reports() == [empty]
        assert receiver._report_ms == FIRST_REPORT_MS
        useful = {"stats": {"avg_buffer_time": 990}}
        reports.append({"receiver-stats": {"flowinstant": useful}})
        assert receiver.take_reports() == [empty, useful]
        assert receiver._report_ms == REPORT_MS
    finally:
        receiver.close()
