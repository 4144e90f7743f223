"""Helper processes, seen from who needs one: spawned, asked with one line, and ended.

What a helper does might hang, or end the process that does it: it is done in a process that is
there for one answer and limits itself (:mod:`strata.worker.confine`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

LAST_WORDS_BYTES: Final = 4096

_PIECE_BYTES: Final = 64 * 1024
_ENVIRONMENT: Final = (
    *("PATH", "HOME", "XDG_CACHE_HOME"),
    *("GST_REGISTRY", "GST_REGISTRY_1_0", "GST_PLUGIN_PATH", "GST_PLUGIN_PATH_1_0"),
    *("GST_PLUGIN_SYSTEM_PATH", "GST_PLUGIN_SYSTEM_PATH_1_0"),
)
"""What a helper inherits: where GStreamer and fontconfig find what they have cached. Without
it GStreamer looks at every plugin first (two seconds)."""


class TooLong(Exception):
    """The answer was longer than it may be."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a helper ended.

    Attributes:
        status: its exit status, or minus the signal's number.
        output: what it wrote to standard output.
        words: the last line that it wrote to standard error.
    """

    status: int
    output: bytes
    words: str


def environment(own: Mapping[str, str]) -> dict[str, str]:
    """What a helper gets: nothing that it could give away."""
    kept = {name: own[name] for name in _ENVIRONMENT if name in own}
    return {"LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "1", **kept}


async def ask(
    command: Sequence[str],
    line: bytes,
    deadline_s: float,
    most_bytes: int,
    on_begun: Callable[[], Awaitable[None]] | None = None,
) -> Answer:
    """Runs a helper and gives it ``line``. It is gone when this returns, however it does.

    Args:
        on_begun: awaited when it has written the first of its output.

    Raises:
        OSError: it could not be started.
        TimeoutError: it had not ended by the deadline.
        TooLong: it wrote more than ``most_bytes``.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(os.environ),
        cwd="/",
        start_new_session=True,  # Ctrl-C at a shell is for its parent, which ends it
    )
    try:
        async with asyncio.timeout(deadline_s):
            assert process.stdin is not None
            process.stdin.write(line)
            process.stdin.close()
            output, words = await asyncio.gather(
                _read(process, most_bytes, on_begun), _tail(process.stderr, LAST_WORDS_BYTES)
            )
            status = await process.wait()
    finally:
        await _end(process)
    if len(output) > most_bytes:
        raise TooLong
    lines = words.decode("utf-8", "replace").strip().splitlines()
    return Answer(status, output, lines[-1] if lines else "")


async def _read(
    process: asyncio.subprocess.Process,
    most_bytes: int,
    on_begun: Callable[[], Awaitable[None]] | None,
) -> bytes:
    assert process.stdout is not None
    pieces = bytearray()
    while piece := await process.stdout.read(_PIECE_BYTES):
        if not pieces and on_begun is not None:
            await on_begun()
        if len(pieces) <= most_bytes:
            pieces += piece
        elif process.returncode is None:
            process.kill()  # it may write for ever
    return bytes(pieces)


async def _tail(stream: asyncio.StreamReader | None, size: int) -> bytes:
    assert stream is not None
    kept = b""
    while piece := await stream.read(_PIECE_BYTES):
        kept = (kept + piece)[-size:] if size else b""
    return kept


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kills it where it still runs, and reads its pipes to the end, which closes them."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    await asyncio.gather(_tail(process.stdout, 0), _tail(process.stderr, 0))
    await process.wait()
