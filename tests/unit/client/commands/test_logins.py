from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from strata.client import login as logins
from unit.client.conftest import Run
from unit.client.platform import TOKEN, FakePlatform

PASSWORD = "canary-password"


@pytest.fixture
def platform(platform: FakePlatform, monkeypatch: pytest.MonkeyPatch) -> FakePlatform:
    """Without a login."""
    monkeypatch.delenv("STRATA_URL")
    monkeypatch.delenv("STRATA_TOKEN")
    platform.tells("POST", "/api/auth/login", {"token": TOKEN, "user": {"id": "usr_1"}})
    return platform


@pytest.mark.parametrize("from_environment", [True, False])
def test_a_login_is_kept_and_used(
    platform: FakePlatform,
    strata: Run,
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    from_environment: bool,
) -> None:
    if from_environment:
        monkeypatch.setenv("STRATA_PASSWORD", PASSWORD)
        monkeypatch.setattr(sys, "stdin", io.StringIO("something else\n"))
    else:
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"{PASSWORD}\n"))
    found = strata("login", "--url", f"{platform.url}/", "--email", "me@example.org")
    assert (found.status, found.err) == (0, "")
    assert found.out == f"me@example.org is logged in at {platform.url}\n"
    assert platform.last("POST").body == {"email": "me@example.org", "password": PASSWORD}
    assert PASSWORD not in config.read_text()
    platform.tells("GET", "/api/streams", [])
    assert strata("streams").status == 0
    assert platform.last("GET").token == TOKEN


def test_the_next_login_is_at_the_same_place(
    platform: FakePlatform, strata: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRATA_PASSWORD", PASSWORD)
    strata("login", "--url", platform.url, "--email", "me@example.org")
    assert strata("login").out == f"me@example.org is logged in at {platform.url}\n"


def test_a_wrong_password(
    platform: FakePlatform, strata: Run, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform._told.clear()
    platform.refuses("POST", "/api/auth/login", 401, "the e-mail address or the password is wrong")
    monkeypatch.setenv("STRATA_PASSWORD", PASSWORD)
    found = strata("login", "--url", platform.url, "--email", "me@example.org")
    assert found.status == 3
    assert found.err == "strata: error: the e-mail address or the password is wrong\n"
    assert not config.exists()


def test_what_is_no_platform_gives_no_token(
    platform: FakePlatform, strata: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform._told.clear()
    platform.tells("POST", "/api/auth/login", ["hello"])
    monkeypatch.setenv("STRATA_PASSWORD", PASSWORD)
    found = strata("login", "--url", platform.url, "--email", "me@example.org")
    assert found.status == 1
    assert "gave no token" in found.err


def test_a_password_in_the_clear_is_warned_of(strata: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRATA_PASSWORD", PASSWORD)
    found = strata("login", "--url", "http://strata.invalid:1", "--email", "me@example.org")
    assert found.status == 3
    assert "not encrypted" in found.err


def test_a_variable_that_goes_before_it_is_told(
    platform: FakePlatform, strata: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRATA_PASSWORD", PASSWORD)
    monkeypatch.setenv("STRATA_TOKEN", "tok_2.other")
    found = strata("login", "--url", platform.url, "--email", "me@example.org")
    assert "STRATA_TOKEN is set and goes before this login" in found.err


@pytest.mark.parametrize(
    ("status", "words"), [(204, ""), (401, ""), (503, "there the login lives until it expires")]
)
def test_a_logout_ends_it_here_whatever_happens_there(
    platform: FakePlatform,
    strata: Run,
    config: Path,
    status: int,
    words: str,
) -> None:
    config.parent.mkdir()
    config.write_text(json.dumps({"url": platform.url, "token": TOKEN, "email": "me"}))
    if status == 204:
        platform.tells("POST", "/api/auth/logout", None, 204)
    else:
        platform.refuses("POST", "/api/auth/logout", status, "no")
    found = strata("logout")
    assert found.status == 0
    assert platform.last("POST").token == TOKEN
    assert words in found.err
    assert not config.exists()
    assert strata("logout").out == "nobody is logged in\n"


def test_a_file_that_cannot_be_read_is_put_away(strata: Run, config: Path) -> None:
    config.parent.mkdir()
    config.write_text("{")
    assert strata("logout").status == 3
    assert not config.exists()
    assert logins.load().token is None
