"""A port of ours is ours alone, whoever the others are."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from strata.errors import PortTaken
from strata.rist import Link, Receiver, ReceiverTuning, Sender
from strata.secrets import Secret
from support.children import Child, until
from support.ports import free_udp_ports, udp_port_is_bound
from support.rist import collect, join, running, send, without_repeats

PSK = Secret("a-psk-of-the-tests-0123")
QUICK = ReceiverTuning(buffer_ms=300)


def debian_receiver(port: int, folder: Path) -> Child:
    url = f"rist://@0.0.0.0:{port}?secret={PSK.reveal()}&aes-type=256"
    return Child(
        ["ristreceiver", "-p", "1", "-i", url, "-o", "udp://127.0.0.1:9"],
        folder / "ristreceiver.log",
    )


@asynccontextmanager
async def holder(name: str, port: int, folder: Path) -> AsyncIterator[None]:
    """Somebody who has the port."""
    if name == "another receiver of ours":
        with running(Receiver([port], PSK)):
            yield
    elif name == "Debian's ristreceiver":
        async with debian_receiver(port, folder):
            await until(lambda: udp_port_is_bound(port), 10.0, "ristreceiver listens")
            yield
    else:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            if name == "a socket that shares":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("0.0.0.0", port))
            yield


@pytest.mark.parametrize(
    "name",
    [
        *("a plain socket", "a socket that shares"),
        *("Debian's ristreceiver", "another receiver of ours"),
    ],
)
async def test_a_port_that_is_held_is_refused_and_the_others_let_go(
    name: str, tmp_path: Path
) -> None:
    free, held = free_udp_ports()
    receiver = Receiver([free, held], PSK, tuning=QUICK)
    async with holder(name, held, tmp_path):
        with pytest.raises(PortTaken) as caught:
            receiver.start()
        assert caught.value.port == held
        assert str(held) in caught.value.message
        assert not udp_port_is_bound(free)
    with running(receiver):
        assert udp_port_is_bound(free)
        assert udp_port_is_bound(held)


async def test_debians_receiver_cannot_take_a_port_of_ours(tmp_path: Path) -> None:
    ports = free_udp_ports()
    receiver = Receiver(ports, PSK, tuning=QUICK)
    sender = Sender([Link("127.0.0.1", port) for port in ports], PSK)
    with running(receiver, sender):
        await join(receiver, sender)
        async with debian_receiver(ports[1], tmp_path) as rival:
            await until(
                lambda: "Address already in use" in rival.said(), 10.0, "ristreceiver gives up"
            )
            await send(sender, 200)
            found = await collect(receiver, last=199)
        assert without_repeats(found) == list(range(200))


@pytest.mark.parametrize("reuse", [False, True])
def test_no_socket_can_share_a_port_of_ours(reuse: bool) -> None:
    ports = free_udp_ports()
    with running(Receiver(ports, PSK)):
        for port in ports:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
                with pytest.raises(OSError, match="in use"):
                    sock.bind(("0.0.0.0", port))
