"""*A stream*: all that is known of one, and what can be done with it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from strata.control import history, lifecycle
from strata.control.bus import News
from strata.control.roles import User
from strata.control.streams import View
from strata.dashboard import happened, rows, series
from strata.dashboard.panel import Action, Arguments, Panel
from strata.dashboard.seat import Seat
from strata.dashboard.words import NAMELESS
from strata.errors import BadArguments
from strata.wire.worker import Stats

URL_MAX: Final = 2048
PREVIEW: Final = "preview"
"""What the forward is called that a start with a preview makes."""

TYPES_LEFT_OUT: Final = frozenset(("alarms", "forwards_settled"))
"""Of events: what the host said, word by word; alerts tell the same in words."""


class StreamPanel(Panel, component="parts/stream.js"):
    def __init__(self, seat: Seat, stream_id: str) -> None:
        super().__init__(seat)
        self.props["may-operate"] = seat.may_operate
        self.stream_id = stream_id
        self._stats: Stats | None = None
        self._was_there = False

    # What is told.

    async def look(self, user: User, args: Arguments) -> Any:
        """All that there is to show; from then on, what is new."""
        platform, id = self.seat.platform, self.stream_id
        view = await platform.streams.view(user, id)
        end = view.row.ended_at or datetime.now(UTC)
        step, samples = await platform.history.of(user, id, view.row.created_at, end)
        interval_s = step * history.EACH_S
        self._was_there = id in self.seat.overview.entries
        return {
            **self._now(view),
            "addresses": platform.settings.host.receive_urls(view.row.ports),
            "bufferMs": platform.settings.worker.buffer_ms,
            "sender": view.row.sender_id,
            "points": series.of_history([(each.at, each.data) for each in samples], interval_s),
            "events": [
                happened.line(each, user.id)
                for each in view.events
                if each.type not in TYPES_LEFT_OUT
            ],
        }

    def tick(self) -> dict[str, Any] | None:
        entry = self.seat.overview.entries.get(self.stream_id)
        if entry is None or not self.seat.user.may_see(entry.row.owner_id):
            was_there, self._was_there = self._was_there, False
            return {"gone": True} if was_there else None
        self._was_there = True
        view = self.seat.platform.streams.view_of(entry.row)
        told = self._now(view)
        stats = entry.stats if entry.age_ticks <= 1 else None
        if view.live is not None and stats is not None and stats is not self._stats:
            told["point"] = series.now(datetime.now(UTC), view.live, stats, self._stats)
            self._stats = stats
        return told

    def hear(self, news: News) -> None:
        if news.topic != "events" or news.data.subject != self.stream_id:
            return
        if news.data.type not in TYPES_LEFT_OUT and self.seat.user.may_see(news.owner_id):
            self.send("event", happened.line(news.data, self.seat.user.id))

    def _now(self, view: View) -> dict[str, Any]:
        entry = self.seat.overview.entries.get(self.stream_id)
        is_known = view.is_observed and not (entry is not None and entry.is_silent)
        live = view.live if is_known else None
        stats = live.stats if live is not None else None
        told = {each.forward: each for each in stats.forwards} if stats is not None else {}
        head = self.seat.overview.describe(view)
        for forward in head["forwards"]:
            numbers = told.get(forward["id"])
            forward["kbps"] = round(numbers.bitrate_kbps) if numbers else None
            forward["reconnects"] = numbers.reconnects if numbers else None
            forward["dropped"] = numbers.dropped_frames if numbers else None
        return {
            "at": round(time.time() * 1000),
            "head": head,
            "numbers": entry.numbers if entry is not None else rows.numbers(stats, NAMELESS),
            "runs": view.row.state in lifecycle.RUNNING,
            "preview": any(each.name == PREVIEW for each in view.forwards.values()),
            "slateHeld": live is not None and live.is_slate_held,
            "buffer": round(stats.buffer_ms) if stats and stats.buffer_ms is not None else None,
            "quality": _quality(stats),
        }

    # What is done. The services ask whether the user may.

    async def choices(self, user: User, args: Arguments) -> Any:
        """The destinations that there are to choose from."""
        found = await self.seat.platform.destinations.visible_to(user)
        return [{"id": each.row.id, "name": each.row.name, "url": each.row.url} for each in found]

    async def add(self, user: User, args: Arguments) -> Any:
        orders = self.seat.platform.orders
        forward, changed = await orders.add(user, self.stream_id, *aim(args))
        name = rows.where(forward.shown, forward.kind)
        return {"name": name, "live": self._is_live(changed.forward)}

    def _is_live(self, forward_id: str) -> bool:
        live = self.seat.platform.streams.observer.live.get(self.stream_id)
        forward = live.forwards.get(forward_id) if live is not None else None
        return forward is not None and forward.state == "live"

    async def replace(self, user: User, args: Arguments) -> Any:
        id = str(args.get("forward", ""))
        orders = self.seat.platform.orders
        forward, changed = await orders.replace(user, self.stream_id, id, *aim(args))
        return {
            "name": rows.where(forward.shown, forward.kind),
            "live": self._is_live(changed.forward),
            "overlap": changed.overlap,
        }

    async def remove_forward(self, user: User, args: Arguments) -> Any:
        id = str(args.get("forward", ""))
        await self.seat.platform.orders.remove(user, self.stream_id, id)

    async def test(self, user: User, args: Arguments) -> Any:
        id = str(args.get("destination", ""))
        told = await self.seat.platform.destinations.test(user, id)
        return {"ok": told.ok, "message": told.message}

    async def slate(self, user: User, args: Arguments) -> Any:
        now = args.get("now") is True
        await self.seat.platform.orders.show_slate(user, self.stream_id, now=now)

    async def stop(self, user: User, args: Arguments) -> Any:
        await self.seat.platform.streams.stop(user, self.stream_id)

    actions: ClassVar[dict[str, Action]] = {
        "look": look,
        "choices": choices,
        "add": add,
        "replace": replace,
        "remove": remove_forward,
        "test": test,
        "slate": slate,
        "stop": stop,
    }


def _quality(stats: Stats | None) -> float | None:
    """Percent of what was sent that arrived or was recovered; of nothing it is not known."""
    if stats is None or not stats.flow.received:
        return None
    return round(stats.flow.quality_percent, 2)


def aim(args: Arguments) -> tuple[str | None, str | None]:
    """Where a forward is to lead: a URL, or the id of a destination.

    Raises:
        BadArguments: neither, or both.
    """
    url, destination = args.get("url") or None, args.get("destination") or None
    if not isinstance(url, str | None) or not isinstance(destination, str | None):
        raise BadArguments("an address is a text")
    if (url is None) == (destination is None):
        raise BadArguments("choose a destination, or give an address")
    if len(url or destination or "") > URL_MAX:
        raise BadArguments("the address is too long")
    return url, destination
