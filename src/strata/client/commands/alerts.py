"""``strata alerts``."""

from __future__ import annotations

from typing import Annotated

import typer

from strata.client import complete
from strata.client.commands.common import Json, Watch, connected, found, group, say

app = group("What is wrong now.")


@app.callback()
def list_all(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="what is over, too")] = False,
    as_json: Json = False,
    watch: Watch = False,
) -> None:
    """What is wrong now."""
    from strata.client import screen, show

    if context.invoked_subcommand is None:
        screen.present(
            lambda api: api.get("/api/alerts"),
            lambda rows, now: show.alerts(rows, now, everything),
            as_json,
            watch,
        )


@app.command()
def ack(
    alert_id: Annotated[
        str, typer.Argument(help="or a part of it", autocompletion=complete.alerts)
    ],
    as_json: Json = False,
) -> None:
    """Say that you have seen an alert."""
    with connected() as api:
        path = found(api, "alerts", alert_id)
        answer = api.do("POST", f"{path}/ack")
    say(answer, as_json, f"{path.rpartition('/')[2]} is noted as seen")
