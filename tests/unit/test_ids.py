from __future__ import annotations

import itertools
import re
import time
import uuid
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata import ids


@pytest.mark.parametrize("prefix", get_args(ids.Prefix))
def test_an_id_says_what_it_names(prefix: ids.Prefix) -> None:
    assert re.fullmatch(prefix + "_[0-9a-f]{32}", ids.new(prefix))


def test_the_rest_is_a_uuid_of_version_7() -> None:
    before_ms = time.time_ns() // 1_000_000
    for _ in range(1000):
        value = uuid.UUID(hex=ids.new("str").removeprefix("str_"))
        assert value.version == 7
        assert value.variant == uuid.RFC_4122
    assert before_ms <= value.int >> 80 <= time.time_ns() // 1_000_000 + 1


def test_without_a_prefix_it_has_the_form_of_a_uuid() -> None:
    found = ids.uuid7()
    assert str(uuid.UUID(found)) == found
    assert uuid.UUID(found).version == 7


def test_later_ones_sort_after_earlier_ones_within_a_millisecond_too() -> None:
    made = [ids.new("evt") for _ in range(20_000)]
    assert made == sorted(set(made))


@given(steps_ms=st.lists(st.integers(-5_000, 5_000), min_size=1, max_size=20))
def test_a_clock_that_steps_back_disturbs_neither_order_nor_form(steps_ms: list[int]) -> None:
    now_ms = time.time_ns() // 1_000_000
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ids, "_last", 0)
        made = []
        for step_ms in steps_ms:
            now_ms += step_ms
            patch.setattr(time, "time_ns", lambda now=now_ms: now * 1_000_000)
            made += [ids.new("evt") for _ in range(3)]
    assert made == sorted(set(made))
    assert {uuid.UUID(hex=each.removeprefix("evt_")).version for each in made} == {7}


def test_an_id_cannot_be_guessed_from_the_one_before() -> None:
    numbers = [int(ids.new("tok").removeprefix("tok_"), 16) for _ in range(1000)]
    steps = {after - before for before, after in itertools.pairwise(numbers)}
    assert len(steps) > 990
