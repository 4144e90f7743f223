"""Stamps are kept away from the wrap of their clock. Pure.

PCR, PTS and DTS count to 2^33, and begin anew after 26.5 hours. Stamps do so earlier than the
clock reference, because what they belong to is still to be shown. tsdemux takes no stamp that is
more than 15 s away from the last clock reference, and takes the two sides of the wrap for that:
what is stamped in between gets no time. So while the clock is near its wrap, all three are
moved forward by a quarter of their range, which changes the first byte of each. The demuxer then
sees a clock that is set anew, twice, and goes on from the time of the packets; it never sees one
that wraps. (By half it would take the first step for one backwards, and be wrong by its own
correction for some seconds.)

Source: ISO/IEC 13818-1 sections 2.4.3.5 (PCR) and 2.4.3.7 (PTS, DTS).
"""

from __future__ import annotations

from typing import Final

PACKET: Final = 188
HZ: Final = 90_000
WRAP: Final = 1 << 33
NEAR: Final = 20 * HZ
"""More than the 15 s that stamps may be away from the clock."""

_PTS_AT: Final = 9
_DTS_AT: Final = 14


def is_near(base: int, was: bool) -> bool:
    """Whether stamps are to be moved.

    Args:
        base: the clock reference, in ticks of 90 kHz.
        was: whether they were until now. A clock that begins at 0, as most do, has not wrapped.
    """
    return base >= WRAP - NEAR or (was and base < NEAR)


def moved(packets: bytes) -> bytes:
    """The packets, with their stamps a quarter of the range ahead.

    A header that goes on in the next packet is none that a muxer writes; it is left.

    Args:
        packets: whole packets of 188 bytes.
    """
    out = bytearray(packets)
    for begin in range(0, len(out), PACKET):
        end, payload = begin + PACKET, begin + 4
        control = out[begin + 3]
        if control & 0x20:
            size = out[payload]
            if size >= 7 and out[payload + 1] & 0x10:
                out[payload + 2] = (out[payload + 2] + 0x40) & 0xFF  # two bits of 8
            payload += 1 + size
        if not (out[begin + 1] & 0x40 and control & 0x10 and payload + _PTS_AT < end):
            continue
        if out[payload : payload + 3] != b"\0\0\1" or out[payload + 6] & 0xC0 != 0x80:
            continue  # not a packetized elementary stream, or one without such a header
        flags = out[payload + 7]
        if flags & 0x80:
            _move(out, payload + _PTS_AT)
        if flags & 0x40 and payload + _DTS_AT < end:
            _move(out, payload + _DTS_AT)
    return bytes(out)


def _move(out: bytearray, at: int) -> None:
    """The stamp that begins there: four bits that say which it is, its first three, a marker."""
    out[at] = (out[at] & 0xF1) | (out[at] + 0x04 & 0x0E)
