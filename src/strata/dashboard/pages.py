"""The addresses of the pages, and what stands on each."""

from __future__ import annotations

from typing import Final

from nicegui import ui
from starlette.requests import Request

from strata.dashboard import seat as seats
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


@ui.page("/streams/{stream_id}", title="A broadcast · Strata")
def a_stream(request: Request, stream_id: str) -> None:
    StreamPanel(_frame(request, "wall"), stream_id[:64])
