"""``strata``, with a heart in its event loop: how late it beats is how long the loop was held up.

On SIGUSR1 it counts anew; on SIGUSR2 it writes to the file that BEATS names.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from pathlib import Path
from typing import Final

from strata import cli
from strata.control import service

EACH_S: Final = 0.002


class Heart:
    def __init__(self) -> None:
        self._late_s: list[float] = []

    async def beat(self) -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(EACH_S)
            self._late_s.append(time.perf_counter() - before - EACH_S)

    def begin(self) -> None:
        self._late_s.clear()

    def tell(self) -> None:
        path = os.environ["BEATS"]
        with open(f"{path}.new", "w") as file:
            json.dump(self._late_s, file)
        Path(f"{path}.new").replace(path)


_serve = service._serve


async def _beating(*args: object) -> None:
    heart = Heart()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, heart.begin)
    loop.add_signal_handler(signal.SIGUSR2, heart.tell)
    beating = asyncio.ensure_future(heart.beat())
    try:
        await _serve(*args)  # type: ignore[arg-type]
    finally:
        beating.cancel()


if __name__ == "__main__":
    service._serve = _beating
    cli.main()
