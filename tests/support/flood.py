"""A stranger who sends packets that look encrypted, each with another key: a program of its own.

``python flood.py MODE PER_SECOND PORT...``, to 127.0.0.1, until it is ended. Modes:

``one``: from one socket, a fresh nonce each.
``many``: a fresh nonce and a forged sender each; only root can.
``summed``: as ``one``, with the optional checksum in the header, behind which the nonce stands.
``turns``: from one socket, 64 nonces in turn.
"""

from __future__ import annotations

import random
import socket
import struct
import sys
import time
from typing import Final

KEY_AND_SEQUENCE: Final = 0x30
CHECKSUM: Final = 0x80
VERSION_1: Final = 1 << 3
REDUCED: Final = 0x88B6
STEP_S: Final = 0.01


def main(mode: str, per_second: int, ports: list[int]) -> None:
    chance = random.Random(7)
    nonces = [chance.randrange(1, 1 << 32) for _ in range(64)] if mode == "turns" else []
    forges = mode == "many"
    kind = (socket.SOCK_RAW, socket.IPPROTO_RAW) if forges else (socket.SOCK_DGRAM, 0)
    sent, began = 0, time.monotonic()
    with socket.socket(socket.AF_INET, *kind) as sock:
        while True:
            due = int((time.monotonic() - began) * per_second)
            for number in range(sent, due):
                nonce = nonces[number % 64] if nonces else chance.randrange(1, 1 << 32)
                port = ports[number // 64 % len(ports)]
                packet = gre(nonce, number, chance.randbytes(100), is_summed=mode == "summed")
                if forges:
                    packet = forged(packet, port, chance)
                sock.sendto(packet, ("127.0.0.1", port))
            sent = max(sent, due)
            time.sleep(STEP_S)


def gre(nonce: int, sequence: int, payload: bytes, *, is_summed: bool = False) -> bytes:
    """TR-06-2 section 5.1."""
    flags = KEY_AND_SEQUENCE | (CHECKSUM if is_summed else 0)
    head = struct.pack("!BBH", flags, VERSION_1, REDUCED) + bytes(4 * is_summed)
    return head + struct.pack("!II", nonce, sequence & 0xFFFFFFFF) + payload


def forged(payload: bytes, port: int, chance: random.Random) -> bytes:
    """With the headers of IP and UDP; the kernel fills in the sum of the former."""
    udp = struct.pack("!HHHH", chance.randrange(1024, 65536), port, 8 + len(payload), 0)
    length = 20 + len(udp) + len(payload)
    sender = bytes((127, *chance.randbytes(2), chance.randrange(2, 255)))
    there = bytes((127, 0, 0, 1))
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, length, 0, 0, 64, 17, 0, sender, there)
    return ip + udp + payload


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), [int(port) for port in sys.argv[3:]])
