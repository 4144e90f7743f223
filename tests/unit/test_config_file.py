from __future__ import annotations

from pathlib import Path

import pytest
from pydantic_settings import SettingsConfigDict

from strata import config_file
from strata.config_file import Section, given, load
from strata.errors import BadArguments


class Part(Section):
    many: int = 1


class Whole(config_file.Settings):
    model_config = SettingsConfigDict(env_prefix="CONFIG_FILE_TEST_")

    name: str = "nobody"
    part: Part = Part()


def test_flags_go_before_the_environment_and_that_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "some.toml"
    file.write_text('name = "file"\n[part]\nmany = 2\n')
    assert load(Whole, file, {}, "A__B") == Whole(name="file", part=Part(many=2))
    monkeypatch.setenv("CONFIG_FILE_TEST_PART__MANY", "3")
    assert load(Whole, file, {}, "A__B").part.many == 3
    assert load(Whole, file, {"part": {"many": 4}}, "A__B").part.many == 4
    assert load(Whole, None, {}, "A__B").name == "nobody"


def test_a_file_that_may_not_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "some.toml"
    file.touch()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # root may read everything
    with pytest.raises(BadArguments, match=r"some.toml cannot be read: Permission denied"):
        load(Whole, file, {}, "A__B")


def test_who_hides_a_section_is_told_how_to_write_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONFIG_FILE_TEST_PART", "seven")
    with pytest.raises(BadArguments, match="write A__B, with two underscores"):
        load(Whole, None, {}, "A__B")


def test_what_was_not_given_is_left_out() -> None:
    assert given({"a": None, "b": {"c": None}, "d": {"e": 0}}) == {"d": {"e": 0}}
