"""*Start*: from where, to where, and how; and what would not work, before it is tried."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import msgspec

from strata.control.api.preflight import PreflightIn
from strata.control.api.streams import StreamIn
from strata.control.roles import User
from strata.dashboard import recipes, rows
from strata.dashboard.panel import Action, Arguments, Panel
from strata.dashboard.seat import Seat
from strata.wire import agent

START: Final = frozenset(StreamIn.model_fields)
"""What a start is told; a preflight is told more, of encoders that are not ours."""


class StartPanel(Panel, component="parts/start.js"):
    def __init__(self, seat: Seat) -> None:
        super().__init__(seat)
        self.props["may-operate"] = seat.may_operate

    async def choices(self, user: User, args: Arguments) -> Any:
        """The senders and the destinations that there are."""
        platform = self.seat.platform
        senders = []
        for row in await platform.senders.visible_to(user):
            link = platform.agents.link_of(row.id)
            senders.append(
                {
                    "id": row.id,
                    "name": row.name or row.hostname or rows.NAMELESS,
                    "online": link is not None,
                    "inputs": inputs(link.status if link is not None else None),
                }
            )
        destinations = [
            {"id": each.row.id, "name": each.row.name, "url": each.row.url}
            for each in await platform.destinations.visible_to(user)
        ]
        return {"senders": senders, "destinations": destinations}

    async def check(self, user: User, args: Arguments) -> Any:
        """What would not work, errors first."""
        question = PreflightIn.model_validate(args).question()
        found = await self.seat.platform.preflights.ask(user, question)
        return [{"severity": each.severity, "message": each.message} for each in found]

    async def start(self, user: User, args: Arguments) -> Any:
        """Starts it. Without a sender of ours, what an encoder needs is told this once."""
        wanted = {name: value for name, value in args.items() if name in START}
        if wanted.get("sender_id") is None:
            wanted = {k: v for k, v in wanted.items() if k not in ("source", "encoder")}
        platform = self.seat.platform
        view = await platform.streams.begin(user, StreamIn.model_validate(wanted).request())
        told: dict[str, Any] = {"id": view.row.id, "name": view.row.name, "recipe": None}
        if view.psk is not None:
            urls = platform.settings.host.receive_urls(view.row.ports)
            told["recipe"] = recipes.recipe(urls, view.psk, platform.settings.worker.buffer_ms)
        return told

    actions: ClassVar[dict[str, Action]] = {"choices": choices, "check": check, "start": start}


_PLACE: Final = {"v4l2": "device", "file": "path", "uri": "uri"}
"""What a source of each mode is named by."""


def inputs(status: agent.Status | None) -> list[dict[str, Any]]:
    """What a sender says that a picture can be taken from: each as a source, with its name."""
    told = status.media_inputs if status is not None else msgspec.UNSET
    return [
        {
            "source": {"mode": each.mode, _PLACE[each.mode]: each.device},
            "name": each.name or each.device,
        }
        for each in (told if not isinstance(told, msgspec.UnsetType) else ())
        if each.mode in _PLACE
    ]
