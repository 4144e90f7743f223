from __future__ import annotations

import pytest

from strata.control.roles import ROLES, Role, User
from strata.errors import NotAllowed


def user(role: Role, *others: str) -> User:
    return User(f"usr_{role}", f"{role}@example.org", role, others)


@pytest.mark.parametrize("has", ROLES)
@pytest.mark.parametrize("needs", ROLES)
def test_each_role_may_what_those_before_it_may(has: Role, needs: Role) -> None:
    if ROLES.index(has) >= ROLES.index(needs):
        user(has).require(needs)
    else:
        article = {"viewer": "a", "operator": "an"}[has]
        told = f"role of an {needs}, and {has}@example.org is {article} {has};"
        with pytest.raises(NotAllowed, match=told):
            user(has).require(needs)


def test_an_administrator_sees_everything_others_their_own() -> None:
    assert user("admin").may_see("usr_9")
    assert user("admin").may_see(None)
    for role in ("operator", "viewer"):
        assert user(role).may_see(f"usr_{role}")
        assert not user(role).may_see("usr_9")
        assert not user(role).may_see(None)


def test_whom_somebody_sees_besides() -> None:
    assert user("viewer", "usr_9").may_see("usr_9")
    assert user("viewer", "usr_9").sees == ("usr_viewer", "usr_9")
    assert not user("viewer", "usr_9").sees_all
