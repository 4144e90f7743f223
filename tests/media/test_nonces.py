"""Strangers who send packets that each ask for another key, against a host's worker."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from strata.wire import host as wire
from strata.wire import worker as worker_wire
from support import flood
from support.children import Child
from support.control import Place, place
from support.hosts import PSK, Stage, nowhere, stage
from support.media import FILE_S, MUX_KBPS, RistSender

FLOOD_PER_S: Final = 5000
UNLIMITED: Final = {"enforce": False}
"""Without control groups: what keeps the processor free is to be the rules, not a quota."""
CORES_MAX: Final = 0.5
CONNECT_S: Final = 5.0
RESTART_S: Final = 10.0
SETTLED_S: Final = 2.5
"""For the recovery buffer, and the report after it."""
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


def reason_not() -> str:
    """Why no rules can be set here; empty where they can."""
    if os.geteuid() != 0:
        return "only root can set rules of nftables"
    if shutil.which("nft") is None:
        return "nft is not installed"
    tried = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=False)
    return f"nft: {tried.stderr.strip()}" if tried.returncode else ""


pytestmark = pytest.mark.skipif(bool(reason_not()), reason=reason_not() or "rules can be set")


@pytest.fixture
def here() -> Iterator[Place]:
    with place() as one:
        yield one


@asynccontextmanager
async def flooded(here: Place, mode: str, ports: list[int]) -> AsyncIterator[None]:
    command = [sys.executable, flood.__file__, mode, str(FLOOD_PER_S), *map(str, ports)]
    child = Child(command, here.folder / "flood.log")
    try:
        yield
        assert child.status is None, child.said()
    finally:
        await child.__aexit__()


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


async def flow(one: Stage, stream_id: str) -> worker_wire.Flow:
    [snapshot] = [each for each in (await one.list()).streams if each.stream_id == stream_id]
    found = [event for event in snapshot.events if isinstance(event, worker_wire.Stats)]
    return found[0].flow if found else worker_wire.Flow()


async def connected(one: Stage, started: wire.Started) -> None:
    """Returns when the worker has heard a sender on each port."""
    async with asyncio.timeout(CONNECT_S):
        while True:
            [snapshot] = (await one.list()).streams
            heard = [
                link
                for event in snapshot.events
                if isinstance(event, worker_wire.Stats)
                for link in event.links
                if link.received
            ]
            if len(heard) == len(started.ports):
                return
            await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    "mode",
    [
        "one",
        "many",
        pytest.param("summed", marks=pytest.mark.long),
        pytest.param("turns", marks=pytest.mark.long),
    ],
)
async def test_a_sender_connects_and_loses_nothing_while_strangers_ask_for_ever_new_keys(
    here: Place, test_file: Path, mode: str
) -> None:
    async with stage(here, ports=3, limits=UNLIMITED) as one:
        stream_id, started = await one.start(nowhere())
        async with flooded(here, mode, started.ports):
            await asyncio.sleep(2.0)
            before_s, began = cpu_s(started.pid), time.monotonic()
            async with RistSender(here.folder / "sender", started.ports, PSK) as sender:
                await sender.begin(test_file, FILE_S)
                await connected(one, started)
                await sender.sent()
                await asyncio.sleep(SETTLED_S)
            took = (cpu_s(started.pid) - before_s) / (time.monotonic() - began)
        found = await flow(one, stream_id)
    packets = MUX_KBPS * 1000 / 8 / 1316 * FILE_S
    print(f"{mode}: {took:.3f} cores, {found}")
    assert took < CORES_MAX
    assert found.lost == 0
    assert found.received > 0.95 * packets  # all of it: the first second is media too


async def test_without_the_rules_the_same_takes_the_processor(here: Place) -> None:
    """So the flood of these tests is one."""
    async with stage(here, ports=3, limits={**UNLIMITED, "kernel_nonces": False}) as one:
        _, started = await one.start(nowhere())
        async with flooded(here, "one", started.ports):
            await asyncio.sleep(1.0)
            before_s, began = cpu_s(started.pid), time.monotonic()
            await asyncio.sleep(5.0)
            took = (cpu_s(started.pid) - before_s) / (time.monotonic() - began)
    print(f"without: {took:.3f} cores")
    assert took > 0.15  # and as much as there is, where nobody else wants it


async def test_the_next_worker_is_reached_under_the_flood_that_waits_for_it(
    here: Place, test_file: Path
) -> None:
    async with stage(here, ports=3, limits=UNLIMITED) as one:
        stream_id, started = await one.start(nowhere())
        async with (
            flooded(here, "many", started.ports),
            RistSender(here.folder / "sender", started.ports, PSK) as sender,
        ):
            await sender.begin(test_file, 60.0)
            await connected(one, started)
            os.kill(started.pid, signal.SIGKILL)
            async with asyncio.timeout(RESTART_S):
                while (await one.list()).streams[0].pid in (0, started.pid):
                    await asyncio.sleep(0.1)
                while not (await flow(one, stream_id)).received:
                    await asyncio.sleep(0.1)


@pytest.mark.long
async def test_who_is_on_the_air_loses_no_packet_when_streams_and_hosts_come_and_go(
    here: Place, test_file: Path
) -> None:
    async with stage(here, ports=7) as one:
        stream_id, started = await one.start(nowhere())
        async with RistSender(here.folder / "sender", started.ports, PSK) as sender:
            await sender.begin(test_file, FILE_S)
            await connected(one, started)
            for _ in range(2):
                other, _ = await one.start(nowhere())
                await one.stop(other)
            await one.replace_host()
            last, _ = await one.start(nowhere())
            await sender.sent()
            await asyncio.sleep(SETTLED_S)
        found = await flow(one, stream_id)
        assert (found.lost, found.recovered) == (0, 0)
        assert elements(one, "ipv4_known") == len(started.ports)
        assert elements(one, "ports") == 2 * len(started.ports)
        await one.stop(last)
        await one.stop(stream_id)
        assert elements(one, "ports") == 0


def elements(one: Stage, name: str) -> int:
    """Of a set of the host's rules."""
    text = nft("list", "set", *one.table.split(), name)
    return text.partition("elements = {")[2].partition("}")[0].count(",") + ("elements" in text)


def nft(*arguments: str) -> str:
    return subprocess.run(["nft", *arguments], capture_output=True, text=True, check=True).stdout


@pytest.mark.long
async def test_the_sender_may_change_its_key(here: Place, test_file: Path) -> None:
    """librist's own option for it; each change passes beside the old key."""
    async with stage(here, ports=3) as one:
        stream_id, started = await one.start(nowhere())
        more = "&key-rotation=1500"  # packets: each 6 s on each of two links
        async with RistSender(here.folder / "sender", started.ports, PSK, more=more) as sender:
            await sender.begin(test_file, FILE_S)
            await sender.sent()
            await asyncio.sleep(SETTLED_S)
        found = await flow(one, stream_id)
        assert elements(one, "changes") == len(started.ports)  # it did change
    assert (found.lost, found.recovered) == (0, 0)
    assert found.received > 0


async def test_the_table_goes_with_the_host(here: Place) -> None:
    async with stage(here, ports=3) as one:
        await one.start(nowhere())
        assert elements(one, "ports") == 2
    assert one.table not in nft("list", "tables")
