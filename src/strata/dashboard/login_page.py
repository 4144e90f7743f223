"""The login, as plain HTML: it needs nothing else, and strangers cost nothing. Pure."""

from __future__ import annotations

import html as escaping
import math
from typing import Final
from urllib.parse import quote

WRONG: Final = "The e-mail address or the password is wrong."
TOO_LONG: Final = "That is too long for a login."
TOO_SLOW: Final = "The login took too long to arrive. Try again."
NO_FORM: Final = "The login did not arrive as this page sends it. Try again."
ENDED: Final = (
    "The login has ended. What is on the air goes on, but this screen tells nobody of what goes "
    "wrong until somebody logs in."
)
NO_STORE: Final = (
    "The database does not answer, so nobody can be let in right now. What is on the air goes "
    "on. Try again in a moment; if this stays, look at the control plane's log."
)


HAS_ENDED: Final = "ended"


def address(back_to: str, *, has_ended: bool) -> str:
    """Of the login.

    Args:
        back_to: the path of the page that it leads to.
        has_ended: whether there was a login before.
    """
    return f"/login?{f'{HAS_ENDED}=yes&' if has_ended else ''}to={quote(back_to, safe='/')}"


def too_many(wait_s: float) -> str:
    return (
        f"Too many wrong passwords from here. Try again in {math.ceil(wait_s)} seconds; your "
        "account is not locked."
    )


def html(problem: str = "", email: str = "", *, may_log_in: bool = True) -> str:
    """The whole page.

    Args:
        problem: what went wrong before.
        email: what was typed; a password is never sent back.
    """
    told = f'<p class="problem" role="alert">{escaping.escape(problem)}</p>' if problem else ""
    form = _FORM.format(email=escaping.escape(email, quote=True)) if may_log_in else ""
    return _PAGE.format(told=told, form=form)


_FORM: Final = """\
<form method="post">
  <label for="email">E-mail address</label>
  <input id="email" name="email" type="email" autocomplete="username" required maxlength="254"
    value="{email}" autofocus>
  <label for="password">Password</label>
  <input id="password" name="password" type="password" autocomplete="current-password" required
    maxlength="1024">
  <button class="button main" type="submit">Log in</button>
</form>
"""

_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Log in · Strata</title>
  <link rel="icon" href="/look/icon.svg" type="image/svg+xml">
  <script src="/look/theme.js"></script>
  <link rel="stylesheet" href="/look/strata.css">
</head>
<body class="login">
  <main>
    <h1><img src="/look/icon.svg" alt="" width="32" height="32"> Strata</h1>
    {told}
    {form}
  </main>
</body>
</html>
"""
