"""Texts of others, before they come to a terminal."""

from __future__ import annotations


def plain(text: str) -> str:
    """One line without control characters: a name could otherwise repaint the screen."""
    return "".join(each if each.isprintable() else " " for each in text).strip()
