"""Lines of JSON from a stream of bytes, whatever the pieces they arrive in.

Sans-I/O: bytes go in, whole lines come out; who reads the socket is somebody else.
"""

from __future__ import annotations

from typing import Final

MAX_LINE_BYTES: Final = 64 * 1024


class LineTooLong(Exception):
    """The other side sent more than :data:`MAX_LINE_BYTES` without a line break."""


class LineSplitter:
    """Collects bytes into lines.

    Args:
        max_bytes: longest line, without its line break, that is accepted.
    """

    def __init__(self, max_bytes: int = MAX_LINE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Whole, non-empty lines that ``data`` completes, without their line breaks.

        Raises:
            LineTooLong: the connection is to be closed; nothing after it can be trusted.
        """
        self._rest += data
        if b"\n" not in data:
            self._check(len(self._rest))
            return []
        *whole, rest = bytes(self._rest).split(b"\n")
        self._rest = bytearray(rest)
        for line in (*whole, rest):
            self._check(len(line))
        return [line for line in (each.strip() for each in whole) if line]

    def _check(self, size: int) -> None:
        if size > self._max_bytes:
            raise LineTooLong(f"a line has more than {self._max_bytes} bytes")
