"""What the tests of every tier share."""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import database
from support.media import make_test_file


@pytest.fixture(scope="session")
def test_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve seconds of H.264 and AAC at 5.4 Mbps; made once, in a few seconds."""
    return _made(tmp_path_factory, "test.ts", 12)


@pytest.fixture(scope="session")
def long_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for a minute and more: played in a loop, the sound of the short one stumbles
    where it begins again."""
    return _made(tmp_path_factory, "long.ts", 68)


@pytest.fixture(scope="session")
def small_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four minutes at 1.4 Mbps, for many streams at once on a small machine."""
    return _made(tmp_path_factory, "small.ts", 240, video_kbps=1000, size="640x360")


@pytest.fixture(scope="session")
def databases() -> Iterator[database.Databases]:
    """New databases of either kind, in their newest form."""
    with database.databases() as one:
        yield one


def _made(tmp_path_factory: pytest.TempPathFactory, name: str, seconds: float, **more: Any) -> Path:
    """One file for all processes of a run: each has a folder of its own beside the others."""
    own = tmp_path_factory.getbasetemp()
    path = (own.parent if own.name.startswith("popen-") else own) / name
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            made = asyncio.run(make_test_file(path.with_suffix(".new.ts"), seconds=seconds, **more))
            made.rename(path)
    return path
