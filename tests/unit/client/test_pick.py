from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata import ids
from strata.client.pick import PART_CHARS_MIN, pick, short
from strata.errors import BadArguments, PlatformRefused

A = {"id": "str_0199aaaa000070008000000012345678", "name": "Derby"}
B = {"id": "str_0199bbbb000070008000000087654321", "name": "Final"}
C = {"id": "str_0199bbbb000070008000000012340000", "name": "12345678"}
ROWS = [A, B, C]


@pytest.mark.parametrize(
    ("meant", "row"),
    [
        (A["id"], A),
        ("str_0199a", A),
        ("0199a", A),
        ("5678", None),
        ("87654321", B),
        ("Final", B),
        ("0000", C),
        ("12345678", C),  # a whole name goes before a part of an id
    ],
)
def test_what_is_meant(meant: str, row: dict[str, str] | None) -> None:
    rows = ROWS if row is not None else [A]
    assert pick("stream", rows, meant) == (row or A)["id"]


@pytest.mark.parametrize("meant", ["str_0199", "0199", "0199bbbb", "str_0199b"])
def test_what_may_be_several_is_not_guessed(meant: str) -> None:
    with pytest.raises(BadArguments, match="write more of the id"):
        pick("stream", ROWS, meant)


def test_names_need_not_be_each_ones_own() -> None:
    with pytest.raises(BadArguments, match=r"str_.*, str_"):
        pick("stream", [A, {**B, "name": "Derby"}], "Derby")


@pytest.mark.parametrize("meant", ["", "8", "678", "str_", "9999", "derby", "0199bbbb000070008"])
def test_what_is_nothing(meant: str) -> None:
    with pytest.raises(PlatformRefused, match="there is no stream"):
        pick("stream", [A], meant)


def test_a_host_has_a_name_and_no_parts() -> None:
    rows = [{"id": "local"}, {"id": "local-2"}]
    assert pick("host", rows, "local") == "local"
    with pytest.raises(PlatformRefused):
        pick("host", rows, "loca")


def test_a_user_is_an_e_mail_address() -> None:
    rows = [{"id": ids.new("usr"), "email": "me@example.org"}]
    assert pick("user", rows, "me@example.org") == rows[0]["id"]


def test_rows_of_another_version_are_passed_over() -> None:
    assert pick("stream", [{"name": "Derby"}, {"id": 5}, A], "Derby") == A["id"]


@given(count=st.integers(1, 20), at=st.integers(0))
def test_what_tables_show_is_understood(count: int, at: int) -> None:
    rows = [{"id": ids.new("str")} for _ in range(count)]
    id = rows[at % count]["id"]
    assert len(short(id)) >= PART_CHARS_MIN
    assert pick("stream", rows, short(id)) == id


def test_a_name_is_shown_whole() -> None:
    assert short("local") == "local"
    assert short("edge_1") == "edge_1"
