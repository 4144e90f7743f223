"""Where in a transport stream a receiver can join it. Pure.

Sources: ISO/IEC 13818-1 sections 2.4.3.2 (payload unit start), 2.4.3.5 (random access
indicator).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from strata.media.ts_tables import PACKET, Tables, starts_key_frame

UNMARKED_AFTER_S: Final = 12.0
"""Without a marked key frame for so long, the encoder does not mark them (the indicator is
optional): then any place is as good as another. 10 s is the longest interval in use."""


@dataclass(frozen=True, slots=True)
class Packets:
    """Whole packets of 188 bytes, in the order of the stream.

    Attributes:
        key: whether a receiver can begin with ``tables`` and these.
        tables: the program's tables, in packets; empty where ``key`` is false.
        video_pid: whose packets are the picture; None without one.
    """

    data: bytes
    key: bool = False
    tables: bytes = b""
    video_pid: int | None = None

    @property
    def pictures(self) -> int:
        """How many pictures begin in them."""
        if self.video_pid is None:
            return 0
        high, low = 0x40 | self.video_pid >> 8, self.video_pid & 0xFF
        firsts = zip(self.data[1::PACKET], self.data[2::PACKET], strict=True)
        return sum(a & 0x5F == high and b == low for a, b in firsts)


class TsKeys:
    """Follows one transport stream."""

    def __init__(self) -> None:
        self._tables = Tables()
        self._key_at: float | None = None

    def split(self, batch: bytes, now: float) -> list[Packets]:
        """The batch, cut before each key frame.

        Args:
            batch: whole packets.
            now: seconds on any monotonic clock.
        """
        cuts = []
        # Few packets begin something, and only those are looked at.
        for index, (high, low) in enumerate(zip(batch[1::PACKET], batch[2::PACKET], strict=True)):
            if not high & 0x40:
                continue
            packet = batch[index * PACKET : (index + 1) * PACKET]
            pid = (high & 0x1F) << 8 | low
            if self._tables.concerns(pid):
                self._tables.look_at(packet)
            elif pid == self._tables.video_pid and starts_key_frame(packet):
                cuts.append(index * PACKET)
        if cuts:
            self._key_at = now
        elif self._may_join_anywhere(batch, now):
            return [self._packets(batch, True)]
        ends = [*cuts, len(batch)]
        pieces = [self._packets(batch[: ends[0]], False)] if ends[0] else []
        pieces += [
            self._packets(batch[at:end], True) for at, end in zip(cuts, ends[1:], strict=True)
        ]
        return pieces

    def _may_join_anywhere(self, batch: bytes, now: float) -> bool:
        if self._key_at is not None:
            return self._tables.is_without_video or now - self._key_at > UNMARKED_AFTER_S
        # The stream begins with a marked key frame where there are any (ts_start), after a
        # batch that holds nothing but the tables.
        pids = zip(batch[1::PACKET], batch[2::PACKET], strict=True)
        return not all(self._tables.concerns((high & 0x1F) << 8 | low) for high, low in pids)

    def _packets(self, data: bytes, key: bool) -> Packets:
        tables = self._tables.packets if key else b""
        return Packets(data, key, tables, self._tables.video_pid)
