"""``script/bench``: the list of measurements, or one of them."""

from __future__ import annotations

import importlib
import signal
import sys
from types import FrameType
from typing import Final

NAMES: Final = (
    *("worker", "host", "control", "pages", "faults", "collector", "resilience", "bonding", "soak"),
)


def main() -> int:
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    signal.signal(signal.SIGTERM, _end)
    if name in NAMES:
        module = importlib.import_module(f"bench.{name}")
        return int(module.main(sys.argv[2:]))
    print("usage: script/bench NAME [--seconds N] [--rounds N] [--json FILE]\n")
    for each in NAMES:
        doc = importlib.import_module(f"bench.{each}").__doc__ or ""
        print(f"  {each:<10} {doc.splitlines()[0]}")
    return 0 if name in ("", "-h", "--help") else 2


def _end(signum: int, frame: FrameType | None) -> None:
    """Unwinds, so that what was started is ended and what was made is removed."""
    sys.exit(128 + signum)


if __name__ == "__main__":
    sys.exit(main())
