from __future__ import annotations

import asyncio
import os
import re
import runpy
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

import strata
from strata import cli as strata_cli
from strata import logs
from strata.impair import cli
from strata.impair.path import Impairment
from strata.impair.profile import Profile
from strata.impair.relay import Relay
from support.children import Child, until
from support.ports import free_udp_ports
from support.udp import Peer
from support.virtual_time import in_virtual_time

BAD_DAY = Path(__file__).parents[3] / "deploy" / "bad-day.toml"


class Ended:
    def __init__(self, status: object, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.setattr(logs, "set_up", lambda where: None)

    def run(*arguments: str, whole: bool = False) -> Ended:
        name, *rest = arguments if whole else ("strata-impair", *arguments)
        monkeypatch.setattr(sys, "argv", [name, *rest])
        with pytest.raises(SystemExit) as ended:
            strata_cli.main() if whole else cli.main()
        said = capsys.readouterr()
        return Ended(ended.value.code, said.out, said.err)

    return run


@pytest.fixture
def rehearsed(monkeypatch: pytest.MonkeyPatch) -> list[Profile]:
    """The profiles that would have been relayed."""
    found: list[Profile] = []

    async def run(profile: Profile) -> None:
        found.append(profile)

    monkeypatch.setattr(cli, "run", run)
    return found


def test_links_and_a_seed(command: Any, rehearsed: list[Profile]) -> None:
    found = command(
        *("--link", "16000=127.0.0.1:15000,loss=10,delay=40,jitter=60"),
        *("--link", "[::1]:16002=15002", "--seed", "9"),
    )
    assert found.status == 0, found.err
    [profile] = rehearsed
    assert profile.seed == 9
    assert [str(link.listen) for link in profile.links] == ["127.0.0.1:16000", "[::1]:16002"]
    assert [str(link.to) for link in profile.links] == ["127.0.0.1:15000", "127.0.0.1:15002"]
    assert profile.links[0].impairment == Impairment(loss_percent=10, delay_ms=40, jitter_ms=60)


@pytest.mark.parametrize(("arguments", "seed"), [((), 7), (("--seed", "0"), 0)])
def test_a_profile_and_a_seed_that_goes_before_its_own(
    command: Any, rehearsed: list[Profile], arguments: tuple[str, ...], seed: int
) -> None:
    assert command(str(BAD_DAY), *arguments).status == 0
    assert rehearsed[0].seed == seed
    assert len(rehearsed[0].links) == 2


def test_the_strata_command_does_the_same(command: Any, rehearsed: list[Profile]) -> None:
    link = ("--link", "16000=15000,loss=10")
    assert command("strata", "impair", *link, "--seed", "3", whole=True).status in (0, None)
    assert command("strata", "impair", str(BAD_DAY), whole=True).status in (0, None)
    assert [(profile.seed, len(profile.links)) for profile in rehearsed] == [(3, 1), (7, 2)]
    found = command("strata", "impair", whole=True)
    assert found.status == 2
    assert found.err.startswith("strata: error: give either a profile or links")
    assert "--link" in command("strata", "impair", "--help", whole=True).out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give either a profile or links (--link), one of the two"),
        ((str(BAD_DAY), "--link", "1=2"), "give either a profile or links"),
        (("--link", "1"), "link '1': write LISTEN=TO"),
        (("--link", "1=2", "--link", "1=3"), "link 2: listen is '127.0.0.1:1', where link 1 "),
        (("--link", "1=2", "--seed", "-1"), "argument --seed: "),
        (("--link", "1=2", "--seed", "x"), "'x' is no whole number, 0 or more"),
        (("--links", "1=2"), "unrecognized arguments: --links"),
        (("/nonexistent.toml",), "the profile /nonexistent.toml cannot be read: No such file"),
        ((str(BAD_DAY.parent),), "cannot be read: Is a directory"),
        ((sys.executable,), "cannot be read: it is no text"),
        ((str(BAD_DAY.parents[1] / "pyproject.toml"),), "pyproject.toml: the profile: there is no"),
    ],
)
def test_what_it_cannot_do_is_one_line_and_status_2(
    command: Any, rehearsed: list[Profile], arguments: tuple[str, ...], words: str
) -> None:
    found = command(*arguments)
    assert found.status == 2
    assert found.err.startswith("strata-impair: error: ")
    assert words in found.err
    assert found.err.count("\n") == 1
    assert not rehearsed


def test_a_port_that_is_taken_has_its_own_status(command: Any) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        found = command("--link", f"{port}=15000")
    assert found.status == 3
    assert f"UDP port {port} is held by another program" in found.err


def test_version_and_help(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert command("--version").out == f"strata-impair {strata.__version__}\n"
    said = command("--help").out
    assert "--link" in said
    assert "burst-loss" in said
    monkeypatch.setattr(sys, "argv", ["strata-impair", "--version"])
    with pytest.raises(SystemExit):
        runpy.run_module("strata.impair", run_name="__main__")


@in_virtual_time
async def test_it_tells_how_each_link_does_and_ends_when_the_profile_does() -> None:
    lines: list[str] = []
    [port] = free_udp_ports(1)
    async with Peer() as receiver, Peer() as sender:
        to = f"127.0.0.1:{receiver.address[1]}"
        one = cli.load(None, [f"{port}={to},delay=100"], None)
        profile = Profile(one.links, duration_s=25)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cli, "_say", lines.append)
            running = asyncio.create_task(cli.run(profile))
            await until(lambda: lines, 5.0, "it listens")
            for _ in range(100):
                sender.send(bytes(1250), ("127.0.0.1", port))
                await asyncio.sleep(0.2)
            await running
    where = f"127.0.0.1:{port} -> {to}: "
    assert lines[0] == f"{where}listening"
    assert len(lines) == 4
    # A packet more or less falls into the ten seconds, and one may be on its way.
    assert re.fullmatch(
        re.escape(where) + r"forward (99|100) taken, 0 lost, (99|100) delivered, "
        r"(49|50|51) kbit/s; return 0 taken, 0 lost, 0 delivered, 0 kbit/s; [01] in flight",
        lines[2],
    )
    assert lines[-1] == f"{where}ended; forward 0 of 100 lost, return 0 of 0"


async def test_a_line_tells_what_is_wrong() -> None:
    link = Relay(("127.0.0.1", 16000), ("127.0.0.1", 15000))
    meter = cli._Meter(link)
    link.refused, link.unsent = 2, 3
    assert meter.line(10.0).endswith(
        "0 in flight; 3 not taken by the kernel; nobody listens on 127.0.0.1:15000"
    )
    assert meter.line(10.0).endswith("0 in flight; 3 not taken by the kernel")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_with_status_0(tmp_path: Path, number: signal.Signals) -> None:
    listen, to = free_udp_ports(2)
    async with Child(
        [sys.executable, "-I", "-m", "strata.impair", "--link", f"{listen}={to}"],
        tmp_path / "log",
        env={**os.environ},
    ) as child:
        await until(lambda: "listening" in child.said(), 10.0, "it listens")
        child.signal(number)
        assert await child.wait(5.0) == 0
        assert child.said().splitlines() == [
            f"127.0.0.1:{listen} -> 127.0.0.1:{to}: listening",
            f"127.0.0.1:{listen} -> 127.0.0.1:{to}: ended; forward 0 of 0 lost, return 0 of 0",
        ]
