"""Access units: what flows from the ingest pipeline to the forwards. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from strata.worker.formats import Format, Track

NO_TIME: Final = -1
"""A stamp that the stream does not carry."""


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """One coded picture, or one frame of sound.

    Attributes:
        format: how it is coded; its parameter sets are there, not in ``data``.
        data: pictures with the length of each NAL unit before it (four bytes, ISO/IEC
            14496-15), sound without a header.
        pts_ns, dts_ns: when it is shown, and decoded; or :data:`NO_TIME`.
        key: decoding can start here. Always true for sound.
        follows: whether nothing is known to be missing of this track before it.
        stands_in: whether it was made here, for one of the sender's that is missing.
    """

    format: Format
    data: bytes
    pts_ns: int
    dts_ns: int
    key: bool
    follows: bool = True
    stands_in: bool = False

    @property
    def track(self) -> Track:
        return self.format.track

    @property
    def size(self) -> int:
        return len(self.data)
