from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from strata.errors import BadArguments, PortTaken
from strata.rist import ports
from support.ports import free_udp_port


def bound(port: int, *, reuse: bool = False, address: str = "127.0.0.1") -> socket.socket:
    sock = socket.socket(ports.family_of(address), socket.SOCK_DGRAM)
    if reuse:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((address, port))
    except OSError:
        sock.close()
        raise
    return sock


def test_families() -> None:
    assert ports.family_of("0.0.0.0") == socket.AF_INET
    assert ports.family_of("::1") == socket.AF_INET6
    with pytest.raises(BadArguments, match=r"'localhost' is no IP address.*0\.0\.0\.0"):
        ports.family_of("localhost")


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_what_is_bound_inside_is_exclusive_afterwards(address: str) -> None:
    port = free_udp_port()
    with ports.held(address, port, encrypted_only=False):
        ours = bound(port, reuse=True, address=address)
    with ours:
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) == 0
        with pytest.raises(OSError, match="in use"):
            bound(port, reuse=True, address=address)


@pytest.mark.parametrize("reuse", [False, True])
@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_port_that_another_holds_is_refused(reuse: bool, address: str) -> None:
    port = free_udp_port()
    with (
        bound(port, reuse=reuse, address=address),
        pytest.raises(PortTaken) as caught,
        ports.held("0.0.0.0", port, encrypted_only=True),
    ):
        pytest.fail("was let in")
    assert caught.value.port == port
    assert str(port) in caught.value.message
    assert caught.value.exit_status == 3


STRANGER = """
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
sock.bind(("127.0.0.1", int(sys.argv[1])))
print("bound", flush=True)
sys.stdin.read()
"""


def test_another_program_that_slips_in_meanwhile_is_noticed() -> None:
    port = free_udp_port()
    with subprocess.Popen(
        [sys.executable, "-c", STRANGER, str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as stranger:
        ours = None
        try:
            held = ports.held("127.0.0.1", port, encrypted_only=False)
            held.__enter__()
            assert stranger.stdout is not None
            assert stranger.stdout.readline() == b"bound\n"
            ours = bound(port, reuse=True)
            with pytest.raises(PortTaken):
                held.__exit__(None, None, None)
        finally:
            stranger.kill()
            if ours is not None:
                ours.close()


def test_an_error_inside_is_not_hidden() -> None:
    with (
        pytest.raises(ZeroDivisionError),
        ports.held("127.0.0.1", free_udp_port(), encrypted_only=False),
    ):
        raise ZeroDivisionError


def test_an_address_of_another_machine_is_refused() -> None:
    with (
        pytest.raises(BadArguments, match=r"cannot listen on 192\.0\.2\.254 port"),
        ports.held("192.0.2.254", free_udp_port(), encrypted_only=False),
    ):
        pytest.fail("was let in")


@pytest.mark.parametrize("encrypted_only", [False, True])
def test_only_if_asked_packets_in_the_clear_are_dropped(encrypted_only: bool) -> None:
    port = free_udp_port()
    with ports.held("127.0.0.1", port, encrypted_only=encrypted_only):
        ours = bound(port, reuse=True)
    with ours, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        ours.settimeout(5.0)
        sender.sendto(b"\x10\x00in the clear", ("127.0.0.1", port))
        sender.sendto(b"\x30\x00encrypted", ("127.0.0.1", port))
        assert ours.recv(100) == (
            b"\x30\x00encrypted" if encrypted_only else b"\x10\x00in the clear"
        )


def test_our_udp_sockets_are_found_and_nothing_else() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as four,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as six,
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as local,
    ):
        found = {ports.inode(sock) for sock in ports.udp_sockets()}
        assert {ports.inode(four), ports.inode(six)} <= found
        assert not {ports.inode(tcp), ports.inode(local)} & found


def test_looking_leaves_no_descriptor_open() -> None:
    read, write = os.pipe()
    try:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            list(ports.udp_sockets())
        next(ports.udp_sockets(), None)
        assert len(os.listdir("/proc/self/fd")) == before
    finally:
        os.close(read)
        os.close(write)


def test_a_descriptor_that_closes_meanwhile_is_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "listdir", lambda path: ["99999999"])
    assert list(ports.udp_sockets()) == []
