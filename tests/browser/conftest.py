from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser

from support.control import Place, place
from support.pages import chromium


@pytest.fixture
def here() -> Iterator[Place]:
    with place() as one:
        yield one


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as one:
        yield one


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """Where pictures of the pages go; script/test may name a place that stays."""
    return Path(os.environ.get("STRATA_SHOTS", tmp_path / "shots"))
