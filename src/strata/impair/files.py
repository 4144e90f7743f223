"""Profiles in files, and the traces that they name."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from strata.errors import BadArguments
from strata.impair import profile
from strata.impair.profile import Profile

SIZE_MAX: Final = 16 * 1024 * 1024


def load(path: Path, *, is_placed: bool = True) -> Profile:
    """The profile of a file; traces are looked for beside it.

    Args:
        is_placed: whether links have to say where they listen and lead to.

    Raises:
        BadArguments: it cannot be read, or is no profile.
    """
    text = _read(path, f"the profile {path}")

    def read_trace(name: str) -> str:
        return _read(path.parent / name, f"its trace {name}")

    try:
        return profile.parse(text, is_placed=is_placed, read_trace=read_trace)
    except BadArguments as error:
        raise BadArguments(f"{path}: {error.message}") from None


def _read(path: Path, what: str) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(SIZE_MAX + 1)
        if len(raw) > SIZE_MAX:
            raise BadArguments(f"{what} has more than {SIZE_MAX} bytes")
        return raw.decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise BadArguments(f"{what} cannot be read: {reason}") from None
