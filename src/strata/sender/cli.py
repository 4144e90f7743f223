"""The command line of ``strata-sender``."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import re
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final, NoReturn

import strata
from strata import logs
from strata.errors import BadArguments, StrataError
from strata.impair import files
from strata.impair.profile import Profile
from strata.secrets import Secret, keep_out_of_core_files

log = logging.getLogger(__name__)

PROG: Final = "strata-sender"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadArguments(f"{message}; see {PROG} --help")


def main() -> NoReturn:
    """Runs until SIGTERM or SIGINT: told by control, or, with ``--to``, by hand."""
    keep_out_of_core_files()
    try:
        args = _parser().parse_args()
        logs.set_up(PROG)
        _run(_by_hand(args) if args.to else _as_agent(args))
    except StrataError as error:
        print(f"{PROG}: error: {error.message}", file=sys.stderr, flush=True)
        sys.exit(error.exit_status)


def _as_agent(args: argparse.Namespace) -> Coroutine[Any, Any, int]:
    from strata.sender import program

    settings, identity = program.load(args.config)
    return program.run(settings, identity, _profile(args.simulate))


def _by_hand(args: argparse.Namespace) -> Coroutine[Any, Any, int]:
    from strata.sender import by_hand, settings

    psk = _read_psk(args.secrets_stdin)
    start = by_hand.order(args.to, psk, args.source, args.fps, args.bitrate_kbps, args.buffer_ms)
    loaded = settings.load(None)
    return by_hand.send(start, loaded, args.size, args.fps, _profile(args.simulate))


def _run(program: Coroutine[Any, Any, int]) -> NoReturn:
    # Not asyncio.run(): it waits for threads, and a name server that does not answer holds one.
    loop = asyncio.new_event_loop()
    try:
        status = loop.run_until_complete(program)
    finally:
        loop.close()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _profile(path: Path | None) -> Profile | None:
    return files.load(path, is_placed=False) if path is not None else None


def _read_psk(from_stdin: bool) -> Secret:
    text = os.environ.pop("STRATA_PSK", None)
    if from_stdin:
        try:
            text = json.loads(sys.stdin.readline(64 * 1024))["psk"]
        except (ValueError, KeyError, TypeError):
            raise BadArguments(
                '--secrets-stdin expects one line on standard input: {"psk": "..."}'
            ) from None
    if not isinstance(text, str):
        raise BadArguments("no pre-shared key; give it with STRATA_PSK or --secrets-stdin")
    return Secret(text)


def _receiver(text: str) -> str:
    from strata.sender.links import receiver_of

    try:
        receiver_of(text)
    except BadArguments as error:
        raise argparse.ArgumentTypeError(error.message) from None
    return text


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]{2,4})x([0-9]{2,4})", text)
    if not found or int(found[1]) % 2 or int(found[2]) % 2:
        raise argparse.ArgumentTypeError(f"{text!r} is no even picture size; write 1280x720")
    return int(found[1]), int(found[2])


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=PROG,
        allow_abbrev=False,
        description="Does in the field what the control plane tells it to. With --to it needs "
        "none: then it sends a test picture with clock, frame number and tone over bonded RIST.",
        epilog="exit status: 0 stopped on request; 2 wrong arguments or settings, or not let in; "
        "4 a part of the installation is missing; 70 an internal failure",
    )
    add = parser.add_argument
    add("--version", action="version", version=f"{PROG} {strata.__version__}")
    way = parser.add_mutually_exclusive_group()
    way.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="settings in TOML, see deploy/sender.toml; or STRATA_SENDER_... in the environment",
    )
    add(
        "--simulate",
        type=Path,
        metavar="PROFILE.toml",
        help="over the links of a profile (see deploy/rehearsals) instead of the machine's own",
    )
    way.add_argument(
        "--to",
        action="append",
        type=_receiver,
        metavar="rist://HOST:PORT",
        help="send by hand: one per link; the options below are for that",
    )
    add = parser.add_argument_group("by hand").add_argument
    add("--source", default="test", metavar="SOURCE", help="a file or an address; else a test")
    add("--secrets-stdin", action="store_true", help='read {"psk": "..."} as one JSON line')
    add("--size", type=_size, default=(1280, 720), metavar="WxH")
    add("--fps", type=int, default=25, choices=(24, 25, 30, 50, 60))
    add("--bitrate-kbps", type=int, default=2500)
    add("--buffer-ms", type=int, default=1000)
    return parser
