"""Carries one delivery to a webhook: where it may go, how it is signed, what counts as arrived."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import hmac
import ssl
import time
from typing import Final

import httpx

import strata
from strata.control import addresses
from strata.errors import BadUrl, DestinationError
from strata.secrets import Secret
from strata.settings import Forward

DEADLINE_S: Final = 10.0
"""For one attempt, from the look-up of the name to the status of the answer."""


def parse(url: str) -> httpx.URL:
    """
    Raises:
        BadUrl: it is no address to which a webhook could be delivered.
    """
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        raise BadUrl("this is no URL; write https://host/path") from None
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo:
        raise BadUrl("a webhook goes to https://host/path, without user and password")
    return parsed


def shown(url: httpx.URL) -> str:
    """The URL without what may be a secret: services put keys into the path."""
    return f"{url.scheme}://{url.netloc.decode('ascii')}/{'****' if url.raw_path != b'/' else ''}"


def signature(secret: Secret, body: str, at: int) -> str:
    """``t=<seconds since 1970>,v1=<HMAC-SHA256 of "t.body" in hex>``."""
    digest = hmac.new(secret.reveal().encode(), f"{at}.{body}".encode(), hashlib.sha256)
    return f"t={at},v1={digest.hexdigest()}"


async def allowed(url: httpx.URL, rules: Forward) -> str:
    """An address of the URL's host to which a connection may be made; see
    :mod:`strata.control.addresses`.

    Raises:
        BadUrl, AddressRefused: there is none.
    """
    port = url.port or (443 if url.scheme == "https" else 80)
    if rules.allow_private or f"{url.host}:{port}" in rules.allow:
        found = list(await addresses.resolve(url.host, port, shown(url), rules.resolve_timeout_s))
    else:
        found = await addresses.check_public(url.host, port, shown(url), rules.resolve_timeout_s)
    # IPv4 first: a machine without IPv6 resolves its addresses all the same.
    return str(min(found, key=lambda address: (address.version, int(address))))


@functools.cache
def _trusted() -> ssl.SSLContext:
    """Which certificates are: read once, which takes 20 ms."""
    return httpx.create_ssl_context()


class Courier:
    def __init__(self, rules: Forward) -> None:
        self._rules = rules
        # No proxy of the environment: it would make the connection in our place. No kept
        # connections: each goes to an address that has just been checked.
        self._client = httpx.AsyncClient(
            trust_env=False,
            follow_redirects=False,
            timeout=DEADLINE_S,
            limits=httpx.Limits(max_keepalive_connections=0),
            verify=_trusted(),
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def carry(self, url: Secret, secret: Secret, id: str, type: str, body: str) -> None:
        """One attempt.

        Raises:
            StrataError: it did not arrive, and why.
        """
        target = parse(url.reveal())
        try:
            async with asyncio.timeout(DEADLINE_S):
                status = await self._post(target, secret, id, type, body)
        except TimeoutError:
            raise DestinationError(f"no answer within {DEADLINE_S:.0f} s") from None
        except httpx.HTTPError as error:
            raise DestinationError(f"not reached: {_why(error)}") from None
        if not 200 <= status < 300:
            hint = "; redirects are not followed" if 300 <= status < 400 else ""
            raise DestinationError(f"answered {status}{hint}")

    async def _post(self, target: httpx.URL, secret: Secret, id: str, type: str, body: str) -> int:
        # The name is looked up once, and that very address is called: between two look-ups it
        # could come to lead into our own network.
        address = await allowed(target, self._rules)
        request = self._client.build_request(
            "POST",
            target.copy_with(host=address, fragment=None),
            content=body.encode(),
            headers={
                "Host": target.netloc.decode("ascii"),
                "Content-Type": "application/json",
                "User-Agent": f"Strata/{strata.__version__}",
                "X-Strata-Event": type,
                "X-Strata-Delivery": id,
                "X-Strata-Signature": signature(secret, body, int(time.time())),
            },
            extensions={
                "sni_hostname": target.host,
                "timeout": httpx.Timeout(DEADLINE_S).as_dict(),
            },
        )
        answer = await self._client.send(request, stream=True)
        # What it says beside the status is nobody's business, and may have no end.
        await answer.aclose()
        return answer.status_code


def _why(error: httpx.HTTPError) -> str:
    # Its own words may quote the URL, of which parts are secret.
    known: dict[type[httpx.HTTPError], str] = {
        httpx.ConnectError: "the connection was refused, or its certificate is not trusted",
        httpx.ConnectTimeout: "nobody answers there",
        httpx.ReadError: "the connection broke",
        httpx.RemoteProtocolError: "what answers there does not speak HTTP",
    }
    return known.get(type(error), type(error).__name__)
