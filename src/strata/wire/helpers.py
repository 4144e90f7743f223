"""What a host asks of the helper processes that it starts, in one line of JSON each."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias, TypeVar

import msgspec

MAX_LINE_BYTES: Final = 4 * 1024 * 1024
"""A picture to be drawn has up to 2 MB, and a third more in base64."""
MAX_JPEG_BYTES: Final = 40 * 1024

Codec: TypeAlias = Literal["h264", "h265"]
T = TypeVar("T")


class Draw(msgspec.Struct, frozen=True):
    """host -> ``strata.worker.thumbnail``: a key frame to be made a small JPEG, which is what
    it answers with.

    Attributes:
        config: configuration record, ``avcC`` or ``hvcC``.
        data: with the length of each NAL unit before it (four bytes).
    """

    codec: Codec
    config: bytes
    data: bytes


class Push(msgspec.Struct, frozen=True):
    """host -> ``strata.worker.test_push``: send colour bars there."""

    url: str
    seconds: Annotated[float, msgspec.Meta(gt=0, le=60)]

    def __repr__(self) -> str:
        return "Push(****)"


class Pushed(msgspec.Struct, frozen=True):
    """``strata.worker.test_push`` -> host: what came of it.

    Attributes:
        ok: it was taken for as long as it was sent.
        message: in plain words.
        code: of the error in :mod:`strata.errors` that a forward would have had; else ``ok``,
            ``waiting`` (for those who call us) or ``unconfirmed`` (received, and nobody says
            that it is taken).
        live_s: for how long the destination took media.
        bytes: that it took.
    """

    ok: bool
    message: str
    code: str
    live_s: float = 0.0
    bytes: int = 0


def encode(message: Draw | Push | Pushed) -> bytes:
    """One line, with its line break."""
    return msgspec.json.encode(message) + b"\n"


def decode(line: bytes, kind: type[T]) -> T:
    """One line.

    Raises:
        ValueError: it is none, or not of that kind; does not quote it.
    """
    try:
        return msgspec.json.decode(line, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ValueError(f"a line cannot be read as {kind.__name__}") from None
