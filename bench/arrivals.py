"""When the bytes of a recording were written, seen from outside."""

from __future__ import annotations

import bisect
import os
import threading
import time
from pathlib import Path
from typing import Final

_POLL_S: Final = 0.01


class Arrivals:
    """Watches the sizes of all files of a folder.

    nginx writes each RTMP message to the file as it comes in, without a buffer of its own.
    So the growth of the file tells, to some 10 ms, when a picture arrived.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._grown: dict[str, tuple[list[float], list[int]]] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="arrivals", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def at(self, path: Path, size: int) -> float:
        """When (``time.monotonic()``) the file had so many bytes; infinity for never."""
        times, sizes = self._grown.get(path.name, ([], []))
        index = bisect.bisect_left(sizes, size)
        return times[index] if index < len(times) else float("inf")

    def _run(self) -> None:
        while not self._stopped.wait(_POLL_S):
            now = time.monotonic()
            for entry in os.scandir(self._folder):
                times, sizes = self._grown.setdefault(entry.name, ([], []))
                size = entry.stat().st_size
                if not sizes or size > sizes[-1]:
                    times.append(now)
                    sizes.append(size)
