"""Processes that a test starts, and that are gone when it ends, however it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

POLL_S: Final = 0.01


class Child:
    """One process in a session of its own, so that its children can be ended with it.

    Args:
        log: where its standard output and error go.
        stdin: written to its standard input, which is then closed.
        output: where its standard output goes instead, for programs that put media there.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        *,
        stdin: bytes | None = None,
        output: Path | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | str = "/",
    ) -> None:
        self.log = log
        with log.open("ab") as errors, (output or log).open("ab") as out:
            self._popen = subprocess.Popen(
                [os.fspath(part) for part in command],
                stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                stdout=out,
                stderr=errors,
                env=env,
                cwd=cwd,
                start_new_session=True,
            )
        self.pid = self._popen.pid
        if stdin is not None and self._popen.stdin is not None:
            with contextlib.suppress(BrokenPipeError), self._popen.stdin as pipe:
                pipe.write(stdin)

    @property
    def status(self) -> int | None:
        """Exit status, minus the signal's number, or None while it runs."""
        return self._popen.poll()

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    async def wait(self, deadline_s: float) -> int:
        """Its exit status, once it has ended.

        Raises:
            TimeoutError: it still runs after ``deadline_s``.
        """
        if self.status is None:
            descriptor = os.pidfd_open(self.pid)
            try:
                await readable(descriptor, deadline_s)
            except TimeoutError:
                raise TimeoutError(
                    f"process {self.pid} still runs after {deadline_s} s; it said: {self.said()}"
                ) from None
            finally:
                os.close(descriptor)
        return self._popen.wait()

    async def end(self, deadline_s: float = 10.0) -> int:
        """Asks it to end, and kills it and its children where that is not enough."""
        if self.status is None:
            self.signal(signal.SIGTERM)
            try:
                return await self.wait(deadline_s)
            except TimeoutError:
                os.killpg(self.pid, signal.SIGKILL)
        return await self.wait(deadline_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self.end()
        except BaseException:
            if self.status is None:
                os.killpg(self.pid, signal.SIGKILL)
                self._popen.wait()
            raise


async def readable(descriptor: int, deadline_s: float) -> None:
    """Returns when ``descriptor`` can be read.

    Raises:
        TimeoutError: not within ``deadline_s``.
    """
    loop = asyncio.get_running_loop()
    found = asyncio.Event()
    loop.add_reader(descriptor, found.set)
    try:
        await asyncio.wait_for(found.wait(), deadline_s)
    finally:
        loop.remove_reader(descriptor)


async def until(holds: Callable[[], object], deadline_s: float, what: str) -> None:
    """Looks again and again: for the states of other programs, which nobody announces.

    Raises:
        TimeoutError: ``what`` did not come true within ``deadline_s``.
    """
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + deadline_s
    while not holds():
        if loop.time() > give_up_at:
            raise TimeoutError(f"not within {deadline_s} s: {what}")
        await asyncio.sleep(POLL_S)


async def output_of(*command: str | Path, deadline_s: float = 60.0) -> str:
    """What a program prints, errors included.

    Raises:
        AssertionError: it failed.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), deadline_s)
    except BaseException:
        process.kill()
        await process.wait()
        raise
    text = said.decode(errors="replace")
    assert process.returncode == 0, f"{command[0]} failed: {text}"
    return text
