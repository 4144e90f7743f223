"""A bond whose links leave by interfaces of their own: a field with two modems, each with its own
way to one receiver.

    field ──to-one──► one ──┐
          └─to-two──► two ──┴─► studio
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.children import Child, until
from support.netns import Namespace, namespace, wire

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root may make network namespaces and interfaces"
)

PSK = "a-psk-of-the-tests-0123"
HOST = "10.99.0.1"
"""The receiver, reachable over both modems."""
PORTS = (5000, 5002)
RATE = 200
"""Packets a second."""

IN_THE_FIELD = """
import asyncio, json, os, sys
from strata.bond import Bond, Way
from strata.secrets import Secret

order = json.loads(sys.argv[1])

async def main():
    bond = Bond(Secret(order["psk"]), aes_bits=256, buffer_ms=1000, name="field")
    loop = asyncio.get_running_loop()
    changes = []
    loop.add_reader(0, lambda: changes.extend(os.read(0, 4096).decode().splitlines()))
    for id, port, interface in order["ways"]:
        await bond.add(Way(id, order["host"], port, interface=interface))
    begin, written, told = loop.time(), 0, 0
    while True:
        while written < (loop.time() - begin) * order["rate"]:
            payload = b"\\x47" + written.to_bytes(4, "big") + bytes(1311)
            bond.write(payload, is_key=written % 50 == 0)
            written += 1
        bond.pump()
        if loop.time() >= told:
            told = loop.time() + 0.05
            links = {id: link.sent_packets for id, link in bond.flow.links.items()}
            states = {each.id: each.state for each in bond.reports()}
            dropped = bond.flow.counters.dropped
            print(json.dumps([written, dropped, links, states]), flush=True)
        while changes:
            word = changes.pop(0).split()
            if word[0] == "remove":
                bond.remove(word[1])
            else:
                await bond.add(Way(word[1], order["host"], int(word[2]), interface=word[3]))
        await asyncio.sleep(0.01)

asyncio.run(main())
"""

IN_THE_STUDIO = """
import json, select, sys
from strata.rist import Receiver
from strata.secrets import Secret

order = json.loads(sys.argv[1])
receiver = Receiver(order["ports"], Secret(order["psk"]), bind=order["host"])
receiver.start()
poll = select.poll()
poll.register(receiver.fileno(), select.POLLIN)
while True:
    poll.poll(1000)
    receiver.take()
    found = receiver.counters()
    peers = [link.peer for link in found.links]
    print(json.dumps([found.packets, found.lost, peers]), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the field said last."""

    written: int
    dropped: int
    sent: dict[str, int]
    states: dict[str, str]


class Program(Child):
    """One of the two above; prints lines of JSON."""

    def last(self) -> Any:
        said = self.said()
        assert self.status is None, said[-2000:]
        # The last may be cut; and between them stands what it logs.
        whole = [line for line in said.splitlines()[:-1] if line.startswith("[")]
        return json.loads(whole[-1]) if whole else None


@dataclass(frozen=True, slots=True)
class Place:
    """All of it, on the air."""

    field: Namespace
    one: Namespace
    two: Namespace
    sender: Program
    receiver: Program
    orders: int

    def seen(self) -> Seen:
        found = self.sender.last()
        return Seen(*found) if found is not None else Seen(0, 0, {}, {})

    async def passed(self, packets: int) -> None:
        """Returns when so many more were written."""
        end = self.seen().written + packets
        await until(lambda: self.seen().written >= end, 30.0, f"{packets} packets more")

    def order(self, line: str) -> None:
        os.write(self.orders, line.encode() + b"\n")

    async def sent(self) -> dict[str, int]:
        """Packets that left by each interface."""
        return {name: await self.field.sent_packets(f"to-{name}") for name in ("one", "two")}

    def lost(self) -> int:
        return int(self.receiver.last()[1])


@asynccontextmanager
async def place(folder: Path, interfaces: tuple[str | None, str | None]) -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        field, one, two, studio = [
            await stack.enter_async_context(namespace(name, folder))
            for name in ("field", "one", "two", "studio")
        ]
        for number, modem in ((1, one), (2, two)):
            await wire(modem, field, f"10.99.{number}")
            await wire(modem, studio, f"10.99.{100 + number}")
            await studio.ip(
                "route", "add", f"10.99.{number}.0/24", "via", f"10.99.{100 + number}.1"
            )
            await modem.ip("route", "add", f"{HOST}/32", "via", f"10.99.{100 + number}.2")
            # The first modem is the way to everywhere.
            await default_route(field, number)
        await studio.ip("address", "add", f"{HOST}/32", "dev", "lo")
        receiver = await stack.enter_async_context(
            started(
                studio,
                IN_THE_STUDIO,
                {"ports": PORTS, "psk": PSK, "host": HOST},
                folder / "studio.txt",
            )
        )
        await until(lambda: "\n" in receiver.said(), 10.0, "the receiver listens")
        made = [
            (str(n), port, i) for n, (port, i) in enumerate(zip(PORTS, interfaces, strict=True))
        ]
        order = {"psk": PSK, "host": HOST, "rate": RATE, "ways": made}
        pipe, orders = os.pipe()
        stack.callback(os.close, orders)
        with os.fdopen(pipe) as stdin:
            sender = await stack.enter_async_context(
                started(field, IN_THE_FIELD, order, folder / "field.txt", stdin.fileno())
            )
        found = Place(field, one, two, sender, receiver, orders)
        await until(
            lambda: list(found.seen().states.values()) == ["up", "up"], 10.0, "both links are up"
        )
        yield found


async def default_route(field: Namespace, number: int) -> None:
    name = ("one", "two")[number - 1]
    await field.ip(
        *("route", "add", "default", "via", f"10.99.{number}.1"),
        *("dev", f"to-{name}", "metric", str(100 * number)),
    )


@asynccontextmanager
async def started(
    where: Namespace, script: str, order: object, log: Path, stdin: int | None = None
) -> AsyncIterator[Program]:
    command = [*where.inside, sys.executable, "-I", "-c", script, json.dumps(order)]
    if stdin is not None:
        # A shell that becomes the program: Child gives its children no descriptors.
        command = ["sh", "-c", f'exec "$0" "$@" </proc/{os.getpid()}/fd/{stdin}', *command]
    async with Program(command, log) as program:
        if stdin is not None:
            await until(lambda: program.said(), 10.0, "it has opened its standard input")
        yield program


async def test_each_link_leaves_by_its_own_interface(tmp_path: Path) -> None:
    async with place(tmp_path, ("to-one", "to-two")) as here:
        await here.passed(RATE)
        before, seen = await here.sent(), here.seen()
        await here.passed(4 * RATE)
        after, then = await here.sent(), here.seen()
        for name, id in (("one", "0"), ("two", "1")):
            media = then.sent[id] - seen.sent[id]
            packets = after[name] - before[name]
            assert media > RATE, "it has a share"
            # What the kernel counted: the media, 20 echo requests and some answers a second.
            assert media <= packets + 40
            assert packets < media + 400
        assert here.receiver.last()[2] == ["10.99.1.2", "10.99.2.2"]
        assert here.lost() == 0


async def test_without_an_interface_all_leaves_by_the_first(tmp_path: Path) -> None:
    """So it is the binding that splits them."""
    async with place(tmp_path, (None, None)) as here:
        before = await here.sent()
        await here.passed(2 * RATE)
        after = await here.sent()
        assert after["one"] - before["one"] > 2 * RATE
        assert after["two"] - before["two"] < 10
        assert here.receiver.last()[2] == ["10.99.1.2", "10.99.1.2"]


async def test_an_interface_that_goes_down_is_left_and_used_again(tmp_path: Path) -> None:
    async with place(tmp_path, ("to-one", "to-two")) as here:
        await here.passed(RATE)
        await here.field.ip("link", "set", "to-one", "down")
        await until(lambda: here.seen().states["0"] == "silent", 3.0, "the link is left")
        left = here.seen().sent["0"]
        await here.passed(RATE)
        assert here.seen().sent["0"] == left
        await here.field.ip("link", "set", "to-one", "up")
        await default_route(here.field, 1)
        await until(lambda: here.seen().states["0"] == "up", 5.0, "the link is back")
        # What it was used for before is not believed at once; it is tried with more and more.
        await until(lambda: here.seen().sent["0"] > left + RATE / 4, 20.0, "it is used")
        assert (here.lost(), here.seen().dropped) == (0, 0)


async def test_a_modem_that_is_pulled_out_costs_nothing_and_comes_back_with_a_new_link(
    tmp_path: Path,
) -> None:
    async with place(tmp_path, ("to-one", "to-two")) as here:
        await here.passed(RATE)
        await here.field.ip("link", "delete", "to-one")
        await until(lambda: here.seen().states["0"] == "silent", 3.0, "the link is left")
        await here.passed(RATE)
        await wire(here.one, here.field, "10.99.1")
        await default_route(here.field, 1)
        await here.passed(RATE)
        # The socket is bound to the interface that was, whatever the new one is called.
        assert here.seen().states["0"] == "silent"
        here.order("remove 0")
        here.order(f"add again {PORTS[0]} to-one")
        await until(lambda: here.seen().states.get("again") == "up", 5.0, "the link is up")
        await here.passed(2 * RATE)
        assert here.seen().sent["again"] > RATE / 4
        assert (here.lost(), here.seen().dropped) == (0, 0)
