"""The rules as text; ``nft`` is a script of a few lines that writes down what it is given."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from strata.host import egress
from strata.host.egress import Egress

DEADLINE_S = 20.0

EMPTY = """\
add table inet strata_ab12
delete table inet strata_ab12
add table inet strata_ab12
add chain inet strata_ab12 out { type filter hook output priority 0; policy accept; }
"""


class Nft:
    """Stands for nft(8) in ``PATH``."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._monkeypatch = monkeypatch
        self._script = folder / "bin" / "nft"
        self._script.parent.mkdir()
        monkeypatch.setenv("PATH", f"{folder}/bin:/usr/bin:/bin")
        self.answers()

    def answers(self, with_: str = "true") -> None:
        self._script.write_text(
            f'#!/bin/sh\n[ "$*" = "-f -" ] || exit 64\n{{ cat; echo ==; }} >>{self._folder}/given\n'
            f"{with_}\n"
        )
        self._script.chmod(0o755)

    def breaks(self) -> None:
        self._script.write_text("#!/nonexistent/sh\n")
        # Or the next one in PATH would be taken.
        self._monkeypatch.setenv("PATH", str(self._script.parent))

    def given(self) -> list[str]:
        path = self._folder / "given"
        return path.read_text().split("==\n")[:-1] if path.exists() else []


@pytest.fixture
def nft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Nft:
    return Nft(tmp_path, monkeypatch)


async def opened() -> Egress:
    one = Egress("strata-ab12", classifies=True)
    await asyncio.wait_for(one.open(), DEADLINE_S)
    assert one.warning == ""
    return one


async def test_what_an_earlier_host_left_is_removed_in_one_transaction(nft: Nft) -> None:
    await opened()
    assert nft.given() == [EMPTY]


async def test_a_worker_has_a_rule_for_its_group(nft: Nft) -> None:
    one = await opened()
    await one.limit("str_1", "strata-ab12/str_1", 20_000)
    assert nft.given()[1:] == [
        EMPTY + 'add rule inet strata_ab12 out socket cgroupv2 level 2 "strata-ab12/str_1" '
        "limit rate over 2938 kbytes/second burst 512 kbytes counter drop "
        'comment "str_1"\n'
    ]


async def test_all_rules_are_written_anew_with_each_change(nft: Nft) -> None:
    one = await opened()
    await one.limit("str_1", "a/str_1", 8000)
    await one.limit("str_2", "x/y/z/str_2", 8000)
    await one.release("str_1")
    first, second, third = nft.given()[1:]
    assert first.count("add rule") == 1
    assert second.count("add rule") == 2
    assert 'level 4 "x/y/z/str_2"' in second
    assert third.count("add rule") == 1
    assert "str_2" in third


async def test_a_worker_has_one_rule_however_often_it_is_set(nft: Nft) -> None:
    one = await opened()
    await one.limit("str_1", "a/str_1", 8000)
    await one.limit("str_1", "a/str_1", 4000)
    assert nft.given()[-1].count("add rule") == 1
    assert "over 638 kbytes/second" in nft.given()[-1]


async def test_several_changes_at_once_cost_one_step(nft: Nft) -> None:
    one = await opened()
    await asyncio.gather(*(one.limit(f"str_{n}", f"a/str_{n}", 8000) for n in range(10)))
    assert len(nft.given()) <= 3
    assert nft.given()[-1].count("add rule") == 10


async def test_without_a_group_or_a_limit_there_is_no_rule(nft: Nft) -> None:
    one = await opened()
    await one.limit("str_1", None, 8000)
    await one.limit("str_2", "a/str_2", 0)
    await one.release("str_1")
    assert nft.given() == [EMPTY]


async def test_the_table_goes_with_the_host(nft: Nft) -> None:
    one = await opened()
    await one.limit("str_1", "a/str_1", 8000)
    await one.close()
    assert nft.given()[-1] == "add table inet strata_ab12\ndelete table inet strata_ab12\n"


async def unusable(*, classifies: bool = True) -> str:
    """The warning; whatever is asked afterwards is nothing."""
    one = Egress("strata-ab12", classifies=classifies)
    await asyncio.wait_for(one.open(), DEADLINE_S)
    head = "what a worker sends is limited by its own pacing alone, not by the kernel: "
    assert one.warning.startswith(head)
    await one.limit("str_1", "a/str_1", 8000)
    await one.release("str_1")
    await one.close()
    return one.warning.removeprefix(head)


async def test_workers_that_cannot_be_told_apart_are_not_limited(nft: Nft) -> None:
    why = await unusable(classifies=False)
    assert why == "there is no cgroup v2 tree to tell workers apart by"
    assert not nft.given()


async def test_a_machine_without_nft_is_told_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert await unusable() == "nft is not installed; apt-get install nftables"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            "echo 'Error: Operation not permitted' >&2; echo more >&2; exit 1",
            "Error: Operation not permitted",
        ),
        ("exit 3", "nft ended with status 3"),
    ],
)
async def test_a_kernel_that_refuses_is_told_in_its_words(
    nft: Nft, answer: str, words: str
) -> None:
    nft.answers(answer)
    assert await unusable() == words
    assert nft.given() == [EMPTY]  # tried once


async def test_an_nft_that_cannot_be_run_is_told(nft: Nft) -> None:
    nft.breaks()
    assert await unusable() == "No such file or directory"


async def test_an_nft_that_does_not_answer_is_given_up(
    nft: Nft, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(egress, "DEADLINE_S", 0.2)
    nft.answers("exec sleep 60")
    assert await unusable() == "nft did not answer in 0 s"


async def test_a_change_that_fails_is_told_and_the_next_one_brings_all(
    nft: Nft, caplog: pytest.LogCaptureFixture
) -> None:
    one = await opened()
    nft.answers("echo 'Error: too many rules' >&2; exit 1")
    await one.limit("str_1", "a/str_1", 8000)
    assert "the egress rules could not be set: Error: too many rules" in caplog.text
    nft.answers()
    await one.limit("str_2", "a/str_2", 8000)
    assert nft.given()[-1].count("add rule") == 2
