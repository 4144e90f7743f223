"""How the words on a slate are laid out."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.worker.slates import text as slate_text
from strata.worker.slates.text import LINE, markup, printable


def lines_of(text: str, width: int = 1280, height: int = 720) -> list[str]:
    """The lines of the title."""
    spans = list(ElementTree.fromstring(f"<all>{markup(text, width, height)}</all>"))
    assert spans[-1].text == LINE
    return (spans[0].text or "").split("\n") if len(spans) > 1 else []


def size_of(text: str, width: int = 1280, height: int = 720) -> int:
    found = re.match(r'<span font="Sans (\d+)px" weight="bold"', markup(text, width, height))
    assert found is not None
    return int(found[1])


def test_a_short_name_is_large_and_on_one_line() -> None:
    assert lines_of("Harbour & <Coast>") == ["Harbour & <Coast>"]
    assert size_of("Harbour") == round(0.085 * 720)
    assert size_of("Harbour", 1920, 1080) == round(0.085 * 1080)
    assert size_of("Harbour", 720, 1280) == round(0.085 * 720)


def test_a_longer_one_wraps_and_then_shrinks() -> None:
    two = "The regatta of the northern harbours"
    assert len(lines_of(two)) == 2
    assert size_of(two) == size_of("Harbour")
    three = " ".join(["regatta"] * 12)
    assert len(lines_of(three)) == 3
    assert size_of(three) < size_of("Harbour")
    assert " ".join(lines_of(three)) == three


def test_one_that_is_too_long_is_cut() -> None:
    found = lines_of(" ".join(["regatta"] * 25))
    assert len(found) == 3
    assert found[-1].endswith("…")
    found = lines_of("x" * 200)
    assert len(found) == 3
    assert found[-1].endswith("x…")
    assert [len(line) for line in lines_of("x" * 80)] == [55, 25]


def test_east_asian_characters_count_as_wide() -> None:
    assert len(lines_of("北京" * 8)) == 1
    assert size_of("北京" * 12) < size_of("ab" * 8)


def test_marks_that_have_no_width_do_not_count() -> None:
    assert size_of("a\u0301\u200d" * 15) == size_of("a" * 15)


@pytest.mark.parametrize("text", ["", " \n\t ", "\0\x07", "\ue000", "\udcff"])
def test_without_a_name_there_is_the_line_alone(text: str) -> None:
    assert lines_of(text) == []


def test_a_name_becomes_one_line_of_what_can_be_shown() -> None:
    assert printable(" a\n\tb\0\u2003c\x1b[0m\ufffe ") == "a b c[0m"


@given(st.text(max_size=200), st.integers(16, 8192), st.integers(16, 8192))
def test_every_name_gives_markup_that_can_be_read(text: str, width: int, height: int) -> None:
    found = lines_of(text, width, height)
    assert len(found) <= 3
    assert all(found)


def test_not_even_one_letter_fits() -> None:
    assert slate_text._cut(["WW", "i"], 0.1) == ["W", "W", "i"]
