"""The sender on links of its own: a namespace with two ways out, and one receiver."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from strata.rist import Link, Receiver, ReceiverTuning, Sender
from strata.secrets import Secret
from support.children import Child, output_of, until
from support.ports import free_udp_ports
from support.rist import collect, connected, join, running, send, without_repeats

PSK = Secret("a-psk-of-the-tests-0123")
QUICK = ReceiverTuning(buffer_ms=300)

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root may make network namespaces and interfaces"
)

IN_THE_FIELD = """
import sys, time
from strata.rist import Link, Sender
from strata.secrets import Secret

host, psk, *links = sys.argv[1:]
made = [link.split(":") for link in links]
sender = Sender(
    [Link(host, int(port), interface=interface or None) for port, interface in made], Secret(psk)
)
sys.stdin.readline()
sender.start()
time.sleep(1.0)
for number in range(10_000):
    sender.write(b"\\x47" + number.to_bytes(4, "big") + bytes(183))
    time.sleep(0.005)
"""


@dataclass(frozen=True, slots=True)
class Field:
    """A namespace with two interfaces; the first is the way to everywhere."""

    pid: int
    host: str
    """Address of the receiver, reachable by both ways."""
    names: tuple[str, str]
    addresses: tuple[str, str]


@asynccontextmanager
async def field(tmp_path: Path) -> AsyncIterator[Field]:
    """Lives as long as the process that holds it: its interfaces go with it."""
    number = os.getpid() % 200 + 20
    host = f"10.213.{number}.1"
    async with Child(["unshare", "--net", "sleep", "120"], tmp_path / "namespace.log") as child:
        own = Path("/proc/self/ns/net").readlink()
        await until(
            lambda: Path(f"/proc/{child.pid}/ns/net").readlink() != own, 10.0, "a namespace exists"
        )
        inside = ("nsenter", "-t", str(child.pid), "-n", "ip")
        await output_of(*inside, "link", "set", "lo", "up")
        names, addresses = [], []
        for way in (1, 2):
            outer, inner = f"st{child.pid}.{way}", f"way{way}"
            near, far = f"10.213.{number}.{way * 8 + 1}", f"10.213.{number}.{way * 8 + 2}"
            await output_of(
                *("ip", "link", "add", outer, "type", "veth"),
                *("peer", "name", inner, "netns", str(child.pid)),
            )
            await output_of("ip", "address", "add", f"{near}/30", "dev", outer)
            await output_of("ip", "link", "set", outer, "up")
            await output_of(*inside, "address", "add", f"{far}/30", "dev", inner)
            await output_of(*inside, "link", "set", inner, "up")
            await output_of(
                *(*inside, "route", "add", "default", "via", near),
                *("dev", inner, "metric", str(way * 100)),
            )
            names.append(inner)
            addresses.append(far)
            if way == 1:
                await output_of("ip", "address", "add", f"{host}/32", "dev", outer)
        yield Field(child.pid, host, (names[0], names[1]), (addresses[0], addresses[1]))


async def peers_seen(
    receiver: Receiver, place: Field, interfaces: tuple[str, str], folder: Path
) -> list[str | None]:
    """From which addresses a sender in the field reaches the ports, and that all arrives."""
    sender = Child(
        [
            *("nsenter", "-t", str(place.pid), "-n"),
            *(sys.executable, "-I", "-c", IN_THE_FIELD, place.host, PSK.reveal()),
            *(f"{port}:{name}" for port, name in zip(receiver.ports, interfaces, strict=True)),
        ],
        folder / "sender.log",
        stdin=b"go\n",
    )
    async with sender:
        await connected(receiver)
        found = await collect(receiver, last=200)
        assert found == list(range(found[0], found[-1] + 1))
        links = receiver.counters().links
        assert all(link.packets > 30 for link in links)
        return [link.peer for link in links]


@needs_root
async def test_each_link_leaves_by_its_own_interface(tmp_path: Path) -> None:
    async with field(tmp_path) as place:
        receiver = Receiver(free_udp_ports(), PSK, tuning=QUICK)
        with running(receiver):
            one, two = await peers_seen(receiver, place, place.names, tmp_path)
        assert (one, two) == place.addresses
        receiver = Receiver(free_udp_ports(), PSK, tuning=QUICK)
        with running(receiver):
            one, two = await peers_seen(receiver, place, ("", ""), tmp_path)
        assert one == two == place.addresses[0]


async def test_reports_come_for_each_link() -> None:
    ports = free_udp_ports()
    receiver = Receiver(ports, PSK, tuning=QUICK)
    sender = Sender([Link("localhost", port) for port in ports], PSK)
    with running(receiver, sender):
        await join(receiver, sender)
        sending = asyncio.create_task(send(sender, 2_000))
        reports: list[dict[str, object]] = []
        async with asyncio.timeout(20.0):
            while len({report["id"] for report in reports}) < 2:
                await asyncio.sleep(0.05)
                receiver.take()
                reports += sender.take_reports()
        sending.cancel()
        await asyncio.wait({sending})


async def test_a_weight_that_is_changed_moves_the_packets() -> None:
    ports = free_udp_ports()
    receiver = Receiver(ports, PSK, tuning=QUICK)
    sender = Sender([Link("127.0.0.1", port) for port in ports], PSK)
    with running(receiver, sender):
        await join(receiver, sender)
        sender.set_weight(0, 100)
        sender.set_weight(1, 5)
        await send(sender, 420)
        assert without_repeats(await collect(receiver, last=419)) == list(range(420))
        one, two = receiver.counters().links
        assert one.packets > 5 * two.packets > 0
