"""``strata senders``."""

from __future__ import annotations

from typing import Annotated

import typer

from strata.client import complete
from strata.client.commands.common import Json, Watch, connected, field, found, group, say

app = group("The boxes in the field.")

SenderId = Annotated[
    str, typer.Argument(help="or a part of it, or the name", autocompletion=complete.senders)
]


@app.callback()
def list_all(context: typer.Context, as_json: Json = False, watch: Watch = False) -> None:
    """The boxes in the field."""
    from strata.client import screen, show

    if context.invoked_subcommand is None:
        screen.present(
            lambda api: api.get("/api/senders"),
            lambda rows, now: show.table(
                show.SENDERS, rows, now, "no sender yet; see: strata senders add"
            ),
            as_json,
            watch,
        )


@app.command()
def add(name: str, as_json: Json = False) -> None:
    """Add a sender; prints the token that it enrolls with."""
    with connected() as api:
        answer = api.do("POST", "/api/senders", {"name": name})
    say(
        answer,
        as_json,
        f"{field(answer, 'id')} is added",
        f"enrollment token  {field(answer, 'enrollment_token')}   (works once; shown this once)",
    )


@app.command()
def remove(sender_id: SenderId, as_json: Json = False) -> None:
    """Remove a sender: it may not come back."""
    with connected() as api:
        path = found(api, "senders", sender_id)
        answer = api.do("DELETE", path)
    say(answer, as_json, f"{path.rpartition('/')[2]} is removed")
