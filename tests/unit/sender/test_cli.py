from __future__ import annotations

import io
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import strata
from strata import logs, rist
from strata.errors import HostError
from strata.rist import Link
from strata.secrets import Secret
from strata.sender import cli, program, source

PSK = "canary-psk-of-the-tests"
TO = ("--to", "rist://127.0.0.1:15000", "--to", "rist://[::1]:15002")


class Ended:
    def __init__(self, status: object, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err


@pytest.fixture(autouse=True)
def _signals_as_they_were() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


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


class FakeSource:
    """Gives three payloads and one pause, then has the process told to stop."""

    def __init__(self, picture: source.Picture) -> None:
        self.picture = picture
        self.stopped = False
        self._payloads: list[bytes | None] = [b"one", None, b"two", b"three"]

    def start(self) -> None:
        pass

    def read(self, timeout_s: float) -> bytes | None:
        if self._payloads:
            return self._payloads.pop(0)
        os.kill(os.getpid(), signal.SIGTERM)
        return None

    def stop(self) -> None:
        self.stopped = True


class FakeSender:
    def __init__(self, links: list[Link], psk: Secret, *, buffer_ms: int) -> None:
        self.links, self.psk, self.buffer_ms = links, psk, buffer_ms
        self.written: list[bytes] = []
        self.state = "new"

    def start(self) -> None:
        self.state = "started"

    def write(self, payload: bytes) -> None:
        self.written.append(payload)

    def close(self) -> None:
        self.state = "closed"

    def take_reports(self) -> list[dict[str, Any]]:
        stats = {"bandwidth": 2_500_000, "avg_rtt": 20, "quality": 99.5}
        return [{"id": 1, "stats": stats | {"quality": 1.0}}, {"id": 1, "stats": stats}]

    def take_logs(self) -> list[tuple[str, str]]:
        return [("error", "a peer is dead"), ("info", "a peer lives")]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The source and the sender that the command makes."""
    found: dict[str, Any] = {}

    def new_source(picture: source.Picture) -> FakeSource:
        found["source"] = FakeSource(picture)
        return found["source"]  # type: ignore[no-any-return]

    def new_sender(links: list[Link], psk: Secret, *, buffer_ms: int) -> FakeSender:
        found["sender"] = FakeSender(links, psk, buffer_ms=buffer_ms)
        return found["sender"]  # type: ignore[no-any-return]

    monkeypatch.setattr(source, "TestSource", new_source)
    monkeypatch.setattr(rist, "Sender", new_sender)
    return found


def test_it_sends_until_it_is_told_to_stop(command: Any, made: dict[str, Any]) -> None:
    found = command(
        *TO,
        "--secrets-stdin",
        *("--size", "640x360", "--fps", "50", "--bitrate-kbps", "900", "--buffer-ms", "300"),
        stdin=f'{{"psk": "{PSK}"}}\n',
    )
    assert found.status == 0, found.err
    sender, test_source = made["sender"], made["source"]
    assert sender.links == [Link("127.0.0.1", 15000), Link("::1", 15002)]
    assert sender.psk == Secret(PSK)
    assert sender.buffer_ms == 300
    assert test_source.picture == source.Picture(640, 360, 50, 900)
    assert sender.written == [cli.NULL_PACKETS, b"one", b"two", b"three"]
    assert sender.state == "closed"
    assert test_source.stopped


def test_it_reports_each_link_from_time_to_time(
    command: Any,
    made: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(cli, "REPORT_S", 0.0)
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("STRATA_PSK", PSK)
    assert command(*TO).status == 0
    assert "link 1: 2500 kbit/s, rtt 20 ms, quality 99.5 %" in caplog.text
    assert ("strata.sender.cli", logging.WARNING, "a peer is dead") in caplog.record_tuples
    assert ("strata.sender.cli", logging.INFO, "a peer lives") in caplog.record_tuples
    assert PSK not in caplog.text
    assert "STRATA_PSK" not in os.environ  # what is started from here does not get it


def test_a_source_that_fails_is_told_and_all_is_closed(
    command: Any, made: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: FakeSource, timeout_s: float) -> bytes:
        raise HostError("the test source failed: no memory")

    monkeypatch.setattr(FakeSource, "read", fail)
    monkeypatch.setenv("STRATA_PSK", PSK)
    found = command(*TO)
    assert found.status == 70
    assert found.err == "strata-sender: error: the test source failed: no memory\n"
    assert made["sender"].state == "closed"
    assert made["source"].stopped


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
        ((*TO, "--buffer-ms", "1"), "no pre-shared key; give it with STRATA_PSK or --secrets-std"),
    ],
)
def test_what_it_cannot_do_is_one_line_and_status_2(
    command: Any, made: dict[str, Any], arguments: tuple[str, ...], words: str
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

    async def run(*given: str) -> int:
        assert given == ("settings", "identity")
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
    command: Any, made: dict[str, Any], stdin: str
) -> None:
    found = command(*TO, "--secrets-stdin", stdin=stdin)
    assert found.status == 2
    assert "expects one line on standard input" in found.err
    assert "canary" not in found.err
    assert not made


def test_a_key_that_is_no_text_is_none(command: Any, made: dict[str, Any]) -> None:
    found = command(*TO, "--secrets-stdin", stdin='{"psk": ["canary"]}')
    assert found.status == 2
    assert "no pre-shared key" in found.err
    assert not made


@pytest.mark.parametrize("psk", ["short", "x" * 128, "ünprintable-key"])
def test_a_key_that_rist_cannot_use_is_told_without_it(command: Any, psk: str) -> None:
    found = command(*TO, "--secrets-stdin", stdin=f'{{"psk": "{psk}"}}')
    assert found.status == 2, found.err
    assert found.err.startswith("strata-sender: error: the PSK ")
    assert psk not in found.err


def test_version_and_help(command: Any) -> None:
    assert command("--version").out == f"strata-sender {strata.__version__}\n"
    assert "--secrets-stdin" in command("--help").out
