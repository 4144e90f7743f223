"""*Destinations*: where pictures may go, kept with their keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from strata.control.api.destinations import DestinationIn
from strata.control.destinations import View
from strata.control.roles import User
from strata.dashboard import records, rows, words
from strata.dashboard.panel import Action, Arguments
from strata.dashboard.records import Act, Column, Field, Records, Row, Spec
from strata.dashboard.rows import millis

KEY_HELP = "Kept sealed, and shown to nobody again."


class DestinationsPanel(Records):
    def spec(self) -> Spec:
        may = self.seat.may_operate
        return Spec(
            title="Destinations",
            note="Where pictures may go. A change is for broadcasts that start from now on; on the "
            "page of one that runs, its destination can be replaced.",
            empty="None yet. Add the channel that you broadcast to most.",
            columns=[
                Column(key="name", text="Name"),
                Column(key="kind", text="Kind"),
                Column(key="url", text="Address"),
                Column(key="added", text="Added"),
            ],
            add=Act(key="add", text="Add a destination", fields=_fields()) if may else None,
            acts=[
                Act(
                    key="test",
                    text="Test",
                    takes="Sending ten seconds of colour bars; whoever watches there sees them …",
                    sure="Ten seconds of colour bars go there. Whoever watches that channel sees "
                    "them.",
                ),
                Act(key="change", text="Change", fields=_fields(is_new=False)),
                Act(key="remove", text="Remove", sure="Its address and its key are forgotten."),
            ]
            if may
            else [],
        )

    async def rows(self, user: User) -> Sequence[Row]:
        found = await self.seat.platform.destinations.visible_to(user)
        return [_row(each, self.seat.may_operate) for each in found]

    async def add(self, user: User, args: Arguments) -> Any:
        body = DestinationIn.model_validate(_given(args))
        view = await self.seat.platform.destinations.add(user, body.name, body.url, _key(body))
        return records.said(f"{view.row.name} was added. Test it before it is needed.")

    async def change(self, user: User, args: Arguments) -> Any:
        body = DestinationIn.model_validate(_given(args))
        service = self.seat.platform.destinations
        view = await service.change(user, _id(args), body.name, body.url, _key(body))
        return records.said(f"{view.row.name} was changed.")

    async def drop(self, user: User, args: Arguments) -> Any:
        await self.seat.platform.destinations.remove(user, _id(args))
        return records.said("It was removed.")

    async def test(self, user: User, args: Arguments) -> Any:
        told = await self.seat.platform.destinations.test(user, _id(args))
        head = "It works" if told.ok else "It does not work"
        return records.said(f"{head}: {told.message}", is_good=told.ok)

    actions: ClassVar[dict[str, Action]] = {
        **Records.actions,
        "add": add,
        "change": change,
        "remove": drop,
        "test": test,
    }


def _fields(*, is_new: bool = True) -> list[Field]:
    key = KEY_HELP if is_new else f"{KEY_HELP} Left empty, the one there is goes on."
    return [
        Field(name="name", text="Name", required=True),
        Field(
            name="url",
            text="Address",
            required=True,
            help="Such as rtmp://a.rtmp.youtube.com/live2, or srt://host:port. {key} in it is "
            "where the key goes.",
        ),
        Field(name="key", text="Stream key", kind="password", help=key),
    ]


def _given(args: Arguments) -> dict[str, Any]:
    return {name: args.get(name) or None for name in ("name", "url", "key")}


def _key(body: DestinationIn) -> str | None:
    return body.key.get_secret_value() if body.key is not None else None


def _id(args: Arguments) -> str:
    return str(args.get("id", ""))[:64]


def _row(view: View, may_operate: bool) -> Row:
    one = view.row
    cells = {
        "name": records.text(one.name),
        "kind": records.text(words.KIND_NAMES.get(one.kind, one.kind.upper())),
        "url": records.text(one.url, more=rows.where(one.url, one.kind)),
        "added": records.moment(millis(one.created_at)),
    }
    acts = ("test", "change", "remove") if may_operate else ()
    return records.row(one.id, cells, *acts, values={"name": one.name, "url": one.url})
