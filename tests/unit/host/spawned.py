"""The processes that were spawned in a test: those that their host has left are still ours."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from strata.host.process import Process


class Spawned:
    """All of them, in their order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._all: list[subprocess.Popen[bytes]] = []
        spawn: Callable[..., Process] = Process.spawn

        def noted(*arguments: Any) -> Process:
            process = spawn(*arguments)
            assert process._popen is not None
            self._all.append(process._popen)
            return process

        monkeypatch.setattr(Process, "spawn", noted)

    def runs(self) -> bool:
        """Whether the latest does."""
        return self._all[-1].poll() is None

    def kill(self) -> None:
        """Ends all, and waits for them as only their parent can."""
        for popen in self._all:
            popen.kill()
            popen.wait()
