from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from strata import ids
from strata.control import passwords as passwords_module
from strata.control import tables
from strata.control.logins import USED_EVERY, Logins
from strata.control.passwords import PARALLEL, WAITING_MAX, Passwords
from strata.control.throttle import FREE_TRIES
from strata.errors import NotAllowed, NotFound, TooManyTries
from unit.control.stage import ADMIN, OTHER, OWNER, PASSWORD, Stage

EMAIL = OWNER.email


@pytest.fixture
def passwords() -> Passwords:
    return Passwords()


@pytest.fixture
def logins(stage: Stage, passwords: Passwords) -> Logins:
    return Logins(stage.store, stage.platform.journal, passwords, 72.0, clock=lambda: 0.0)


async def tokens(stage: Stage) -> list[tables.Token]:
    async with stage.store.begin() as session:
        return list(await session.scalars(select(tables.Token)))


@pytest.mark.parametrize("email", [EMAIL, EMAIL.upper(), f"  {EMAIL}\n"])
async def test_a_login_gives_a_token_that_is_known(logins: Logins, email: str) -> None:
    token, user = await logins.log_in(email, PASSWORD)
    assert user == OWNER
    assert token.reveal().startswith("tok_")
    assert await logins.user_of(token.reveal()) == user


@pytest.mark.parametrize(
    ("email", "password"),
    [
        (EMAIL, "wrong"),
        (EMAIL, ""),
        (EMAIL, f"{PASSWORD} "),
        ("you@example.org", PASSWORD),
        ("", ""),
        ("' OR 1=1 --", "x"),
    ],
)
async def test_a_wrong_login_does_not_say_what_was_wrong(
    stage: Stage, logins: Logins, email: str, password: str
) -> None:
    with pytest.raises(NotAllowed, match=r"^the e-mail address or the password is wrong$"):
        await logins.log_in(email, password, "1.2.3.4")
    assert not await tokens(stage)
    [event] = await stage.platform.journal.since(ADMIN, None, None, 10)
    assert (event.type, event.data["address"]) == ("login_failed", "1.2.3.4")
    assert password not in event.data.values() or not password


@pytest.mark.parametrize("email", [EMAIL, "nobody@example.org"])
async def test_an_unknown_address_costs_the_same_check(
    logins: Logins, passwords: Passwords, monkeypatch: pytest.MonkeyPatch, email: str
) -> None:
    checked: list[str] = []
    verify = passwords._verify

    def counted(hash: str, password: str) -> bool:
        checked.append(hash)
        return verify(hash, password)

    monkeypatch.setattr(passwords, "_verify", counted)
    with pytest.raises(NotAllowed):
        await logins.log_in(email, "wrong")
    assert len(checked) == 1
    assert checked[0].startswith("$argon2id$")


async def test_a_flood_of_logins_queues(
    logins: Logins, passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    inside = 0
    most = 0
    lock = threading.Lock()

    def slow(hash: str, password: str) -> bool:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        if most == PARALLEL:
            gate.set()
        assert gate.wait(10.0)
        with lock:
            inside -= 1
        return False

    monkeypatch.setattr(passwords, "_verify", slow)
    found = await asyncio.gather(
        *(logins.log_in(EMAIL, "wrong", f"10.0.0.{n}") for n in range(8)), return_exceptions=True
    )
    assert {type(each) for each in found} == {NotAllowed}
    assert most == PARALLEL


async def test_more_than_can_wait_are_sent_away(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords_module, "WAITING_MAX", 3)
    found = await asyncio.gather(
        *(passwords.is_right(None, "wrong") for _ in range(8)), return_exceptions=True
    )
    assert sorted(map(repr, (type(each) for each in found))) == sorted(
        map(repr, [bool] * 3 + [TooManyTries] * 5)
    )
    assert not await passwords.is_right(None, "wrong")
    assert WAITING_MAX > 3


async def test_who_guesses_has_to_wait(logins: Logins) -> None:
    for _ in range(FREE_TRIES):
        with pytest.raises(NotAllowed):
            await logins.log_in(EMAIL, "wrong", "1.2.3.4")
    with pytest.raises(TooManyTries, match="try again in 1 s") as raised:
        await logins.log_in(EMAIL, PASSWORD, "1.2.3.4")
    assert raised.value.wait_s == 1.0
    await logins.log_in(EMAIL, PASSWORD, "5.6.7.8")


async def test_guesses_at_the_same_time_are_counted(logins: Logins) -> None:
    found = await asyncio.gather(
        *(logins.log_in(EMAIL, "wrong", "1.2.3.4") for _ in range(20)), return_exceptions=True
    )
    assert sum(isinstance(each, NotAllowed) for each in found) == FREE_TRIES


async def test_the_secret_of_a_token_is_stored_as_a_hash_only(stage: Stage, logins: Logins) -> None:
    token, _ = await logins.log_in(EMAIL, PASSWORD)
    id, _, secret = token.reveal().partition(".")
    [row] = await tokens(stage)
    assert row.id == id
    assert secret not in str(vars(row))
    assert secret.encode() not in row.secret_hash


async def test_what_is_no_token_is_nobodys(logins: Logins) -> None:
    token = (await logins.log_in(EMAIL, PASSWORD))[0].reveal()
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
            await logins.user_of(wrong)


async def expire(stage: Stage, token: str) -> None:
    async with stage.store.begin() as session:
        row = await session.get(tables.Token, token.partition(".")[0])
        assert row is not None
        row.expires_at = datetime.now(UTC) - timedelta(seconds=1)


async def test_a_login_expires(stage: Stage, logins: Logins) -> None:
    token, _ = await logins.log_in(EMAIL, PASSWORD)
    [row] = await tokens(stage)
    assert row.expires_at is not None
    life = row.expires_at - row.created_at
    assert timedelta(hours=71.9) < life < timedelta(hours=72.1)
    await expire(stage, token.reveal())
    with pytest.raises(NotAllowed, match="log in again"):
        await logins.user_of(token.reveal())


async def test_a_login_clears_away_the_expired_ones(stage: Stage, logins: Logins) -> None:
    old, _ = await logins.log_in(EMAIL, PASSWORD)
    await expire(stage, old.reveal())
    new, _ = await logins.log_in(EMAIL, PASSWORD)
    assert [row.id for row in await tokens(stage)] == [new.reveal().partition(".")[0]]


async def test_logging_out_ends_that_login_only(logins: Logins) -> None:
    one, _ = await logins.log_in(EMAIL, PASSWORD)
    other, user = await logins.log_in(EMAIL, PASSWORD)
    api, _ = await logins.add_token(user, "script", None)
    for each in (one, one, api):
        await logins.log_out(each.reveal())
    with pytest.raises(NotAllowed):
        await logins.user_of(one.reveal())
    assert await logins.user_of(other.reveal()) == await logins.user_of(api.reveal()) == user


async def test_an_api_token_lives_as_long_as_it_was_told_to(stage: Stage, logins: Logins) -> None:
    forever, row = await logins.add_token(OWNER, "script", None)
    assert row.expires_at is None
    brief, row = await logins.add_token(OWNER, "for today", timedelta(days=1))
    assert row.expires_at is not None
    await expire(stage, brief.reveal())
    assert await logins.user_of(forever.reveal()) == OWNER
    with pytest.raises(NotAllowed):
        await logins.user_of(brief.reveal())


async def test_an_api_token_is_deleted_by_its_user(logins: Logins) -> None:
    token, row = await logins.add_token(OWNER, "script", None)
    await logins.log_in(EMAIL, PASSWORD)
    assert [each.name for each in await logins.tokens(OWNER)] == ["script"]
    assert not await logins.tokens(OTHER)
    for id in (row.id, "tok_nonsense"):
        with pytest.raises(NotFound):
            await logins.delete_token(OTHER, id)
    await logins.delete_token(OWNER, row.id)
    with pytest.raises(NotAllowed):
        await logins.user_of(token.reveal())
    _, row = await logins.add_token(OWNER, "another", None)
    await logins.delete_token(ADMIN, row.id)
    assert not await logins.tokens(OWNER)


async def test_it_is_known_when_a_token_was_used(stage: Stage, logins: Logins) -> None:
    token, _ = await logins.add_token(OWNER, "script", None)
    before = datetime.now(UTC)
    await logins.user_of(token.reveal())
    [row] = await tokens(stage)
    assert row.used_at is not None
    assert row.used_at >= before
    await logins.user_of(token.reveal())
    [again] = await tokens(stage)
    assert again.used_at == row.used_at  # not written at each request
    async with stage.store.begin() as session:
        found = await session.get(tables.Token, row.id)
        assert found is not None
        found.used_at = before - USED_EVERY
    logins._used.clear()  # as after a restart
    await logins.user_of(token.reveal())
    [late] = await tokens(stage)
    assert late.used_at is not None
    assert late.used_at >= before
