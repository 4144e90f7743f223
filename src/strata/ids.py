"""Names of things: a prefix that says what it is, and a UUIDv7 in hex."""

from __future__ import annotations

import secrets
import time
from typing import Final, Literal, TypeAlias

Prefix: TypeAlias = Literal["usr", "snd", "dst", "str", "hst", "tok", "whk", "evt"]

_RANDOM_BITS: Final = 74


def new(prefix: Prefix) -> str:
    """A fresh id such as ``str_019341...``; later ones sort after earlier ones.

    UUIDv7, RFC 9562 section 5.7: 48 bits of milliseconds, version, 74 random bits.
    """
    random = secrets.randbits(_RANDOM_BITS)
    value = (time.time_ns() // 1_000_000) << 80
    value |= 0x7 << 76 | (random >> 62) << 64 | 0b10 << 62 | random & ((1 << 62) - 1)
    return f"{prefix}_{value:032x}"
