"""Who may call what: every route, as it is found in the application."""

from __future__ import annotations

import re
from typing import Any, Final

import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from strata.control.api import access, hls, metrics
from strata.control.api.app import ROUTERS
from unit.control.api.stage import ApiStage, is_problem
from unit.control.stage import OTHER, OWNER, VIEWER

PUBLIC: Final = {("POST", "/api/auth/login"), ("GET", "/healthz"), ("GET", "/readyz")}
"""What a stranger may call: to become somebody, and to see whether anybody is there."""

OF_ONESELF: Final = {
    ("POST", "/api/auth/logout"),
    ("POST", "/api/tokens"),
    ("DELETE", "/api/tokens/{token_id}"),
}
"""What whoever is logged in may change: who they are logged in as."""


GUARDS: Final = {access.viewer, access.watcher, hls._bearer_of_ticket, metrics._reader}


def routes() -> list[tuple[str, str, APIRoute]]:
    found = [
        (method, route.path, route)
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in sorted(route.methods)
    ]
    assert len(found) > 15
    return found


def needs(dependant: Dependant) -> set[Any]:
    """Everything that a route asks for before it is run."""
    return {dependant.call}.union(*(needs(each) for each in dependant.dependencies))


ROUTES: Final = [pytest.param(*each, id=f"{each[0]} {each[1]}") for each in routes()]
ASKING: Final = [
    pytest.param(*each, id=f"{each[0]} {each[1]}") for each in routes() if each[:2] not in PUBLIC
]
CHANGING: Final = [
    pytest.param(*each, id=f"{each[0]} {each[1]}")
    for each in routes()
    if each[0] != "GET" and each[:2] not in PUBLIC | OF_ONESELF
]
FOR_ADMINS: Final = [
    pytest.param(*each, id=f"{each[0]} {each[1]}")
    for each in routes()
    if access.admin in needs(each[2].dependant)
]


def concrete(path: str, **ids: str) -> str:
    return re.sub(r"{([a-z_]+)(:path)?}", lambda found: ids.get(found[1], "x_1"), path)


@pytest.mark.parametrize(("method", "path", "route"), ASKING)
def test_every_route_asks_who_calls(method: str, path: str, route: APIRoute) -> None:
    assert GUARDS & needs(route.dependant)


@pytest.mark.parametrize(("method", "path", "route"), CHANGING)
def test_what_changes_something_asks_for_a_role(method: str, path: str, route: APIRoute) -> None:
    assert needs(route.dependant) & {access.operator, access.admin}


async def test_a_stranger_may_do_nothing_at_all(api: ApiStage) -> None:
    for method, path, _ in (each for each in routes() if each[:2] not in PUBLIC):
        for header in (None, b"Bearer", b"Bearer x", b"Basic b25lOng=", b"Bearer tok_1.x", b"\xff"):
            headers = {} if header is None else {b"Authorization": header}
            answer = await api.http.request(method, concrete(path), headers=headers)  # type: ignore[arg-type]
            assert is_problem(answer, 401, "unauthorized"), (method, path)
            assert answer.headers["www-authenticate"] == "Bearer"
    assert not api.host.asked


async def test_who_may_only_look_changes_nothing(api: ApiStage) -> None:
    login = await api.log_in(VIEWER)
    for param in CHANGING:
        method, path, _ = param.values
        answer = await api.http.request(method, concrete(path), headers=login)
        assert is_problem(answer, 403, "not_allowed"), (method, path)
    assert not api.host.asked


async def test_what_is_for_administrators_is_for_nobody_else(api: ApiStage) -> None:
    for user in (VIEWER, OWNER):
        login = await api.log_in(user)
        for param in FOR_ADMINS:
            method, path, _ = param.values
            answer = await api.http.request(method, concrete(path), headers=login)
            assert is_problem(answer, 403, "not_allowed"), (method, path)


async def test_what_belongs_to_somebody_else_is_not_there(api: ApiStage) -> None:
    """Every route that names a stream, for who has no business with it."""
    started = await api.start(await api.log_in(OWNER))
    asked = len(api.host.asked)
    for user in (OTHER, VIEWER):
        login = await api.log_in(user)
        for method, path, _ in routes():
            if "{stream_id}" not in path and "{stream}" not in path:
                continue
            id = started.json()["id"]
            answer = await api.http.request(
                method, concrete(path, stream_id=id, stream=id), json={}, headers=login
            )
            assert answer.status_code in (403, 404, 422), (method, path, answer.text)
            assert id not in answer.text.replace(path, "") or answer.status_code == 404
    assert len(api.host.asked) == asked


def test_nothing_else_is_served(api: ApiStage) -> None:
    """What is not in a router has no guard of its own."""
    app: FastAPI = api.app
    others = {route.path for route in app.routes if hasattr(route, "path")}
    assert others == {"/api/openapi.json", "/api/docs"}
