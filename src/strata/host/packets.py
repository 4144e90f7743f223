"""Kernel rules per worker on its packets: how fast it may send, and how many new keys may come.

What it sends: packets over the rate are dropped by nftables where they leave; TCP slows down by
itself. It is the backstop behind the worker's own pacing.

What it receives: librist derives a key (1 ms) for each nonce that differs from the one before,
so a stranger who changes it with each packet takes a core. Who a worker answers passes with one
nonce; a newcomer, and a new nonce, wait for one of a few admissions a second (decision 13).

Rules and ports are written anew with each change, in one transaction: so what is in force is
always what is here, whatever was left by an earlier host. The sets that the kernel fills stay:
who is on the air is not asked again because a stream starts elsewhere.
(nft(8): "socket cgroupv2", "limit rate over", "raw payload expression", "set statement")
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from strata.host.limits import Place

log = logging.getLogger(__name__)

DEADLINE_S: Final = 5.0
HEADROOM: Final = 1.15
"""Of what a worker may send: it counts media, the kernel whole packets."""
BASE_KBPS: Final = 500
"""For what is no media: reports to senders, handshakes, keep-alives."""
BURST_KB: Final = 512
"""A key frame leaves in one go."""

FIRST_PER_S: Final = 10
"""Packets a port takes from senders that it never heard: free of delay where nobody attacks."""
AGAIN_PER_S: Final = 20
"""Those of newcomers that were heard before: a flood of nonces does not come back to them."""
OWN_PER_S: Final = 5
"""Those of one newcomer; it reports ten times a second at most, and one of them connects it."""
FRESH_PER_S: Final = 50
"""Nonces that a port takes from senders which its worker answers."""
CHANGES_PER_MINUTE: Final = 12
"""Nonces that a port takes from a sender which still uses another one."""
REPORT_BYTES: Final = 600
"""A newcomer connects by its reports; librist throws its media away until then."""

PEER_MS: Final = 10_000
"""After the last answer; librist's receivers answer several times a second."""
BUSY_MS: Final = 500
"""After the last packet with a nonce that one is in use."""
CHANGE_MS: Final = 1000
"""For which an old and a new nonce pass side by side; then the old one has to be silent."""
SEEN_MS: Final = 5000
PORT_MS: Final = 60_000
ENTRIES: Final = 65535
"""Of a set: a flood of 13,000 nonces a second fits; over that newcomers depend on chance."""

_FAMILIES: Final = (("ip", "ipv4"), ("ip6", "ipv6"))
_LAYOUTS: Final = (("plain", "0x30", "@th,96,32"), ("summed", "0xb0", "@th,128,32"))
"""Of the GRE header (TR-06-2 section 5.1) with K and S: the key is behind the four bytes of a
checksum where there is one (C, 0x80). Offsets count bits, from the UDP header on."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a worker may send and where it listens."""

    group: Place | None
    kbps: int
    ports: tuple[int, ...]


class Packets:
    """The rules of one installation.

    Args:
        name: of its table.
        egress: whether what workers send is to be limited.
        nonces: whether what they receive is.
        classifies: whether workers are in groups of cgroup v2, by which packets are told apart.

    Attributes:
        warnings: which rules there are not, why, and how to mend that.
    """

    def __init__(self, name: str, *, egress: bool, nonces: bool, classifies: bool) -> None:
        self._table = f"inet {name.replace('-', '_')}"
        self._egress = egress and classifies
        self._nonces = nonces
        self._workers: dict[str, Allowed] = {}
        self._one_at_a_time = asyncio.Lock()
        self._wanted = 0
        self._written = 0
        self.warnings: list[str] = []
        if egress and not classifies:
            self._do_without_egress("there is no cgroup v2 tree to tell workers apart by")
        if self._is_needed and shutil.which("nft") is None:
            self._do_without("nft is not installed; apt-get install nftables")

    async def open(self) -> None:
        """Takes over what an earlier host left, and finds out whether rules can be set."""
        if self._is_needed and (failed := await self._set_up()):
            if self._nonces and self._egress:
                self._do_without_nonces(failed)
                failed = await self._set_up()
            if failed:
                self._do_without(failed)

    async def allow(self, name: str, group: Place | None, kbps: int, ports: Sequence[int]) -> None:
        """Holds a worker to a rate, 0 is no limit, and watches over what comes to its ports.

        Args:
            group: None: it is not there yet, or does not tell packets apart.
        """
        self._workers[name] = Allowed(group, kbps, tuple(ports))
        await self._write()

    async def release(self, name: str) -> None:
        if self._workers.pop(name, None) is not None:
            await self._write()

    async def close(self) -> None:
        """Removes the table."""
        if self._is_needed:
            self._workers.clear()
            await self._nft(f"add table {self._table}\ndelete table {self._table}\n")

    @property
    def _is_needed(self) -> bool:
        return self._egress or self._nonces

    def _do_without(self, why: str) -> None:
        if self._egress:
            self._do_without_egress(why)
        if self._nonces:
            self._do_without_nonces(why)

    def _do_without_egress(self, why: str) -> None:
        self._egress = False
        self.warnings.append(
            "what a worker sends is limited by its own pacing alone, not by the kernel: " + why
        )

    def _do_without_nonces(self, why: str) -> None:
        self._nonces = False
        self.warnings.append(
            "a flood of packets that each ask for another key is not kept away from workers: " + why
        )

    async def _set_up(self) -> str:
        if not await self._nft(self._rules()):
            return ""
        # An earlier release may have left a table with other sets.
        remove = f"add table {self._table}\ndelete table {self._table}\n"
        return await self._nft(remove + self._rules())

    async def _write(self) -> None:
        """Brings the kernel to what is wanted now; several changes at once cost one step."""
        if not self._is_needed:
            return
        self._wanted += 1
        async with self._one_at_a_time:
            if self._written == self._wanted:
                return
            self._written = self._wanted
            if failed := await self._nft(self._rules()):
                log.warning("the rules on packets could not be set: %s", failed)

    def _rules(self) -> str:
        rules = [f"add table {self._table}"]
        if self._egress:
            rules += self._base_chain("out", "output")
            rules += self._egress_rules()
        if self._nonces:
            rules += self._sets()
            rules += self._base_chain("in", "input")
            rules += self._base_chain("answers", "output")
            rules += self._nonce_rules()
        return "\n".join(rules) + "\n"

    def _base_chain(self, name: str, hook: str) -> Iterator[str]:
        yield (
            f"add chain {self._table} {name} "
            f"{{ type filter hook {hook} priority 0; policy accept; }}"
        )
        yield f"flush chain {self._table} {name}"

    def _egress_rules(self) -> Iterator[str]:
        for name, worker in self._workers.items():
            if worker.group is None or not worker.kbps:
                continue
            rate = round((worker.kbps * HEADROOM + BASE_KBPS) / 8)
            yield (
                f"add rule {self._table} out "
                f'socket cgroupv2 level {worker.group.level} "{worker.group.path}" '
                f"limit rate over {rate} kbytes/second burst {BURST_KB} kbytes "
                f'counter drop comment "{name}"'
            )

    def _sets(self) -> Iterator[str]:
        yield f"add set {self._table} ports {{ type inet_service; }}"
        yield f"flush set {self._table} ports"
        if ports := sorted({port for worker in self._workers.values() for port in worker.ports}):
            yield f"add element {self._table} ports {{ {', '.join(map(str, ports))} }}"
        for name in ("first", "again", "fresh", "changes"):
            yield self._dynamic(name, "udp dport", PORT_MS)
        for ip, family in _FAMILIES:
            sender = f"{ip} saddr . udp sport . udp dport"
            yield self._dynamic(f"{family}_peers", sender, PEER_MS)
            yield self._dynamic(f"{family}_busy", sender, BUSY_MS)
            key = f"{sender} . @th,96,32"
            for name, timeout_ms in (
                ("known", BUSY_MS),
                ("change", CHANGE_MS),
                ("seen", SEEN_MS),
                ("own", SEEN_MS),
            ):
                yield self._dynamic(f"{family}_{name}", key, timeout_ms)

    def _dynamic(self, name: str, of: str, timeout_ms: int) -> str:
        return (
            f"add set {self._table} {name} {{ typeof {of}; size {ENTRIES}; "
            f"flags dynamic,timeout; timeout {timeout_ms}ms; }}"
        )

    def _nonce_rules(self) -> Iterator[str]:
        for ip, family in _FAMILIES:
            yield (
                f"add rule {self._table} answers udp sport @ports "
                f"update @{family}_peers {{ {ip} daddr . udp dport . udp sport }}"
            )
            for layout, flags, nonce in _LAYOUTS:
                chain = f"{family}_{layout}"
                yield f"add chain {self._table} {chain}"
                yield f"flush chain {self._table} {chain}"
                for rule in _judgement(family, f"{ip} saddr . udp sport . udp dport", nonce):
                    yield f"add rule {self._table} {chain} {rule}"
                yield (
                    f"add rule {self._table} in meta nfproto {family} udp dport @ports "
                    f"@th,64,8 & 0xb0 == {flags} goto {chain}"
                )

    async def _nft(self, script: str) -> str:
        """What went wrong; empty where nothing did."""
        try:
            process = await asyncio.create_subprocess_exec(
                *("nft", "-f", "-"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            )
        except OSError as error:
            return error.strerror or "nft cannot be run"
        try:
            _, said = await asyncio.wait_for(process.communicate(script.encode()), DEADLINE_S)
        except TimeoutError:
            process.kill()
            await process.wait()
            return f"nft did not answer in {DEADLINE_S:.0f} s"
        if process.returncode:
            lines = said.decode(errors="replace").strip().splitlines()
            return lines[0] if lines else f"nft ended with status {process.returncode}"
        return ""


def _judgement(family: str, sender: str, nonce: str) -> Iterator[str]:
    """What becomes of an encrypted packet to a worker; the first rule that fits decides.

    An update of a full set does not fit, nor does one over its limit.
    """
    key = f"{sender} . {nonce}"
    known, busy, change = f"@{family}_known", f"@{family}_busy", f"@{family}_change"
    peers, seen, own = f"@{family}_peers", f"@{family}_seen", f"@{family}_own"
    keep = f"update {known} {{ {key} }} update {busy} {{ {sender} }} accept"
    # Whom the worker answers: librist keeps a key for each of them.
    yield f"{key} {known} {keep}"
    yield f"{key} {change} accept"
    yield (
        f"{sender} {busy} {_per_port('changes', f'{CHANGES_PER_MINUTE}/minute', 2)} "
        f"update {change} {{ {key} }} accept"
    )
    yield f"{sender} {busy} counter drop"
    yield f"{sender} {peers} {_per_port('fresh', f'{FRESH_PER_S}/second', FRESH_PER_S)} {keep}"
    yield f"{sender} {peers} counter drop"
    # Newcomers, for all of whom a port has one key.
    yield f"udp length > {REPORT_BYTES} counter drop"
    yield (
        f"{key} {seen} "
        f"update {own} {{ {key} limit rate {OWN_PER_S}/second burst {OWN_PER_S} packets }} "
        f"{_per_port('again', f'{AGAIN_PER_S}/second', AGAIN_PER_S)} accept"
    )
    yield f"{key} {seen} counter drop"
    yield f"add {seen} {{ {key} }}"
    yield f"{_per_port('first', f'{FIRST_PER_S}/second', FIRST_PER_S)} accept"
    yield "counter drop"


def _per_port(name: str, rate: str, burst: int) -> str:
    return f"update @{name} {{ udp dport limit rate {rate} burst {burst} packets }}"
