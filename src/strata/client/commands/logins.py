"""``strata login``, ``strata logout``."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from strata.errors import ClientError, NotLoggedIn


def login(
    url: Annotated[
        str | None, typer.Option(help="of the platform; else STRATA_URL, or the last one")
    ] = None,
    email: Annotated[str | None, typer.Option(help="asked for where it is not given")] = None,
) -> None:
    """Log in: asks for the password, or takes STRATA_PASSWORD or a line of standard input."""
    from strata.client import login as logins
    from strata.client import prompt
    from strata.client.api import Api
    from strata.client.login import Login
    from strata.secrets import Secret

    try:
        last = logins.load()
    except NotLoggedIn:  # a file that cannot be read is about to be written anew
        last = Login(logins.DEFAULT_URL)
    chosen = logins.checked_url(url or os.environ.get("STRATA_URL") or last.url)
    if chosen.startswith("http:") and not logins.is_local(chosen):
        warn(f"{chosen} is not encrypted: whoever is on the way can read the password")
    email = email or prompt.line("E-mail", last.email or "admin@localhost")
    given = os.environ.get("STRATA_PASSWORD")
    password = Secret(given) if given else prompt.secret(f"Password of {email}")
    with Api(Login(chosen)) as api:
        try:
            answer = api.do(
                "POST", "/api/auth/login", {"email": email, "password": password.reveal()}
            )
        except NotLoggedIn as error:  # the password is wrong: nothing is said about a login
            raise NotLoggedIn(error.message.removesuffix(" (strata login)")) from None
    token = answer.data.get("token") if isinstance(answer.data, dict) else None
    if not isinstance(token, str):
        raise ClientError(f"{chosen} gave no token; is it a Strata of another version?")
    logins.keep(Login(chosen, Secret(token), email))
    print(f"{email} is logged in at {chosen}")
    if os.environ.get("STRATA_TOKEN"):
        warn("STRATA_TOKEN is set and goes before this login; unset it")


def logout() -> None:
    """End the login, here and on the platform."""
    from strata.client import login as logins
    from strata.client.api import Api

    try:
        last = logins.load()
    except NotLoggedIn:
        logins.forget()
        raise
    if last.token is None:
        print("nobody is logged in")
        return
    logins.forget()
    try:
        with Api(last) as api:
            api.do("POST", "/api/auth/logout")
    except NotLoggedIn:
        pass  # it had ended by itself
    except ClientError as error:
        warn(f"forgotten here; there the login lives until it expires: {error.message}")
    print(f"logged out of {last.url}")


def warn(text: str) -> None:
    print(f"strata: {text}", file=sys.stderr)
