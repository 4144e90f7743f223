"""The process that takes keys out of GStreamer's log; see :mod:`strata.media.debug_log`.

The log comes on standard input, addresses, one a line, on the descriptor that is the first
argument. It ends with the log.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import BinaryIO, Final

from strata import secrets

CHUNK_BYTES: Final = 1024 * 1024


class Filter:
    """Takes addresses and text in, gives text out in which nothing of them is secret any more."""

    def __init__(self) -> None:
        self._hidden: set[str] = set()
        self._unfinished_address = b""
        self._unfinished_line = b""

    def conceal(self, data: bytes) -> None:
        """More of the addresses."""
        *lines, self._unfinished_address = (self._unfinished_address + data).split(b"\n")
        for line in lines:
            url = line.decode(errors="replace")
            with contextlib.suppress(ValueError):  # no address, so nothing of it is secret
                secrets.scrub("", url)
                self._hidden.add(url)

    def feed(self, data: bytes) -> bytes:
        """More of the log, and what of it may be shown: whole lines, lest a key is cut in two."""
        whole, end, rest = data.rpartition(b"\n")
        shown = self._unfinished_line + whole + end if end else b""
        self._unfinished_line = rest if end else self._unfinished_line + rest
        return self._scrubbed(shown)

    def finish(self) -> bytes:
        """What is left."""
        return self._scrubbed(self._unfinished_line)

    def _scrubbed(self, data: bytes) -> bytes:
        text = data.decode(errors="replace")
        for url in self._hidden:
            text = secrets.scrub(text, url)
        return text.encode(errors="replace")


def main() -> None:
    # Ctrl-C is for the worker: its last words still come through here.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keys, path = int(sys.argv[1]), sys.argv[2]
    os.set_blocking(keys, False)
    if path == "-":
        _run(keys, sys.stderr.buffer)
    else:
        with open(path, "ab") as out:
            _run(keys, out)


def _run(keys: int, out: BinaryIO) -> None:
    one = Filter()
    while data := os.read(0, CHUNK_BYTES):
        # An address was written here before GStreamer was given it, so before it was logged.
        with contextlib.suppress(BlockingIOError):
            while more := os.read(keys, CHUNK_BYTES):
                one.conceal(more)
        out.write(one.feed(data))
        out.flush()
    out.write(one.finish())
    out.flush()


if __name__ == "__main__":
    main()
