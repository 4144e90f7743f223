"""The helper process that makes slates, seen from the worker: spawned, asked, and ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from strata.errors import SlateUnavailable
from strata.worker.slates import slate
from strata.worker.slates.cache import MAX_BYTES
from strata.worker.slates.maker import CPU_S, DATA_BYTES
from strata.worker.slates.slate import Request

COMMAND: Final = (sys.executable, "-I", "-m", "strata.worker.slates.maker")
DEADLINE_S: Final = 30.0
LAST_WORDS_BYTES: Final = 4096

_PIECE_BYTES: Final = 64 * 1024
_ENVIRONMENT: Final = (
    *("PATH", "HOME", "XDG_CACHE_HOME"),
    *("GST_REGISTRY", "GST_REGISTRY_1_0", "GST_PLUGIN_PATH", "GST_PLUGIN_PATH_1_0"),
    *("GST_PLUGIN_SYSTEM_PATH", "GST_PLUGIN_SYSTEM_PATH_1_0"),
)
"""What the helper inherits: where GStreamer and fontconfig find what they have cached. Without
it GStreamer looks at every plugin first (two seconds)."""


def environment(own: Mapping[str, str]) -> dict[str, str]:
    """What the helper gets: nothing that it could give away."""
    kept = {name: own[name] for name in _ENVIRONMENT if name in own}
    return {"LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "1", **kept}


async def ask(command: Sequence[str], request: Request, deadline_s: float) -> bytes:
    """Runs the helper: the packed slate. It is gone when this returns, however it does.

    Raises:
        SlateUnavailable: it made none; says why.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment(os.environ),
            cwd="/",
            start_new_session=True,  # Ctrl-C at a shell is for the worker, which ends it
        )
    except OSError as error:
        raise SlateUnavailable(
            f"the helper that makes slates could not be started: {error.strerror}; "
            "see the limits on processes and memory of this machine"
        ) from None
    try:
        async with asyncio.timeout(deadline_s):
            packed, words = await _talk(process, slate.write_request(request))
            status = await process.wait()
    except TimeoutError:
        raise SlateUnavailable(
            f"a slate in {request} was not made within {deadline_s:.0f} s; "
            "use a smaller or shorter file, or see whether this machine is overloaded"
        ) from None
    finally:
        await _end(process)
    if status != 0:
        raise SlateUnavailable(_why(status, words, request))
    return packed


async def _talk(process: asyncio.subprocess.Process, line: bytes) -> tuple[bytes, bytes]:
    """What it writes to standard output, and the end of what it writes to standard error."""
    assert process.stdin is not None
    process.stdin.write(line)
    process.stdin.close()
    packed, words = await asyncio.gather(_read(process), _tail(process.stderr, LAST_WORDS_BYTES))
    if len(packed) > MAX_BYTES:
        raise SlateUnavailable(
            f"the slate takes more than {MAX_BYTES >> 20} MB; use a shorter or calmer movie"
        )
    return packed, words


async def _read(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    pieces = bytearray()
    while piece := await process.stdout.read(_PIECE_BYTES):
        if len(pieces) <= MAX_BYTES:
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


def _why(status: int, words: bytes, request: Request) -> str:
    if status > 0:
        lines = words.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else f"the helper that makes slates ended with status {status}"
    if -status in (signal.SIGXCPU, signal.SIGKILL):
        what = f"it took more than {CPU_S} s of processor time, or was killed"
    else:
        what = f"it ended as for want of memory, of which it may have {DATA_BYTES >> 20} MB"
    return (
        f"a slate in {request} cannot be made on this machine: {what} "
        f"(signal {-status}, {signal.strsignal(-status)}); "
        "use a smaller or shorter file, or a smaller picture at the sender"
    )
