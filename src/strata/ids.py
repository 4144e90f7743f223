"""Names of things: a prefix that says what it is, and a UUIDv7 in hex."""

from __future__ import annotations

import secrets
import time
from typing import Final, Literal, TypeAlias

Prefix: TypeAlias = Literal["usr", "snd", "dst", "str", "hst", "tok", "whk", "evt", "alr", "dlv"]

_RANDOM_BITS: Final = 74
_STEP_BITS: Final = 32
"""How far two ids of the same millisecond lie apart at most; not to be guessed either."""

_last: int = 0


def new(prefix: Prefix) -> str:
    """A fresh id such as ``str_019341...``; later ones of a process sort after earlier ones."""
    return f"{prefix}_{_next():032x}"


def uuid7() -> str:
    """The same without a prefix, in the form of a UUID; for messages."""
    text = f"{_next():032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _next() -> int:
    """UUIDv7, RFC 9562 section 5.7: 48 bits of milliseconds, version, 74 random bits. Within a
    millisecond, or when the clock steps back, the next one is counted on from the last
    (section 6.2, method 2), because the log of events is read in the order of its ids.
    """
    global _last
    milliseconds = time.time_ns() // 1_000_000
    number = milliseconds << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
    if number <= _last:
        number = _last + 1 + secrets.randbits(_STEP_BITS)
    _last = number
    low = number & ((1 << 62) - 1)
    middle = number >> 62 & 0xFFF
    return number >> _RANDOM_BITS << 80 | 0x7 << 76 | middle << 64 | 0b10 << 62 | low
