from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any

import pytest

import strata
from strata import logs
from strata.sender import by_hand, cli, program
from strata.wire import agent as wire

PSK = "canary-psk-of-the-tests"
DRIVE = Path(__file__).parents[3] / "deploy" / "rehearsals" / "drive.toml"
TO = ("--to", "rist://127.0.0.1:15000", "--to", "rist://[::1]:15002")


class Ended:
    def __init__(self, status: object, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.setattr(logs, "set_up", lambda where: None)
    monkeypatch.delenv("STRATA_PSK", raising=False)

    def run(*arguments: str, stdin: str = "") -> Ended:
        monkeypatch.setattr(sys, "argv", ["strata-sender", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return Ended(ended.value.code, said.out, said.err)

    return run


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What is asked to be sent by hand."""
    found: list[tuple[Any, ...]] = []

    async def send(*given: Any) -> int:
        found.append(given)
        return 3

    def leave(status: int) -> None:
        raise SystemExit(status)

    monkeypatch.setattr(by_hand, "send", send)
    monkeypatch.setattr(os, "_exit", leave)
    return found


def test_what_is_to_be_sent_is_what_was_written(command: Any, made: list[tuple[Any, ...]]) -> None:
    found = command(
        *TO,
        "--secrets-stdin",
        *("--size", "640x360", "--fps", "50", "--bitrate-kbps", "900", "--buffer-ms", "300"),
        *("--simulate", str(DRIVE)),
        stdin=f'{{"psk": "{PSK}"}}\n',
    )
    assert found.status == 3
    [(order, _, size, fps, rehearsed)] = made
    assert order.destinations == ["rist://127.0.0.1:15000", "rist://[::1]:15002"]
    assert (order.psk, order.buffer_ms) == (PSK, 300)
    assert order.source == wire.Source("test")
    assert order.encoder == wire.Encoder("h264", 900, keyint_max=100)
    assert (size, fps) == ((640, 360), 50)
    assert len(rehearsed.links) == 2


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("/media/clip.mp4", wire.Source("file", path="/media/clip.mp4", loop=True)),
        ("rtsp://camera/1", wire.Source("uri", uri="rtsp://camera/1")),
    ],
)
def test_a_source_is_a_file_or_an_address(
    command: Any,
    made: list[tuple[Any, ...]],
    source: str,
    shown: wire.Source,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STRATA_PSK", PSK)
    assert command(*TO, "--source", source).status == 3
    assert made[0][0].source == shown
    assert "STRATA_PSK" not in os.environ  # what is started from here does not get it


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "control is not set, so nobody can tell this machine to send"),
        (("--config", "/nowhere.toml"), "the settings file /nowhere.toml does not exist"),
        ((*TO, "--config", "/x.toml"), "not allowed with argument"),
        (("--to", "127.0.0.1:15000"), "is no receiver; write rist://host:15000"),
        (("--to", "rist://127.0.0.1"), "is no receiver"),
        (("--to", "rist://:15000"), "is no receiver"),
        (("--to", "rist://h:99999"), "is no receiver"),
        (("--to", "rist://h:1/path"), "is no receiver"),
        (("--to", "rist://h:1?secret=x"), "is no receiver"),
        (("--to", "srt://h:1"), "is no receiver"),
        ((*TO, "--size", "big"), "is no even picture size; write 1280x720"),
        ((*TO, "--size", "641x360"), "is no even picture size"),
        ((*TO, "--fps", "23"), "invalid choice: 23"),
        ((*TO, "--bitrate-kbps", "much"), "invalid int value"),
        ((*TO, "--bitrate", "1"), "unrecognized arguments: --bitrate"),
        (("--simulate", "/x.toml"), "control is not set"),
        ((*TO, "--secrets-stdin", "--simulate", "/x.toml"), "expects one line on standard input"),
        ((*TO, "--buffer-ms", "1"), "no pre-shared key; give it with STRATA_PSK or --secrets-std"),
    ],
)
def test_what_it_cannot_do_is_one_line_and_status_2(
    command: Any, made: list[tuple[Any, ...]], arguments: tuple[str, ...], words: str
) -> None:
    found = command(*arguments)
    assert found.status == 2
    assert found.err.startswith("strata-sender: error: ")
    assert words in found.err
    assert found.err.count("\n") == 1
    assert not made


def test_without_a_receiver_it_is_an_agent(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[Any] = []

    def load(config: Any) -> tuple[str, str]:
        loaded.append(config)
        return "settings", "identity"

    async def run(*given: Any) -> int:
        assert given == ("settings", "identity", None)
        return 7

    def leave(status: int) -> None:
        raise SystemExit(status)

    monkeypatch.setattr(program, "load", load)
    monkeypatch.setattr(program, "run", run)
    monkeypatch.setattr(os, "_exit", leave)
    assert command("--config", "/etc/sender.toml").status == 7
    assert command().status == 7
    assert loaded == [Path("/etc/sender.toml"), None]


@pytest.mark.parametrize(
    "stdin", ["", "\n", "canary", "[]", '"canary"', "{}", '{"key": "canary"}', "7"]
)
def test_a_line_of_secrets_that_is_none_is_not_repeated(
    command: Any, made: list[tuple[Any, ...]], stdin: str
) -> None:
    found = command(*TO, "--secrets-stdin", stdin=stdin)
    assert found.status == 2
    assert "expects one line on standard input" in found.err
    assert "canary" not in found.err
    assert not made


def test_a_key_that_is_no_text_is_none(command: Any, made: list[tuple[Any, ...]]) -> None:
    found = command(*TO, "--secrets-stdin", stdin='{"psk": ["canary"]}')
    assert found.status == 2
    assert "no pre-shared key" in found.err
    assert not made


@pytest.mark.parametrize("psk", ["short", "x" * 128, "ünprintable-key"])
def test_a_key_that_rist_cannot_use_is_told_without_it(
    command: Any, psk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "_exit", lambda status: None)
    found = command(*TO, "--secrets-stdin", stdin=f'{{"psk": "{psk}"}}')
    assert found.status == 2, found.err
    assert found.err.startswith("strata-sender: error: the PSK ")
    assert psk not in found.err


def test_version_and_help(command: Any) -> None:
    assert command("--version").out == f"strata-sender {strata.__version__}\n"
    assert "--secrets-stdin" in command("--help").out
