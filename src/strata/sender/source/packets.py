"""A transport stream in chunks, and which of them belong to key frames. Pure.

Sources: ISO/IEC 13818-1 sections 2.4.3.2 (payload unit start), 2.4.3.5 (random access
indicator), 2.4.3.6 (PES); Rec. ITU-T H.264 table 7-1, H.265 table 7-1 (types of NAL units).
"""

from __future__ import annotations

from typing import Final

from strata.media.ts_tables import PACKET, Tables, starts_key_frame
from strata.sender.source.seam import CHUNK_PACKETS, Chunk

CHUNK: Final = CHUNK_PACKETS * PACKET
SYNC: Final = 0x47
H264: Final = 0x1B
H265: Final = 0x24
"""Stream types."""

_H264_KEY: Final = frozenset((5, 7))
"""An IDR picture, or the sequence parameters that stand before one."""
_H265_KEY: Final = frozenset((*range(16, 22), 32, 33))
"""Random access pictures (BLA, IDR, CRA), or the parameters before one."""


class Chunker:
    """Follows one transport stream."""

    def __init__(self) -> None:
        self.tables = Tables()
        self._is_in_key = False
        self._rest = b""

    def feed(self, data: bytes) -> list[Chunk]:
        """Cuts whole packets into chunks; what does not fill one waits for more."""
        if self._rest:
            data = self._rest + data
        whole = len(data) - len(data) % CHUNK
        self._rest = data[whole:]
        return [self.one(data[at : at + CHUNK]) for at in range(0, whole, CHUNK)]

    def flush(self) -> list[Chunk]:
        """What waits."""
        rest, self._rest = self._rest, b""
        return [self.one(rest)] if rest else []

    def one(self, payload: bytes) -> Chunk:
        """Some whole packets as one chunk."""
        is_key = False
        video = self.tables.video_pid
        # Few packets begin something, and only those are looked at.
        for index, (high, low) in enumerate(zip(payload[1::PACKET], payload[2::PACKET])):  # noqa: B905
            if high & 0x40:
                pid = (high & 0x1F) << 8 | low
                if self.tables.concerns(pid):
                    self.tables.look_at(payload[index * PACKET : (index + 1) * PACKET])
                    video = self.tables.video_pid
                elif pid == video:
                    packet = payload[index * PACKET : (index + 1) * PACKET]
                    self._is_in_key = starts_key_frame(packet) or self._holds_key(packet)
                    is_key = is_key or self._is_in_key
            elif self._is_in_key and not is_key:
                is_key = (high & 0x1F) << 8 | low == video
        return Chunk(payload, is_key)

    def _holds_key(self, packet: bytes) -> bool:
        """For streams that do not mark random access, which is optional: by the NAL units in
        the first packet of the picture."""
        types = {pid: type for type, pid in self.tables.streams}
        codec = types.get(self.tables.video_pid or 0)
        if codec not in (H264, H265):
            return False
        at = 4 + (1 + packet[4] if packet[3] & 0x20 else 0)
        while (at := packet.find(b"\0\0\1", at)) >= 0 and at + 3 < PACKET:
            head = packet[at + 3]
            at += 3
            if codec == H264 and head & 0x80 == 0 and head & 0x1F in _H264_KEY:
                return True
            if codec == H265 and head & 0x80 == 0 and head >> 1 & 0x3F in _H265_KEY:
                return True
        return False


def aligned(data: bytes) -> bytes:
    """The whole packets of a piece that may begin in the middle of one."""
    if data[:1] == b"\x47" and len(data) % PACKET == 0:
        return data
    for begin in range(min(PACKET, len(data))):
        ahead = data[begin::PACKET][:4]
        if ahead and all(byte == SYNC for byte in ahead):
            end = begin + (len(data) - begin) // PACKET * PACKET
            return data[begin:end]
    return b""
