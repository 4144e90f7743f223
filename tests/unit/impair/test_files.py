"""Profiles in files, and the traces beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from strata.errors import BadArguments
from strata.impair import files

DEPLOY = Path(__file__).parents[3] / "deploy"


@pytest.mark.parametrize(
    "path", sorted((DEPLOY / "rehearsals").glob("*.toml")), ids=lambda path: path.stem
)
def test_each_rehearsal_that_is_delivered_can_be_followed(path: Path) -> None:
    found = files.load(path, is_placed=False)
    assert len(found.links) == 2
    assert all(link.phases for link in found.links)


def test_the_bad_day_can_be_rehearsed_too() -> None:
    assert files.load(DEPLOY / "bad-day.toml").links


def test_a_trace_that_is_missing_is_named(tmp_path: Path) -> None:
    profile = tmp_path / "day.toml"
    profile.write_text('[[link]]\ntrace = "gone.csv"\n')
    with pytest.raises(BadArguments) as refused:
        files.load(profile, is_placed=False)
    assert "its trace gone.csv cannot be read: No such file" in refused.value.message
    assert str(profile) in refused.value.message


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    profile = tmp_path / "day.toml"
    profile.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadArguments, match="it is no text"):
        files.load(profile)
