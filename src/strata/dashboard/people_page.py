"""*People*: users, for administrators; and everybody's own API tokens."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

from strata.control import tables
from strata.control.api.tokens import TokenIn
from strata.control.api.users import UserIn, UserPatch
from strata.control.roles import ROLES, User
from strata.control.users import Changes
from strata.dashboard import records
from strata.dashboard.panel import Action, Arguments
from strata.dashboard.records import Act, Column, Field, Records, Row, Spec
from strata.dashboard.rows import millis
from strata.secrets import Secret

ROLE_WORDS = {
    "viewer": "Viewer: sees, and changes nothing",
    "operator": "Operator: starts, changes and stops broadcasts",
    "admin": "Administrator: everything, of everybody",
}


class UsersPanel(Records):
    def spec(self) -> Spec:
        role = Field(
            name="role",
            text="Role",
            kind="choice",
            value="operator",
            options=[(each, ROLE_WORDS[each]) for each in ROLES],
        )
        password = Field(
            name="password",
            text="Password",
            kind="password",
            required=True,
            help="Eight characters at least. Give it to them by a safe way.",
        )
        email = Field(name="email", text="E-mail address", kind="email", required=True)
        return Spec(
            title="Users",
            note="Each sees what is their own; an administrator sees and changes everything.",
            columns=[
                Column(key="email", text="Who"),
                Column(key="role", text="Role"),
                Column(key="state", text="State"),
                Column(key="added", text="Added"),
            ],
            add=Act(key="add", text="Add a user", fields=[email, password, role]),
            acts=[
                Act(key="role", text="Role", fields=[role]),
                Act(
                    key="password",
                    text="New password",
                    fields=[password.model_copy(update={"text": "New password"})],
                ),
                Act(
                    key="disable",
                    text="Shut out",
                    sure="Their logins and API tokens end at once. What they own stays.",
                ),
                Act(key="enable", text="Let in again"),
                Act(key="remove", text="Remove", sure="Only somebody who owns nothing can be."),
            ],
        )

    async def rows(self, user: User) -> Sequence[Row]:
        return [_user(each, user) for each in await self.seat.platform.users.all(user)]

    async def add(self, user: User, args: Arguments) -> Any:
        names = ("email", "password", "role")
        body = UserIn.model_validate({name: args.get(name) for name in names})
        password = Secret(body.password.get_secret_value())
        row = await self.seat.platform.users.add(user, body.email, password, body.role)
        return records.said(f"{row.email} may log in now.")

    async def change(self, user: User, args: Arguments, **patch: Any) -> tables.User:
        body = UserPatch.model_validate(patch)
        password = Secret(body.password.get_secret_value()) if body.password else None
        changes = Changes(role=body.role, password=password, is_disabled=body.is_disabled)
        return await self.seat.platform.users.change(user, str(args.get("id", ""))[:64], changes)

    async def set_role(self, user: User, args: Arguments) -> Any:
        row = await self.change(user, args, role=args.get("role"))
        return records.said(f"{row.email} is: {ROLE_WORDS.get(row.role, row.role)}.")

    async def set_password(self, user: User, args: Arguments) -> Any:
        row = await self.change(user, args, password=args.get("password") or "")
        return records.said(f"{row.email} has a new password, and is logged out everywhere.")

    async def disable(self, user: User, args: Arguments) -> Any:
        row = await self.change(user, args, is_disabled=True)
        return records.said(f"{row.email} is shut out.")

    async def enable(self, user: User, args: Arguments) -> Any:
        row = await self.change(user, args, is_disabled=False)
        return records.said(f"{row.email} may log in again.")

    async def drop(self, user: User, args: Arguments) -> Any:
        await self.seat.platform.users.remove(user, str(args.get("id", ""))[:64])
        return records.said("The user was removed.")

    actions: ClassVar[dict[str, Action]] = {
        **Records.actions,
        "add": add,
        "role": set_role,
        "password": set_password,
        "disable": disable,
        "enable": enable,
        "remove": drop,
    }


class TokensPanel(Records):
    def spec(self) -> Spec:
        return Spec(
            title="Your API tokens",
            note="For programs: each may do what you may. Delete one that is not used any more.",
            empty="None yet.",
            columns=[
                Column(key="name", text="What for"),
                Column(key="added", text="Made"),
                Column(key="used", text="Last used"),
                Column(key="ends", text="Ends"),
            ],
            add=Act(
                key="add",
                text="Make a token",
                fields=[
                    Field(name="name", text="What for", required=True),
                    Field(
                        name="days",
                        text="For how many days",
                        kind="number",
                        help="Left empty: until it is deleted.",
                    ),
                ],
            ),
            acts=[Act(key="remove", text="Delete", sure="What uses it is refused from then on.")],
        )

    async def rows(self, user: User) -> Sequence[Row]:
        return [_token(each) for each in await self.seat.platform.logins.tokens(user)]

    async def add(self, user: User, args: Arguments) -> Any:
        given = {"name": records.name_of(args), "days": args.get("days") or None}
        body = TokenIn.model_validate(given)
        life = timedelta(days=body.days) if body.days is not None else None
        token, row = await self.seat.platform.logins.add_token(user, body.name, life)
        note = "It is shown this once. Whoever has it may do what you may."
        return records.once(f"The token for {row.name}", note, [("Token", token.reveal())])

    async def drop(self, user: User, args: Arguments) -> Any:
        await self.seat.platform.logins.delete_token(user, str(args.get("id", ""))[:64])
        return records.said("The token was deleted.")

    actions: ClassVar[dict[str, Action]] = {**Records.actions, "add": add, "remove": drop}


def _user(row: tables.User, me: User) -> Row:
    is_out = row.is_disabled
    cells = {
        "email": records.text(row.email, more="you" if row.id == me.id else ""),
        "role": records.text(row.role.capitalize()),
        "state": records.state("over", "Shut out")
        if is_out
        else records.state("good", "May log in"),
        "added": records.moment(millis(row.created_at)),
    }
    acts = ("role", "password", "enable" if is_out else "disable", "remove")
    return records.row(row.id, cells, *acts, values={"role": row.role})


def _token(row: tables.Token) -> Row:
    cells = {
        "name": records.text(row.name),
        "added": records.moment(millis(row.created_at)),
        "used": records.moment(millis(row.used_at), none="never"),
        "ends": records.moment(millis(row.expires_at), none="when it is deleted"),
    }
    return records.row(row.id, cells, "remove")
