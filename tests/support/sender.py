"""``strata-sender`` as a process: the agent, as it is started on a box."""

from __future__ import annotations

import os
import signal
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from support.children import Child

STOP_DEADLINE_S: Final = 30.0


class Sender:
    """
    Args:
        folder: for its settings, its state and its log.
        control: the address of the control plane.
        more: further lines of its settings.
    """

    def __init__(self, folder: Path, control: str, more: str = "") -> None:
        self.folder = folder
        self.state = folder / "state"
        self.config = folder / "sender.toml"
        self.config.write_text(
            f'control = "{control}"\nstate_dir = "{self.state}"\n{more}', encoding="utf-8"
        )
        self.config.chmod(stat.S_IRUSR | stat.S_IWUSR)
        self.child: Child

    def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Starts it, the first time or again."""
        bare = {name: value for name, value in os.environ.items() if not name.startswith("STRATA_")}
        self.child = Child(
            [sys.executable, "-I", "-m", "strata.sender", "--config", str(self.config)],
            self.folder / "sender.log",
            env=bare | dict(environment or {}),
            cwd=self.folder,
        )

    def enroll(self, token: str) -> None:
        """Starts it with what an operator got for it."""
        self.start({"STRATA_SENDER_ENROLLMENT_TOKEN": token})

    def said(self) -> str:
        return self.child.said()

    async def kill(self) -> None:
        self.child.signal(signal.SIGKILL)
        await self.child.wait(STOP_DEADLINE_S)

    async def end(self) -> int:
        """Ends it as systemd does; its exit status."""
        return await self.child.end(STOP_DEADLINE_S)
