from __future__ import annotations

from typing import Any

import pytest

from strata.errors import BadArguments
from strata.sender.orders import check_config, check_move, check_start
from strata.wire import agent as wire

PSK = "canary-psk-of-the-tests"


def start(**more: Any) -> wire.StreamStart:
    told: dict[str, Any] = {
        "stream_id": "str_1",
        "source": wire.Source("test"),
        "encoder": wire.Encoder(),
        "destinations": ["rist://192.0.2.1:15000", "rist://[2001:db8::1]:15002"],
        "psk": PSK,
    }
    return wire.StreamStart(**told | more)


def test_an_order_as_control_gives_it() -> None:
    check_start(start())
    check_move(wire.StreamMove("str_1", ["rist://host.example:15000"], PSK))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"stream_id": ""}, "the id"),
        ({"stream_id": "x" * 65}, "the id"),
        ({"stream_id": "a\nb"}, "the id"),
        ({"destinations": []}, "0 receivers"),
        ({"destinations": ["rist://h:1"] * 33}, "33 receivers"),
        ({"psk": "short"}, "5 bytes"),
        ({"psk": "x" * 128}, "128 bytes"),
        ({"aes_type": 192}, "aes_type 192"),
        ({"buffer_ms": 10}, "buffer_ms 10"),
        ({"buffer_ms": 10**9}, "buffer_ms"),
    ],
)
def test_what_cannot_be_carried_out(more: dict[str, Any], words: str) -> None:
    with pytest.raises(BadArguments, match=words) as raised:
        check_start(start(**more))
    assert PSK not in raised.value.message


@pytest.mark.parametrize(
    "destination",
    [
        *("", "rist", "rist://", "rist://:15000", "rist://h", "rist://h:0", "rist://h:65536"),
        *("rist://h:1/x", "rist://h:1?a", "rist://h:1#a", "rist://u@h:1", "udp://h:1"),
        *("rist://[::1:1", "h:1", "rist:h:1"),
    ],
)
def test_what_is_no_receiver(destination: str) -> None:
    with pytest.raises(BadArguments, match="is no receiver"):
        check_start(start(destinations=[destination]))
    with pytest.raises(BadArguments, match="is no receiver"):
        check_move(wire.StreamMove("str_1", [destination], PSK))


@pytest.mark.parametrize(("status_s", "stats_s"), [(10.0, 1.0), (1.0, 0.2), (300.0, 60.0)])
def test_how_often_it_may_report(status_s: float, stats_s: float) -> None:
    check_config(wire.Config("Van", status_s, stats_s))


@pytest.mark.parametrize(
    ("status_s", "stats_s", "name"),
    [
        (0.0, 1.0, "status_interval_s"),
        (1e9, 1.0, "status_interval_s"),
        (float("nan"), 1.0, "status_interval_s"),
        (10.0, 0.0, "stats_interval_s"),
        (10.0, -1.0, "stats_interval_s"),
        (10.0, float("inf"), "stats_interval_s"),
    ],
)
def test_what_would_be_too_much_or_never(status_s: float, stats_s: float, name: str) -> None:
    with pytest.raises(BadArguments, match=name):
        check_config(wire.Config("Van", status_s, stats_s))
