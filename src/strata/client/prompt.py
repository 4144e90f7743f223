"""What must not stand in a command line: asked at the terminal, or read from standard input."""

from __future__ import annotations

import getpass
import sys
from typing import Final

from strata.errors import BadArguments
from strata.secrets import Secret

LINE_CHARS_MAX: Final = 4096


def secret(question: str, twice: bool = False) -> Secret:
    """Asked without an echo; without a terminal it is the next line of standard input.

    Args:
        twice: somebody makes it up now, and a slip would lock them out.

    Raises:
        BadArguments: the two answers differ.
    """
    if not sys.stdin.isatty():
        return Secret(sys.stdin.readline(LINE_CHARS_MAX).rstrip("\r\n"))
    given = getpass.getpass(f"{question}: ")
    if twice and getpass.getpass("The same again: ") != given:
        raise BadArguments("the two are not the same; nothing was changed")
    return Secret(given)


def line(question: str, default: str) -> str:
    """Asked at the terminal; the default where there is none."""
    if not sys.stdin.isatty():
        return default
    print(f"{question} [{default}]: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline(LINE_CHARS_MAX).strip() or default
