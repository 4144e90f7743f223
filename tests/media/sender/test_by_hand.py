"""``strata-sender --to``: without a control plane, from a command line to a receiver."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from strata.rist import Receiver
from strata.secrets import Secret
from support.children import until
from support.media import probe
from support.ports import free_udp_ports

PSK: Final = "canary-key-of-this-test"
DEADLINE_S: Final = 30.0
REHEARSAL: Final = "[[link]]\ndelay-ms = 30\n[[link]]\ndelay-ms = 50\nloss-percent = 5\n"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver(free_udp_ports(2), Secret(PSK), bind="127.0.0.1")
    one.start()
    yield one
    one.close()


async def sender(
    receiver: Receiver, *arguments: str, **environment: str
) -> asyncio.subprocess.Process:
    targets = [part for port in receiver.ports for part in ("--to", f"rist://127.0.0.1:{port}")]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-m", "strata.sender", "--secrets-stdin", *targets, *arguments),
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if not name.startswith("STRATA_")}
        | environment,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps({"psk": PSK}).encode() + b"\n")
    await process.stdin.drain()
    return process


async def ended(process: asyncio.subprocess.Process) -> tuple[int, str]:
    """Its exit status, and what it said."""
    async with asyncio.timeout(DEADLINE_S):
        _, said = await process.communicate()
    assert process.returncode is not None
    assert PSK not in said.decode()
    return process.returncode, said.decode()


async def test_the_test_picture_arrives_over_a_bad_day(receiver: Receiver, tmp_path: Path) -> None:
    profile = tmp_path / "day.toml"
    profile.write_text(REHEARSAL)
    got = tmp_path / "got.ts"
    process = await sender(
        *(receiver, "--size", "320x180", "--bitrate-kbps", "600", "--simulate", str(profile))
    )
    try:
        with got.open("wb") as file:

            def has_enough() -> bool:
                file.write(receiver.take())
                return file.tell() > 300_000

            await until(has_enough, DEADLINE_S, "four seconds of picture arrive")
    finally:
        process.terminate()
    status, said = await ended(process)
    assert status == 0, said
    assert "link rehearsed1: it is up, 6" in said
    assert said.rstrip().endswith("stopped")
    assert receiver.counters().lost == 0
    assert (await probe(got)).video_s > 2


async def test_a_file_that_is_not_there_is_told_at_once(receiver: Receiver, tmp_path: Path) -> None:
    process = await sender(receiver, "--source", str(tmp_path / "none.mp4"))
    status, said = await ended(process)
    assert status != 0
    [line] = [line for line in said.splitlines() if line.startswith("strata-sender: error: ")]
    assert "none.mp4" in line


async def test_a_file_is_sent_as_it_is(receiver: Receiver, small_file: Path) -> None:
    process = await sender(receiver, "--source", str(small_file))
    got = b""

    def has_come() -> bool:
        nonlocal got
        got += receiver.take()
        return len(got) > 500_000

    try:
        await until(has_come, DEADLINE_S, "three seconds of it arrive")
    finally:
        process.terminate()
    assert (await ended(process))[0] == 0
    sent = small_file.read_bytes()
    packets = [got[at : at + 188] for at in range(0, len(got), 188)]
    video = [packet for packet in packets if packet[1:3] == b"\x01\x00" and packet[3] & 0x10]
    assert len(video) > 1000
    assert all(packet[12:] in sent for packet in video[:200])


async def test_a_receiver_that_goes_away_ends_it_in_so_many_words(receiver: Receiver) -> None:
    process = await sender(
        *(receiver, "--size", "320x180", "--bitrate-kbps", "600"),
        STRATA_SENDER_RECEIVER_SILENCE_S="10",
    )

    def has_come() -> bool:
        return len(receiver.take()) > 0

    await until(has_come, DEADLINE_S, "something arrives")
    receiver.close()
    status, said = await ended(process)
    assert status == 1
    assert "it has ended by itself: receiver_silent: nothing has come from the receiver" in said
