"""Which platform is spoken to, and as whom.

``strata login`` keeps it in a file of this user's alone; ``STRATA_URL`` and ``STRATA_TOKEN``
go before it, for scripts.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from strata.errors import BadArguments, ClientError, NotLoggedIn
from strata.secrets import Secret

DEFAULT_URL: Final = "http://127.0.0.1:8080"


@dataclass(frozen=True, slots=True)
class Login:
    """
    Attributes:
        url: of the platform, without a slash at its end.
        token: None: nobody is logged in.
        email: whose it is; empty where that is not known.
    """

    url: str
    token: Secret | None = None
    email: str = ""


def current() -> Login:
    """Who is logged in where.

    Raises:
        NotLoggedIn: nobody.
        BadArguments: ``STRATA_URL`` is no address.
    """
    kept = load()
    url = checked_url(os.environ.get("STRATA_URL") or kept.url)
    given = os.environ.get("STRATA_TOKEN")
    if given:
        if not (given.isascii() and given.isprintable() and " " not in given):
            raise NotLoggedIn("STRATA_TOKEN holds no token; see: strata tokens add")
        return Login(url, Secret(given))
    if kept.token is None:
        raise NotLoggedIn("nobody is logged in; run: strata login")
    if url != kept.url:  # a token is shown to nobody but who gave it out
        raise NotLoggedIn(
            f"STRATA_URL names {url}, but the login is for {kept.url}; run: strata login, or set "
            "STRATA_TOKEN, too"
        )
    return kept


def load() -> Login:
    """What the last ``strata login`` has kept; without a token where there was none.

    Raises:
        NotLoggedIn: the file cannot be used.
    """
    try:
        held = json.loads(path().read_text())
        return Login(checked_url(held["url"]), Secret(str(held["token"])), str(held["email"]))
    except FileNotFoundError:
        return Login(DEFAULT_URL)
    except (OSError, ValueError, KeyError, TypeError, BadArguments):
        raise NotLoggedIn(f"{path()} cannot be read; run: strata login") from None


def keep(login: Login) -> None:
    """Keeps it for the next commands of this user, and for nobody else.

    Raises:
        ClientError: the file cannot be written.
    """
    assert login.token is not None
    held = {"url": login.url, "email": login.email, "token": login.token.reveal()}
    target = path()
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # mkstemp() makes it for this user alone, before anything is in it.
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=".client-")
        try:
            with os.fdopen(descriptor, "w") as file:
                json.dump(held, file)
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ClientError(
            f"the login cannot be kept in {target}: {error.strerror}; set STRATA_URL and "
            "STRATA_TOKEN instead"
        ) from None


def forget() -> None:
    path().unlink(missing_ok=True)


def path() -> Path:
    folder = os.environ.get("XDG_CONFIG_HOME")
    return (Path(folder) if folder else Path.home() / ".config") / "strata" / "client.json"


def checked_url(text: str) -> str:
    """The address of a platform as it is kept.

    Raises:
        BadArguments: it is none.
    """
    wrong = BadArguments(
        f"{text if text.isprintable() and '@' not in text else 'that'} is no address of a "
        f"platform; write it like {DEFAULT_URL} or https://strata.example.org"
    )
    try:
        parts = urlsplit(text)
        is_one = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        raise wrong from None
    if not is_one or "@" in parts.netloc or parts.query or parts.fragment or not text.isprintable():
        raise wrong
    return f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/").removesuffix("/api")


def is_local(url: str) -> bool:
    """Whether what is said to it stays on this machine."""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")
