from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import pytest

from strata import logs


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """pytest has handlers of its own at the root."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for handler in list(root.handlers):
        root.removeHandler(handler)
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level)


def test_a_line_says_when_in_utc_how_bad_where_and_what(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.set_up("str_1")
    record = logging.LogRecord("strata.x", logging.WARNING, "", 0, "it %s", ("broke",), None)
    record.created, record.msecs = 1_769_860_800.25, 250.0
    logging.getLogger().handle(record)
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err == "2026-01-31T12:00:00.250Z WARNING str_1 it broke\n"


def test_each_message_is_written_once_however_often_it_is_set_up(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.set_up("first")
    logs.set_up("second")
    logging.getLogger("strata.test").info("hello")
    logging.getLogger("strata.test").debug("not this")
    found = capsys.readouterr().err
    assert re.fullmatch(r"\S+Z INFO    second hello\n", found)


@pytest.mark.parametrize("name", ["alembic", "asyncio", "httpx", "uvicorn.error"])
def test_the_chatty_ones_only_warn(capsys: pytest.CaptureFixture[str], name: str) -> None:
    logs.set_up("control")
    logging.getLogger(name).info("chat")
    logging.getLogger(name).warning("news")
    found = capsys.readouterr().err
    assert "chat" not in found
    assert "news" in found
