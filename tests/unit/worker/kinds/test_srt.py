from __future__ import annotations

import socket
from typing import Any

import pytest

from strata.errors import (
    DestinationError,
    DestinationRefused,
    DestinationUnreachable,
)
from strata.wire import forward_url
from strata.worker import kinds
from strata.worker.egress import Rate
from strata.worker.formats import Program
from strata.worker.kinds.srt import OVERHEAD_PERCENT, Srt
from strata.worker.ts_keys import Packets

PASSPHRASE = "a-passphrase-of-the-tests"
CALLER = (
    f"srt://media.example:9000?passphrase={PASSPHRASE}&pbkeylen=32&streamid=live/one&latency=350"
)
LISTENER = "srt://:9000?mode=listener"


def output(url: str, share_kbps: int = 0) -> Srt:
    return Srt(forward_url.parse(url), Program(None, None), share_kbps, lambda error: None)


def property_of(made: Srt, name: str) -> Any:
    return made._sink.get_property(name)


def measured(kbps: int) -> Rate:
    """A rate that has been measured."""
    rate = Rate()
    for number in range(21):
        rate.add(number / 10, kbps * 1000 // 80)
    return rate


def test_it_is_what_srt_urls_get() -> None:
    assert kinds.of(forward_url.parse("srt://host:9000")) is Srt
    assert (Srt.FEED, Srt.NETWORKED, Srt.RIGID, Srt.TAKES_BURSTS) == ("packets", True, True, False)
    assert Srt.OVERHEAD == 1.25


async def test_one_that_calls_is_set_up_as_the_url_says() -> None:
    made = output(CALLER)
    uri = property_of(made, "uri")
    assert uri.startswith("srt://media.example:9000?")
    assert PASSPHRASE not in uri
    assert property_of(made, "mode").value_nick == "caller"
    assert property_of(made, "latency") == 350
    assert property_of(made, "streamid") == "live/one"
    assert property_of(made, "pbkeylen").value_nick == "32"
    assert property_of(made, "wait-for-connection")
    assert not property_of(made, "auto-reconnect")
    assert made.pipeline.takes("packets")
    assert made.bytes_out() == 0
    assert made.idle() is None
    await made.stop()


async def test_repairs_are_bounded() -> None:
    made = output("srt://media.example:9000")
    uri = property_of(made, "uri")
    assert f"oheadbw={OVERHEAD_PERCENT}" in uri
    assert "maxbw=0" in uri
    await made.stop()


async def test_one_that_is_called_waits_and_says_so() -> None:
    made = output("srt://127.0.0.1:9000?mode=listener")
    assert property_of(made, "mode").value_nick == "listener"
    assert property_of(made, "localport") == 9000
    assert property_of(made, "localaddress") == "127.0.0.1"
    assert not property_of(made, "wait-for-connection")
    assert made.idle() == "waiting for a caller on UDP port 9000"
    assert made.copies() == 1
    await made.stop()


async def test_one_that_is_called_on_every_address() -> None:
    made = output(LISTENER)
    assert property_of(made, "localaddress") == "0.0.0.0"
    await made.stop()


async def test_callers_are_counted() -> None:
    made = output(LISTENER)
    for _ in range(2):
        made._count_callers(None, 0, None, 1)
    assert (made.idle(), made.copies()) == (None, 2)
    for _ in range(2):
        made._count_callers(None, 0, None, -1)
    assert made.idle() is not None
    assert made.copies() == 1
    await made.stop()


@pytest.mark.parametrize(
    ("callers", "share_kbps", "may"),
    [(0, 1, True), (1, 0, True), (1, 2500, True), (1, 2499, False), (2, 3750, True)],
)
async def test_a_caller_is_taken_as_far_as_the_share_goes(
    callers: int, share_kbps: int, may: bool, caplog: pytest.LogCaptureFixture
) -> None:
    made = output(LISTENER, share_kbps)
    made._pushed = measured(1000)
    made._callers = callers
    assert made._may_call(None, None, "") is may
    assert ("a caller was turned away" in caplog.text) is not may
    await made.stop()


async def test_what_it_is_given_is_measured() -> None:
    made = output("srt://media.example:9000")
    made.push_packets(Packets(bytes(188), True))
    assert made._pushed.kbps is None
    assert made.pipeline.queued_bytes("packets") == 188
    await made.stop()


async def test_a_port_of_another_program_is_told() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        made = output(f"srt://127.0.0.1:{port}?mode=listener")
        with pytest.raises(DestinationError, match=rf"UDP port {port}: Address already in use"):
            await made.start()
        await made.stop()


async def test_an_address_of_version_6() -> None:
    made = output("srt://[::1]:9000")
    assert property_of(made, "uri").startswith("srt://[::1]:9000?")
    await made.stop()


@pytest.mark.parametrize(
    ("debug", "kind", "says"),
    [
        (
            "gstsrtobject.c: Connection rejected: incorrect passphrase",
            DestinationRefused,
            "media.example:9000 has another passphrase",
        ),
        (
            "Password required or unexpected",
            DestinationRefused,
            "one side of the SRT connection to media.example:9000 has a passphrase",
        ),
        (
            "Failed to resolve host 'media.example'",
            DestinationUnreachable,
            "the name media.example does not resolve",
        ),
        (
            "Error on SRT socket: Connection timeout",
            DestinationUnreachable,
            "media.example:9000 does not answer SRT",
        ),
        (
            "Error on SRT socket: peer rejected",
            DestinationRefused,
            "media.example:9000 refused the SRT connection",
        ),
        (
            "Failed to write to SRT socket: Connection was broken or closed",
            DestinationError,
            "the SRT connection to media.example:9000 is gone",
        ),
        ("", DestinationError, "SRT to media.example:9000 failed: it broke; see the worker's"),
    ],
)
async def test_what_gstreamer_says_in_the_words_of_an_operator(
    debug: str, kind: type[DestinationError], says: str
) -> None:
    made = output(CALLER)
    error = made.explain("it broke", debug)
    assert type(error) is kind
    assert says in error.message
    assert PASSPHRASE not in error.message
    assert error.can_retry
    await made.stop()
