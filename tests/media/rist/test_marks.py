"""Where in the bytes something is missing."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from strata.rist import Link, Mark, Receiver, ReceiverTuning, Sender
from strata.rist import receiver as receiver_module
from strata.secrets import Secret
from support.children import readable, until
from support.ports import free_udp_port, free_udp_ports
from support.rist import join, numbers_in, packet, running, send
from support.udp_relay import LoseMedia, UdpRelay

PSK = Secret("a-psk-of-the-tests-0123")
NEVER_ASKED = ReceiverTuning(buffer_ms=300, reorder_ms=5_000)
"""What is lost stays lost: by the time of the first request it would come too late."""


async def collect_marked(
    receiver: Receiver, last: int, deadline_s: float = 20.0
) -> tuple[list[int], list[Mark]]:
    """Every number up to the ``last``, and the marks as if all had been one batch.

    Raises:
        TimeoutError: the last did not come.
    """
    media, marks = b"", list[Mark]()
    async with asyncio.timeout(deadline_s):
        while last not in numbers_in(media):
            await readable(receiver.fileno(), deadline_s)
            batch, found = receiver.take_marked()
            offsets = [mark.offset for mark in found]
            assert offsets == sorted(set(offsets))
            assert all(offset <= len(batch) for offset in offsets)
            marks += [Mark(len(media) + m.offset, m.missing, m.new_flow) for m in found]
            media += batch
    return numbers_in(media), marks


def jumps(numbers: list[int]) -> list[Mark]:
    """What the numbers themselves say of holes; they are repeated only where :func:`join` did."""
    return [
        Mark(188 * (index + 1), after - before - 1, False)
        for index, (before, after) in enumerate(pairwise(numbers))
        if after - before > 1
    ]


@pytest.mark.parametrize("lost", [(60,), (50, 51, 52, 120, 200, 201), tuple(range(30, 250, 2))])
async def test_a_mark_is_where_the_numbers_jump(lost: tuple[int, ...]) -> None:
    receiver = Receiver([free_udp_port()], PSK, tuning=NEVER_ASKED)
    async with UdpRelay(receiver.ports[0]) as relay:
        sender = Sender([Link("127.0.0.1", relay.port)], PSK)
        with running(receiver, sender):
            await join(receiver, sender, links=1)
            await asyncio.sleep(0.3)  # what join sent is past the relay
            receiver.take()
            relay.there = LoseMedia(*lost)
            await send(sender, 300)
            numbers, marks = await collect_marked(receiver, last=299)
            assert set(range(300)) - set(numbers) == set(lost)
            assert marks == jumps(numbers)
            assert sum(mark.missing for mark in marks) == len(lost)
            assert receiver.counters().lost == len(lost)


async def test_of_what_is_whole_nothing_is_marked() -> None:
    ports = free_udp_ports()
    receiver = Receiver(ports, PSK, tuning=ReceiverTuning(buffer_ms=300))
    sender = Sender([Link("127.0.0.1", port) for port in ports], PSK)
    with running(receiver, sender):
        await join(receiver, sender)
        await send(sender, 300)
        _, marks = await collect_marked(receiver, last=299)
        assert marks == []


async def test_beyond_the_limit_the_last_mark_counts_for_all() -> None:
    receiver = Receiver([free_udp_port()], PSK, tuning=NEVER_ASKED)
    async with UdpRelay(receiver.ports[0]) as relay:
        sender = Sender([Link("127.0.0.1", relay.port)], PSK)
        with running(receiver, sender):
            await join(receiver, sender, links=1)
            await asyncio.sleep(0.3)
            receiver.take()
            relay.there = LoseMedia(*range(10, 610, 2))
            await send(sender, 620)
            # Taken at once: these are the marks of one batch.
            await until(lambda: receiver.counters().lost >= 300, 20.0, "300 are missing")
            media, marks = receiver.take_marked()
            assert len(marks) == 256
            assert marks[:-1] == jumps(numbers_in(media))[:255]
            assert sum(mark.missing for mark in marks) == 300
            assert receiver.take_marked()[1] == []


async def test_another_sender_is_marked_where_it_takes_over() -> None:
    receiver = Receiver(free_udp_ports(), PSK, tuning=ReceiverTuning(buffer_ms=300))
    sender = Sender([Link("127.0.0.1", port) for port in receiver.ports], PSK)
    with running(receiver):
        with running(sender):
            await join(receiver, sender)
            await send(sender, 100)
            await collect_marked(receiver, last=99)
        again = Sender(sender.links, PSK)
        with running(again):
            media, marks, number = b"", list[Mark](), 1000
            async with asyncio.timeout(20.0):
                while not any(found >= 1000 for found in numbers_in(media)):
                    again.write(packet(number))
                    number += 1
                    await asyncio.sleep(0.01)
                    batch, found = receiver.take_marked()
                    marks += [Mark(len(media) + m.offset, m.missing, m.new_flow) for m in found]
                    media += batch
        numbers = numbers_in(media)
        first = next(index for index, found in enumerate(numbers) if found >= 1000)
        assert [mark for mark in marks if mark.new_flow] == [Mark(188 * first, 0, True)]


async def test_what_nobody_fetched_is_marked_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver_module, "INBOX_BYTES", 100 * 188)
    receiver = Receiver(free_udp_ports(), PSK, tuning=ReceiverTuning(buffer_ms=300))
    sender = Sender([Link("127.0.0.1", port) for port in receiver.ports], PSK)
    with running(receiver, sender):
        await join(receiver, sender)
        await send(sender, 200)
        await until(lambda: receiver.counters().packets >= 200, 20.0, "200 packets came")
        media, marks = receiver.take_marked()
        assert len(media) == 100 * 188
        assert marks == [Mark(100 * 188, receiver.counters().overflowed, False)]


def counted(pid: int, counter: int, *, says_so: bool = False, payload: bool = True) -> bytes:
    """A packet with a continuity counter; ``says_so``: the sender tells of a discontinuity."""
    control = (0x20 if says_so else 0) | (0x10 if payload else 0) | counter % 16
    field = b"\x01\x80" if says_so else b""
    head = bytes((0x47, pid >> 8, pid & 0xFF, control)) + field
    return head.ljust(188, b"\0")


async def test_what_the_sender_was_not_given_is_marked_by_the_counters() -> None:
    port = free_udp_port()
    receiver = Receiver([port], PSK, bind="127.0.0.1", batch_ms=400)
    sender = Sender([Link("127.0.0.1", port)], PSK)
    pieces = [
        *(counted(0x100, n) for n in (1, 2, 3)),
        counted(0x100, 3),  # a copy
        *(counted(0x101, n) for n in (9, 10)),
        counted(0x1FFF, 7),
        counted(0x1FFF, 3),
        counted(0x100, 9, payload=False),
        counted(0x100, 4),
        counted(0x101, 5, says_so=True),
        counted(0x101, 6),
        counted(0x100, 7),  # 5 and 6 are missing
        counted(0x100, 8),
    ]
    with running(receiver, sender):
        await join(receiver, sender, 1)
        receiver.take_marked()
        for piece in pieces:
            sender.write(piece)
        found, marks = b"", []
        async with asyncio.timeout(20.0):
            while counted(0x100, 8) not in found:
                await readable(receiver.fileno(), 20.0)
                taken, seen = receiver.take_marked()
                marks += [Mark(len(found) + m.offset, m.missing, m.new_flow) for m in seen]
                found += taken
    at = found.index(counted(0x100, 7))
    assert marks == [Mark(at, 0, new_flow=False)]
