"""``strata destinations``."""

from __future__ import annotations

from typing import Annotated

import typer

from strata.client import complete
from strata.client.commands.common import Json, Watch, connected, field, found, group, say

app = group("Where pictures go.")

DestinationId = Annotated[
    str, typer.Argument(help="or a part of it, or the name", autocompletion=complete.destinations)
]


@app.callback()
def list_all(context: typer.Context, as_json: Json = False, watch: Watch = False) -> None:
    """Where pictures go."""
    from strata.client import screen, show

    if context.invoked_subcommand is None:
        screen.present(
            lambda api: api.get("/api/destinations"),
            lambda rows, now: show.table(
                show.DESTINATIONS, rows, now, "no destination yet; see: strata destinations add"
            ),
            as_json,
            watch,
        )


@app.command()
def add(
    name: str,
    url: Annotated[str, typer.Argument(help="without its key: that is asked for")],
    no_key: Annotated[bool, typer.Option("--no-key", help="it needs none; do not ask")] = False,
    as_json: Json = False,
) -> None:
    """Add a destination. Its key is asked for, or is the first line of standard input."""
    from strata.client import prompt

    body = {"name": name, "url": url}
    if not no_key:
        key = prompt.secret("Stream key (empty: none)").reveal()
        if key:
            body["key"] = key
    with connected() as api:
        answer = api.do("POST", "/api/destinations", body)
    say(answer, as_json, f"{field(answer, 'id')} is added: {field(answer, 'url') or name}")


@app.command()
def remove(destination_id: DestinationId, as_json: Json = False) -> None:
    """Forget a destination and its key."""
    with connected() as api:
        path = found(api, "destinations", destination_id)
        answer = api.do("DELETE", path)
    say(answer, as_json, f"{path.rpartition('/')[2]} is removed")


@app.command("test")
def try_out(destination_id: DestinationId, as_json: Json = False) -> None:
    """Send ten seconds of colour bars, and tell what the platform there answered."""
    from strata.client import screen, show

    with connected() as api:
        answer = api.do("POST", f"{found(api, 'destinations', destination_id)}/test")
    if as_json:
        screen.put_json(answer)
    else:
        screen.put(show.facts(answer.data))
    if field(answer, "ok") is False:
        raise typer.Exit(1)
