"""The command line of ``strata-impair``."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

import strata
from strata import logs
from strata.errors import BadArguments, StrataError
from strata.impair import files, profile
from strata.impair.profile import Profile
from strata.impair.rehearsal import Rehearsal
from strata.impair.relay import Relay

PROG: Final = "strata-impair"
REPORT_S: Final = 10.0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadArguments(f"{message}; see {PROG} --help")


def main() -> NoReturn:
    """Relays until SIGTERM or SIGINT, or until the profile ends."""
    try:
        args = _parser().parse_args()
        logs.set_up(PROG)
        asyncio.run(run(load(args.profile, args.link, args.seed)))
        status = 0
    except StrataError as error:
        print(f"{PROG}: error: {error.message}", file=sys.stderr, flush=True)
        status = error.exit_status
    sys.exit(status)


def load(path: Path | None, links: Sequence[str], seed: int | None) -> Profile:
    """The profile of a file, or of links as they are written on a command line.

    Args:
        seed: goes before that of the file.

    Raises:
        BadArguments: both or none are given, or what is given cannot be used.
    """
    if (path is None) == (not links):
        raise BadArguments("give either a profile or links (--link), one of the two")
    if path is None:
        return Profile(tuple(profile.link_of(link) for link in links), seed or 0)
    found = files.load(path)
    return found if seed is None else dataclasses.replace(found, seed=seed)


async def run(rehearsed: Profile) -> None:
    """Relays, and prints how it goes, until it is told to end or the profile does.

    Raises:
        PortTaken: another program listens where a link should.
        BadArguments: an address that cannot be found, or not be listened on.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with Rehearsal(rehearsed) as rehearsal:
        for relay in rehearsal.relays:
            _say(f"{relay.address} -> {relay.to}: listening")
        if rehearsed.duration_s is not None:
            loop.call_later(rehearsed.duration_s, stop.set)
        meters = [_Meter(relay) for relay in rehearsal.relays]
        while not stop.is_set():
            before_s = loop.time()
            try:
                await asyncio.wait_for(stop.wait(), REPORT_S)
            except TimeoutError:
                for meter in meters:
                    _say(meter.line(loop.time() - before_s))
    for relay in rehearsal.relays:
        forward, back = relay.forward.counters, relay.back.counters
        _say(
            f"{relay.address} -> {relay.to}: ended; forward {forward.lost} of {forward.taken} "
            f"lost, return {back.lost} of {back.taken}"
        )


class _Meter:
    """What passed one relay; rates are those since the last line."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._bytes = [0, 0]
        self._refused = 0

    def line(self, passed_s: float) -> str:
        relay = self._relay
        text = f"{relay.address} -> {relay.to}: "
        for index, (way, path) in enumerate((("forward", relay.forward), ("return", relay.back))):
            count = path.counters
            kbps = (count.delivered_bytes - self._bytes[index]) * 8 / 1000 / passed_s
            self._bytes[index] = count.delivered_bytes
            text += (
                f"{way} {count.taken} taken, {count.lost} lost, {count.delivered} delivered, "
                f"{kbps:.0f} kbit/s; "
            )
        text += f"{relay.in_flight} in flight"
        if relay.unsent:
            text += f"; {relay.unsent} not taken by the kernel"
        if relay.refused > self._refused:
            text += f"; nobody listens on {relay.to}"
        self._refused = relay.refused
        return text


def _say(line: str) -> None:
    print(line, flush=True)


def _seed(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number, 0 or more")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=PROG,
        allow_abbrev=False,
        description="Relays UDP, and loses, delays, reorders and throttles it on the way.",
    )
    add = parser.add_argument
    add("--version", action="version", version=f"{PROG} {strata.__version__}")
    add("profile", nargs="?", type=Path, metavar="PROFILE.toml", help="see deploy/bad-day.toml")
    add(
        "--link",
        action="append",
        default=[],
        metavar="LISTEN=TO[,SETTING=VALUE...]",
        help=f"16000=127.0.0.1:15000,loss=10,delay=40; settings: {', '.join(profile.SHORT)}, "
        "reorder-ms",
    )
    add("--seed", type=_seed, metavar="N", help="the same one loses the same packets again")
    return parser
