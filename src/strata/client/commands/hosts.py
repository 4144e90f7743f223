"""``strata hosts``."""

from __future__ import annotations

from typing import Annotated

import typer

from strata.client import complete
from strata.client.commands.common import Json, Watch, connected, found, group, say

app = group("The machines that run workers.")

HostId = Annotated[str, typer.Argument(autocompletion=complete.hosts)]


@app.callback()
def list_all(context: typer.Context, as_json: Json = False, watch: Watch = False) -> None:
    """The machines that run workers, and how full they are."""
    from strata.client import screen, show

    if context.invoked_subcommand is None:
        screen.present(
            lambda api: api.get("/api/hosts"),
            lambda rows, now: show.table(show.HOSTS, rows, now, "no host"),
            as_json,
            watch,
        )


@app.command()
def drain(host_id: HostId, as_json: Json = False) -> None:
    """Start nothing more on a host; what runs there goes on."""
    with connected() as api:
        answer = api.do("POST", f"{found(api, 'hosts', host_id)}/drain")
    say(answer, as_json, f"{host_id} takes no new streams; see: strata hosts --watch")


@app.command()
def undrain(host_id: HostId, as_json: Json = False) -> None:
    """Let a host take streams again."""
    with connected() as api:
        answer = api.do("POST", f"{found(api, 'hosts', host_id)}/undrain")
    say(answer, as_json, f"{host_id} takes streams again")
