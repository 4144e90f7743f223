"""What a sender and a receiver of RIST's main profile say to each other, as bytes. Pure.

A datagram, outermost first (VSF TR-06-2:2020 section 5, TR-06-1:2020 section 5, RFC 3550):

    GRE     flags 0x30 (key, sequence), version 1 with 0x40 for AES-256, 0x88B6, nonce, sequence
    -- from here on encrypted --
    ports   two virtual UDP ports; those of RTCP are one higher
    RTP     version 2, payload type 33 (MPEG-TS), 90 kHz; the last bit of the SSRC is set in what
            is sent again
    or RTCP several reports together: of the sender (SR), names (SDES), and RIST's own (APP): what
            is missing (ranges; RFC 4585 has the same as bitmasks), and echoes for the round trip
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeAlias

from strata.bond.cipher import Sealer

TS_PACKET: Final = 188
PAYLOAD_MAX: Final = 7 * TS_PACKET
"""Seven packets of a transport stream fit an Ethernet frame (TR-06-1 section 5.2)."""

OVERHEAD: Final = 12 + 4 + 12
"""Bytes that a payload grows by: GRE, ports, RTP."""

RTP_HZ: Final = 90_000
_KEY_AND_SEQUENCE: Final = 0x30
_VERSION_1: Final = 0x08
_AES_256: Final = 0x40
_REDUCED: Final = 0x88B6

_MEDIA_PORT: Final = 1968
_RTCP_PORT: Final = _MEDIA_PORT + 1
_OWN_PORT: Final = 32768

_SR, _RR, _SDES, _APP, _NACK = 200, 201, 202, 204, 205
_RANGES, _ECHO_REQUEST, _ECHO_RESPONSE = 0, 2, 3
_BITMASK: Final = 1
_RIST: Final = b"RIST"

_GRE: Final = struct.Struct(">BBH4sI")
_RTP: Final = struct.Struct(">HHBBHII")
_PORTS: Final = struct.Struct(">HH")
_SENDER_REPORT: Final = struct.Struct(">BBHIQIII")
_RECEIVER_REPORT: Final = struct.Struct(">BBHI")
_ECHO: Final = struct.Struct(">BBHI4sQI")
_SDES_HEAD: Final = struct.Struct(">BBHIBB")
_PAIR: Final = struct.Struct(">HH")

REQUESTS_MAX: Final = 4096
"""Packets that one datagram asks for, at most; a range alone may name 65,536."""


@dataclass(frozen=True, slots=True)
class Missing:
    """The receiver asks for these sequence numbers (16 bits) again."""

    sequences: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EchoRequest:
    """To be answered at once with the same stamp and source."""

    stamp: int
    ssrc: int


@dataclass(frozen=True, slots=True)
class Echo:
    """The answer to ours. ``held_us``: how long the receiver had it."""

    stamp: int
    held_us: int


Word: TypeAlias = Missing | EchoRequest | Echo


def media(sequence: int, stamp: int, flow_id: int, payload: bytes, is_again: bool) -> bytes:
    """A packet of media, to be sealed.

    Args:
        sequence: 16 bits.
        stamp: 90 kHz, 32 bits; the same when it is sent again, which is how a receiver tells
            a second copy.
        flow_id: even.
    """
    ssrc = flow_id | is_again
    return _RTP.pack(_OWN_PORT, _MEDIA_PORT, 0x80, 33, sequence, stamp, ssrc) + payload


def report(flow_id: int, name: bytes, ntp: int, rtp: int, stamp: int) -> bytes:
    """What a sender says on each link over and over: that it is there, what time it is, and an
    echo request with ``stamp``."""
    return (
        _PORTS.pack(_OWN_PORT, _RTCP_PORT)
        + _SENDER_REPORT.pack(0x80, _SR, 6, flow_id, ntp, rtp, 0, 0)
        + _names(flow_id, name)
        + _ECHO.pack(0x80 | _ECHO_REQUEST, _APP, 5, flow_id, _RIST, stamp, 0)
    )


def echo_response(flow_id: int, name: bytes, request: EchoRequest) -> bytes:
    """The answer to the receiver's request, from which it learns the round trip."""
    return (
        _PORTS.pack(_OWN_PORT, _RTCP_PORT)
        + _RECEIVER_REPORT.pack(0x80, _RR, 1, flow_id)
        + _names(flow_id, name)
        + _ECHO.pack(0x80 | _ECHO_RESPONSE, _APP, 5, request.ssrc, _RIST, request.stamp, 0)
    )


def _names(flow_id: int, name: bytes) -> bytes:
    size = (_SDES_HEAD.size + len(name) + 4) & ~3  # at least one zero at the end (RFC 3550 6.5)
    head = _SDES_HEAD.pack(0x81, _SDES, size // 4 - 1, flow_id, 1, len(name))
    return (head + name).ljust(size, b"\0")


def wrap(sealer: Sealer, sequence: int, plain: bytes) -> bytes:
    """The datagram. ``sequence``: 32 bits, each once under a nonce."""
    flags = _VERSION_1 | (_AES_256 if sealer.bits == 256 else 0)
    head = _GRE.pack(_KEY_AND_SEQUENCE, flags, _REDUCED, sealer.nonce, sequence)
    return head + sealer.seal(sequence, plain)


def unwrap(sealer: Sealer, datagram: bytes) -> list[Word] | None:
    """What a receiver says in a datagram: often no more than that it is there. None where it
    comes from nobody who has the key."""
    if len(datagram) < _GRE.size + _PORTS.size + _RECEIVER_REPORT.size:
        return None
    flags, _, protocol, nonce, sequence = _GRE.unpack_from(datagram)
    if flags != _KEY_AND_SEQUENCE or protocol != _REDUCED:
        return None
    rtcp = sealer.open(nonce, sequence, datagram[_GRE.size :])[_PORTS.size :]
    # Every RTCP packet begins with a report (RFC 3550 section 6.1). Garbage hardly ever does.
    if rtcp[0] & 0xE0 != 0x80 or rtcp[1] not in (_SR, _RR):
        return None
    return list(_words(rtcp))


def _words(rtcp: bytes) -> Iterator[Word]:
    at, left = 0, REQUESTS_MAX
    while at + 8 <= len(rtcp) and rtcp[at] & 0xC0 == 0x80:
        kind, size = rtcp[at + 1], 4 * (1 + int.from_bytes(rtcp[at + 2 : at + 4], "big"))
        part = rtcp[at : at + size]
        if len(part) < size:
            return
        subtype = part[0] & 0x1F
        sequences: Iterator[int] | None = None
        if kind == _APP and subtype == _RANGES and part[8:12] == _RIST:
            sequences = _ranges(part[12:])
        elif kind == _NACK and subtype == _BITMASK:
            sequences = _masked(part[12:])
        elif kind == _APP and part[8:12] == _RIST:
            yield from _echo(subtype, part)
        if sequences is not None:
            missing = Missing(tuple(islice(sequences, left)))
            left -= len(missing.sequences)
            yield missing
        at += size


def _echo(subtype: int, part: bytes) -> Iterator[Word]:
    if subtype in (_ECHO_REQUEST, _ECHO_RESPONSE) and len(part) >= _ECHO.size:
        _, _, _, ssrc, _, stamp, held_us = _ECHO.unpack_from(part)
        if subtype == _ECHO_REQUEST:
            yield EchoRequest(stamp, ssrc)
        else:
            yield Echo(stamp, held_us)


def _ranges(records: bytes) -> Iterator[int]:
    """TR-06-1 section 5.3.2.1: a first one, and how many follow it."""
    for first, more in _PAIR.iter_unpack(records[: len(records) // 4 * 4]):
        for each in range(more + 1):
            yield (first + each) & 0xFFFF


def _masked(records: bytes) -> Iterator[int]:
    """RFC 4585 section 6.2.1: a first one, and a bit for each of the sixteen after it."""
    for first, mask in _PAIR.iter_unpack(records[: len(records) // 4 * 4]):
        yield first
        for bit in range(16):
            if mask >> bit & 1:
                yield (first + bit + 1) & 0xFFFF
