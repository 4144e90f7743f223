"""Real UDP on this machine; where minutes have to pass, in virtual time."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from strata.errors import BadArguments, PortTaken
from strata.impair import nat, relay, sockets
from strata.impair.address import Address
from strata.impair.path import Impairment, Outage
from strata.impair.relay import Relay
from support.children import until
from support.ports import free_udp_port
from support.udp import Peer
from support.virtual_time import in_virtual_time

ANY = ("127.0.0.1", 0)


async def heard(peer: Peer, count: int) -> list[bytes]:
    return [(await peer.hear())[0] for _ in range(count)]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_packets_pass_in_both_directions(host: str) -> None:
    async with (
        Peer(host, echoes=True) as receiver,
        Peer(host) as sender,
        Relay((host, 0), receiver.address) as link,
    ):
        sender.send(b"question", link.address)
        said, from_port = await receiver.hear()
        assert (said, (from_port,)) == (b"question", link.source_ports)
        assert await sender.hear() == (b"question", link.address.port)
        assert link.forward.counters.delivered == link.back.counters.delivered == 1
        assert (link.in_flight, link.unsent, link.refused) == (0, 0, 0)


async def test_a_name_stands_for_the_family_that_is_listened_on() -> None:
    async with (
        Peer() as receiver,
        Peer() as sender,
        Relay(ANY, ("localhost", receiver.address[1])) as link,
    ):
        sender.send(b"question", link.address)
        assert (await receiver.hear())[0] == b"question"


async def test_each_sender_has_its_own_source_port_and_its_own_answers() -> None:
    async with (
        Peer(echoes=True) as receiver,
        Peer() as one,
        Peer() as two,
        Relay(ANY, receiver.address) as link,
    ):
        one.send(b"one", link.address)
        two.send(b"two", link.address)
        assert (await one.hear())[0] == b"one"
        assert (await two.hear())[0] == b"two"
        ports = {(await receiver.hear())[1] for _ in range(2)}
        assert ports == set(link.source_ports)
        assert len(ports) == 2


async def test_after_a_rebinding_packets_flow_from_another_port() -> None:
    async with (
        Peer(echoes=True) as receiver,
        Peer() as sender,
        Relay(ANY, receiver.address) as link,
    ):
        sender.send(b"before", link.address)
        _, before = await receiver.hear()
        await sender.hear()
        link.rebind()
        sender.send(b"after", link.address)
        said, after = await receiver.hear()
        assert said == b"after"
        assert after != before
        assert link.source_ports == (after,)
        assert (await sender.hear())[0] == b"after"


async def test_what_is_in_flight_at_a_rebinding_leaves_from_the_new_port() -> None:
    async with (
        Peer() as receiver,
        Peer() as sender,
        Relay(ANY, receiver.address, Impairment(delay_ms=50)) as link,
    ):
        sender.send(b"late", link.address)
        await until(lambda: link.in_flight, 5.0, "the packet is on its way")
        link.rebind()
        assert await receiver.hear() == (b"late", link.source_ports[0])


@pytest.mark.parametrize("size", [0, 1, 1316, 1472, 9000, 65_507])
async def test_packets_of_any_size_pass(size: int) -> None:
    async with (
        Peer(echoes=True) as receiver,
        Peer() as sender,
        Relay(ANY, receiver.address) as link,
    ):
        sender.send(b"x" * size, link.address)
        assert (await sender.hear())[0] == b"x" * size


async def test_packets_come_when_they_are_due_in_that_order() -> None:
    loop = asyncio.get_running_loop()
    async with Peer() as receiver, Peer() as sender, Relay(ANY, receiver.address) as link:
        begin_s = loop.time()
        for number, (name, delay_ms) in enumerate(((b"last", 300), (b"first", 100), (b"mid", 200))):
            link.set(Impairment(delay_ms=delay_ms), "forward")
            sender.send(name, link.address)
            taken = number + 1
            await until(lambda: link.forward.counters.taken == taken, 5.0, "it is taken")  # noqa: B023
        assert await heard(receiver, 3) == [b"first", b"mid", b"last"]
        assert loop.time() - begin_s >= 0.3
        assert link.in_flight == 0


@in_virtual_time
async def test_an_outage_takes_its_direction_only() -> None:
    outages = [Outage(60, 120, "forward"), Outage(180, 240, "return"), Outage(300, 360)]
    async with (
        Peer(echoes=True) as receiver,
        Peer() as sender,
        Relay(ANY, receiver.address, Impairment(delay_ms=40), outages=outages) as link,
    ):
        found = []
        for _ in range(7):
            sender.send(b"?", link.address)
            await asyncio.sleep(1.0)
            found.append((receiver.heard_nothing(), sender.heard_nothing()))
            while not receiver.heard_nothing():
                await receiver.hear()
            while not sender.heard_nothing():
                await sender.hear()
            await asyncio.sleep(59.5)
    assert found == [
        (False, False),
        (True, True),
        (False, False),
        (False, True),
        (False, False),
        (True, True),
        (False, False),
    ]


@in_virtual_time
async def test_a_link_is_cut_and_restored_by_hand() -> None:
    async with (
        Peer(echoes=True) as receiver,
        Peer() as sender,
        Relay(ANY, receiver.address) as link,
    ):
        link.cut("return")
        sender.send(b"one", link.address)
        assert (await receiver.hear())[0] == b"one"
        await until(lambda: link.back.counters.lost, 5.0, "the answer is lost")
        link.cut()
        sender.send(b"two", link.address)
        await until(lambda: link.forward.counters.lost, 5.0, "the question is lost")
        link.restore()
        sender.send(b"three", link.address)
        assert (await receiver.hear())[0] == b"three"
        assert (await sender.hear())[0] == b"three"


@in_virtual_time
async def test_a_quiet_sender_loses_its_port() -> None:
    async with (
        Peer() as receiver,
        Peer() as sender,
        Relay(ANY, receiver.address, idle_s=60) as link,
    ):
        for _ in range(3):
            sender.send(b"alive", link.address)
            await asyncio.sleep(45)
        assert len(link.source_ports) == 1
        await asyncio.sleep(31)
        assert not link.source_ports
        sender.send(b"back", link.address)
        *_, (said, port) = [await receiver.hear() for _ in range(4)]
        assert (said, [port]) == (b"back", list(link.source_ports))


async def test_too_many_senders_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nat, "SENDERS", 1)
    async with (
        Peer(echoes=True) as receiver,
        Peer() as one,
        Peer() as two,
        Relay(ANY, receiver.address) as link,
    ):
        for sender in (one, two, one):
            sender.send(b"?", link.address)
            assert (await sender.hear())[0] == b"?"
            assert len(link.source_ports) == 1


async def test_a_target_that_is_not_there_yet_is_survived() -> None:
    port = free_udp_port()
    async with Peer() as sender, Relay(ANY, ("127.0.0.1", port)) as link:
        for number in range(3):
            sender.send(b"anyone?", link.address)
            await until(lambda: link.refused > number, 5.0, "the kernel tells of it")  # noqa: B023
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
            receiver.bind(("127.0.0.1", port))
            receiver.setblocking(False)
            sender.send(b"now", link.address)
            got = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(receiver, 99), 5.0)
            assert got == b"now"
        assert link.unsent == 0


class Refusing:
    """A socket that has news of an earlier packet, then does what it is told."""

    def __init__(self, *outcomes: int) -> None:
        self.outcomes = list(outcomes)
        self.sent: list[tuple[Any, ...]] = []

    def send(self, *arguments: Any) -> None:
        if self.outcomes and (number := self.outcomes.pop(0)):
            raise OSError(number, "no")
        self.sent.append(arguments)

    sendto = send


@pytest.mark.parametrize("to", [None, ("127.0.0.1", 1)])
@pytest.mark.parametrize(
    ("outcomes", "is_taken"),
    [
        ((), True),
        ((errno.ECONNREFUSED,), True),
        ((errno.ECONNREFUSED, errno.ECONNREFUSED), False),
        ((errno.ENOBUFS,), False),
        ((errno.EAGAIN,), False),
        ((errno.ENETUNREACH,), False),
        ((errno.EBADF,), False),
    ],
)
def test_errors_of_the_kernel_cost_one_packet_at_most(
    to: Any, outcomes: tuple[int, ...], is_taken: bool
) -> None:
    sock: Any = Refusing(*outcomes)
    assert sockets.send(sock, b"data", to) is is_taken
    assert len(sock.sent) == is_taken


async def test_what_the_kernel_does_not_take_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Peer() as receiver, Peer() as sender, Relay(ANY, receiver.address) as link:
        monkeypatch.setattr(sockets, "send", lambda *_: False)
        sender.send(b"?", link.address)
        await until(lambda: link.unsent == 1, 5.0, "it is counted")


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    def fail(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(sockets, "connected", fail)
        yield patch


async def test_without_a_socket_a_new_sender_is_not_heard(
    no_sockets: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with Peer() as receiver, Peer() as sender, Relay(ANY, receiver.address) as link:
        sender.send(b"?", link.address)
        await until(lambda: link.unsent == 1, 5.0, "it is counted")
        assert "Too many open files" in caplog.text
        no_sockets.undo()
        sender.send(b"now", link.address)
        assert (await receiver.hear())[0] == b"now"


async def test_without_a_socket_a_rebinding_keeps_the_old_port(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Peer() as receiver, Peer() as sender, Relay(ANY, receiver.address) as link:
        sender.send(b"one", link.address)
        _, before = await receiver.hear()

        def fail(*_: object) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

        monkeypatch.setattr(sockets, "connected", fail)
        link.rebind()
        sender.send(b"two", link.address)
        assert await receiver.hear() == (b"two", before)


async def test_packets_in_flight_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "_IN_FLIGHT", 2)
    async with (
        Peer() as receiver,
        Peer() as sender,
        Relay(ANY, receiver.address, Impairment(delay_ms=20)) as link,
    ):
        for number in range(5):
            sender.send(bytes([number]), link.address)
        await until(lambda: link.unsent == 3, 5.0, "the rest does not fit")
        assert await heard(receiver, 2) == [b"\0", b"\1"]


async def test_more_than_one_batch_at_once_passes_in_order() -> None:
    count = 500
    async with Peer() as receiver, Peer() as sender, Relay(ANY, receiver.address) as link:
        for number in range(count):
            sender.send(number.to_bytes(2, "big"), link.address)
        numbers = [number.to_bytes(2, "big") for number in range(count)]
        assert await heard(receiver, count) == numbers
        for number in numbers:
            receiver.send(number, ("127.0.0.1", link.source_ports[0]))
        assert await heard(sender, count) == numbers


async def test_the_way_back_may_have_an_impairment_of_its_own() -> None:
    link = Relay(ANY, ANY, Impairment(loss_percent=1), back=Impairment(loss_percent=2), seed=3)
    assert link.forward.impairment.loss_percent == 1
    assert link.back.impairment.loss_percent == 2


async def test_a_relay_that_does_not_run_answers_all_the_same() -> None:
    link = Relay(("127.0.0.1", 16000), ("127.0.0.1", 15000))
    assert link.address == Address("127.0.0.1", 16000)
    assert (link.in_flight, link.source_ports) == (0, ())
    link.rebind()
    await link.close()


async def test_a_relay_can_be_closed_with_packets_in_flight_and_its_port_is_free() -> None:
    async with Peer() as receiver, Peer() as sender:
        link = Relay(ANY, receiver.address, Impairment(delay_ms=60_000))
        async with link:
            address = link.address
            sender.send(b"never", address)
            await until(lambda: link.in_flight, 5.0, "the packet is on its way")
        assert link.in_flight == 0
        async with Relay(address, receiver.address) as again:
            sender.send(b"?", again.address)
            assert (await receiver.hear())[0] == b"?"


async def test_a_port_that_is_taken_is_told() -> None:
    async with Peer() as other:
        with pytest.raises(PortTaken, match=f"UDP port {other.address[1]} is held"):
            await Relay(other.address, ANY).start()


@pytest.mark.parametrize(
    ("listen", "to", "words"),
    [
        (("192.0.2.1", 16000), ANY, "cannot listen on 192.0.2.1:16000: "),
        (ANY, ("no-such-name.invalid", 1), "no-such-name.invalid:1 cannot be found: "),
        (ANY, ("a" * 70 + ".invalid", 1), "cannot be found: "),
    ],
)
async def test_an_address_that_cannot_be_used_is_told(
    listen: tuple[str, int], to: tuple[str, int], words: str
) -> None:
    link = Relay(listen, to)
    with pytest.raises(BadArguments) as refused:
        await link.start()
    assert words in refused.value.message
    await link.close()


def test_a_target_without_a_way_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", fail)
    with pytest.raises(OSError, match="unreachable"):
        sockets.connected(sockets.Place(socket.AF_INET, ("192.0.2.1", 15000)))
