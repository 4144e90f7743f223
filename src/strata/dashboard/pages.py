"""The addresses of the pages, and what stands on each."""

from __future__ import annotations

from typing import Final

from nicegui import ui
from starlette.requests import Request

from strata.dashboard import seat as seats
from strata.dashboard.destinations_page import DestinationsPanel
from strata.dashboard.hosts_page import HostsPanel
from strata.dashboard.log_pages import EventsPanel, PastPanel, SettingsPanel
from strata.dashboard.people_page import TokensPanel, UsersPanel
from strata.dashboard.senders_page import SendersPanel
from strata.dashboard.shell import AlertsPanel, Shell
from strata.dashboard.start_page import StartPanel
from strata.dashboard.stream_page import StreamPanel
from strata.dashboard.wall import Wall

HEAD: Final = """
<meta charset="utf-8">
<script src="/look/theme.js"></script>
<link rel="stylesheet" href="/look/strata.css">
"""


def _frame(request: Request, here: str) -> seats.Seat:
    """What all pages have in common: their look, and what stands above them."""
    seat = seats.of(request)
    ui.add_head_html(HEAD)
    with ui.context.client.layout:
        Shell(seat, here).move(target_index=0)
    return seat


@ui.page("/", title="On the air · Strata")
def on_the_air(request: Request) -> None:
    Wall(_frame(request, "wall"))


@ui.page("/start", title="Start a broadcast · Strata")
def start(request: Request) -> None:
    StartPanel(_frame(request, "start"))


@ui.page("/alerts", title="Alerts · Strata")
def alerts(request: Request) -> None:
    AlertsPanel(_frame(request, "alerts"))


@ui.page("/past", title="Past broadcasts · Strata")
def past(request: Request) -> None:
    PastPanel(_frame(request, "past"))


@ui.page("/senders", title="Senders · Strata")
def senders(request: Request) -> None:
    SendersPanel(_frame(request, "senders"))


@ui.page("/destinations", title="Destinations · Strata")
def destinations(request: Request) -> None:
    DestinationsPanel(_frame(request, "destinations"))


@ui.page("/hosts", title="Hosts · Strata")
def hosts(request: Request) -> None:
    HostsPanel(_frame(request, "hosts"))


@ui.page("/people", title="People · Strata")
def people(request: Request) -> None:
    seat = _frame(request, "people")
    if seat.user.sees_all:
        UsersPanel(seat)
    TokensPanel(seat)


@ui.page("/events", title="Events · Strata")
def events(request: Request) -> None:
    EventsPanel(_frame(request, "events"))


@ui.page("/settings", title="Settings · Strata")
def settings(request: Request) -> None:
    SettingsPanel(_frame(request, "settings"))


@ui.page("/streams/{stream_id}", title="A broadcast · Strata")
def a_stream(request: Request, stream_id: str) -> None:
    StreamPanel(_frame(request, "wall"), stream_id[:64])
