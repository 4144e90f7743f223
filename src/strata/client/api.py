"""Asking a platform, and what its answers mean for a person at a shell."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, Self

import httpx

from strata.client import login
from strata.client.login import Login
from strata.client.text import plain
from strata.errors import NotLoggedIn, PlatformRefused, PlatformUnreachable

ASK_TIMEOUT_S: Final = 15.0
"""A platform that is in order answers in a tenth of a second."""
DO_TIMEOUT_S: Final = 150.0
"""A start waits for the host, which has ``host.request_timeout_s``, 90 s."""
CONNECT_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """
    Attributes:
        text: JSON as it came; empty where there was nothing to say.
    """

    text: str
    data: Any


class Api:
    """A connection to one platform.

    Args:
        patience_s: for all kinds of questions; None: what is usual.
    """

    def __init__(self, who: Login, patience_s: float | None = None) -> None:
        self.url = who.url
        self._patience_s = patience_s
        self._http = httpx.Client(
            base_url=who.url,
            headers={"Authorization": f"Bearer {who.token.reveal()}"} if who.token else {},
            # A proxy of the environment stands between us and others, not this machine.
            trust_env=not login.is_local(who.url),
        )

    def get(self, path: str, **query: str | int) -> Answer:
        """
        Raises:
            PlatformRefused: it says no.
            PlatformUnreachable: it says nothing.
            NotLoggedIn: the token is not valid any more.
        """
        return self._request("GET", path, ASK_TIMEOUT_S, params=query)

    def do(self, method: str, path: str, body: dict[str, Any] | None = None) -> Answer:
        """Changes something; raises as :meth:`get` does."""
        more = {"json": body} if body is not None else {}
        return self._request(method, path, DO_TIMEOUT_S, **more)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _request(self, method: str, path: str, wait_s: float, **more: Any) -> Answer:
        wait_s = self._patience_s or wait_s
        timeout = httpx.Timeout(wait_s, connect=min(wait_s, CONNECT_TIMEOUT_S))
        try:
            response = self._http.request(method, path, timeout=timeout, **more)
        except httpx.ConnectError as error:
            raise PlatformUnreachable(
                f"{self.url} cannot be reached ({plain(str(error))}); start the platform there "
                "(strata up), or name another (strata login --url)"
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            told = plain(str(error)) or type(error).__name__
            doubt = "" if method == "GET" else "; whether it was done, strata events tells"
            raise PlatformUnreachable(
                f"{self.url} does not answer ({told}); see whether the platform runs{doubt}"
            ) from None
        return self._read(response)

    def _read(self, response: httpx.Response) -> Answer:
        status = response.status_code
        if response.is_success and not response.content:
            return Answer("", None)
        try:
            data = json.loads(response.content)
        except ValueError:  # UnicodeDecodeError is one
            raise self._stranger(response) from None
        if response.is_success:
            return Answer(response.text, data)
        detail = data.get("detail") if isinstance(data, dict) else None
        if not isinstance(detail, str):
            raise self._stranger(response)
        if status == 401:
            raise NotLoggedIn(f"{plain(detail)} (strata login)")
        raise PlatformRefused(plain(detail))

    def _stranger(self, response: httpx.Response) -> PlatformUnreachable:
        goes_to = response.headers.get("location")
        more = f" and points to {plain(goes_to)}" if goes_to else ""
        return PlatformUnreachable(
            f"what answers at {self.url} says {response.status_code}{more}, as no Strata does; "
            "the platform behind it may be down, or the address is another's"
        )
