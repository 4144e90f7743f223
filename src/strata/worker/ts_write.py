"""Writes a transport stream of one program. Pure.

Sources: ISO/IEC 13818-1 sections 2.4.3.2 (packet), 2.4.3.4 (adaptation field), 2.4.3.6 (PES),
2.4.4.3 (PAT), 2.4.4.8 (PMT), 2.4.4.10 and annex A (checksum).
"""

from __future__ import annotations

from typing import Final

PACKET: Final = 188
PAYLOAD: Final = 184

PAT_PID: Final = 0x0000
PMT_PID: Final = 0x1000
VIDEO_PID: Final = 0x0100
AUDIO_PID: Final = 0x0101
STREAM_TYPES: Final = {"h264": 0x1B, "h265": 0x24, "aac": 0x0F}

CLOCK_HZ: Final = 90_000
ZERO: Final = 10 * CLOCK_HZ
"""The stamp of the stream's beginning: the clock runs ahead of the stamps and must not begin
below zero."""
LEAD: Final = CLOCK_HZ // 2
"""How long before its time a picture is there."""
WRAP: Final = 1 << 33


class TsWriter:
    """Packets of one stream; counters go on from one :meth:`take` to the next.

    Args:
        video, audio: codecs, as :data:`STREAM_TYPES` names them; None for none.
    """

    def __init__(self, video: str | None, audio: str | None) -> None:
        streams = []
        if video is not None:
            streams.append((STREAM_TYPES[video], VIDEO_PID))
        if audio is not None:
            streams.append((STREAM_TYPES[audio], AUDIO_PID))
        self._clock_pid = VIDEO_PID if video is not None else AUDIO_PID
        self._pat = _section(0x00, 1, b"\0\1" + _pid(PMT_PID))
        self._pmt = _section(
            0x02,
            1,
            _pid(self._clock_pid)
            + b"\xf0\0"
            + b"".join(bytes((kind,)) + _pid(pid) + b"\xf0\0" for kind, pid in streams),
        )
        self._counters = dict.fromkeys((PAT_PID, PMT_PID, VIDEO_PID, AUDIO_PID), 0)
        self._heads = {
            pid: [bytes((0x47, pid >> 8, pid & 0xFF, 0x10 | count)) for count in range(16)]
            for pid in self._counters
        }
        self._parts: list[bytes] = []

    def take(self) -> bytes:
        """What has been written since the last time."""
        data = b"".join(self._parts)
        self._parts.clear()
        return data

    def tables(self) -> None:
        for pid, section in ((PAT_PID, self._pat), (PMT_PID, self._pmt)):
            # The pointer, the section, and stuffing, which for tables is in the payload.
            self._packet(pid, b"", (b"\0" + section).ljust(PAYLOAD, b"\xff"), begins=True)

    def picture(self, data: bytes, pts: int, dts: int, key: bool) -> None:
        """One access unit; stamps in units of 1/90000 s from the stream's beginning."""
        self._unit(VIDEO_PID, 0xE0, data, pts, dts, key)

    def sound(self, data: bytes, pts: int) -> None:
        self._unit(AUDIO_PID, 0xC0, data, pts, pts, True)

    def _unit(self, pid: int, stream_id: int, data: bytes, pts: int, dts: int, key: bool) -> None:
        field = b""
        if pid == self._clock_pid:
            clock = (dts + ZERO - LEAD) % WRAP
            flags = 0x50 if key else 0x10
            field = bytes((flags,)) + (clock << 15 | 0x7E00).to_bytes(6, "big")
        self._payload(pid, field, _pes(stream_id, pts + ZERO, dts + ZERO, data))

    def _payload(self, pid: int, field: bytes, data: bytes) -> None:
        """Cuts a PES into packets; the adaptation field goes into the first."""
        at = PAYLOAD - (1 + len(field) if field else 0)
        self._packet(pid, field, data[:at], begins=True)
        heads, count = self._heads[pid], self._counters[pid]
        append = self._parts.append
        last = len(data) - PAYLOAD
        while at <= last:
            append(heads[count])
            append(data[at : at + PAYLOAD])
            count = (count + 1) & 0x0F
            at += PAYLOAD
        self._counters[pid] = count
        if at < len(data):
            self._packet(pid, b"", data[at:], begins=False)

    def _packet(self, pid: int, field: bytes, payload: bytes, *, begins: bool) -> None:
        count = self._counters[pid]
        self._counters[pid] = (count + 1) & 0x0F
        free = PAYLOAD - len(payload) - (1 + len(field) if field else 0)
        if free and not field:
            # The length alone, or with flags that say nothing.
            field, free = (b"", free) if free == 1 else (b"\0", free - 2)
            field = field + b"\xff" * (free if field else 0)
            field = bytes((len(field),)) + field
        elif field:
            field = bytes((len(field) + free,)) + field + b"\xff" * free
        control = (0x30 if field else 0x10) | count
        head = bytes((0x47, (0x40 if begins else 0) | pid >> 8, pid & 0xFF, control))
        self._parts += (head, field, payload)


def _pes(stream_id: int, pts: int, dts: int, data: bytes) -> bytes:
    stamps = _stamp(0x2 if pts == dts else 0x3, pts)
    if pts != dts:
        stamps += _stamp(0x1, dts)
    size = 3 + len(stamps) + len(data)
    # Only a picture may leave its length open.
    length = size if size <= 0xFFFF else 0
    flags = 0x80 if pts == dts else 0xC0
    head = b"\0\0\1" + bytes((stream_id,)) + length.to_bytes(2, "big")
    return head + bytes((0x84, flags, len(stamps))) + stamps + data


def _stamp(prefix: int, value: int) -> bytes:
    value %= WRAP
    return bytes(
        (
            prefix << 4 | (value >> 30) << 1 | 1,
            value >> 22 & 0xFF,
            (value >> 15 & 0x7F) << 1 | 1,
            value >> 7 & 0xFF,
            (value & 0x7F) << 1 | 1,
        )
    )


def _pid(pid: int) -> bytes:
    return (0xE000 | pid).to_bytes(2, "big")


def _section(table: int, id: int, body: bytes) -> bytes:
    """A table: version 0, current, the only one of its kind."""
    length = 0xB000 | len(body) + 9
    data = bytes((table,)) + length.to_bytes(2, "big") + id.to_bytes(2, "big")
    data += b"\xc1\0\0" + body
    return data + _checksum(data).to_bytes(4, "big")


def _checksum(data: bytes) -> int:
    """CRC-32 of MPEG-2: not reflected, not inverted at the end."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value & 0x80000000 else 0)) & 0xFFFFFFFF
    return value
