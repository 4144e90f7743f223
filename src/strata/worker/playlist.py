"""An HLS media playlist, and what one that exists already says. Pure.

Source: RFC 8216 sections 4.3.3 (tags) and 6.2.1, 6.2.2 (what a server must keep to).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

VERSION: Final = 3
"""Durations with a fraction; nothing newer is used."""
SEGMENT_NAME: Final = re.compile(r"segment-([0-9]{1,12})\.ts")


@dataclass(frozen=True, slots=True)
class Entry:
    """One segment. ``follows`` is false where something is missing before it."""

    sequence: int
    duration_s: float
    follows: bool = True

    @property
    def name(self) -> str:
        """Never used twice, because sequence numbers are not."""
        return f"segment-{self.sequence}.ts"


@dataclass(slots=True)
class Playlist:
    """The newest segments of one stream.

    Attributes:
        target_s: the target duration; it never changes.
        length: how many segments it lists.
        next_sequence: of the segment that comes next.
        discontinuities: how many have left the list (EXT-X-DISCONTINUITY-SEQUENCE).
    """

    target_s: int
    length: int
    next_sequence: int
    entries: list[Entry] = field(default_factory=list)
    discontinuities: int = 0
    is_over: bool = False

    def add(self, duration_s: float, follows: bool) -> Entry:
        """Appends a segment and drops the oldest where there are too many."""
        entry = Entry(self.next_sequence, duration_s, follows)
        self.next_sequence += 1
        self.entries.append(entry)
        while len(self.entries) > self.length:
            self.discontinuities += not self.entries.pop(0).follows
        return entry

    def render(self) -> str:
        first = self.entries[0].sequence if self.entries else self.next_sequence
        lines = [
            "#EXTM3U",
            f"#EXT-X-VERSION:{VERSION}",
            f"#EXT-X-TARGETDURATION:{self.target_s}",
            f"#EXT-X-MEDIA-SEQUENCE:{first}",
        ]
        if self.discontinuities:
            lines.append(f"#EXT-X-DISCONTINUITY-SEQUENCE:{self.discontinuities}")
        for entry in self.entries:
            if not entry.follows:
                lines.append("#EXT-X-DISCONTINUITY")
            lines += [f"#EXTINF:{entry.duration_s:.3f},", entry.name]
        if self.is_over:
            lines.append("#EXT-X-ENDLIST")
        return "\n".join(lines) + "\n"


def resume(text: str, length: int) -> Playlist | None:
    """The playlist that an earlier run wrote, to be gone on with; None where the text is
    none of ours, or damaged."""
    target = _number(text, "EXT-X-TARGETDURATION")
    first = _number(text, "EXT-X-MEDIA-SEQUENCE")
    if target is None or first is None:
        return None
    entries: list[Entry] = []
    duration_s: float | None = None
    follows = True
    for line in text.splitlines():
        if line == "#EXT-X-DISCONTINUITY":
            follows = False
        elif found := re.fullmatch(r"#EXTINF:([0-9]{1,6}(?:\.[0-9]{1,6})?),.*", line):
            duration_s = float(found[1])
        elif line and not line.startswith("#"):
            found = SEGMENT_NAME.fullmatch(line)
            if found is None or int(found[1]) != first + len(entries) or duration_s is None:
                return None
            entries.append(Entry(int(found[1]), duration_s, follows))
            duration_s, follows = None, True
    playlist = Playlist(
        target,
        length,
        first + len(entries),
        entries,
        _number(text, "EXT-X-DISCONTINUITY-SEQUENCE") or 0,
    )
    while len(playlist.entries) > length:
        playlist.discontinuities += not playlist.entries.pop(0).follows
    return playlist


def _number(text: str, tag: str) -> int | None:
    found = re.search(rf"^#{tag}:([0-9]{{1,12}})$", text, re.MULTILINE)
    return int(found[1]) if found else None
