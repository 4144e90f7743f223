from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from unit.control.api.stage import ApiStage
from unit.control.stage import Stage


@pytest.fixture
async def api(stage: Stage) -> AsyncIterator[ApiStage]:
    one = ApiStage(stage)
    yield one
    await one.http.aclose()
