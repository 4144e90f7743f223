"""A client of the API, over a platform with a real database and a host in memory."""

from __future__ import annotations

from typing import Any, Final

import httpx
from fastapi import FastAPI

from strata.control.api.app import make_app
from strata.control.roles import User
from unit.control.stage import PASSWORD, URL, Stage


class ApiStage:
    """
    Attributes:
        stage: what the API is for.
        http: a client that is not logged in.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.host = stage.host
        self.app: FastAPI = make_app(stage.platform)
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        self.http: Final = httpx.AsyncClient(transport=transport, base_url="http://test")

    async def log_in(self, user: User) -> dict[str, str]:
        """The header of somebody who is logged in."""
        answer = await self.http.post(
            "/api/auth/login", json={"email": user.email, "password": PASSWORD}
        )
        assert answer.status_code == 200, answer.text
        return {"Authorization": f"Bearer {answer.json()['token']}"}

    async def start(self, login: dict[str, str], **body: Any) -> httpx.Response:
        return await self.http.post(
            "/api/streams", json={"forward_to": [URL], **body}, headers=login
        )


def is_problem(answer: httpx.Response, status: int, code: str) -> bool:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert {"type", "title", "status", "detail", "code"} <= set(body)
    assert "canary" not in answer.text
    return bool(body["code"] == code and body["status"] == status)
