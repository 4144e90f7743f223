"""The relays of a rehearsal, as a process of its own that writes down what was sent where.

``python -m bench.narrow PROFILE RESULT``: prints when it began (``time.monotonic()``); on SIGTERM
it writes for each link when media came to it, each as (seconds, bytes), and for how long it stood
still because the machine did.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from pathlib import Path
from typing import Final

from strata.impair import profile
from strata.impair.rehearsal import Rehearsal
from strata.impair.relay import Relay

MEDIA_BYTES: Final = 1000
"""Datagrams of at least so many carry media."""
BEAT_S: Final = 0.01


def listen_in(relay: Relay) -> list[tuple[float, int]]:
    """When media came to it."""
    found: list[tuple[float, int]] = []
    send = relay.forward.send

    def heard(now_s: float, size: int) -> list[float]:
        if size >= MEDIA_BYTES:
            found.append((time.monotonic(), size))
        return send(now_s, size)

    relay.forward.send = heard  # type: ignore[method-assign]
    return found


async def run(name: str, result: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    stall_s = 0.0
    async with Rehearsal(profile.parse(Path(name).read_text())) as rehearsal:
        heard = [listen_in(relay) for relay in rehearsal.relays]
        print(time.monotonic(), flush=True)
        while not stop.is_set():
            before = time.monotonic()
            await asyncio.sleep(BEAT_S)
            stall_s = max(stall_s, time.monotonic() - before - BEAT_S)
    Path(result).write_text(json.dumps({"heard": heard, "stall_s": stall_s}))


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], sys.argv[2]))
