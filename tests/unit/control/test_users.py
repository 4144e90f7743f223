from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from strata.control import platform, tables
from strata.control.platform import Platform
from strata.control.roles import User
from strata.control.users import Changes, Users, user_of
from strata.errors import BadArguments, Conflict, NotAllowed, NotFound
from strata.secrets import Secret
from strata.settings import Admin, Settings
from support.fake_host import FakeHost
from unit.control.stage import ADMIN, OTHER, OWNER, PASSWORD, VIEWER, Stage

FIRST = Admin(email=" Me@Example.org ", password=SecretStr("right-password"))
GOOD = Secret("canary-password-of-the-new-one")


@pytest.fixture
async def empty(loaded: Settings) -> AsyncIterator[Platform]:
    """A platform without anybody."""
    async with platform.opened(loaded, lambda observer: FakeHost()) as one:
        yield one


@pytest.fixture
def users(stage: Stage) -> Users:
    return stage.platform.users


async def stored(one: Platform) -> list[tables.User]:
    async with one.store.begin() as session:
        return list(await session.scalars(select(tables.User).order_by(tables.User.id)))


# The first administrator.


async def test_the_first_administrator_is_made_as_told(empty: Platform) -> None:
    assert await empty.users.ensure_admin(FIRST) is None
    [row] = await stored(empty)
    assert (row.email, row.role) == ("me@example.org", "admin")
    assert row.password_hash.startswith("$argon2id$")
    assert "right-password" not in row.password_hash


async def test_without_a_password_one_is_made_up_that_works(empty: Platform) -> None:
    made = await empty.users.ensure_admin(Admin())
    assert made is not None
    assert len(made.reveal()) >= 24
    _, user = await empty.logins.log_in("admin@localhost", made.reveal())
    assert user.role == "admin"


async def test_there_is_a_first_administrator_once(empty: Platform) -> None:
    await empty.users.ensure_admin(FIRST)
    other = Admin(email="other@example.org", password=SecretStr("other"))
    assert await empty.users.ensure_admin(other) is None
    assert await empty.users.ensure_admin(Admin()) is None
    assert [row.email for row in await stored(empty)] == ["me@example.org"]


async def test_the_administrator_that_has_been_there_longest(empty: Platform) -> None:
    with pytest.raises(NotFound, match="no administrator"):
        await empty.users.first_admin()
    await empty.users.ensure_admin(FIRST)
    first = await empty.users.first_admin()
    await empty.users.add(first, "viewer@example.org", GOOD, "viewer")
    await empty.users.add(first, "second@example.org", GOOD, "admin")
    assert (await empty.users.first_admin()) == User(first.id, "me@example.org", "admin")


# The others.


async def test_somebody_new_may_log_in(stage: Stage, users: Users) -> None:
    row = await users.add(ADMIN, "New@Example.org", GOOD, "viewer", (OWNER.id,))
    _, user = await stage.platform.logins.log_in("new@example.org", GOOD.reveal())
    assert user == User(row.id, "new@example.org", "viewer", (OWNER.id,))
    event, _ = await stage.platform.journal.latest(row.id, 10)
    assert (event.type, event.user_id) == ("user_added", ADMIN.id)
    assert "canary" not in str(event.data)


async def test_an_address_is_taken_once(users: Users) -> None:
    with pytest.raises(Conflict, match="already"):
        await users.add(ADMIN, OWNER.email.upper(), GOOD, "viewer")


async def test_one_sees_only_who_is_there(users: Users) -> None:
    with pytest.raises(BadArguments, match="usr_nobody"):
        await users.add(ADMIN, "new@example.org", GOOD, "viewer", ("usr_nobody",))
    with pytest.raises(BadArguments, match="usr_nobody"):
        await users.change(ADMIN, VIEWER.id, Changes(sees=("usr_nobody",)))


@pytest.mark.parametrize("who", [OWNER, VIEWER])
async def test_only_an_administrator_has_a_say(users: Users, who: User) -> None:
    with pytest.raises(NotAllowed):
        await users.all(who)
    with pytest.raises(NotAllowed):
        await users.add(who, "new@example.org", GOOD, "admin")
    with pytest.raises(NotAllowed):
        await users.change(who, who.id, Changes(role="admin"))
    with pytest.raises(NotAllowed):
        await users.remove(who, OTHER.id)
    assert len(await users.all(ADMIN)) == 4


async def test_a_new_role_holds_at_once(stage: Stage, users: Users) -> None:
    token, _ = await stage.platform.logins.log_in(VIEWER.email, PASSWORD)
    row = await users.change(ADMIN, VIEWER.id, Changes(role="operator", sees=(OWNER.id,)))
    assert (row.role, row.sees) == ("operator", [OWNER.id])
    assert (await stage.platform.logins.user_of(token.reveal())).role == "operator"


async def test_a_new_password_ends_what_the_old_one_opened(stage: Stage, users: Users) -> None:
    logins = stage.platform.logins
    token, user = await logins.log_in(VIEWER.email, PASSWORD)
    api_token, _ = await logins.add_token(user, "script", None)
    await users.change(ADMIN, VIEWER.id, Changes(password=GOOD))
    for each in (token, api_token):
        with pytest.raises(NotAllowed):
            await logins.user_of(each.reveal())
    with pytest.raises(NotAllowed):
        await logins.log_in(VIEWER.email, PASSWORD)
    await logins.log_in(VIEWER.email, GOOD.reveal())


async def test_who_is_disabled_is_out(stage: Stage, users: Users) -> None:
    logins = stage.platform.logins
    token, _ = await logins.log_in(VIEWER.email, PASSWORD)
    await users.change(ADMIN, VIEWER.id, Changes(is_disabled=True))
    with pytest.raises(NotAllowed):
        await logins.user_of(token.reveal())
    with pytest.raises(NotAllowed, match="password is wrong"):
        await logins.log_in(VIEWER.email, PASSWORD)
    await users.change(ADMIN, VIEWER.id, Changes(is_disabled=False))
    await logins.log_in(VIEWER.email, PASSWORD)


@pytest.mark.parametrize("changes", [Changes(role="viewer"), Changes(is_disabled=True)])
async def test_the_last_administrator_stays(users: Users, changes: Changes) -> None:
    with pytest.raises(Conflict, match="nobody would be an administrator"):
        await users.change(ADMIN, ADMIN.id, changes)
    with pytest.raises(Conflict, match="nobody would be an administrator"):
        await users.remove(ADMIN, ADMIN.id)
    await users.change(ADMIN, OTHER.id, Changes(role="admin"))
    await users.change(ADMIN, ADMIN.id, changes)


async def test_who_owns_something_is_not_removed(stage: Stage, users: Users) -> None:
    await stage.begin(OWNER)
    with pytest.raises(Conflict, match="owns streams"):
        await users.remove(ADMIN, OWNER.id)
    await users.remove(ADMIN, OTHER.id)
    assert [row.id for row in await users.all(ADMIN)] == [ADMIN.id, OWNER.id, VIEWER.id]


async def test_nobody_is_not_found(users: Users) -> None:
    with pytest.raises(NotFound):
        await users.change(ADMIN, "usr_nobody", Changes())
    with pytest.raises(NotFound):
        await users.remove(ADMIN, "usr_nobody")


@pytest.mark.parametrize(
    ("stored_role", "wanted"),
    [("admin", "admin"), ("operator", "operator"), ("viewer", "viewer"), ("emperor", "viewer")],
)
def test_a_role_that_is_unknown_may_only_look(stored_role: str, wanted: str) -> None:
    row = tables.User(
        id="usr_1", email="x", role=stored_role, sees=[], created_at=datetime.now(UTC)
    )
    assert user_of(row).role == wanted
