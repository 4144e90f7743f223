"""The nouns that can be listed, and the verbs of each: what is asked, and what is told."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import pytest

from unit.client.conftest import Run
from unit.client.platform import FakePlatform

NUMBER = "0199aaaa000070008000000012345678"
KEY = "canary-stream-key"

ROWS: dict[str, dict[str, Any]] = {
    "senders": {"id": f"snd_{NUMBER}", "name": "Van 3"},
    "destinations": {"id": f"dst_{NUMBER}", "name": "YouTube", "url": "rtmp://a/****"},
    "hosts": {"id": "local", "connected": True},
    "alerts": {"id": f"evt_{NUMBER}", "kind": "link_down", "cleared_at": None},
    "users": {"id": f"usr_{NUMBER}", "email": "me@example.org", "role": "admin"},
    "tokens": {"id": f"tok_{NUMBER}", "name": "scoreboard"},
}


@pytest.mark.parametrize("noun", ROWS)
def test_a_list(platform: FakePlatform, strata: Run, noun: str) -> None:
    platform.tells("GET", f"/api/{noun}", [ROWS[noun]])
    found = strata(noun)
    assert found.status == 0
    assert len(found.out.splitlines()) == 2
    assert json.loads(strata(noun, "--json").out) == [ROWS[noun]]


@pytest.mark.parametrize("noun", ROWS)
def test_a_list_that_is_refused(platform: FakePlatform, strata: Run, noun: str) -> None:
    platform.refuses("GET", f"/api/{noun}", 403, "that is for administrators")
    found = strata(noun)
    assert (found.status, found.out) == (1, "")
    assert found.err == "strata: error: that is for administrators\n"


VERBS = [
    (("senders", "remove", "Van 3"), "DELETE", f"senders/snd_{NUMBER}"),
    (("destinations", "remove", "5678"), "DELETE", f"destinations/dst_{NUMBER}"),
    (("destinations", "test", "YouTube"), "POST", f"destinations/dst_{NUMBER}/test"),
    (("hosts", "drain", "local"), "POST", "hosts/local/drain"),
    (("hosts", "undrain", "local"), "POST", "hosts/local/undrain"),
    (("alerts", "ack", "5678"), "POST", f"alerts/evt_{NUMBER}/ack"),
    (("users", "remove", "me@example.org"), "DELETE", f"users/usr_{NUMBER}"),
    (("tokens", "remove", "scoreboard"), "DELETE", f"tokens/tok_{NUMBER}"),
]


@pytest.mark.parametrize(("arguments", "method", "path"), VERBS)
@pytest.mark.parametrize("as_json", [False, True])
def test_a_verb(
    platform: FakePlatform,
    strata: Run,
    arguments: tuple[str, ...],
    method: str,
    path: str,
    as_json: bool,
) -> None:
    platform.tells("GET", f"/api/{arguments[0]}", [ROWS[arguments[0]]])
    answer = None if method == "DELETE" else {"ok": True, "message": "it took the picture"}
    platform.tells(method, f"/api/{path}", answer, 204 if answer is None else 200)
    found = strata(*arguments, *(["--json"] if as_json else []))
    assert found.status == 0, found.err
    assert [each.path for each in platform.asked if each.method == method] == [
        *([f"/api/{arguments[0]}"] if method == "GET" else []),
        f"/api/{path}",
    ]
    if not as_json:
        assert found.out
    elif answer is None:
        assert found.out == ""
    else:
        assert json.loads(found.out) == answer


def test_a_host_that_is_not_there(platform: FakePlatform, strata: Run) -> None:
    platform.tells("GET", "/api/hosts", [ROWS["hosts"]])
    assert strata("hosts", "drain", "elsewhere").status == 1
    assert all(each.method == "GET" for each in platform.asked)


def test_a_destination_that_does_not_take_it(platform: FakePlatform, strata: Run) -> None:
    id = ROWS["destinations"]["id"]
    answer = {"ok": False, "message": "the key is wrong"}
    platform.tells("POST", f"/api/destinations/{id}/test", answer)
    found = strata("destinations", "test", id)
    assert found.status == 1
    assert "the key is wrong" in found.out


def test_a_new_sender(platform: FakePlatform, strata: Run) -> None:
    answer = {"id": "snd_1", "enrollment_token": "enroll-me"}
    platform.tells("POST", "/api/senders", answer, 201)
    found = strata("senders", "add", "Van 3")
    assert platform.last("POST").body == {"name": "Van 3"}
    assert "snd_1 is added" in found.out
    assert "enroll-me" in found.out
    assert json.loads(strata("senders", "add", "Van 3", "--json").out) == answer


@pytest.mark.parametrize(
    ("stdin", "flags", "body"),
    [
        (f"{KEY}\n", (), {"key": KEY}),
        ("\n", (), {}),
        ("", (), {}),
        (f"{KEY}\n", ("--no-key",), {}),
    ],
)
def test_a_new_destination(
    platform: FakePlatform,
    strata: Run,
    monkeypatch: pytest.MonkeyPatch,
    stdin: str,
    flags: tuple[str, ...],
    body: dict[str, str],
) -> None:
    platform.tells("POST", "/api/destinations", ROWS["destinations"], 201)
    monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
    found = strata("destinations", "add", "YouTube", "rtmp://a/live2", *flags)
    assert platform.last("POST").body == {"name": "YouTube", "url": "rtmp://a/live2", **body}
    assert "is added: rtmp://a/****" in found.out
    assert KEY not in found.out + found.err


def test_a_key_is_no_argument(strata: Run) -> None:
    found = strata("destinations", "add", "YouTube", "rtmp://a/live2", "--key", KEY)
    assert found.status == 2


def test_a_new_user(platform: FakePlatform, strata: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    platform.tells("POST", "/api/users", ROWS["users"], 201)
    monkeypatch.setattr(sys, "stdin", io.StringIO("canary-password\n"))
    found = strata("users", "add", "me@example.org", "--role", "admin")
    assert platform.last("POST").body == {
        **{"email": "me@example.org", "role": "admin", "password": "canary-password"}
    }
    assert "me@example.org is added, as admin" in found.out
    assert "canary" not in found.out


def test_a_new_password(
    platform: FakePlatform, strata: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform.tells("GET", "/api/users", [ROWS["users"]])
    platform.tells("PATCH", f"/api/users/usr_{NUMBER}", ROWS["users"])
    monkeypatch.setattr(sys, "stdin", io.StringIO("canary-password\n"))
    found = strata("users", "password", "me@example.org")
    assert platform.last("PATCH").body == {"password": "canary-password"}
    assert "another password" in found.out
    assert "canary" not in found.out


@pytest.mark.parametrize(("flags", "body"), [((), {}), (("--days", "7"), {"days": 7})])
def test_a_new_token(
    platform: FakePlatform, strata: Run, flags: tuple[str, ...], body: dict[str, int]
) -> None:
    platform.tells("POST", "/api/tokens", {"id": "tok_9", "token": "tok_9.new"}, 201)
    found = strata("tokens", "add", "scoreboard", *flags)
    assert platform.last("POST").body == {"name": "scoreboard", **body}
    assert found.out.splitlines()[1:] == [f"STRATA_URL={platform.url}", "STRATA_TOKEN=tok_9.new"]


def test_a_new_key_for_what_is_sealed(platform: FakePlatform, strata: Run) -> None:
    platform.tells("POST", "/api/seal/rotate", {"values": 12})
    assert strata("rotate-key").out.startswith("12 secrets are sealed with a new key")
