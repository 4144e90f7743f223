"""*Past broadcasts*, *events* and *settings*: what was, and how this installation is set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pydantic import BaseModel, SecretStr

from strata.control import tables
from strata.control.roles import User
from strata.control.streams import View
from strata.dashboard import happened, records, rows, words
from strata.dashboard.records import Column, Page, Records, Row, Spec
from strata.dashboard.rows import millis

PAST_SHOWN: Final = 200
EVENTS_SHOWN: Final = 300


class PastPanel(Records):
    def spec(self) -> Spec:
        return Spec(
            title="Past broadcasts",
            note="The latest first. The page of each has its charts and what happened.",
            empty="None has ended yet.",
            columns=[
                Column(key="name", text="Broadcast"),
                Column(key="state", text="How it ended"),
                Column(key="begun", text="Started"),
                Column(key="ended", text="Ended"),
            ],
        )

    async def page(self, user: User, before: str | None) -> Page:
        views = await self.seat.platform.streams.past(user, before, PAST_SHOWN + 1)
        return Page.of([_past(each) for each in views], PAST_SHOWN)


class EventsPanel(Records):
    def spec(self) -> Spec:
        return Spec(
            title="Events",
            note="What happened, and who did it; the latest first.",
            empty="Nothing has happened yet.",
            columns=[
                Column(key="at", text="When"),
                Column(key="what", text="What"),
                Column(key="about", text="About"),
                Column(key="by", text="By"),
            ],
            again_s=5,
        )

    async def page(self, user: User, before: str | None) -> Page:
        found = await self.seat.platform.journal.until(user, before, EVENTS_SHOWN + 1)
        names = await self._names(user, {each.subject or "" for each in found})
        return Page.of([_event(each, names) for each in found], EVENTS_SHOWN)

    async def _names(self, user: User, subjects: set[str]) -> dict[str, str]:
        """What people know users and streams by."""
        platform = self.seat.platform
        users = await platform.users.all(user) if user.sees_all else ()
        streams = await platform.streams.rows({id for id in subjects if id.startswith("str_")})
        names = {each.id: each.name or rows.NAMELESS for each in streams}
        return {**names, **{each.id: each.email for each in users}, user.id: "you"}


class SettingsPanel(Records):
    """Read only: they are read at a start, from a file that is under the control of whoever runs
    the machine."""

    def spec(self) -> Spec:
        return Spec(
            title="Settings",
            note="As this control plane was started with. They are changed in strata.toml or the "
            "environment, and hold from the next start on; what is on the air goes on meanwhile.",
            columns=[Column(key="name", text="Setting"), Column(key="value", text="Value")],
        )

    async def rows(self, user: User) -> Sequence[Row]:
        user.require("admin")
        told = flattened(self.seat.platform.settings)
        return [
            records.row(name, {"name": records.text(name), "value": records.text(value)})
            for name, value in told.items()
        ]


def flattened(settings: BaseModel, before: str = "") -> dict[str, str]:
    """Each setting by its whole name, without what is secret."""
    found: dict[str, str] = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            found |= flattened(value, f"{before}{name}.")
        else:
            found[before + name] = _shown(value)
    return found


def _shown(value: Any) -> str:
    if isinstance(value, SecretStr):
        return "set, and shown to nobody" if value.get_secret_value() else "not set"
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _event(event: tables.Event, names: dict[str, str]) -> Row:
    told = happened.tell(event.type, event.data)
    subject, by = event.subject or "", event.user_id or ""
    about = names.get(subject) or str(event.data.get("name") or subject)
    cells = {
        "at": records.moment(millis(event.at)),
        "what": records.state(told.tone, told.text),
        "about": records.text(about, link=f"/streams/{subject}" if subject[:4] == "str_" else ""),
        "by": records.text(names.get(by, by)),
    }
    return records.row(event.id, cells)


def _past(view: View) -> Row:
    one = view.row
    reason = words.REASONS.get(one.reason or "", one.reason or "")
    tone: words.Tone = "bad" if one.state == "failed" else "over"
    detail = one.detail or ""
    more = detail if detail.casefold() != reason.casefold() else ""
    cells = {
        "name": records.text(one.name or rows.NAMELESS, link=f"/streams/{one.id}"),
        "state": records.state(tone, reason or one.state.capitalize(), more=more),
        "begun": records.moment(millis(one.created_at)),
        "ended": records.moment(millis(one.ended_at)),
    }
    return records.row(one.id, cells)
