"""The command line of ``strata-sender``."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import re
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

import strata
from strata import logs
from strata.errors import BadArguments, StrataError
from strata.secrets import Secret, keep_out_of_core_files

log = logging.getLogger(__name__)

PROG: Final = "strata-sender"
REPORT_S: Final = 10.0

NULL_PACKETS: Final = (b"\x47\x1f\xff\x10" + b"\xff" * 184) * 7
"""Sent first: librist 0.2.7 does not deliver the first packet of a flow, and that of a
transport stream holds its tables."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadArguments(f"{message}; see {PROG} --help")


def main() -> NoReturn:
    """Runs until SIGTERM or SIGINT: told by control, or, with ``--to``, by hand."""
    keep_out_of_core_files()
    try:
        args = _parser().parse_args()
        logs.set_up(PROG)
        if args.to:
            _send(args, _read_psk(args.secrets_stdin))
            status = 0
        else:
            status = _serve(args.config)
    except StrataError as error:
        print(f"{PROG}: error: {error.message}", file=sys.stderr, flush=True)
        status = error.exit_status
    sys.exit(status)


def _serve(config: Path | None) -> int:
    from strata.sender import program

    settings, identity = program.load(config)
    # Not asyncio.run(): it waits for threads, and a name server that does not answer holds one.
    loop = asyncio.new_event_loop()
    try:
        status = loop.run_until_complete(program.run(settings, identity))
    finally:
        loop.close()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _send(args: argparse.Namespace, psk: Secret) -> None:
    from strata.rist import Sender
    from strata.sender.source import Picture, TestSource

    stopping = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    width, height = args.size
    source = TestSource(Picture(width, height, args.fps, args.bitrate_kbps))
    sender = Sender(args.to, psk, buffer_ms=args.buffer_ms)
    sender.start()
    try:
        sender.write(NULL_PACKETS)
        source.start()
        log.info("sending the test picture over %d links", len(args.to))
        next_report = time.monotonic() + REPORT_S
        while not stopping:
            payload = source.read(timeout_s=0.2)
            if payload is not None:
                sender.write(payload)
            if time.monotonic() >= next_report:
                next_report += REPORT_S
                _report(sender)
    finally:
        source.stop()
        sender.close()
    log.info("stopped")


def _report(sender: Any) -> None:
    latest = {report["id"]: report["stats"] for report in sender.take_reports()}
    for id, stats in sorted(latest.items()):
        log.info(
            "link %d: %.0f kbit/s, rtt %d ms, quality %.1f %%",
            id,
            stats["bandwidth"] / 1000,
            stats["avg_rtt"],
            stats["quality"],
        )
    for level, text in sender.take_logs():
        log.log(logging.WARNING if level in ("error", "warning") else logging.INFO, "%s", text)


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


def _link(text: str) -> Any:
    from strata.rist import Link

    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port or parts.scheme != "rist" or parts.path or parts.query:
        raise argparse.ArgumentTypeError(f"{text!r} is no receiver; write rist://host:15000")
    return Link(host, port)


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
    way.add_argument(
        "--to",
        action="append",
        type=_link,
        metavar="rist://HOST:PORT",
        help="send by hand: one per link; the options below are for that",
    )
    add("--secrets-stdin", action="store_true", help='read {"psk": "..."} as one JSON line')
    add("--size", type=_size, default=(1280, 720), metavar="WxH")
    add("--fps", type=int, default=25, choices=(24, 25, 30, 50, 60))
    add("--bitrate-kbps", type=int, default=2500)
    add("--buffer-ms", type=int, default=1000)
    return parser
