"""*Senders*: the boxes in the field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from strata.control.api.senders import SenderIn, SenderOut
from strata.control.roles import User
from strata.dashboard import recipes, records
from strata.dashboard.panel import Action, Arguments
from strata.dashboard.records import Act, Column, Field, Records, Row, Spec
from strata.dashboard.rows import millis
from strata.secrets import Secret

ENROLL_NOTE = (
    "The token works once, for seven days, and is shown this once. Put the two lines into the "
    "box's /etc/strata-sender/environment, by hand or from the code, and restart strata-sender."
)


class SendersPanel(Records):
    def spec(self) -> Spec:
        name = Field(name="name", text="Name", required=True, help="Such as the van, or camera 2")
        may = self.seat.may_operate
        return Spec(
            title="Senders",
            note="The boxes in the field. They dial in by themselves and wait to be told what to "
            "send.",
            empty="None yet. Add one, and give its box the token that you are shown.",
            columns=[
                Column(key="name", text="Name"),
                Column(key="state", text="State"),
                Column(key="sends", text="Sends"),
                Column(key="links", text="Connections"),
                Column(key="inputs", text="Inputs"),
                Column(key="seen", text="Last heard"),
            ],
            add=Act(key="add", text="Add a sender", fields=[name]) if may else None,
            acts=[
                Act(
                    key="enroll",
                    text="New token",
                    sure="For another box in the place of this one, which goes on until the other "
                    "has come.",
                ),
                Act(key="remove", text="Remove", sure="Its box is shut out, and cannot come back."),
            ]
            if may
            else [],
            again_s=3,
        )

    async def rows(self, user: User) -> Sequence[Row]:
        platform = self.seat.platform
        found = await platform.senders.visible_to(user)
        return [self._row(SenderOut.of(each, platform)) for each in found]

    def _row(self, one: SenderOut) -> Row:
        online = records.state("good", "Connected", more=one.address or "")
        waits = records.state("wait", "Waits for its box")
        away = records.state("bad" if one.stream_id else "over", "Not connected")
        state = online if one.online else waits if one.enrolled_at is None else away
        entry = self.seat.overview.entries.get(one.stream_id or "")
        sends = entry.head["name"] if entry is not None else one.stream_id
        cells = {
            "name": records.text(one.name or one.hostname or one.id, more=one.hostname or ""),
            "state": state,
            "sends": records.text(sends, link=f"/streams/{one.stream_id}" if one.stream_id else ""),
            "links": records.text(", ".join(_interfaces(one))),
            "inputs": records.text(
                ", ".join(each.name or each.device for each in one.media_inputs)
            ),
            "seen": records.moment(millis(one.seen_at), none="never"),
        }
        return records.row(one.id, cells, *(("enroll", "remove") if self.seat.may_operate else ()))

    async def add(self, user: User, args: Arguments) -> Any:
        body = SenderIn.model_validate({"name": records.name_of(args)})
        token, row = await self.seat.platform.senders.add(user, body.name)
        return self._told(row.name, token)

    async def enroll(self, user: User, args: Arguments) -> Any:
        id = str(args.get("id", ""))[:64]
        token, row = await self.seat.platform.senders.enroll(user, id)
        return self._told(row.name, token)

    async def drop(self, user: User, args: Arguments) -> Any:
        id = str(args.get("id", ""))[:64]
        await self.seat.platform.senders.remove(user, id)
        self.seat.platform.agents.cut(id)
        return records.said("It was removed.")

    def _told(self, name: str, token: Secret) -> dict[str, Any]:
        lines = recipes.enrollment(self.seat.origin, token)
        told = [("Token", token.reveal()), ("For its settings", lines)]
        return records.once(f"Let {name} in", ENROLL_NOTE, told, recipes.code(lines))

    actions: ClassVar[dict[str, Action]] = {
        **Records.actions,
        "add": add,
        "enroll": enroll,
        "remove": drop,
    }


def _interfaces(one: SenderOut) -> list[str]:
    return [
        f"{each.name} {each.signal_percent:.0f} %" if each.signal_percent is not None else each.name
        for each in one.network_interfaces
        if each.is_up is not False
    ]
