from __future__ import annotations

import pytest
from pydantic import ValidationError

from strata.control.api import auth as module
from strata.control.roles import User


@pytest.mark.parametrize(
    "fields",
    [
        {"email": "me@example.org"},
        {"email": "x" * 255, "password": "x"},
        {"email": "me", "password": "x" * 1025},
        {"email": "me", "password": "x", "otp": 1},
    ],
    ids=lambda fields: str(fields)[:30],
)
def test_what_no_login_may_hold(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        module.Login.model_validate(fields)


def test_a_login_prints_without_its_password() -> None:
    assert "canary" not in repr(module.Login.model_validate({"email": "me", "password": "canary"}))


def test_who_somebody_is() -> None:
    found = module.WhoOut.of(User("usr_1", "me@example.org", "operator"))
    assert found.model_dump() == {"id": "usr_1", "email": "me@example.org", "role": "operator"}
