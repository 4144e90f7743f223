"""How the words on a slate are laid out. Pure.

textoverlay measures nothing for us, so the width of a line is estimated from its characters;
pango breaks what is too wide all the same.
"""

from __future__ import annotations

import unicodedata
from typing import Final

LINE: Final = "The picture will be back in a moment"

TITLE: Final = "#eef1f5"
CALM: Final = "#8d99a8"

_LARGEST: Final = 0.085
_SMALLEST: Final = 0.04
_LINE: Final = 0.036
_GAP: Final = 0.03
"""Sizes of letters, and of the gap under the title, as parts of the shorter side."""
_SMALLER: Final = 0.9
_MOST_LINES: Final = 3
_ROOM: Final = 0.84
"""Of the picture's width: some televisions cut off 5 % on each side (EBU R 95)."""
_NARROW, _WIDE = 0.66, 1.05
"""Widths of bold letters as parts of their size: Latin capitals and digits, and East Asian."""
_LEAST_PX: Final = 6.0


def markup(text: str, width: int, height: int) -> str:
    """Pango's markup for the title ``text`` and the calm line below it."""
    unit = min(width, height)
    line = _span(LINE, "normal", _LINE * unit, CALM)
    title = printable(text)
    if not title:
        return line
    lines, size = _fitted(title, width * _ROOM, unit)
    gap = _span(" ", "normal", _GAP * unit, CALM)
    return "\n".join((_span("\n".join(lines), "bold", size, TITLE), gap, line))


def printable(text: str) -> str:
    """The text in one line, without the characters that XML and fonts do not know."""
    spaced = "".join(" " if each.isspace() else each for each in text)
    kept = (each for each in spaced if unicodedata.category(each) not in ("Cc", "Cs", "Cn", "Co"))
    return " ".join("".join(kept).split())


def _fitted(title: str, room_px: float, unit: int) -> tuple[list[str], float]:
    """The lines of the title, and the largest letters in which they fit."""
    size = _LARGEST * unit
    while True:
        most = room_px / size
        lines = _broken(title, most)
        if len(lines) <= _MOST_LINES and all(_ems(line) <= most for line in lines):
            return lines, size
        if size * _SMALLER < _SMALLEST * unit:
            return _cut(lines, most), size
        size *= _SMALLER


def _broken(title: str, most: float) -> list[str]:
    """In lines of at most ``most`` times the size of a letter, one word at least in each."""
    lines: list[str] = []
    for word in title.split(" "):
        if lines and _ems(longer := f"{lines[-1]} {word}") <= most:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _cut(lines: list[str], most: float) -> list[str]:
    """The smallest letters and still too long: words are broken, and the end is left out."""
    found: list[str] = []
    rest = " ".join(lines)
    while rest and len(found) < _MOST_LINES:
        ends = [0, *(at for at in range(1, len(rest) + 1) if _ems(rest[:at]) <= most)]
        end = ends[-1] or 1
        spaces = [at for at, each in enumerate(rest[: end + 1]) if each == " "]
        if end < len(rest) and spaces:
            end = spaces[-1]
        found.append(rest[:end])
        rest = rest[end:].strip()
    if rest:
        found[-1] = found[-1][:-1] + "…"
    return found


def _ems(text: str) -> float:
    return sum(_em(each) for each in text)


def _em(character: str) -> float:
    if unicodedata.combining(character) or unicodedata.category(character) == "Cf":
        return 0.0
    return _WIDE if unicodedata.east_asian_width(character) in "WF" else _NARROW


def _span(text: str, weight: str, size_px: float, colour: str) -> str:
    for raw, safe in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(raw, safe)
    size = max(_LEAST_PX, size_px)
    return f'<span font="Sans {size:.0f}px" weight="{weight}" color="{colour}">{text}</span>'
