"""One process at a time on a data folder."""

from __future__ import annotations

import asyncio
import fcntl
import time
from pathlib import Path
from typing import Final

from strata.errors import Conflict

DEADLINE_S: Final = 3.0
"""An earlier one may be about to end, because what had started both is gone."""
AGAIN_S: Final = 0.05


class Alone:
    """Holds a lock file for as long as the process lives, however it ends.

    Args:
        deadline_s: how long another that holds it is waited for.
        program: which may run once only.
        other: how another folder is chosen.

    Raises (on entering):
        Conflict: another process holds it, and does not end.
    """

    def __init__(
        self,
        path: Path,
        deadline_s: float | None = None,
        *,
        program: str = "strata",
        other: str = "--data-dir",
    ) -> None:
        self._path = path
        self._words = f"another {program} runs on {path.parent}; stop it, or choose another {other}"
        self._deadline_s = DEADLINE_S if deadline_s is None else deadline_s

    async def __aenter__(self) -> None:
        self._file = self._path.open("w")
        give_up_at = time.monotonic() + self._deadline_s
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > give_up_at:
                    break
            await asyncio.sleep(AGAIN_S)
        self._file.close()
        raise Conflict(self._words)

    async def __aexit__(self, *_: object) -> None:
        self._file.close()
