"""``strata users``, ``strata tokens``."""

from __future__ import annotations

from typing import Annotated

import typer

from strata.client import complete
from strata.client.commands.common import Json, connected, field, found, group, say

users = group("Who may log in; for administrators.")
tokens = group("Logins for programs.")


@users.callback()
def list_users(context: typer.Context, as_json: Json = False) -> None:
    """Who may log in; for administrators."""
    from strata.client import screen, show

    if context.invoked_subcommand is None:
        screen.present(
            lambda api: api.get("/api/users"),
            lambda rows, now: show.table(show.USERS, rows, now),
            as_json,
        )


@users.command("add")
def add_user(
    email: str,
    role: Annotated[str, typer.Option(help="admin, operator or viewer")] = "operator",
    as_json: Json = False,
) -> None:
    """Add a user. The password is asked for, or is the first line of standard input."""
    from strata.client import prompt

    password = prompt.secret(f"Password for {email}", twice=True)
    body = {"email": email, "role": role, "password": password.reveal()}
    with connected() as api:
        answer = api.do("POST", "/api/users", body)
    say(answer, as_json, f"{field(answer, 'id')} {email} is added, as {field(answer, 'role')}")


@users.command("password")
def change_password(
    user_id: Annotated[
        str, typer.Argument(help="or the e-mail address", autocompletion=complete.users)
    ],
    as_json: Json = False,
) -> None:
    """Give a user another password; it ends what the user is logged in with."""
    from strata.client import prompt

    password = prompt.secret(f"New password for {user_id}", twice=True)
    with connected() as api:
        path = found(api, "users", user_id)
        answer = api.do("PATCH", path, {"password": password.reveal()})
    say(answer, as_json, f"{field(answer, 'email')} has another password; log in with it")


@users.command("remove")
def remove_user(
    user_id: Annotated[
        str, typer.Argument(help="or the e-mail address", autocompletion=complete.users)
    ],
    as_json: Json = False,
) -> None:
    """Remove a user who owns nothing."""
    with connected() as api:
        path = found(api, "users", user_id)
        answer = api.do("DELETE", path)
    say(answer, as_json, f"{path.rpartition('/')[2]} is removed")


@tokens.callback()
def list_tokens(context: typer.Context, as_json: Json = False) -> None:
    """Logins for programs."""
    from strata.client import screen, show

    if context.invoked_subcommand is None:
        screen.present(
            lambda api: api.get("/api/tokens"),
            lambda rows, now: show.table(show.TOKENS, rows, now, "no API token"),
            as_json,
        )


@tokens.command("add")
def add_token(
    name: Annotated[str, typer.Argument(help="what it is for")],
    days: Annotated[
        int | None, typer.Option(min=1, help="its life; else until it is removed")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a token that may do what you may."""
    body = {"name": name, **({"days": days} if days is not None else {})}
    with connected() as api:
        url, answer = api.url, api.do("POST", "/api/tokens", body)
    say(
        answer,
        as_json,
        f"{field(answer, 'id')} is added; for a program's environment (shown this once):",
        f"STRATA_URL={url}",
        f"STRATA_TOKEN={field(answer, 'token')}",
    )


@tokens.command("remove")
def remove_token(
    token_id: Annotated[str, typer.Argument(autocompletion=complete.tokens)],
    as_json: Json = False,
) -> None:
    """End a token."""
    with connected() as api:
        path = found(api, "tokens", token_id)
        answer = api.do("DELETE", path)
    say(answer, as_json, f"{path.rpartition('/')[2]} is removed")
