"""What stands above each page: where one is, who one is, and what is wrong anywhere."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from strata.control import tables
from strata.control.bus import News
from strata.control.roles import User
from strata.dashboard import alarms
from strata.dashboard.panel import Action, Arguments, Panel
from strata.dashboard.seat import Seat

STANDING_MAX: Final = 100
PAST_MAX: Final = 300


class AlertTeller(Panel):
    """A panel that shows alerts."""

    async def tell(self, user: User, is_open: bool | None, limit: int) -> list[dict[str, Any]]:
        """Alerts, the newest first."""
        platform = self.seat.platform
        rows = await platform.alerts.visible_to(user, is_open, None, limit)
        unknown = {row.subject for row in rows if row.subject.startswith("str_")}
        unknown -= self.seat.overview.entries.keys()
        names = {row.id: row.name for row in await platform.streams.rows(unknown)}
        return [self._told(row, names.get(row.subject, "")) for row in rows]

    async def ack(self, user: User, args: Arguments) -> Any:
        """Somebody has seen it."""
        row = await self.seat.platform.alerts.ack(user, str(args.get("id", ""))[:64])
        return self._told(row)

    def hear(self, news: News) -> None:
        if news.topic == "alerts" and self.seat.user.may_see(news.owner_id):
            self.send("alert", self._told(news.data))

    def _told(self, alert: tables.Alert, name: str = "") -> dict[str, Any]:
        entry = self.seat.overview.entries.get(alert.subject)
        if entry is None:
            return alarms.told(alert, name)
        return alarms.told(alert, entry.head["name"], entry.names)


class Shell(AlertTeller, component="parts/shell.js"):
    """
    Args:
        here: the key of the page.
    """

    def __init__(self, seat: Seat, here: str) -> None:
        super().__init__(seat)
        self.props["here"] = here
        self.props["email"] = seat.user.email
        self.props["role"] = seat.user.role

    def tick(self) -> Any:
        return {"away": self.seat.platform.store.is_away}

    async def standing(self, user: User, args: Arguments) -> Any:
        return await self.tell(user, True, STANDING_MAX)

    actions: ClassVar[dict[str, Action]] = {"standing": standing, "ack": AlertTeller.ack}


class AlertsPanel(AlertTeller, component="parts/alerts.js"):
    """What was wrong, and what is."""

    def __init__(self, seat: Seat) -> None:
        super().__init__(seat)
        self.props["may-operate"] = seat.may_operate

    async def look(self, user: User, args: Arguments) -> Any:
        return await self.tell(user, None, PAST_MAX)

    actions: ClassVar[dict[str, Action]] = {"look": look, "ack": AlertTeller.ack}
