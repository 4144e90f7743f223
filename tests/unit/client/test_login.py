from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from strata import settings
from strata.client import login
from strata.client.login import Login
from strata.errors import BadArguments, ClientError, NotLoggedIn
from strata.secrets import Secret

URL = "https://strata.example.org"
LOGIN = Login(URL, Secret("tok_1.canary"), "me@example.org")


def test_what_is_kept_is_for_this_user_alone(config: Path) -> None:
    login.keep(LOGIN)
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert stat.S_IMODE(config.parent.stat().st_mode) == 0o700
    assert login.current() == LOGIN
    assert [each.name for each in config.parent.iterdir()] == ["client.json"]


def test_a_file_that_others_can_read_is_replaced(config: Path) -> None:
    config.parent.mkdir()
    config.touch(0o644)
    login.keep(LOGIN)
    assert stat.S_IMODE(config.stat().st_mode) == 0o600


def test_a_login_shows_no_token() -> None:
    assert "canary" not in repr(LOGIN)


def test_forgotten_is_forgotten(config: Path) -> None:
    login.keep(LOGIN)
    login.forget()
    login.forget()
    with pytest.raises(NotLoggedIn, match="run: strata login"):
        login.current()


def test_the_environment_goes_before_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    login.keep(LOGIN)
    monkeypatch.setenv("STRATA_URL", "http://10.0.0.1:8080/")
    monkeypatch.setenv("STRATA_TOKEN", "tok_2.x")
    assert login.current() == Login("http://10.0.0.1:8080", Secret("tok_2.x"))


def test_a_token_of_the_environment_alone_is_for_where_the_login_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STRATA_TOKEN", "tok_2.x")
    assert login.current().url == login.DEFAULT_URL
    login.keep(LOGIN)
    assert login.current() == Login(URL, Secret("tok_2.x"))


def test_a_kept_token_is_shown_to_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    login.keep(LOGIN)
    monkeypatch.setenv("STRATA_URL", "https://evil.example.org")
    with pytest.raises(NotLoggedIn, match=r"evil\.example\.org, but the login is for https://str"):
        login.current()
    monkeypatch.setenv("STRATA_URL", URL + "/")
    assert login.current() == LOGIN


@pytest.mark.parametrize("token", ["a b", "tok\n", "tök"])
def test_a_token_that_is_none(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setenv("STRATA_TOKEN", token)
    with pytest.raises(NotLoggedIn, match="STRATA_TOKEN holds no token"):
        login.current()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"url": "x", "token": "", "email": ""}'])
def test_a_file_that_cannot_be_read_is_told(config: Path, text: str) -> None:
    config.parent.mkdir()
    config.write_text(text)
    with pytest.raises(NotLoggedIn, match=r"client\.json cannot be read; run: strata login"):
        login.current()


def test_a_folder_that_cannot_be_written_is_told(config: Path) -> None:
    config.parent.touch()
    with pytest.raises(ClientError, match=r"cannot be kept in .*STRATA_TOKEN instead"):
        login.keep(LOGIN)


def test_without_xdg_it_is_in_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert login.path() == tmp_path / ".config" / "strata" / "client.json"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("https://example.org/strata/", "https://example.org/strata"),
        ("https://example.org/api", "https://example.org"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_an_address(text: str, wanted: str) -> None:
    assert login.checked_url(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        *("", "example.org", "127.0.0.1:8080", "ftp://x", "http://", "http://x:99999"),
        *("http://me:canary@x", "http://x?a=b", "http://x#y", "http://x\n", "http://[x"),
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(BadArguments, match="write it like http://127") as raised:
        login.checked_url(text)
    assert "canary" not in raised.value.message
    assert "\n" not in raised.value.message


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("http://127.0.0.1:8080", True),
        ("http://localhost", True),
        ("http://[::1]:1", True),
        ("http://10.0.0.1", False),
        ("http://localhost.example.org", False),
    ],
)
def test_what_stays_on_this_machine(url: str, wanted: bool) -> None:
    assert login.is_local(url) is wanted


def test_what_the_client_is_told_is_no_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They share a prefix with the settings of the platform, and may stand beside them."""
    for name in ("URL", "TOKEN", "PASSWORD"):
        monkeypatch.setenv(f"STRATA_{name}", "canary")
    monkeypatch.setenv("STRATA_SERVER__LISTEN", "127.0.0.1:1")
    loaded = settings.load(data_dir=tmp_path)
    assert loaded.server.listen == "127.0.0.1:1"
    assert "canary" not in json.dumps(loaded.model_dump(mode="json"))
