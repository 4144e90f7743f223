from __future__ import annotations

from typing import Any

import pytest
from nicegui.client import Client
from pydantic import BaseModel, SecretStr

from strata.control.roles import User
from strata.control.users import Changes
from strata.dashboard.overview import Overview
from strata.dashboard.panel import (
    ASKED_MAX,
    DEEP_MAX,
    ENDED,
    OURS,
    TOO_DEEP,
    Arguments,
    Panel,
    is_deeper,
    sentence,
)
from strata.dashboard.seat import Seat
from unit.control.stage import ADMIN, OWNER, PASSWORD, VIEWER, Stage


class Body(BaseModel):
    key: SecretStr
    count: int


async def _double(panel: Panel, user: User, args: Arguments) -> Any:
    return {"by": user.email, "twice": 2 * args["number"]}


async def _operate(panel: Panel, user: User, args: Arguments) -> Any:
    user.require("operator")


async def _fail(panel: Panel, user: User, args: Arguments) -> Any:
    raise ZeroDivisionError


async def _read(panel: Panel, user: User, args: Arguments) -> Any:
    Body.model_validate(args)


class Desk(Panel):
    actions = {"double": _double, "operate": _operate, "fail": _fail, "read": _read}  # noqa: RUF012


async def desk(stage: Stage, client: Client, user: User) -> Desk:
    token, who = await stage.platform.logins.log_in(user.email, PASSWORD, "192.0.2.1")
    with client:
        return Desk(Seat(stage.platform, Overview(stage.platform), token, who))


async def test_what_is_asked_is_answered(stage: Stage, client: Client) -> None:
    one = await desk(stage, client, OWNER)
    result, problem = await one._answer("double", {"number": 21})
    assert (result, problem) == ({"by": OWNER.email, "twice": 42}, None)


async def test_what_the_user_may_not_do_is_refused_in_words(stage: Stage, client: Client) -> None:
    result, problem = await (await desk(stage, client, VIEWER))._answer("operate", {})
    assert result is None
    assert problem is not None
    assert "role of an operator" in problem


async def test_a_login_that_has_ended_does_nothing(stage: Stage, client: Client) -> None:
    one = await desk(stage, client, OWNER)
    await stage.platform.logins.log_out(one.seat.token.reveal())
    assert await one._answer("double", {"number": 1}) == (None, ENDED)


async def test_rights_are_those_of_now(stage: Stage, client: Client) -> None:
    one = await desk(stage, client, OWNER)
    assert await one._answer("operate", {}) == (None, None)
    await stage.platform.users.change(ADMIN, OWNER.id, Changes(role="viewer"))
    _, problem = await one._answer("operate", {})
    assert problem is not None


async def test_what_cannot_be_read_is_told_without_what_it_was(
    stage: Stage, client: Client
) -> None:
    one = await desk(stage, client, OWNER)
    _, problem = await one._answer("read", {"key": ["canary"], "count": "canary"})
    assert problem is not None
    assert "count" in problem
    assert "canary" not in problem


async def test_a_failure_of_ours_is_told_and_the_next_question_answered(
    stage: Stage, client: Client
) -> None:
    one = await desk(stage, client, OWNER)
    for _ in range(ASKED_MAX + 1):
        assert await one._answer("fail", {}) == (None, OURS)
    assert (await one._answer("double", {"number": 1}))[1] is None


async def test_what_is_nested_too_deeply_is_refused_in_words(stage: Stage, client: Client) -> None:
    one = await desk(stage, client, OWNER)
    deep: Any = {"number": 1}
    for _ in range(DEEP_MAX):
        deep = {"number": 1, "more": [deep]}
    assert await one._answer("double", deep) == (None, TOO_DEEP)


def test_depth() -> None:
    assert not is_deeper({"a": [1, "x"]}, 2)
    assert is_deeper({"a": [1, {}]}, 2)
    assert not is_deeper("x", 0)


async def test_what_there_is_not_is_not_done(stage: Stage, client: Client) -> None:
    one = await desk(stage, client, OWNER)
    for name in ("nonsense", "tick", "_answer"):
        _, problem = await one._answer(name, {})
        assert problem is not None
        assert "nothing called" in problem


async def test_a_page_that_is_closed_is_told_no_more(stage: Stage, client: Client) -> None:
    one = await desk(stage, client, OWNER)
    overview = one.seat.overview
    assert len(overview._pages) == 1
    one._leave()
    assert not overview._pages


@pytest.mark.parametrize(
    ("text", "said"), [("it is taken", "It is taken."), ("Why?", "Why?"), ("", ".")]
)
def test_sentences(text: str, said: str) -> None:
    assert sentence(text) == said
