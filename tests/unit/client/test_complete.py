from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from strata.client import complete
from unit.client.platform import TOKEN, FakePlatform

ROWS = [
    {"id": "str_1a", "name": "Der\x1bby", "state": "live"},
    {"id": "str_2b", "name": None, "state": "ended"},
    {"name": "without"},
]


def test_ids_with_what_they_are(platform: FakePlatform) -> None:
    platform.tells("GET", "/api/streams", ROWS)
    assert complete.streams("") == [("str_1a", "Der by live"), ("str_2b", "ended")]
    assert complete.streams("str_2") == [("str_2b", "ended")]


@pytest.mark.parametrize("noun", ["senders", "destinations", "hosts", "alerts", "users", "tokens"])
def test_every_noun(platform: FakePlatform, noun: str) -> None:
    platform.tells("GET", f"/api/{noun}", [{"id": "x_1"}])
    assert getattr(complete, noun)("x") == [("x_1", "")]


def test_a_refusal_is_nothing_to_choose_from(platform: FakePlatform) -> None:
    platform.refuses("GET", "/api/streams", 403, "no")
    assert complete.streams("") == []


def test_nobody_is_logged_in() -> None:
    assert complete.streams("") == []


def test_who_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("STRATA_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("STRATA_TOKEN", TOKEN)
        began = time.monotonic()
        assert complete.streams("") == []
    assert time.monotonic() - began < 3 * complete.PATIENCE_S


@pytest.mark.parametrize(
    ("shell", "more"),
    [
        ("bash", {"COMP_WORDS": "strata stop str", "COMP_CWORD": "2"}),
        ("zsh", {"_TYPER_COMPLETE_ARGS": "strata stop str"}),
        (
            "fish",
            {"_TYPER_COMPLETE_ARGS": "strata stop str", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
        ),
    ],
)
def test_each_shell_gets_them(
    platform: FakePlatform, tmp_path: Path, shell: str, more: dict[str, str]
) -> None:
    """As the shell asks: the installed command, with the question in its environment."""
    platform.tells("GET", "/api/streams", ROWS)
    environment: dict[str, Any] = {
        **{"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "_STRATA_COMPLETE": f"complete_{shell}"},
        **{"STRATA_URL": platform.url, "STRATA_TOKEN": TOKEN, **more},
    }
    command = Path(sys.executable).with_name("strata")
    done = subprocess.run(
        [command], env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert "str_1a" in done.stdout, done.stderr
    assert "str_2b" in done.stdout
    assert done.stderr == ""
