"""Everything of the platform is tested on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from strata import settings
from strata.control import passwords
from strata.settings import Settings
from support.database import KINDS, Databases
from unit.control.stage import Stage, staged


@pytest.fixture(autouse=True)
def _cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """What argon2 costs is not what is tested."""
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passwords, "PasswordHasher", lambda: cheap)


@pytest.fixture(params=KINDS)
async def loaded(request: pytest.FixtureRequest, databases: Databases, tmp_path: Path) -> Settings:
    """Of an installation with a new database of one kind, then of the other."""
    return settings.load(
        data_dir=tmp_path,
        forward={"allow_private": True},
        database=await databases.make(request.param, tmp_path),
    )


@pytest.fixture
async def stage(loaded: Settings) -> AsyncIterator[Stage]:
    """A platform with some people and a host in memory."""
    async with staged(loaded) as one:
        yield one
