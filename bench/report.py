"""Figures as people and programs read them."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

Table: TypeAlias = list[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Spread:
    """Several measurements of one thing."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))

    def text(self, scale: float = 1.0, digits: int = 2) -> str:
        low, high = self.least * scale, self.most * scale
        return f"{self.median * scale:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def share(values: Sequence[float], percent: float) -> float:
    """The least of ``values`` that so many percent of them do not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def verdict(value: float, limit: float) -> str:
    return "met" if value <= limit else "MISSED"


def print_table(rows: Table) -> None:
    """The first row is the heading; the first column is left-aligned."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for number, row in enumerate(rows):
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  " + "  ".join(cells))
        if not number:
            print("  " + "-" * (sum(widths) + 2 * (len(widths) - 1)))
    print()


def circumstances() -> dict[str, Any]:
    """When and on what machine this was measured."""
    now = datetime.datetime.now(datetime.UTC)
    return {
        "date": now.isoformat(timespec="seconds"),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "load_average": os.getloadavg(),
        "packages": _packages(),
    }


def print_circumstances(found: dict[str, Any]) -> None:
    load = " ".join(f"{value:.2f}" for value in found["load_average"])
    print(f"{found['date']}  {found['cores']} x {found['cpu']}, Linux {found['kernel']}")
    print(f"load average before: {load}")
    print(", ".join(f"{name} {version}" for name, version in found["packages"].items()) + "\n")


def write_json(path: Path | None, result: dict[str, Any]) -> None:
    if path is not None:
        path.write_text(json.dumps(result, indent=2, default=_plain) + "\n")


def _plain(value: Any) -> Any:
    return dataclasses.asdict(value)


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _packages() -> dict[str, str]:
    """Debian versions of what the figures depend on; empty on another system."""
    names = ("librist4", "libgstreamer1.0-0", "ffmpeg", "nginx", "python3")
    try:
        done = subprocess.run(
            ["dpkg-query", "-W", "-f", "${Package} ${Version}\n", *names],
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
    except FileNotFoundError:
        return {}
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())
