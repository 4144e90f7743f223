"""The command line of ``strata-receiver``.

Typer would triple the time from spawn to ready; argparse comes with Python and is loaded
in 5 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NoReturn

import strata
from strata import logs
from strata.errors import BadArguments, StrataError
from strata.secrets import Secret, psk_problem
from strata.wire import forward_url
from strata.worker.config import FORWARDS_MAX, SlateSettings, WorkerConfig

PROG: Final = "strata-receiver"

STDIN_BYTES_MAX: Final = 128 * 1024
"""As many forwards as one takes, with URLs as long as they may be."""
DAY_S: Final = 86_400.0


class _Parser(argparse.ArgumentParser):
    """Raises instead of exiting, so that every bad argument is reported in one shape."""

    def error(self, message: str) -> NoReturn:
        raise BadArguments(f"{message}; see {PROG} --help")


def main() -> NoReturn:
    """Runs the worker and ends the process with the status of ``--help``'s last lines."""
    try:
        config = parse(sys.argv[1:], os.environ)
        logs.set_up(config.stream_id)
        from strata.worker.worker import Worker  # GStreamer and librist: not for --help

        gc.freeze()  # what is loaded stays: the collector need not look at it again
        gc.enable()
        status = asyncio.run(Worker(config).run())
    except StrataError as error:
        print(f"{PROG}: error: {error.message}", file=sys.stderr, flush=True)
        status = error.exit_status
    except Exception as error:  # a border: only the status is left to tell of it
        logging.getLogger(__name__).exception("the worker broke")
        print(
            f"{PROG}: error: internal failure ({type(error).__name__}); this is a defect of "
            "Strata, the lines before this one tell its developers where",
            file=sys.stderr,
        )
        status = StrataError.exit_status
    sys.stdout.flush()
    sys.stderr.flush()
    # A thread that hangs in a dead destination would hold up an ordinary exit for ever.
    os._exit(status)


def parse(argv: list[str], environ: os._Environ[str] | dict[str, str]) -> WorkerConfig:
    """The arguments, checked; secrets come from standard input or ``STRATA_PSK`` if asked.

    Raises:
        BadArguments, BadUrl: with what is wrong and how it should be.
    """
    args, unknown = _parser().parse_known_args(argv)
    if unknown:
        # Names only: what follows a misspelt --psk is a key.
        names = [name[0] for each in unknown if (name := re.match(r"--[\w-]+", each, re.ASCII))]
        what = " ".join(names) or "a value that belongs to no option"
        raise BadArguments(f"unrecognized arguments: {what}; see {PROG} --help")
    psk_text, urls = args.psk or environ.pop("STRATA_PSK", None), list(args.forward_to)
    ids: tuple[str, ...] = ()
    last = 0
    if args.secrets_stdin:
        if args.psk or args.forward_to:
            raise BadArguments("with --secrets-stdin, give no --psk and no --forward-to")
        psk_text, urls, ids, last = _read_secrets()
    if psk_text is None and not args.insecure_no_psk:
        raise BadArguments(
            "no pre-shared key: anyone could put a picture on the air. Give one with --psk, "
            "STRATA_PSK or --secrets-stdin, or say --insecure-no-psk if that is what you want"
        )
    problem = psk_problem(psk_text) if psk_text is not None else None
    if problem:
        raise BadArguments(problem)
    if len(urls) > FORWARDS_MAX:
        raise BadArguments(f"{len(urls)} forwards are more than the {FORWARDS_MAX} that one takes")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", args.stream_id):
        raise BadArguments("--stream-id takes 1 to 64 letters, digits, - and _")
    return WorkerConfig(
        stream_id=args.stream_id,
        ports=_ports(args.ports),
        psk=None if psk_text is None else Secret(psk_text),
        forwards=tuple(forward_url.parse(url) for url in urls),
        control_socket=Path(args.control_socket),
        bind=args.bind,
        buffer_ms=args.buffer_ms,
        aes_bits=args.aes_type,
        stats_interval_ms=args.stats_interval_ms,
        max_egress_kbps=args.max_egress_kbps,
        stall_timeout_s=args.stall_timeout_s,
        no_input_timeout_s=args.no_input_timeout_s,
        orphan_timeout_s=args.orphan_timeout_s,
        slate=_slate(args, environ),
        keep_damaged=args.keep_damaged,
        can_silence=args.silence == "on",
        forward_ids=ids,
        last_forward=last,
    )


def _slate(args: argparse.Namespace, environ: Mapping[str, str]) -> SlateSettings:
    home = Path(environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME", ""), ".cache"))
    file = None if args.slate in ("on", "off") else Path(args.slate)
    if file is not None:
        from strata.worker.slates.slates import check_file

        check_file(file)
    return SlateSettings(
        wanted=args.slate != "off",
        file=file,
        max_s=args.slate_max_s,
        name=args.name or args.stream_id,
        cache=home / "strata" / "slates" if home.is_absolute() else None,
        holds=args.slate_now,
    )


def _ports(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(re.fullmatch(r"[0-9]{1,5}", part) for part in parts):
        raise BadArguments(f"--ports {text!r} is no list of UDP ports; write them like 15000,15002")
    ports = tuple(int(part) for part in parts)
    if any(not 1 <= port <= 65535 for port in ports):
        raise BadArguments(f"--ports {text!r} holds a number that is no port (1 to 65535)")
    if len(set(ports)) != len(ports) or len(ports) > 16:
        raise BadArguments(f"--ports {text!r}: give 1 to 16 ports, each of them once")
    return ports


def _read_secrets() -> tuple[str | None, list[str], tuple[str, ...], int]:
    """Key, forwards, and what these are called; see :class:`strata.wire.worker.Secrets`."""
    import msgspec

    from strata.wire.worker import Secrets, forward_number

    # There is no standard input at all where the descriptor is closed.
    line = sys.stdin.buffer.readline(STDIN_BYTES_MAX) if sys.stdin is not None else b""
    try:
        secrets = msgspec.json.decode(line, type=Secrets)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Not the decoder's message: it may quote the line.
        raise BadArguments(
            "--secrets-stdin expects one line on standard input: "
            '{"psk": "...", "forwards": ["url", ...]}'
        ) from None
    ids, urls = secrets.forward_ids, secrets.forwards
    if ids and not (
        len(ids) == len(set(ids)) == len(urls) and all(forward_number(id) for id in ids)
    ):
        raise BadArguments("forward_ids has to name each of forwards once, like fwd_1")
    return secrets.psk, urls, tuple(ids), secrets.last_forward


def _whole(low: int, high: int) -> Callable[[str], int]:
    """A converter for argparse that takes whole numbers from ``low`` to ``high``."""

    def convert(text: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,12}", text):
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number")
        if not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text} is not between {low} and {high}")
        return int(text)

    return convert


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds") from None
    if not 0.0 <= value <= DAY_S:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and {DAY_S:.0f} seconds")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=PROG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        description="Receives one bonded RIST stream and forwards it, without transcoding.",
        epilog="exit status: 0 stopped on request; 2 bad arguments; 3 a port is taken; 4 a part\n"
        "of the installation is missing; 10 no input; 11 orphaned; 70 an internal failure",
    )
    add = parser.add_argument
    add("--version", action="version", version=f"{PROG} {strata.__version__}")
    add("--stream-id", required=True, metavar="ID", help="name of the stream in events and logs")
    add("--ports", required=True, metavar="P[,P...]", help="UDP ports, one per link")
    add(
        "--psk",
        metavar="KEY",
        help="pre-shared key, 8 to 127 printable bytes; visible to "
        "every user of this machine, so programs use --secrets-stdin",
    )
    add("--insecure-no-psk", action="store_true", help="receive in the clear")
    add(
        "--forward-to",
        action="append",
        default=[],
        metavar="URL",
        help="rtmp[s]://host/app/key, srt://host:port, hls:///folder, https://host/path/ (HLS "
        "push), file:///path/name.ts, .mkv or .mp4 (strftime patterns); repeatable",
    )
    add("--secrets-stdin", action="store_true", help='read {"psk", "forwards"} as one JSON line')
    add("--control-socket", required=True, metavar="PATH")
    add("--bind", default="0.0.0.0", metavar="ADDRESS", help="default %(default)s")
    default = "default %(default)s"
    add("--buffer-ms", default=1000, type=_whole(50, 30_000), metavar="N", help=default)
    add("--aes-type", default=256, type=int, choices=(128, 256), help=default)
    add("--stats-interval-ms", default=1000, type=_whole(100, 60_000), metavar="N", help=default)
    add(
        "--max-egress-kbps",
        default=20_000,
        type=_whole(0, 10_000_000),
        metavar="N",
        help="shared by the forwards that cross the network; 0 for no limit; " + default,
    )
    add("--stall-timeout-s", default=30.0, type=_seconds, metavar="S", help=default)
    add(
        "--slate",
        default="on",
        metavar="on|off|FILE",
        help="what is shown while no media comes: the stream's name on a calm ground, nothing, "
        "or a picture (PNG, JPEG) or movie (MP4); " + default,
    )
    add(
        "--slate-now",
        action="store_true",
        help="begin with the slate, whatever comes in, until told otherwise",
    )
    add("--name", metavar="TEXT", help="the stream's name on the slate; default its id")
    add(
        "--slate-max-s",
        default=0.0,
        type=_seconds,
        metavar="S",
        help="after so long the forwards are closed until media returns; default never",
    )
    add(
        "--silence",
        default="on",
        choices=("on", "off"),
        help="whether silence stands in for sound that is missing; " + default,
    )
    add(
        "--keep-damaged",
        action="store_true",
        help="pass pictures on after a loss, up to the next key frame, instead of leaving them out",
    )
    add("--no-input-timeout-s", default=0.0, type=_seconds, metavar="S", help="default never")
    add("--orphan-timeout-s", default=0.0, type=_seconds, metavar="S", help="default never")
    return parser
