"""A file as a broadcast: paced by its own clock, and again and again on one timeline. Pure.

Each pass through the file has the same stamps. From the second on, clock references (PCR) and
stamps (PTS, DTS) are moved so that they go on where the pass before ended, and the counters of
each track go on too: who receives it sees one stream without a seam. Pictures and sound are
moved by the same, so they stay together.

Sources: ISO/IEC 13818-1 sections 2.4.3.3 (continuity counter), 2.4.3.5 (PCR), 2.4.3.7 (PTS).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

PACKET: Final = 188
HZ: Final = 90_000
WRAP: Final = 1 << 33
PCR_PER_TICK: Final = 300

JUMP_S: Final = 1.0
"""Clock references that are further apart (0.1 s is allowed), or go back, are those of a file
that was pieced together."""
LATE_S: Final = 1.0
"""What should have gone out so long ago is not made up for: the broadcast goes on from now."""
STEP_S: Final = 1.0
"""Units of one track that are further apart do not tell how long the last one is."""


@dataclass(slots=True)
class _Track:
    """Stamps of one elementary stream within a pass, in ticks of 90 kHz."""

    first: int
    last: int
    size: int
    """Of the last unit, in bytes; 0 where it does not say, as pictures do not."""
    step: int = 0
    ticks_per_byte: float = 0.0

    @property
    def end(self) -> int:
        # Several frames of sound are often one unit, and the last one has fewer.
        took = round(self.size * self.ticks_per_byte)
        return self.last + (took or self.step)

    def follow(self, stamp: int, size: int) -> None:
        step = signed(stamp - self.last)
        if step <= 0:
            return
        if step <= STEP_S * HZ:
            self.step = step
            self.ticks_per_byte = step / self.size if self.size else 0.0
        self.last += step
        self.size = size


@dataclass(frozen=True, slots=True)
class _Piece:
    """Packets that go out evenly from one moment to another, in seconds of the timeline."""

    begins_s: float
    ends_s: float
    data: bytes


class Timeline:
    """What has been read of a file and not been sent yet."""

    def __init__(self) -> None:
        self._pieces: deque[_Piece] = deque()
        self._sent = 0
        """Bytes of the first piece."""
        self._open = bytearray()
        """Packets since the last clock reference."""
        self._clock_pid: int | None = None
        self._clock: int | None = None
        """The last reference as it was sent, in 90 kHz."""
        self._at_s = 0.0
        """Where the timeline is at the last reference."""
        self._zero_s: float | None = None
        """When the timeline began, on the caller's clock."""
        self._bytes_per_s = 0.0
        self._shift = 0
        self._is_first = True
        self._tracks: dict[int, _Track] = {}
        self._counters: dict[int, int] = {}
        self._held: int | None = None
        """The last reference of the pass before. A pass may end with its clock further ahead of
        its stamps than it began; the clock waits there, it must not go back."""

    @property
    def waiting_s(self) -> float:
        """How much is there to be sent."""
        if not self._pieces:
            return 0.0
        return self._pieces[-1].ends_s - self._pieces[0].begins_s

    @property
    def is_empty(self) -> bool:
        return not self._pieces

    def put(self, data: bytes) -> None:
        """More of the file: whole packets."""
        out = bytearray(data)
        begin = 0
        for at in range(0, len(out), PACKET):
            reference = self._look(out, at)
            if reference is not None:
                self._open += out[begin:at]
                begin = at
                self._tick(reference)
        self._open += out[begin:]

    def next_pass(self) -> None:
        """The file is through; what is put from now on is its beginning again."""
        self.finish()
        if self._tracks:
            begin = min(track.first for track in self._tracks.values())
            self._shift += max(track.end for track in self._tracks.values()) - begin
        self._is_first = False
        self._tracks = {}
        self._held = self._clock

    def finish(self) -> None:
        """What is after the last reference goes out as fast as what was before it."""
        if self._open:
            took_s = len(self._open) / self._bytes_per_s if self._bytes_per_s else 0.0
            self._close(min(took_s, JUMP_S))

    def due(self, now: float) -> bytes:
        """What is to be sent by ``now``, in seconds on any monotonic clock."""
        if not self._pieces:
            return b""
        if self._zero_s is None or now - self._zero_s > self._pieces[0].ends_s + LATE_S:
            self._zero_s = now - self._pieces[0].begins_s
        at_s = now - self._zero_s
        parts = []
        while self._pieces:
            piece = self._pieces[0]
            if piece.ends_s <= at_s:
                parts.append(piece.data[self._sent :])
                self._pieces.popleft()
                self._sent = 0
                continue
            if piece.begins_s < at_s:
                share = (at_s - piece.begins_s) / (piece.ends_s - piece.begins_s)
                upto = int(len(piece.data) * share) // PACKET * PACKET
                parts.append(piece.data[self._sent : upto])
                self._sent = max(self._sent, upto)
            break
        return b"".join(parts)

    def _tick(self, reference: int) -> None:
        """A clock reference begins a new piece."""
        if self._clock is not None:
            moved_s = signed(reference - self._clock) / HZ
            if not 0 <= moved_s <= JUMP_S:
                moved_s = len(self._open) / self._bytes_per_s if self._bytes_per_s else 0.0
            elif moved_s > 0 and self._open:
                self._bytes_per_s = len(self._open) / moved_s
            self._close(moved_s)
        self._clock = reference

    def _close(self, took_s: float) -> None:
        if self._open:
            self._pieces.append(_Piece(self._at_s, self._at_s + took_s, bytes(self._open)))
            self._open.clear()
        self._at_s += took_s

    def _look(self, out: bytearray, at: int) -> int | None:
        """Moves what is in one packet, and remembers it; its clock reference, if it has one
        that counts."""
        control = out[at + 3]
        pid = (out[at + 1] & 0x1F) << 8 | out[at + 2]
        if control & 0x10:
            if self._is_first:
                self._counters[pid] = control & 0x0F
            else:
                count = self._counters.get(pid, control - 1) + 1 & 0x0F
                self._counters[pid] = count
                out[at + 3] = control & 0xF0 | count
        payload, reference = at + 4, None
        if control & 0x20:
            size = out[payload]
            if size >= 7 and out[payload + 1] & 0x10:
                reference = self._reference(out, payload + 2, pid)
            payload += 1 + size
        if out[at + 1] & 0x40 and control & 0x10 and payload + 19 <= at + PACKET:
            self._stamps(out, payload, pid)
        return reference

    def _reference(self, out: bytearray, at: int, pid: int) -> int | None:
        field = int.from_bytes(out[at : at + 6], "big")
        base = (field >> 15) + self._shift & WRAP - 1
        if self._clock_pid is None:
            self._clock_pid = pid
        counts = pid == self._clock_pid
        if counts and self._held is not None:
            if signed(base - self._held) < 0:
                base = self._held
            else:
                self._held = None
        out[at : at + 6] = (base << 15 | field & 0x7FFF).to_bytes(6, "big")
        return base if counts else None

    def _stamps(self, out: bytearray, at: int, pid: int) -> None:
        if out[at : at + 3] != b"\0\0\1" or out[at + 6] & 0xC0 != 0x80:
            return  # not a packetized elementary stream, or one without such a header
        flags = out[at + 7] & 0xC0
        if not flags & 0x80:
            return
        stamp = _move(out, at + 9, self._shift)
        if flags == 0xC0:
            stamp = _move(out, at + 14, self._shift)
        size = out[at + 4] << 8 | out[at + 5]
        track = self._tracks.get(pid)
        if track is None:
            self._tracks[pid] = _Track(stamp, stamp, size)
        else:
            track.follow(stamp, size)


def signed(difference: int) -> int:
    """The shorter way round the wrap of the clock (26.5 hours)."""
    return (difference + WRAP // 2) % WRAP - WRAP // 2


def _move(out: bytearray, at: int, shift: int) -> int:
    """Moves the stamp that begins there; what it was (ISO/IEC 13818-1 table 2-21)."""
    a, b, c, d, e = out[at : at + 5]
    was = (a & 0x0E) << 29 | b << 22 | (c & 0xFE) << 14 | d << 7 | e >> 1
    if shift:
        stamp = was + shift & WRAP - 1
        out[at : at + 5] = (
            a & 0xF1 | stamp >> 29 & 0x0E,
            stamp >> 22 & 0xFF,
            stamp >> 14 & 0xFE | 1,
            stamp >> 7 & 0xFF,
            stamp << 1 & 0xFE | 1,
        )
    return was
