"""What the tests of a host share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.control import Place, place


@pytest.fixture
def here() -> Iterator[Place]:
    with place() as one:
        yield one
