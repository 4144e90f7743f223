from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from fastapi.exceptions import HTTPException
from pydantic import BaseModel, SecretStr

from strata import errors
from strata.control.api import problems
from strata.errors import StrataError


def kinds(kind: type[StrataError] = StrataError) -> list[type[StrataError]]:
    below = [each for child in kind.__subclasses__() for each in kinds(child)]
    return [each for each in (kind, *below) if each.__module__ == errors.__name__]


class Body(BaseModel):
    number: int
    password: SecretStr = SecretStr("")


class Stage:
    """An application whose one route raises what it is told to."""

    raised: Exception = errors.NotFound("there is no stream")

    def __init__(self) -> None:
        app = FastAPI()
        problems.install(app)

        @app.get("/fail")
        async def fail() -> None:
            raise self.raised

        @app.post("/body")
        async def body(body: Body) -> None:
            return None

        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://test")


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    one = Stage()
    yield one
    await one.http.aclose()


def test_a_problem_is_a_document_of_its_own_kind() -> None:
    answer = problems.problem(409, "conflict", "it runs already", can_retry=False)
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert json.loads(bytes(answer.body)) == {
        "type": "urn:strata:error:conflict",
        "title": "Conflict",
        "status": 409,
        "detail": "it runs already",
        "code": "conflict",
        "can_retry": False,
    }


def test_who_has_no_login_is_told_how_to_show_one() -> None:
    assert problems.problem(401, "unauthorized", "x").headers["www-authenticate"] == "Bearer"
    assert "www-authenticate" not in problems.problem(403, "not_allowed", "x").headers


@pytest.mark.parametrize("kind", kinds())
async def test_every_error_has_a_status_by_whose_fault_it_is(
    stage: Stage, kind: type[StrataError]
) -> None:
    error = kind.__new__(kind)
    error.args = ("what happened; what to do",)
    stage.raised = error
    answer = await stage.http.get("/fail")
    if issubclass(kind, errors.OperatorError | errors.SenderError):
        assert 400 <= answer.status_code < 500
    elif issubclass(kind, errors.DestinationError):
        assert answer.status_code == 502
    elif issubclass(kind, errors.HostError):
        assert answer.status_code == 503
    elif issubclass(kind, errors.SenderError):
        assert answer.status_code == 422
    elif issubclass(kind, errors.DestinationError):
        assert answer.status_code == 502
    else:
        assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == kind.code
    assert answer.json()["detail"] == "what happened; what to do"
    assert answer.json()["can_retry"] is kind.can_retry
    assert answer.json()["status"] == answer.status_code


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.NotAllowed, 403),
        (errors.NotFound, 404),
        (errors.Conflict, 409),
        (errors.TooManyTries, 429),
        (errors.BadUrl, 422),
        (errors.AddressRefused, 422),
        (errors.BadArguments, 422),
        (errors.NoCapacity, 503),
        (errors.HostUnreachable, 503),
        (errors.StoreUnavailable, 503),
    ],
)
async def test_statuses(stage: Stage, kind: type[StrataError], status: int) -> None:
    stage.raised = kind("x")
    assert (await stage.http.get("/fail")).status_code == status


async def test_how_long_to_wait_is_told(stage: Stage) -> None:
    stage.raised = errors.TooManyTries("later", wait_s=3.2)
    assert (await stage.http.get("/fail")).headers["retry-after"] == "4"


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        (b'{"number": "canary"}', "body.number", "valid integer"),
        (b'{"password": "canary"}', "body.number", "Field required"),
        (b'{"number": 1, "password": ["canary"]}', "body.password", "valid string"),
        (b'"canary"', "body", "valid dictionary"),
        (b'{"canary": ', "body.", "JSON decode error"),
        (b"", "body", "Field required"),
    ],
)
async def test_what_cannot_be_read_is_told_without_repeating_it(
    stage: Stage, body: bytes, field: str, words: str
) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await stage.http.post("/body", content=body, headers=headers)
    assert answer.status_code == 422
    found = answer.json()
    assert found["code"] == "bad_request"
    assert found["errors"][0]["field"].startswith(field)
    assert words in found["errors"][0]["message"]
    assert words in found["detail"]
    assert "canary" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [("GET", "/nowhere", 404, "not_found"), ("DELETE", "/fail", 405, "method_not_allowed")],
)
async def test_what_is_not_there_is_a_problem_too(
    stage: Stage, method: str, path: str, status: int, code: str
) -> None:
    answer = await stage.http.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_what_the_answer_needs_to_carry_is_kept(stage: Stage) -> None:
    assert (await stage.http.delete("/fail")).headers["allow"] == "GET"
    stage.raised = HTTPException(429, "slow down", headers={"Retry-After": "3"})
    assert (await stage.http.get("/fail")).headers["retry-after"] == "3"


async def test_a_defect_tells_nothing_to_the_caller_and_all_to_the_log(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.raised = ValueError("canary")
    answer = await stage.http.get("/fail")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "canary" not in answer.text
    assert "GET /fail failed" in caplog.text
    assert "canary" in caplog.text
