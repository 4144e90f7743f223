"""Access units: what the hub passes from the ingest pipeline to the forwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from strata.worker.gst import Gst

Track: TypeAlias = Literal["video", "audio"]

NO_TIME: Final = -1
"""A stamp that the stream does not carry."""


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """One coded picture, or one frame of sound.

    Attributes:
        sample: buffer and caps, as the parser made them; shared, never written to.
        size: bytes.
        key: decoding can start here. Always true for sound.
        dts_ns: decoding time (presentation time where there is none) on the ingest
            pipeline's running time, or :data:`NO_TIME`.
    """

    track: Track
    sample: Gst.Sample
    size: int
    key: bool
    dts_ns: int


@dataclass(frozen=True, slots=True)
class Program:
    """The tracks of a stream, by their caps. A track that is absent is None."""

    video: Gst.Caps | None
    audio: Gst.Caps | None

    def tracks(self) -> list[tuple[Track, Gst.Caps]]:
        found: list[tuple[Track, Gst.Caps]] = []
        if self.video is not None:
            found.append(("video", self.video))
        if self.audio is not None:
            found.append(("audio", self.audio))
        return found


CODECS: Final = {
    "video/x-h264": "h264",
    "video/x-h265": "h265",
    "audio/mpeg": "aac",
}


def codec_of(caps: Gst.Caps) -> str:
    """Short name of the codec, such as ``h264``."""
    structure = caps.get_structure(0)
    name = str(structure.get_name())
    if name == "audio/mpeg" and structure.get_int("mpegversion")[1] == 1:
        return "mp2"
    return CODECS.get(name, name)
