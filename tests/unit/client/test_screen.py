from __future__ import annotations

import contextlib
import os
import pty
import sys
import termios
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, TypeAlias

import pytest
from rich.text import Text

from strata.client import screen
from strata.client.api import Answer
from strata.errors import BadArguments, NotLoggedIn, PlatformUnreachable
from unit.client.platform import FakePlatform

Terminal: TypeAlias = Callable[[Callable[[], None]], str]


def draw(data: Any, now: datetime) -> Text:
    return Text(str(data), "green")


class Script:
    """What is read, one after the other; then Ctrl-C."""

    def __init__(self, *steps: object) -> None:
        self._steps: Iterator[object] = iter(steps)

    def read(self) -> Answer:
        step = next(self._steps, KeyboardInterrupt())
        if isinstance(step, BaseException):
            raise step
        return Answer("", step)


def _rest(descriptor: int) -> Iterator[bytes]:
    """All that is there: one read may bring a part of it."""
    with contextlib.suppress(BlockingIOError):
        while True:
            yield os.read(descriptor, 65_536)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """Does something with a terminal as its standard output; what came there."""
    ours, theirs = pty.openpty()
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("COLORTERM", raising=False)

    def said(act: Callable[[], None]) -> str:
        with open(theirs, "w", closefd=False) as file, pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdout", file)
            act()
            file.flush()
        termios.tcdrain(theirs)
        os.set_blocking(ours, False)
        return b"".join(_rest(ours)).decode()

    yield said
    os.close(ours)
    os.close(theirs)


def test_a_pipe_gets_plain_text_without_an_end(capsys: pytest.CaptureFixture[str]) -> None:
    screen.put(Text("x" * 500 + "   ", "green"))
    assert capsys.readouterr().out == "x" * 500 + "\n"


def test_a_terminal_gets_colours(terminal: Terminal) -> None:
    assert "\x1b[32mlive" in terminal(lambda: screen.put(Text("live", "green")))


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_without_colours(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert terminal(lambda: screen.put(Text("live", "green"))) == "live\r\n"


def watch(*steps: object) -> None:
    with pytest.raises(KeyboardInterrupt):
        screen._watch(Script(*steps).read, draw, lambda seconds: None)


def test_a_pipe_gets_what_is_new_only(capsys: pytest.CaptureFixture[str]) -> None:
    watch("a", "a", "b", "a")
    assert capsys.readouterr().out == "a\n\nb\n\na\n\n"


def test_a_terminal_is_drawn_in_place(terminal: Terminal) -> None:
    said = terminal(lambda: watch("first", "second"))
    assert "first" in said
    assert "second" in said
    assert "\x1b[2K" in said  # the line of before is erased, not followed by another
    assert "\x1b[?25h" in said  # and the cursor is back


def test_what_is_old_is_told_to_be_old(capsys: pytest.CaptureFixture[str]) -> None:
    """A table that stands still while nobody answers must not look as if all were well."""
    watch("live", PlatformUnreachable("nobody answers"), "live")
    before, during, after, _ = capsys.readouterr().out.split("\n\n")
    assert before == after == "live"
    assert during == "OLD, for 0 s: nobody answers\nlive"


def test_who_was_never_there_is_an_error() -> None:
    with pytest.raises(PlatformUnreachable):
        screen._watch(Script(PlatformUnreachable("x")).read, draw, lambda seconds: None)


def test_a_login_that_ends_ends_it() -> None:
    with pytest.raises(NotLoggedIn):
        screen._watch(Script("a", NotLoggedIn("x")).read, draw, lambda seconds: None)


def test_json_is_as_it_came(platform: FakePlatform, capsys: pytest.CaptureFixture[str]) -> None:
    platform.tells("GET", "/api/hosts", b'[{"b":1,  "a":2}]')
    screen.present(lambda api: api.get("/api/hosts"), draw, as_json=True)
    assert capsys.readouterr().out == '[{"b":1,  "a":2}]\n'


def test_ctrl_c_ends_it_without_a_word(
    platform: FakePlatform, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    platform.tells("GET", "/api/hosts", [])

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(screen._watch, "__defaults__", (interrupt,))
    screen.present(lambda api: api.get("/api/hosts"), draw, as_json=False, watch=True)
    assert capsys.readouterr() == ("[]\n\n", "")
    assert len(platform.asked) == 1


def test_a_document_without_an_end_is_refused(platform: FakePlatform) -> None:
    with pytest.raises(BadArguments, match="give one of them"):
        screen.present(lambda api: api.get("/"), draw, as_json=True, watch=True)
