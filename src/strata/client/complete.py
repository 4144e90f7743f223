"""Ids for the shell's completion. Somebody waits with a finger on the key: soon, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from strata.errors import StrataError

PATIENCE_S: Final = 1.0


def streams(incomplete: str) -> list[tuple[str, str]]:
    return _ids("streams", incomplete, ("name", "state"))


def senders(incomplete: str) -> list[tuple[str, str]]:
    return _ids("senders", incomplete, ("name",))


def destinations(incomplete: str) -> list[tuple[str, str]]:
    return _ids("destinations", incomplete, ("name", "url"))


def hosts(incomplete: str) -> list[tuple[str, str]]:
    return _ids("hosts", incomplete, ())


def alerts(incomplete: str) -> list[tuple[str, str]]:
    return _ids("alerts", incomplete, ("kind", "detail"))


def users(incomplete: str) -> list[tuple[str, str]]:
    return _ids("users", incomplete, ("email", "role"))


def tokens(incomplete: str) -> list[tuple[str, str]]:
    return _ids("tokens", incomplete, ("name",))


def _ids(noun: str, incomplete: str, told: tuple[str, ...]) -> list[tuple[str, str]]:
    """Each id that begins so, with what tells it from the others."""
    from strata.client import login
    from strata.client.api import Api
    from strata.client.text import plain

    try:
        with Api(login.current(), PATIENCE_S) as api:
            rows = api.get(f"/api/{noun}").data
    except StrataError:  # a completion has nowhere to complain
        return []
    found = [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []
    return [
        (row["id"], plain(" ".join(str(row[name]) for name in told if row.get(name))))
        for row in found
        if isinstance(row.get("id"), str) and row["id"].startswith(incomplete)
    ]
