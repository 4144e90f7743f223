"""UDP addresses as people write them. Pure."""

from __future__ import annotations

import re
from typing import Final, NamedTuple, Self

from strata.errors import BadArguments

LOOPBACK: Final = "127.0.0.1"
"""Where a port alone is: a relay that strangers can reach has to be asked for."""

_FORM: Final = re.compile(
    r"(?:(?:\[(?P<six>[0-9a-fA-F:.]+(?:%[\w.-]+)?)\]|(?P<name>[\w.-]+)):)?(?P<port>[0-9]{1,5})",
    re.ASCII,
)


class Address(NamedTuple):
    """A name or a literal address, and a UDP port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """``127.0.0.1:16000``, ``[::1]:16000``, ``name:16000``, or a port of this machine.

        Raises:
            BadArguments: it is none of these.
        """
        found = _FORM.fullmatch(text)
        if not found or not 1 <= int(found["port"]) <= 65535:
            raise BadArguments(
                f"{text!r} is no address with a UDP port; write it like 127.0.0.1:16000 or "
                "[::1]:16000"
            )
        return cls(found["six"] or found["name"] or LOOPBACK, int(found["port"]))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
