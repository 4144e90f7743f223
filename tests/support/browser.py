"""Debian's Chromium, without a screen."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from support.children import Child

# Its sandbox does not start as root.
FLAGS: Final = (
    *("--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-quic"),
    *(("--no-sandbox",) if os.geteuid() == 0 else ()),
)

_PLAYER: Final = """\
<video id="video" muted autoplay src="{url}"></video>
<script>
  const video = document.getElementById("video");
  const tell = (what) => console.log(`video ${{what}} at ${{video.currentTime.toFixed(2)}} `
    + `${{video.videoWidth}}x${{video.videoHeight}} ${{video.error ? video.error.message : ""}}`);
  for (const event of ["playing", "ended", "error"])
    video.addEventListener(event, () => tell(event));
</script>
"""


def browser(folder: Path, url: str) -> Child:
    """Opens a page; what it says to its console is in the child's output."""
    folder.mkdir(parents=True, exist_ok=True)
    return Child(
        [
            *("chromium", *FLAGS, "--enable-logging=stderr"),
            "--autoplay-policy=no-user-gesture-required",
            f"--user-data-dir={folder / 'profile'}",
            url,
        ],
        folder / "chromium.log",
        env=os.environ | {"HOME": os.fspath(folder)},
    )


def player(folder: Path, url: str) -> Child:
    """Plays a video; says ``video playing at``, ``video ended at``, ``video error at``."""
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "player.html"
    page.write_text(_PLAYER.format(url=url))
    return browser(folder, page.as_uri())
