"""Numbered packets through the binding, to see which of them come out, and in what order."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import contextmanager

from strata.rist import Receiver, Sender
from support.children import readable, until

MOST = 10_000_000
FOREIGN = 1_000_000
"""Numbers from here on are those of somebody who should not be heard."""


def packet(number: int) -> bytes:
    """One transport-stream packet that carries a number."""
    return b"\x47" + number.to_bytes(4, "big") + bytes(183)


def numbers_in(media: bytes) -> list[int]:
    """Those that were sent; null packets, which go out before the first, have none."""
    assert len(media) % 188 == 0
    found = (
        int.from_bytes(media[offset + 1 : offset + 5], "big")
        for offset in range(0, len(media), 188)
    )
    return [number for number in found if number < MOST]


@contextmanager
def running(*ends: Receiver | Sender) -> Iterator[None]:
    """Started inside, closed afterwards."""
    started: list[Receiver | Sender] = []
    try:
        for end in ends:
            end.start()
            started.append(end)
        yield
    finally:
        for end in reversed(started):
            end.close()


async def connected(receiver: Receiver, links: int = 2, deadline_s: float = 20.0) -> None:
    """Returns when that many ports have a sender."""
    await until(
        lambda: sum(link.peer is not None for link in receiver.counters().links) >= links,
        deadline_s,
        f"{links} links are connected",
    )


async def join(receiver: Receiver, sender: Sender, links: int = 2) -> None:
    """Returns when that many links are connected and something has come out.

    Until then the number 0 is sent again and again: librist 0.2.7 never delivers the first
    packet of a flow, nor those that were sent before the sender's side knew of the handshake.
    """
    await connected(receiver, links)
    async with asyncio.timeout(20.0):
        while receiver.counters().packets == 0:
            sender.write(packet(0))
            await asyncio.sleep(0.01)


async def send(sender: Sender, count: int, *, first: int = 0, pause_s: float = 0.004) -> None:
    """Numbers from ``first`` on, one packet each."""
    for number in range(first, first + count):
        sender.write(packet(number))
        await asyncio.sleep(pause_s)


async def collect(receiver: Receiver, last: int, deadline_s: float = 20.0) -> list[int]:
    """Every number that comes out, up to the ``last``.

    Raises:
        TimeoutError: that did not come.
    """
    found: list[int] = []
    async with asyncio.timeout(deadline_s):
        while last not in found:
            await readable(receiver.fileno(), deadline_s)
            found += numbers_in(receiver.take())
    return found


async def overhear(receiver: Receiver, seconds: float) -> list[int]:
    """Every number that comes out within that time."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    found: list[int] = []
    while (left_s := end - loop.time()) > 0:
        try:
            await readable(receiver.fileno(), left_s)
        except TimeoutError:
            break
        found += numbers_in(receiver.take())
    return found


def without_repeats(numbers: list[int]) -> list[int]:
    """What :func:`join` sent came more than once."""
    return [number for number, _ in itertools.groupby(numbers)]
