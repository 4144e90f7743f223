"""Packets of a transport stream, made by hand."""

from __future__ import annotations

from typing import Final

from strata.media.ts_tables import PACKET

VIDEO: Final = 0x100
AUDIO: Final = 0x101
PMT: Final = 0x1000
H264: Final = 0x1B
AAC: Final = 0x0F


def section(pid: int, body: bytes) -> bytes:
    """A packet with one section, its checksum left zero (nobody here checks it)."""
    head = bytes((0x47, 0x40 | pid >> 8, pid & 0xFF, 0x10, 0))
    return (head + body + bytes(4)).ljust(PACKET, b"\xff")


def pat(pmt_pid: int = PMT, network_first: bool = False) -> bytes:
    programs = bytes((0, 0, 0xE0, 0x10)) if network_first else b""
    programs += bytes((0, 1, 0xE0 | pmt_pid >> 8, pmt_pid & 0xFF))
    size = 5 + len(programs) + 4
    return section(0, bytes((0x00, 0xB0, size, 0, 1, 0xC1, 0, 0)) + programs)


def pmt(*streams: tuple[int, int], pid: int = PMT, described: bytes = b"") -> bytes:
    """The map of a program: each stream's type and PID.

    Args:
        described: descriptors of the program, and of each stream.
    """
    size = len(described)
    listed = b"".join(
        bytes((kind, 0xE0 | pid >> 8, pid & 0xFF, 0xF0, size)) + described for kind, pid in streams
    )
    whole = 9 + size + len(listed) + 4
    head = bytes((0x02, 0xB0, whole, 0, 1, 0xC1, 0, 0, 0xE1, 0x00, 0xF0, size)) + described
    return section(pid, head + listed)


def media(pid: int = VIDEO, key: bool = False, mark: int = 0, begins: bool = False) -> bytes:
    if key:
        head = bytes((0x47, 0x40 | pid >> 8, pid & 0xFF, 0x30, 1, 0x40))
    else:
        head = bytes((0x47, begins << 6 | pid >> 8, pid & 0xFF, 0x10))
    return head.ljust(PACKET - 1, b"\xee") + bytes((mark,))


TABLES: Final = pat() + pmt((AAC, AUDIO), (H264, VIDEO))
