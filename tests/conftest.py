"""What the tests of every tier share."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from support.media import make_test_file


@pytest.fixture(scope="session")
def test_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve seconds of H.264 and AAC at 5.4 Mbps; made once, in a few seconds."""
    return asyncio.run(make_test_file(tmp_path_factory.mktemp("media") / "test.ts"))


@pytest.fixture(scope="session")
def long_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for a minute and more: played in a loop, the sound of the short one stumbles
    where it begins again."""
    path = tmp_path_factory.mktemp("media") / "long.ts"
    return asyncio.run(make_test_file(path, seconds=68))
