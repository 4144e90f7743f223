from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from strata.worker.units import AccessUnit
from unit.worker.fakes import AUDIO, VIDEO


def test_a_unit_is_of_the_track_of_its_format_and_as_large_as_its_data() -> None:
    picture, sound = AccessUnit(VIDEO, b"four", 2, 1, False), AccessUnit(AUDIO, b"", 2, 1, True)
    assert (picture.track, picture.size) == ("video", 4)
    assert (sound.track, sound.size) == ("audio", 0)


def test_where_nothing_else_is_said_nothing_is_missing_before_it() -> None:
    assert AccessUnit(VIDEO, b"", 0, 0, True).follows


def test_a_unit_is_shared_and_stays_as_it_is() -> None:
    with pytest.raises(FrozenInstanceError):
        AccessUnit(VIDEO, b"", 0, 0, True).dts_ns = 1  # type: ignore[misc]
