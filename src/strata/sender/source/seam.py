"""What a source of the picture is to whom it is used by. No I/O.

A source gives a transport stream in pieces that fit a datagram, as time passes; it says which
of them belong to key frames, so that whoever has to leave something out knows what to keep.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, Protocol

CHUNK_PACKETS: Final = 7
"""Transport-stream packets that fit an Ethernet frame (TR-06-1 section 5.2)."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """1 to 7 whole packets of 188 bytes.

    Attributes:
        is_key: some of them belong to a key frame of the video.
    """

    payload: bytes
    is_key: bool


@dataclass(frozen=True, slots=True)
class End:
    """Why a source gives no more.

    Attributes:
        reason: ``eos`` (the file is over), ``source`` or ``encoder``.
        detail: what happened, what it means and what to do; holds no secret.
    """

    reason: Literal["eos", "source", "encoder"]
    detail: str = ""


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """What the machine allows, and how long is waited.

    Attributes:
        file_uris: whether ``file:`` addresses may be opened.
        width, height, fps: of the test picture.
        begin_s: until :meth:`Source.start` returns: below the 10 s that control waits for an
            answer.
        first_media_s: until media has come of a source that is there; after that it has failed.
        listen_s: the same where somebody else has to call.
        silence_s: without media, a source is opened anew.
        retry_for_s: without media, it has failed for good.
    """

    file_uris: bool = False
    width: int = 1280
    height: int = 720
    fps: int = 25
    begin_s: float = 8.0
    first_media_s: float = 20.0
    listen_s: float = 60.0
    silence_s: float = 5.0
    retry_for_s: float = 60.0


class Source(Protocol):
    """One picture with its sound, from its start to its end."""

    @property
    def is_encoding(self) -> bool:
        """Whether the picture is coded here; otherwise it is passed on as it came."""

    @property
    def encoder_kbps(self) -> float | None:
        """What the whole stream is set to; None where it is passed on as it came."""

    @property
    def dropped_groups(self) -> int:
        """How many times all up to a key frame was left out, because nobody read for too
        long."""

    async def start(self) -> None:
        """Returns when the source plays, or has begun to.

        Raises:
            StrataError: it cannot; says why, and what to do.
        """

    def read(self) -> list[Chunk]:
        """What has come since the last time; never waits."""

    def set_bitrate(self, kbps: int) -> None:
        """Of the whole stream, from now on; nothing where nothing is encoded."""

    async def ended(self) -> End:
        """Waits until it ends by itself."""

    async def stop(self) -> None:
        """Ends it; within a deadline, and as often as one likes."""
