from __future__ import annotations

import getpass
import io
import sys

import pytest

from strata.client import prompt
from strata.errors import BadArguments


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("text", ["canary\nmore\n", "canary", "canary\r\n"])
def test_a_line_of_standard_input(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    assert prompt.secret("Key", twice=True).reveal() == "canary"


def test_at_a_terminal_it_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(getpass, "getpass", lambda text: asked.append(text) or "canary")
    assert prompt.secret("Key", twice=True).reveal() == "canary"
    assert asked == ["Key: ", "The same again: "]


def test_a_slip_of_the_finger(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["canary-1", "canary-2"])
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(getpass, "getpass", lambda text: next(answers))
    with pytest.raises(BadArguments, match="not the same") as raised:
        prompt.secret("Password", twice=True)
    assert "canary" not in raised.value.message


@pytest.mark.parametrize(
    ("stdin", "wanted"),
    [(Terminal("you\n"), "you"), (Terminal("\n"), "me"), (io.StringIO("you\n"), "me")],
)
def test_a_question_with_a_default(
    monkeypatch: pytest.MonkeyPatch, stdin: io.StringIO, wanted: str
) -> None:
    monkeypatch.setattr(sys, "stdin", stdin)
    assert prompt.line("E-mail", "me") == wanted
