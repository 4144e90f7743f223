from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from strata.errors import NoPicture
from strata.wire import worker as wire
from strata.wire.lines import MAX_LINE_BYTES
from strata.worker.keyframe import BYTES_MAX, CONFIG_BYTES_MAX, PART_BYTES, parts
from strata.worker.units import AccessUnit
from unit.worker.fakes import VIDEO, picture


def unit(size: int, config: bytes = VIDEO.config) -> AccessUnit:
    data = bytes(range(256)) * (size // 256 + 1)
    return replace(picture(0), data=data[:size], format=replace(VIDEO, config=config))


@pytest.mark.parametrize("size", [0, 1, PART_BYTES, PART_BYTES + 1, BYTES_MAX])
def test_the_pieces_are_the_picture_and_each_fits_a_line(size: int) -> None:
    one = unit(size, bytes(CONFIG_BYTES_MAX))
    found = list(parts((one, 1.23456), "an-id" * 20))
    assert b"".join(part.data for part in found) == one.data
    assert [part.part for part in found] == list(range(len(found)))
    assert {part.parts for part in found} == {len(found)}
    assert [bool(part.config) for part in found] == [True] + [False] * (len(found) - 1)
    for part in found:
        line = wire.encode(part)
        assert len(line) <= MAX_LINE_BYTES
        assert wire.decode_event(line) == part
    assert (found[0].codec, found[0].shows, found[0].age_s) == ("h264", "live", 1.235)
    assert found[0].id == "an-id" * 20


def test_a_slate_is_told_from_the_senders_picture() -> None:
    [part] = parts((replace(unit(10), stands_in=True), 0.0), None)
    assert part.shows == "slate"
    assert msgspec.json.decode(wire.encode(part))["event"] == "key_frame"


def test_without_a_picture_there_is_none() -> None:
    with pytest.raises(NoPicture, match="no picture is on the air"):
        next(parts(None, None))


@pytest.mark.parametrize(
    "one", [unit(BYTES_MAX + 1), unit(10, bytes(CONFIG_BYTES_MAX + 1))], ids=["data", "config"]
)
def test_one_that_is_too_large_is_not_given_out(one: AccessUnit) -> None:
    with pytest.raises(NoPicture, match="too much to be shown"):
        next(parts((one, 0.0), None))
