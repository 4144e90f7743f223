"""The commands: one file for each noun, as in the API. Thin, and quick to load: what talks and
what draws is imported when a command runs."""

from __future__ import annotations

import typer

from strata.client.commands import (
    alerts,
    destinations,
    events,
    hosts,
    logins,
    people,
    seal,
    senders,
    streams,
)

PANEL = "A platform, here or elsewhere (strata login)"


def add_to(app: typer.Typer) -> None:
    for command in (
        logins.login,
        logins.logout,
        streams.streams,
        streams.start,
        streams.stop,
        events.events,
        seal.rotate_key,
    ):
        app.command(rich_help_panel=PANEL)(command)
    for name, group in (
        ("senders", senders.app),
        ("destinations", destinations.app),
        ("hosts", hosts.app),
        ("alerts", alerts.app),
        ("users", people.users),
        ("tokens", people.tokens),
    ):
        app.add_typer(group, name=name, rich_help_panel=PANEL)
