"""What stands above each page: where one is, who one is, and what is wrong anywhere."""

from __future__ import annotations

from typing import Any, ClassVar, Final
from urllib.parse import quote

from strata.control import tables
from strata.control.bus import News
from strata.control.roles import User
from strata.dashboard import alarms
from strata.dashboard.panel import Action, Arguments, Panel
from strata.dashboard.seat import Seat
from strata.errors import NotAllowed, StoreUnavailable

STANDING_MAX: Final = 100
PAST_MAX: Final = 300

RIGHTS_TICKS: Final = 30
"""How soon, in seconds, a login that has ended ends its pages."""


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
        path: its address.
    """

    def __init__(self, seat: Seat, here: str, path: str = "/") -> None:
        super().__init__(seat)
        self._path = path
        self.props["here"] = here
        self.props["email"] = seat.user.email
        self.props["role"] = seat.user.role

        self._ticks = 0

    def tick(self) -> Any:
        self._ticks += 1
        if self._ticks % RIGHTS_TICKS == 0:
            self.seat.overview.tasks.spawn("rights", self._keep_rights())
        return {"away": self.seat.platform.store.is_away}

    async def _keep_rights(self) -> None:
        """A page follows what its user may see, and ends with the login."""
        try:
            await self.seat.ask()
        except StoreUnavailable:
            return
        except NotAllowed:
            self.client.open(f"/login?to={quote(self._path, safe='/')}")

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
