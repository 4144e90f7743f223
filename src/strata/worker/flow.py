"""What forwards wait for: the tracks of the stream, and that they are on the air."""

from __future__ import annotations

import asyncio

from strata.worker.formats import Program


class Flow:
    """Open while there is something to forward. Everything happens on the event loop.

    Attributes:
        program: the tracks; None before they are known.
        is_open: whether forwards are to be on the air.
        change: done at the next change of either; then there is another one.
    """

    def __init__(self) -> None:
        self.program: Program | None = None
        self.is_open = False
        self.change: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def open(self, program: Program) -> None:
        """Forwards may begin, or begin anew with other tracks."""
        if self.is_open and program == self.program:
            return
        self.program, self.is_open = program, True
        self._tell()

    def update(self, program: Program) -> None:
        """The same tracks in other formats, which forwards follow by themselves."""
        self.program = program

    def close(self) -> None:
        """Forwards end, and wait for :meth:`open`."""
        if self.is_open:
            self.is_open = False
            self._tell()

    def _tell(self) -> None:
        told, self.change = self.change, asyncio.get_running_loop().create_future()
        told.set_result(None)
