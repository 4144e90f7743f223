"""The text of the rules, given to an nft that only writes it down."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from strata.host import packets as module
from strata.host.limits import Place
from strata.host.packets import Packets

GROUP = Place("strata.slice/strata-1/str_1", 3)
TABLE = "inet strata_1"


class Nft:
    """Stands for nft(8) in ``PATH``."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._told = folder / "told"
        self._refused = folder / "refused"
        self._monkeypatch = monkeypatch
        self._script = folder / "bin" / "nft"
        self._script.parent.mkdir()
        monkeypatch.setenv("PATH", f"{folder}/bin:/usr/bin:/bin")
        self.answers()

    def answers(self, with_: str = "true") -> None:
        self._script.write_text(
            f'#!/bin/sh\n[ "$*" = "-f -" ] || exit 64\n{{ cat; echo ==; }} >>{self._told}\n'
            f"{with_}\n"
        )
        self._script.chmod(0o755)

    def refuses(self, word: str) -> None:
        """Each script with such a word, with an error of two lines."""
        self.answers(
            f'! awk \'/^==$/ {{ last = now; now = ""; next }} {{ now = now $0 }} '
            f"END {{ print last }}' {self._told} | grep -q '{word}' || "
            "{ echo 'Error: it is refused' >&2; echo more >&2; exit 1; }"
        )

    def breaks(self) -> None:
        self._script.write_text("#!/nonexistent/sh\n")
        # Or the next one in PATH would be taken.
        self._monkeypatch.setenv("PATH", str(self._script.parent))

    @property
    def scripts(self) -> list[list[str]]:
        if not self._told.exists():
            return []
        return [part.splitlines() for part in self._told.read_text().split("==\n")[:-1]]


@pytest.fixture
def nft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Nft:
    return Nft(tmp_path, monkeypatch)


def packets(*, egress: bool = True, nonces: bool = True, classifies: bool = True) -> Packets:
    return Packets("strata-1", egress=egress, nonces=nonces, classifies=classifies)


async def test_a_worker_is_held_to_its_rate_and_its_ports_are_watched(nft: Nft) -> None:
    rules = packets()
    await rules.open()
    await rules.allow("str_1", GROUP, 20_000, (5000, 5002))
    await rules.allow("str_2", None, 20_000, (5004,))
    assert rules.warnings == []
    script = nft.scripts[-1]
    assert [line for line in script if "cgroupv2" in line] == [
        f'add rule {TABLE} out socket cgroupv2 level 3 "strata.slice/strata-1/str_1" '
        "limit rate over 2938 kbytes/second burst 512 kbytes "
        'counter drop comment "str_1"'
    ]
    assert f"add element {TABLE} ports {{ 5000, 5002, 5004 }}" in script
    await rules.release("str_1")
    script = nft.scripts[-1]
    assert not [line for line in script if "cgroupv2" in line]
    assert f"add element {TABLE} ports {{ 5004 }}" in script
    await rules.release("str_2")
    assert not [line for line in nft.scripts[-1] if "add element" in line]


async def test_what_the_kernel_has_learnt_outlives_each_change(nft: Nft) -> None:
    rules = packets()
    await rules.open()
    await rules.allow("str_1", GROUP, 20_000, (5000,))
    await rules.release("str_1")
    for script in nft.scripts:
        assert not [line for line in script if "delete" in line]
        emptied = [line.split()[-1] for line in script if line.startswith("flush set")]
        assert emptied == ["ports"]


async def test_chains_are_emptied_before_they_are_filled(nft: Nft) -> None:
    await packets().open()
    [script] = nft.scripts
    chains = [line.split()[4] for line in script if line.startswith("add chain")]
    assert chains == [
        *("out", "in", "answers"),
        *("ipv4_plain", "ipv4_summed", "ipv6_plain", "ipv6_summed"),
    ]
    for chain in chains:
        emptied = script.index(f"flush chain {TABLE} {chain}")
        rules = [n for n, line in enumerate(script) if f"add rule {TABLE} {chain} " in line]
        assert all(emptied < rule for rule in rules)


async def test_what_becomes_of_a_packet(nft: Nft) -> None:
    await packets(egress=False).open()
    [script] = nft.scripts
    start = f"add rule {TABLE} ipv4_plain "
    sender = "ip saddr . udp sport . udp dport"
    key = f"{sender} . @th,96,32"
    keep = f"update @ipv4_known {{ {key} }} update @ipv4_busy {{ {sender} }} accept"
    assert [line.removeprefix(start) for line in script if line.startswith(start)] == [
        f"{key} @ipv4_known {keep}",
        f"{key} @ipv4_change accept",
        f"{sender} @ipv4_busy "
        "update @changes { udp dport limit rate 12/minute burst 2 packets } "
        f"update @ipv4_change {{ {key} }} accept",
        f"{sender} @ipv4_busy counter drop",
        f"{sender} @ipv4_peers "
        f"update @fresh {{ udp dport limit rate 50/second burst 50 packets }} {keep}",
        f"{sender} @ipv4_peers counter drop",
        "udp length > 600 counter drop",
        f"{key} @ipv4_seen update @ipv4_own {{ {key} limit rate 5/second burst 5 packets }} "
        "update @again { udp dport limit rate 20/second burst 20 packets } accept",
        f"{key} @ipv4_seen counter drop",
        f"add @ipv4_seen {{ {key} }}",
        "update @first { udp dport limit rate 10/second burst 10 packets } accept",
        "counter drop",
    ]
    # The same for each family and each layout of the header; what is in the clear is left to
    # the socket's filter.
    assert [line for line in script if f"add rule {TABLE} in " in line] == [
        f"add rule {TABLE} in meta nfproto {family} udp dport @ports "
        f"@th,64,8 & 0xb0 == {flags} goto {family}_{layout}"
        for family in ("ipv4", "ipv6")
        for layout, flags in (("plain", "0x30"), ("summed", "0xb0"))
    ]
    plain = [line for line in script if " ipv6_plain ip6" in line]
    summed = [line for line in script if " ipv6_summed ip6" in line]
    assert plain
    assert summed == [
        line.replace("ipv6_plain", "ipv6_summed").replace("@th,96,32", "@th,128,32")
        for line in plain
    ]
    assert [line for line in script if f"add rule {TABLE} answers " in line] == [
        f"add rule {TABLE} answers udp sport @ports "
        f"update @{family}_peers {{ {ip} daddr . udp dport . udp sport }}"
        for ip, family in (("ip", "ipv4"), ("ip6", "ipv6"))
    ]


async def test_where_raw_payload_is_not_known_what_is_sent_is_limited_all_the_same(
    nft: Nft,
) -> None:
    nft.refuses("typeof")
    rules = packets()
    await rules.open()
    [warning] = rules.warnings
    assert "another key" in warning
    assert "Error: it is refused" in warning
    await rules.allow("str_1", GROUP, 20_000, (5000,))
    assert [line for line in nft.scripts[-1] if "cgroupv2" in line]
    assert not [line for line in nft.scripts[-1] if "5000" in line]


@pytest.mark.usefixtures("nft")
async def test_a_table_of_an_earlier_release_is_replaced() -> None:
    rules = packets()
    first: list[bool] = []
    tell = rules._nft

    async def refuse_once(script: str) -> str:
        first.append("delete table" in script)
        return "Error: File exists" if len(first) == 1 else await tell(script)

    rules._nft = refuse_once  # type: ignore[method-assign]
    await rules.open()
    assert first == [False, True]
    assert rules.warnings == []


async def test_without_groups_only_what_comes_is_limited(nft: Nft) -> None:
    rules = packets(classifies=False)
    await rules.open()
    await rules.allow("str_1", None, 20_000, (5000,))
    [warning] = rules.warnings
    assert "there is no cgroup v2 tree" in warning
    assert not [line for line in nft.scripts[-1] if " out " in line]
    assert f"add element {TABLE} ports {{ 5000 }}" in nft.scripts[-1]


async def test_a_worker_has_one_rule_however_often_it_is_set(nft: Nft) -> None:
    rules = packets()
    await rules.open()
    await rules.allow("str_1", GROUP, 8000, (5000,))
    await rules.allow("str_1", GROUP, 4000, (5000,))
    [rule] = [line for line in nft.scripts[-1] if "cgroupv2" in line]
    assert "over 638 kbytes/second" in rule


async def test_several_changes_at_once_cost_one_step(nft: Nft) -> None:
    rules = packets()
    await rules.open()
    await asyncio.gather(*(rules.allow(f"str_{n}", GROUP, 8000, (n,)) for n in range(10)))
    assert len(nft.scripts) <= 3
    assert len([line for line in nft.scripts[-1] if "cgroupv2" in line]) == 10


async def test_without_a_group_or_a_limit_there_is_no_rule_on_what_is_sent(nft: Nft) -> None:
    rules = packets()
    await rules.open()
    await rules.allow("str_1", None, 8000, (5000,))
    await rules.allow("str_2", GROUP, 0, (5002,))
    assert not [line for line in nft.scripts[-1] if "cgroupv2" in line]


async def test_a_kernel_that_refuses_all_is_told_in_its_words(nft: Nft) -> None:
    nft.refuses("table")
    rules = packets()
    await rules.open()
    assert len(rules.warnings) == 2
    assert all(warning.endswith(": Error: it is refused") for warning in rules.warnings)
    tried = len(nft.scripts)
    await rules.allow("str_1", GROUP, 8000, (5000,))
    await rules.close()
    assert len(nft.scripts) == tried


async def test_an_nft_that_says_nothing_is_told_by_its_status(nft: Nft) -> None:
    nft.answers("exit 3")
    rules = packets(nonces=False)
    await rules.open()
    [warning] = rules.warnings
    assert warning.endswith(": nft ended with status 3")


async def test_an_nft_that_cannot_be_run_is_told(nft: Nft) -> None:
    nft.breaks()
    rules = packets(nonces=False)
    await rules.open()
    [warning] = rules.warnings
    assert warning.endswith(": No such file or directory")


async def test_an_nft_that_does_not_answer_is_given_up(
    nft: Nft, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DEADLINE_S", 0.2)
    nft.answers("exec sleep 60")
    rules = packets(nonces=False)
    await rules.open()
    [warning] = rules.warnings
    assert warning.endswith(": nft did not answer in 0 s")


async def test_a_change_that_fails_is_told_and_the_next_one_brings_all(
    nft: Nft, caplog: pytest.LogCaptureFixture
) -> None:
    rules = packets()
    await rules.open()
    nft.answers("echo 'Error: too many rules' >&2; exit 1")
    await rules.allow("str_1", GROUP, 8000, (5000,))
    assert "the rules on packets could not be set: Error: too many rules" in caplog.text
    nft.answers()
    await rules.allow("str_2", GROUP, 8000, (5002,))
    assert len([line for line in nft.scripts[-1] if "cgroupv2" in line]) == 2
    assert f"add element {TABLE} ports {{ 5000, 5002 }}" in nft.scripts[-1]


async def test_without_nft_it_says_so_and_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    rules = packets()
    await rules.open()
    await rules.allow("str_1", GROUP, 20_000, (5000,))
    await rules.release("str_1")
    await rules.close()
    assert len(rules.warnings) == 2
    assert all("apt-get install nftables" in warning for warning in rules.warnings)


async def test_switched_off_there_are_no_rules_and_no_warnings(nft: Nft) -> None:
    rules = packets(egress=False, nonces=False)
    await rules.open()
    await rules.allow("str_1", GROUP, 20_000, (5000,))
    await rules.release("str_1")
    await rules.close()
    assert rules.warnings == []
    assert nft.scripts == []


async def test_the_table_goes_at_the_end(nft: Nft) -> None:
    rules = packets()
    await rules.open()
    await rules.close()
    assert nft.scripts[-1] == [f"add table {TABLE}", f"delete table {TABLE}"]
