"""One end of a UDP conversation on this machine."""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
from pathlib import Path
from typing import Any, Final, Self

DEADLINE_S = 5.0
BUFFER = 4 * 1024 * 1024
"""Bytes: a burst of some hundred packets overflows what the kernel gives unasked."""
_PIDFD_GETFD: Final = 438
"""pidfd_getfd(2), the same number on every architecture; Python has no name for it."""


def give_room(pid: int, port: int) -> None:
    """Lets the UDP socket that a process of ours has on ``port`` hold more than it asked for.

    Debian's ristsender keeps the kernel's default for what it is fed with: 0.2 s of a stream,
    so that a busy machine loses media before it has been sent anywhere.

    Raises:
        LookupError: the process has no such socket.
        OSError: the kernel does not let us.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    process = os.pidfd_open(pid)
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            if not str(entry.readlink()).startswith("socket:"):
                continue
            number = libc.syscall(_PIDFD_GETFD, process, int(entry.name), 0)
            if number < 0:
                raise OSError(ctypes.get_errno(), "pidfd_getfd")
            with socket.socket(fileno=number) as found:
                if found.type == socket.SOCK_DGRAM and found.getsockname()[1] == port:
                    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
                    return
    finally:
        os.close(process)
    raise LookupError(f"process {pid} has no UDP socket on port {port}")


class Peer(asyncio.DatagramProtocol):
    """Hears on a port that the kernel chooses, and remembers who sent what.

    Args:
        echoes: sends each packet back to where it came from.
    """

    def __init__(self, host: str = "127.0.0.1", *, echoes: bool = False) -> None:
        self._host = host
        self._echoes = echoes
        self._heard: asyncio.Queue[tuple[bytes, int]] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self._socket.bind((self._host, 0))
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, sock=self._socket)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._transport.close()
        await asyncio.sleep(0)  # the transport closes its socket one step later

    @property
    def address(self) -> tuple[str, int]:
        return self._socket.getsockname()[:2]  # type: ignore[no-any-return]

    def connection_made(self, transport: Any) -> None:
        self._transport: asyncio.DatagramTransport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        self._heard.put_nowait((data, address[1]))
        if self._echoes:
            self.send(data, address)

    def send(self, data: bytes, to: tuple[str, int]) -> None:
        self._socket.sendto(data, tuple(to))  # the transport does not send what is empty

    async def hear(self) -> tuple[bytes, int]:
        """The next packet, and the port that it came from.

        Raises:
            TimeoutError: none came.
        """
        return await asyncio.wait_for(self._heard.get(), DEADLINE_S)

    def heard_nothing(self) -> bool:
        return self._heard.empty()
