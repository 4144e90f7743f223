"""One sender, as a process of its own: our bond, or librist's sender with fixed shares.

``python -m bench.bonders JSON``: it makes media itself (a picture each 40 ms, key frames five
times as large), or takes what comes to a UDP port. On SIGTERM it writes down when it wrote what.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

from bench.media import DATAGRAM_BYTES, FPS, GOP_FRAMES, PSK
from strata.bond import Bond, Rate, Way
from strata.errors import StrataError
from strata.rist import Link, Sender
from strata.secrets import Secret

PUMP_MS: Final = 20
"""As a broadcast does it."""
STEER_S: Final = 0.25
KEY_TIMES: Final = 5.0
MARK: Final = b"NUMBERED"
"""In the first transport-stream packet of each datagram; its number follows in eight bytes."""


class Sending(Protocol):
    """A sender."""

    async def start(self) -> None: ...
    def write(self, payload: bytes, is_key: bool) -> None: ...
    def pump(self) -> None: ...
    def kbps(self, now: float) -> float: ...
    def close(self) -> None: ...


class Bonded:
    """Ours; it says what the encoder should make, where that may change."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._ports = order["ports"]
        self._bond = Bond(Secret(PSK), aes_bits=256, buffer_ms=order["buffer_ms"], name="bench")
        self._kbps = order["kbps"]
        self._rate = Rate(500, self._kbps, self._kbps) if order["steers"] else None

    async def start(self) -> None:
        for number, port in enumerate(self._ports):
            await self._bond.add(Way(str(number), "127.0.0.1", port))

    def write(self, payload: bytes, is_key: bool) -> None:
        self._bond.write(payload, is_key)

    def pump(self) -> None:
        self._bond.pump()

    def kbps(self, now: float) -> float:
        if self._rate is not None:
            flow = self._bond.flow
            self._kbps = self._rate.step(
                now, flow.carried_kbps, flow.congested_at, flow.waiting_s(now)
            )
        return float(self._kbps)

    def close(self) -> None:
        self._bond.close()


class Fixed:
    """librist's, with weights; it says nothing."""

    def __init__(self, order: dict[str, Any]) -> None:
        links = [
            Link("127.0.0.1", port, weight)
            for port, weight in zip(order["ports"], order["weights"], strict=True)
        ]
        self._sender = Sender(links, Secret(PSK), buffer_ms=order["buffer_ms"])
        self._kbps = order["kbps"]

    async def start(self) -> None:
        self._sender.start()

    def write(self, payload: bytes, is_key: bool) -> None:
        self._sender.write(payload)

    def pump(self) -> None:
        pass

    def kbps(self, now: float) -> float:
        return float(self._kbps)

    def close(self) -> None:
        self._sender.close()


class Camera:
    """Pictures from a moment on; remembers what it made, and when."""

    def __init__(self, begin: float) -> None:
        self.written: list[tuple[float, bool]] = []
        self._begin = begin
        self._pictures = 0
        self._owed = 0.0
        self._counter = 0

    def shoot(self, now: float, kbps: float, write: Callable[[bytes, bool], None]) -> None:
        """All that is due."""
        others = (GOP_FRAMES - KEY_TIMES) / (GOP_FRAMES - 1)
        while self._begin + self._pictures / FPS <= now:
            is_key = self._pictures % GOP_FRAMES == 0
            self._owed += kbps * 125 / FPS * (KEY_TIMES if is_key else others)
            self._pictures += 1
            while self._owed >= DATAGRAM_BYTES:
                self._owed -= DATAGRAM_BYTES
                write(self._datagram(len(self.written)), is_key)
                self.written.append((now, is_key))

    def _datagram(self, number: int) -> bytes:
        found = []
        for index in range(DATAGRAM_BYTES // 188):
            name = MARK + number.to_bytes(8, "big") if not index else b""
            head = bytes((0x47, 0x01, 0x00, 0x10 | self._counter))
            found.append((head + name).ljust(188, b"x"))
            self._counter = self._counter + 1 & 15
        return b"".join(found)


async def play(order: dict[str, Any], stop: asyncio.Event) -> None:
    """Sends what it makes."""
    camera = Camera(order["begin"])
    sender: Sending = Bonded(order) if order["weights"] is None else Fixed(order)
    refused = 0

    def write(payload: bytes, is_key: bool) -> None:
        nonlocal refused
        try:
            sender.write(payload, is_key)
        except StrataError:
            refused += 1

    await sender.start()
    rates: list[tuple[float, float]] = []
    kbps, next_look = float(order["kbps"]), order["begin"] + 1.0
    while not stop.is_set():
        now = time.monotonic()
        if now >= next_look:
            next_look += STEER_S
            kbps = sender.kbps(now)
            rates.append((now, kbps))
        if now < order["end"]:
            camera.shoot(now, kbps, write)
        sender.pump()
        await asyncio.sleep(PUMP_MS / 1000)
    sender.close()
    done = {"written": camera.written, "rates": rates, "refused": refused}
    Path(order["result"]).write_text(json.dumps(done))


async def forward(order: dict[str, Any], stop: asyncio.Event) -> None:
    """Sends what comes to a UDP port, as Debian's ristsender does."""
    sender: Sending = Bonded(order) if order["weights"] is None else Fixed(order)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as feed:
        feed.bind(("127.0.0.1", order["feed"]))
        feed.setblocking(False)
        await sender.start()
        while not stop.is_set():
            try:
                while True:
                    sender.write(feed.recv(2048), False)
            except BlockingIOError:
                pass
            sender.pump()
            await asyncio.sleep(PUMP_MS / 1000)
    sender.close()


async def run(order: dict[str, Any]) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await (play if order["feed"] is None else forward)(order, stop)


if __name__ == "__main__":
    asyncio.run(run(json.loads(sys.argv[1])))
