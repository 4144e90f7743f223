"""What commands have in common."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias
from urllib.parse import quote

import typer

from strata.client.pick import OVER, pick

if TYPE_CHECKING:
    from strata.client.api import Answer, Api

Json: TypeAlias = Annotated[
    bool, typer.Option("--json", help="what the platform answers, as it is")
]
Watch: TypeAlias = Annotated[bool, typer.Option("--watch", help="again each second, until Ctrl-C")]

WHOLE_ID: Final = re.compile(r"[a-z]{3}_[0-9a-f]{32}")


def group(help: str) -> typer.Typer:
    """A noun: alone it lists, with a verb it changes."""
    return typer.Typer(invoke_without_command=True, help=help)


@contextmanager
def connected() -> Iterator[Api]:
    """The platform of the login, for this command."""
    from strata.client import login
    from strata.client.api import Api

    with Api(login.current()) as api:
        yield api


def found(api: Api, plural: str, meant: str, is_on: bool = False) -> str:
    """The path of what is meant by an id, a part of one, or a name.

    Args:
        is_on: only what is not over; yesterday's stream may have had the same name.
    """
    return f"/api/{plural}/{quote(found_id(api, plural, meant, is_on), safe='')}"


def found_id(api: Api, plural: str, meant: str, is_on: bool = False) -> str:
    if WHOLE_ID.fullmatch(meant):
        return meant
    answer = api.get(f"/api/{plural}").data
    listed = answer if isinstance(answer, list) else []
    rows = [row for row in listed if isinstance(row, dict)]
    noun = plural.removesuffix("s")
    if is_on:
        return pick(f"running {noun}", [row for row in rows if row.get("state") not in OVER], meant)
    return pick(noun, rows, meant)


def say(answer: Answer, as_json: bool, *lines: str) -> None:
    """What has been done: in words, or as the platform says it."""
    from strata.client.text import plain

    if as_json:
        if answer.text:
            print(answer.text, flush=True)
        return
    for line in lines:
        print(plain(line), flush=True)


def field(answer: Answer, name: str) -> Any:
    """Of an answer of a platform that may be another version's."""
    return answer.data.get(name) if isinstance(answer.data, dict) else None
