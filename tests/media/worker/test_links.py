"""A link that is cut in one direction or in both, with the real binding."""

from __future__ import annotations

import asyncio
import time

import pytest

from strata.rist import Link, Receiver, ReceiverTuning, Sender
from strata.secrets import Secret
from strata.wire import worker as wire
from strata.worker.links import LinkWatch
from support.ports import free_udp_ports
from support.rist import join, packet, running
from support.udp_relay import UdpRelay, never

PSK = Secret("a-psk-of-the-tests-0123")


async def keep_sending(sender: Sender, receiver: Receiver) -> None:
    while True:
        sender.write(packet(1))
        receiver.take()
        await asyncio.sleep(0.01)


async def first_change(watch: LinkWatch, receiver: Receiver, deadline_s: float) -> wire.Error:
    async with asyncio.timeout(deadline_s):
        while True:
            for error in watch.changes(receiver.counters().links, time.monotonic()):
                return error
            await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    ("there_too", "code", "is_connected"),
    [(False, "return_path_dead", True), (True, "link_down", False)],
)
async def test_the_direction_that_is_cut_has_a_name(
    there_too: bool, code: str, is_connected: bool
) -> None:
    receiver = Receiver(free_udp_ports(), PSK, tuning=ReceiverTuning(buffer_ms=300))
    watch = LinkWatch()
    async with UdpRelay(receiver.ports[0]) as relay:
        sender = Sender([Link("127.0.0.1", port) for port in (relay.port, receiver.ports[1])], PSK)
        with running(receiver, sender):
            await join(receiver, sender)
            async with asyncio.TaskGroup() as group:
                sending = group.create_task(keep_sending(sender, receiver))
                await asyncio.sleep(1.0)
                states = [
                    v.state for v in watch.verdicts(receiver.counters().links, time.monotonic())
                ]
                assert states == ["up", "up"]
                relay.back = never
                if there_too:
                    relay.there = never
                error = await first_change(watch, receiver, 10.0)
                sending.cancel()
            assert error.code == code
            assert str(receiver.ports[0]) in error.message
            one, two = receiver.counters().links
            assert (one.connected_ns > 0, two.connected_ns > 0) == (is_connected, True)
