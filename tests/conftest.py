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
