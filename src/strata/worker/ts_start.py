"""Where a transport stream can begin. Pure.

The first packets of a broadcast are often incomplete: RIST drops what comes before its
handshake, and with it the tables without which a demuxer throws the first pictures away,
or the head of the first key frame. So packets are held until the tables are known and a
key frame begins; then the stream starts with the tables, goes on with that key frame, and
from there on every packet passes as it came.

Source: ISO/IEC 13818-1 section 2.4.3.5 (random access indicator).
"""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import Final

from strata.media.ts_tables import PACKET, Tables, pid_of, starts_key_frame

HELD_BYTES_MAX: Final = 4 * 1024 * 1024
HELD_S_MAX: Final = 4.0
"""An encoder that never marks its key frames (the random access indicator is optional) or
sends no tables that we can read passes as it is after this."""


class TsStart:
    """Holds the beginning of one transport stream until it can be used."""

    def __init__(self) -> None:
        self._held: list[tuple[float, bytes]] = []
        self._held_bytes = 0
        self._first_at: float | None = None
        self._tables = Tables()
        self.started = False

    def pass_on(self, batch: bytes, now: float) -> list[tuple[float, bytes]]:
        """What may go on of the stream so far, as (time of arrival, packets); empty while
        it is held. What was held keeps the time at which it came, because a demuxer takes
        the pace of the stream from there.

        Args:
            batch: whole packets of 188 bytes.
            now: seconds on any monotonic clock.
        """
        if self.started or not batch:
            return [(now, batch)]
        if self._first_at is None:
            self._first_at = now
        for offset in range(0, len(batch), PACKET):
            self._look_at(batch[offset : offset + PACKET], now)
        if self._tables.are_known:
            start = self._find_start()
            if start is not None:
                return self._begin(start)
        if self._held_bytes > HELD_BYTES_MAX or now - self._first_at > HELD_S_MAX:
            return self._begin(0)
        return []

    def _begin(self, index: int) -> list[tuple[float, bytes]]:
        self.started = True
        kept, self._held = self._held[index:], []
        tables = self._tables.packets
        batches = [(kept[0][0], tables)] if tables else []
        for at, group in groupby(kept, key=itemgetter(0)):
            batches.append((at, b"".join(packet for _, packet in group)))
        return batches

    def _look_at(self, packet: bytes, now: float) -> None:
        self._held.append((now, packet))
        self._held_bytes += PACKET
        self._tables.look_at(packet)

    def _find_start(self) -> int | None:
        """Index of the held packet to begin with: the first key frame's, or 0 where the
        program has no video."""
        if self._tables.video_pid is None:
            return 0
        for index, (_, packet) in enumerate(self._held):
            if pid_of(packet) == self._tables.video_pid and starts_key_frame(packet):
                return index
        return None
