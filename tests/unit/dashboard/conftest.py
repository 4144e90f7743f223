from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from nicegui.client import Client
from nicegui.page import page

from strata import settings
from strata.control import passwords
from support.database import Databases
from unit.control.stage import Stage, staged


@pytest.fixture(autouse=True)
def _cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """What argon2 costs is not what is tested."""
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passwords, "PasswordHasher", lambda: cheap)


@pytest.fixture
async def stage(databases: Databases, tmp_path: Path) -> AsyncIterator[Stage]:
    """A platform with some people and a host in memory."""
    database = await databases.make("sqlite", tmp_path)
    loaded = settings.load(data_dir=tmp_path, forward={"allow_private": True}, database=database)
    async with staged(loaded) as one:
        yield one


@pytest.fixture
def client() -> Iterator[Client]:
    """A page that no browser has opened yet."""
    with Client(page("")) as one:
        yield one
    one.delete()
