from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from pydantic import SecretStr
from sqlalchemy import select

from strata import ids, settings
from strata.control import accounts as module
from strata.control import tables
from strata.control.accounts import Accounts, User
from strata.control.store import Store
from strata.errors import NotAllowed, NotFound
from strata.settings import Admin
from support.database import make_database

ADMIN = Admin(email=" Me@Example.org ", password=SecretStr("right-password"))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    one = Store(settings.load(data_dir=tmp_path))
    await make_database(tmp_path)
    yield one
    await one.close()


@pytest.fixture
def accounts(store: Store, monkeypatch: pytest.MonkeyPatch) -> Accounts:
    """With a cheap hash: what argon2 costs is not what is tested."""
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(module, "PasswordHasher", lambda: cheap)
    return Accounts(store, session_hours=72.0)


async def stored(store: Store) -> list[tables.User]:
    async with store.begin() as session:
        return list(await session.scalars(select(tables.User)))


async def sessions(store: Store) -> list[tables.Session]:
    async with store.begin() as session:
        return list(await session.scalars(select(tables.Session)))


async def add_user(store: Store, accounts: Accounts, email: str, role: str) -> str:
    row = tables.User(
        id=ids.new("usr"),
        email=email,
        password_hash=accounts._hasher.hash("right-password"),
        role=role,
        created_at=datetime.now(UTC),
    )
    async with store.begin() as session:
        session.add(row)
    return row.id


def test_roles() -> None:
    admin, operator, viewer = (
        User("usr_1", "a", "admin"),
        User("usr_2", "b", "operator"),
        User("usr_3", "c", "viewer"),
    )
    assert (admin.may_operate, operator.may_operate, viewer.may_operate) == (True, True, False)
    assert (admin.may_see("usr_9"), operator.may_see("usr_9")) == (True, False)
    assert (operator.may_see("usr_2"), viewer.may_see("usr_3")) == (True, True)


async def test_the_first_administrator_is_made_as_told(store: Store, accounts: Accounts) -> None:
    assert await accounts.ensure_admin(ADMIN) is None
    [row] = await stored(store)
    assert (row.email, row.role) == ("me@example.org", "admin")
    assert row.password_hash.startswith("$argon2id$")
    assert "right-password" not in row.password_hash


async def test_without_a_password_one_is_made_up_that_works(
    store: Store, accounts: Accounts
) -> None:
    made = await accounts.ensure_admin(Admin())
    assert made is not None
    assert len(made.reveal()) >= 24
    _, user = await accounts.log_in("admin@localhost", made.reveal())
    assert user.role == "admin"


async def test_there_is_a_first_administrator_once(store: Store, accounts: Accounts) -> None:
    await accounts.ensure_admin(ADMIN)
    other = Admin(email="other@example.org", password=SecretStr("other"))
    assert await accounts.ensure_admin(other) is None
    assert await accounts.ensure_admin(Admin()) is None
    assert [row.email for row in await stored(store)] == ["me@example.org"]


async def test_the_administrator_that_has_been_there_longest(
    store: Store, accounts: Accounts
) -> None:
    with pytest.raises(NotFound, match="no administrator"):
        await accounts.first_admin()
    await add_user(store, accounts, "viewer@example.org", "viewer")
    first = await add_user(store, accounts, "first@example.org", "admin")
    await add_user(store, accounts, "second@example.org", "admin")
    assert await accounts.first_admin() == User(first, "first@example.org", "admin")


@pytest.mark.parametrize("email", ["me@example.org", "ME@example.ORG", "  me@example.org\n"])
async def test_a_login_gives_a_token_that_is_known(accounts: Accounts, email: str) -> None:
    await accounts.ensure_admin(ADMIN)
    token, user = await accounts.log_in(email, "right-password")
    assert user.email == "me@example.org"
    assert token.reveal().startswith("tok_")
    assert await accounts.user_of(token.reveal()) == user


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("me@example.org", "wrong"),
        ("me@example.org", ""),
        ("me@example.org", "right-password "),
        ("you@example.org", "right-password"),
        ("", ""),
        ("' OR 1=1 --", "x"),
    ],
)
async def test_a_wrong_login_does_not_say_what_was_wrong(
    store: Store, accounts: Accounts, email: str, password: str
) -> None:
    await accounts.ensure_admin(ADMIN)
    with pytest.raises(NotAllowed, match=r"^the e-mail address or the password is wrong$"):
        await accounts.log_in(email, password)
    assert not await sessions(store)


@pytest.mark.parametrize("email", ["me@example.org", "nobody@example.org"])
async def test_an_unknown_address_costs_the_same_check(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch, email: str
) -> None:
    await accounts.ensure_admin(ADMIN)
    checked: list[str] = []
    verify = accounts._verify

    def counted(password_hash: str, password: str) -> bool:
        checked.append(password_hash)
        return verify(password_hash, password)

    monkeypatch.setattr(accounts, "_verify", counted)
    with pytest.raises(NotAllowed):
        await accounts.log_in(email, "wrong")
    assert len(checked) == 1
    assert checked[0].startswith("$argon2id$")


async def test_a_flood_of_logins_queues(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    await accounts.ensure_admin(ADMIN)
    gate = threading.Event()
    inside = 0
    most = 0
    lock = threading.Lock()

    def slow(password_hash: str, password: str) -> bool:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        if most == module.PARALLEL_VERIFIES:
            gate.set()
        assert gate.wait(10.0)
        with lock:
            inside -= 1
        return False

    monkeypatch.setattr(accounts, "_verify", slow)
    found = await asyncio.gather(
        *(accounts.log_in("me@example.org", "wrong") for _ in range(8)), return_exceptions=True
    )
    assert {type(each) for each in found} == {NotAllowed}
    assert most == module.PARALLEL_VERIFIES


async def test_the_secret_of_a_token_is_stored_as_a_hash_only(
    store: Store, accounts: Accounts, tmp_path: Path
) -> None:
    await accounts.ensure_admin(ADMIN)
    token, _ = await accounts.log_in("me@example.org", "right-password")
    id, _, secret = token.reveal().partition(".")
    [row] = await sessions(store)
    assert row.id == id
    for file in tmp_path.iterdir():
        assert secret.encode() not in file.read_bytes()
        assert b"right-password" not in file.read_bytes()


async def test_what_is_no_token_is_nobodys(accounts: Accounts) -> None:
    await accounts.ensure_admin(ADMIN)
    token = (await accounts.log_in("me@example.org", "right-password"))[0].reveal()
    id, _, secret = token.partition(".")
    for wrong in (
        "",
        ".",
        id,
        f"{id}.",
        f"{id}.{secret}x",
        f".{secret}",
        f"{ids.new('tok')}.{secret}",
        secret,
        "' OR 1=1 --",
        "tok_\N{SNOWMAN}.x",
        "x" * 10_000,
    ):
        with pytest.raises(NotAllowed, match="log in again"):
            await accounts.user_of(wrong)


async def test_a_token_expires(store: Store, accounts: Accounts) -> None:
    await accounts.ensure_admin(ADMIN)
    token, _ = await accounts.log_in("me@example.org", "right-password")
    async with store.begin() as session:
        row = await session.get(tables.Session, token.reveal().partition(".")[0])
        assert row is not None
        life = row.expires_at - row.created_at
        row.expires_at = datetime.now(UTC) - timedelta(seconds=1)
    assert life == timedelta(hours=72)
    with pytest.raises(NotAllowed, match="log in again"):
        await accounts.user_of(token.reveal())


async def test_a_login_clears_away_the_expired_ones(store: Store, accounts: Accounts) -> None:
    await accounts.ensure_admin(ADMIN)
    old, _ = await accounts.log_in("me@example.org", "right-password")
    async with store.begin() as session:
        row = await session.get(tables.Session, old.reveal().partition(".")[0])
        assert row is not None
        row.expires_at = datetime.now(UTC) - timedelta(seconds=1)
    new, _ = await accounts.log_in("me@example.org", "right-password")
    assert [row.id for row in await sessions(store)] == [new.reveal().partition(".")[0]]


async def test_logging_out_ends_that_login_only(accounts: Accounts) -> None:
    await accounts.ensure_admin(ADMIN)
    one, _ = await accounts.log_in("me@example.org", "right-password")
    other, user = await accounts.log_in("me@example.org", "right-password")
    await accounts.log_out(one.reveal())
    await accounts.log_out(one.reveal())
    with pytest.raises(NotAllowed):
        await accounts.user_of(one.reveal())
    assert await accounts.user_of(other.reveal()) == user


@pytest.mark.parametrize(
    ("stored_role", "wanted"),
    [("admin", "admin"), ("operator", "operator"), ("viewer", "viewer"), ("emperor", "viewer")],
)
async def test_a_role_that_is_unknown_may_only_look(
    store: Store, accounts: Accounts, stored_role: str, wanted: str
) -> None:
    await add_user(store, accounts, "x@example.org", stored_role)
    _, user = await accounts.log_in("x@example.org", "right-password")
    assert user.role == wanted
