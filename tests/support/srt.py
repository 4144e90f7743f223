"""Debian's srt-live-transmit at the other end of a forward."""

from __future__ import annotations

from pathlib import Path

from support.children import Child


def srt_receiver(uri: str, file: Path) -> Child:
    """Writes what comes over SRT to a file, packet for packet."""
    return Child(
        ["srt-live-transmit", "-q", uri, "file://con"], file.with_suffix(".log"), output=file
    )
