from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest

import strata
from strata import logs
from strata.errors import BadArguments, BadUrl, OperatorError, PartMissing
from strata.secrets import Secret
from strata.worker import cli
from strata.worker.config import SlateSettings, WorkerConfig
from strata.worker.worker import Worker

KEY = "abcd-efgh-1234"
RTMP = f"rtmp://host/app/{KEY}"
BASE = ["--stream-id", "str_1", "--ports", "20000,20002", "--control-socket", "/run/x.sock"]


def parse(*more: str, environ: dict[str, str] | None = None) -> WorkerConfig:
    return cli.parse([*BASE, *more], environ if environ is not None else {})


def replaced(name: str, value: str) -> list[str]:
    """The usual arguments with another value for one of them."""
    at = BASE.index(name)
    return [*BASE[: at + 1], value, *BASE[at + 2 :], "--psk", KEY]


def give_stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_the_defaults() -> None:
    assert parse("--psk", KEY) == WorkerConfig(
        stream_id="str_1",
        ports=(20_000, 20_002),
        psk=Secret(KEY),
        forwards=(),
        control_socket=Path("/run/x.sock"),
        bind="0.0.0.0",
        buffer_ms=1000,
        aes_bits=256,
        stats_interval_ms=1000,
        max_egress_kbps=20_000,
        stall_timeout_s=30.0,
        no_input_timeout_s=0.0,
        orphan_timeout_s=0.0,
        slate=SlateSettings(True, None, 0.0, "str_1", None),
        keep_damaged=False,
        can_silence=True,
    )


def test_everything_can_be_set() -> None:
    found = parse(
        *("--psk", KEY, "--forward-to", RTMP, "--forward-to", "file:///a.ts", "--bind", "::1"),
        *("--buffer-ms", "500", "--aes-type", "128", "--stats-interval-ms", "200"),
        *("--max-egress-kbps", "0", "--stall-timeout-s", "2.5", "--slate", "off"),
        *("--no-input-timeout-s", "60", "--orphan-timeout-s", "120"),
    )
    assert [each.kind for each in found.forwards] == ["rtmp", "file"]
    assert (found.bind, found.buffer_ms, found.aes_bits) == ("::1", 500, 128)
    assert (found.stats_interval_ms, found.max_egress_kbps) == (200, 0)
    assert (found.stall_timeout_s, found.no_input_timeout_s) == (2.5, 60.0)
    assert found.orphan_timeout_s == 120.0
    assert not found.slate.wanted


def test_what_stands_in_for_the_sender_can_be_set(tmp_path: Path) -> None:
    logo = tmp_path / "slate.png"
    logo.write_bytes(b"png")
    found = parse(
        *("--psk", KEY, "--slate", str(logo), "--name", "The name", "--slate-max-s", "90"),
        *("--silence", "off", "--keep-damaged", "--slate-now"),
    )
    assert found.slate == SlateSettings(True, logo, 90.0, "The name", None, holds=True)
    assert (found.keep_damaged, found.can_silence) == (True, False)
    assert parse("--psk", KEY, "--silence", "on").can_silence


@pytest.mark.parametrize(
    ("setting", "wanted", "file"),
    [
        ("on", True, None),
        ("off", False, None),
        ("On", True, Path("On")),
        ("./off", True, Path("off")),
        ("slates/one.mp4", True, Path("slates/one.mp4")),
    ],
)
def test_the_slate_is_on_off_or_a_file(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    wanted: bool,
    file: Path | None,
) -> None:
    monkeypatch.chdir(tmp_path)
    if file is not None:
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"png")
    found = parse("--psk", KEY, "--slate", setting).slate
    assert (found.wanted, found.file) == (wanted, file)


def test_a_slate_that_is_not_there_is_a_bad_argument(tmp_path: Path) -> None:
    with pytest.raises(BadArguments, match="the slate's file"):
        parse("--psk", KEY, "--slate", str(tmp_path / "none.png"))


@pytest.mark.parametrize(
    ("environ", "cache"),
    [
        ({"HOME": "/root"}, Path("/root/.cache/strata/slates")),
        ({"HOME": "/root", "XDG_CACHE_HOME": "/var/cache"}, Path("/var/cache/strata/slates")),
        ({}, None),
        ({"XDG_CACHE_HOME": "relative"}, None),
    ],
)
def test_slates_are_kept_where_the_user_keeps_such_things(
    environ: dict[str, str], cache: Path | None
) -> None:
    assert cli.parse([*BASE, "--psk", KEY], environ).slate.cache == cache


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        (RTMP, "rtmp"),
        (f"rtmps://host/app/{KEY}", "rtmp"),
        (f"srt://host:9000?passphrase={KEY}", "srt"),
        ("srt://:9000", "srt"),
        ("hls:///srv/live?playlist-length=10", "hls"),
        (f"https://host/upload?cid={KEY}&file=", "http"),
        ("http://host/live/", "http"),
        ("file:///a.ts", "file"),
        ("file:///a.mkv", "file"),
        ("file:///a.mp4?segment-s=60", "file"),
    ],
)
def test_every_kind_of_forward_is_taken(url: str, kind: str) -> None:
    found = parse("--psk", "another-key", "--forward-to", url)
    assert [(each.url, each.kind) for each in found.forwards] == [(url, kind)]
    assert KEY not in repr(found)


def test_nothing_shows_the_key() -> None:
    assert KEY not in repr(parse("--psk", KEY, "--forward-to", RTMP))


def test_the_key_can_come_from_the_environment_and_goes_no_further() -> None:
    environ = {"STRATA_PSK": KEY, "PATH": "/bin"}
    assert parse(environ=environ).psk == Secret(KEY)
    assert environ == {"PATH": "/bin"}


def test_the_command_line_comes_before_the_environment() -> None:
    assert parse("--psk", KEY, environ={"STRATA_PSK": "another-key"}).psk == Secret(KEY)


def test_a_stream_in_the_clear_must_be_asked_for() -> None:
    assert parse("--insecure-no-psk").psk is None
    with pytest.raises(BadArguments, match="--insecure-no-psk if that is what you want"):
        parse()


def test_secrets_come_as_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    give_stdin(monkeypatch, b'{"psk":"%s","forwards":["%s"]}\nmore' % (KEY.encode(), RTMP.encode()))
    found = parse("--secrets-stdin", environ={"STRATA_PSK": "another-key"})
    assert found.psk == Secret(KEY)
    assert [each.url for each in found.forwards] == [RTMP]


def test_secrets_may_hold_no_key_if_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    give_stdin(monkeypatch, b'{"forwards":[]}\n')
    assert parse("--secrets-stdin", "--insecure-no-psk").psk is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        KEY.encode(),
        b'{"psk":"%s"' % KEY.encode(),
        b'{"psk":"%s","forwards":"x"}\n' % KEY.encode(),
        b'{"psk":5}\n',
        b'["%s"]\n' % KEY.encode(),
        b'{"psk":"\xff%s"}\n' % KEY.encode(),
        b'{"psk":"%s"}\n' % (KEY.encode() * 10_000),
    ],
)
def test_secrets_that_cannot_be_read_are_not_repeated(
    monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    give_stdin(monkeypatch, data)
    with pytest.raises(BadArguments, match="expects one line on standard input") as caught:
        parse("--secrets-stdin")
    assert KEY not in caught.value.message


def test_no_standard_input_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(BadArguments, match="expects one line on standard input"):
        parse("--secrets-stdin")


def test_forwards_have_the_ids_that_an_earlier_worker_gave_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    named = {"forwards": [RTMP, "file:///a.ts"], "forward_ids": ["fwd_1", "fwd_3"]}
    line = json.dumps({"psk": KEY, "last_forward": 4, **named})
    give_stdin(monkeypatch, line.encode() + b"\n")
    found = parse("--secrets-stdin")
    assert [each.kind for each in found.forwards] == ["rtmp", "file"]
    assert (found.forward_ids, found.last_forward) == (("fwd_1", "fwd_3"), 4)


@pytest.mark.parametrize("ids", [["fwd_1"], ["fwd_1", "fwd_1"], ["fwd_1", KEY], ["fwd_0", "fwd_1"]])
def test_ids_that_do_not_name_each_forward_are_refused(
    monkeypatch: pytest.MonkeyPatch, ids: list[str]
) -> None:
    named = json.dumps({"psk": KEY, "forwards": [RTMP, "file:///a.ts"], "forward_ids": ids})
    give_stdin(monkeypatch, named.encode() + b"\n")
    with pytest.raises(BadArguments, match="name each of forwards once, like fwd_1") as caught:
        parse("--secrets-stdin")
    assert KEY not in caught.value.message


@pytest.mark.parametrize("also", [("--psk", KEY), ("--forward-to", RTMP)])
def test_secrets_come_from_one_place(also: Sequence[str]) -> None:
    with pytest.raises(BadArguments, match="give no --psk and no --forward-to"):
        parse("--secrets-stdin", *also)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "the following arguments are required: --stream-id, --ports, --control-socket"),
        ([*BASE, "--psk"], "expected one argument"),
        ([*BASE, "--psk", KEY, "--nonsense"], "unrecognized arguments: --nonsense"),
        ([*BASE, "--ps", KEY], "unrecognized arguments: --ps; see strata-receiver --help"),
        ([*BASE, "--pks=" + KEY, "--x"], "unrecognized arguments: --pks --x;"),
        ([*BASE, KEY], "unrecognized arguments: a value that belongs to no option"),
        ([*BASE, "--psk", "short"], "the PSK has 5 bytes"),
        ([*BASE, "--psk", "k" * 128], "the PSK has 128 bytes"),
        ([*BASE, "--psk", "\udcff" * 10], "not printable"),
        ([*BASE, "--psk", ""], "no pre-shared key"),
        (replaced("--ports", ""), "is no list of UDP ports; write them like 15000,15002"),
        (replaced("--ports", "20000;20002"), "is no list of UDP ports"),
        (replaced("--ports", "20000,"), "is no list of UDP ports"),
        (replaced("--ports", "20000, 20002"), "is no list of UDP ports"),
        (replaced("--ports", "-1"), "is no list of UDP ports"),
        (replaced("--ports", "٢٠٠٠"), "is no list of UDP ports"),
        (replaced("--ports", "0"), "is no port (1 to 65535)"),
        (replaced("--ports", "65536"), "is no port (1 to 65535)"),
        (replaced("--ports", "20000,20000"), "give 1 to 16 ports, each of them once"),
        (replaced("--ports", ",".join(map(str, range(1, 18)))), "give 1 to 16 ports"),
        (replaced("--stream-id", ""), "--stream-id takes 1 to 64"),
        (replaced("--stream-id", "a b"), "--stream-id takes 1 to 64"),
        (replaced("--stream-id", "a\n"), "--stream-id takes 1 to 64"),
        (replaced("--stream-id", "x" * 65), "--stream-id takes 1 to 64"),
        ([*BASE, "--psk", KEY, "--buffer-ms", "49"], "49 is not between 50 and 30000"),
        ([*BASE, "--psk", KEY, "--buffer-ms", "30001"], "is not between 50 and 30000"),
        ([*BASE, "--psk", KEY, "--buffer-ms", "1.5"], "'1.5' is no whole number"),
        ([*BASE, "--psk", KEY, "--buffer-ms", "1_000"], "is no whole number"),
        ([*BASE, "--psk", KEY, "--aes-type", "192"], "choose from"),
        ([*BASE, "--psk", KEY, "--stats-interval-ms", "0"], "is not between 100 and 60000"),
        ([*BASE, "--psk", KEY, "--max-egress-kbps", "-1"], "-1 is not between 0 and"),
        ([*BASE, "--psk", KEY, "--stall-timeout-s", "soon"], "'soon' is no number of seconds"),
        ([*BASE, "--psk", KEY, "--stall-timeout-s", "nan"], "is not between 0 and 86400"),
        ([*BASE, "--psk", KEY, "--stall-timeout-s", "inf"], "is not between 0 and 86400"),
        ([*BASE, "--psk", KEY, "--no-input-timeout-s", "-1"], "is not between 0 and 86400"),
        ([*BASE, "--psk", KEY, "--orphan-timeout-s", "1e9"], "is not between 0 and 86400"),
        ([*BASE, "--psk", KEY, "--slate"], "expected one argument"),
        ([*BASE, "--psk", KEY, "--slate-max-s", "-1"], "is not between 0 and 86400"),
        ([*BASE, "--psk", KEY, "--silence", "loud"], "choose from"),
        ([*BASE, "--psk", KEY, "--keep-damaged=yes"], "ignored explicit argument"),
        ([*BASE, "--psk", KEY, *["--forward-to", RTMP] * 33], "33 forwards are more than the 32"),
    ],
)
def test_bad_arguments_say_what_is_wrong(argv: list[str], says: str) -> None:
    with pytest.raises(BadArguments) as caught:
        cli.parse(argv, {})
    assert says in caught.value.message
    assert caught.value.message.isprintable()
    assert KEY not in caught.value.message
    assert caught.value.exit_status == 2


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (f"rtmp://host/{KEY}", "lacks the application or the stream key"),
        (f"udp://host/{KEY}", "udp:// is nothing that a stream can be forwarded to"),
        (f"srt://host?passphrase={KEY}", "names no port"),
        (KEY, "is no forward URL"),
        ("file:///name.avi", "let its name end in .ts, .mkv, .mp4"),
    ],
)
def test_bad_urls_say_what_is_wrong(url: str, says: str) -> None:
    with pytest.raises(BadUrl) as caught:
        parse("--psk", "another-key", "--forward-to", url)
    assert says in caught.value.message
    assert KEY not in caught.value.message
    assert caught.value.exit_status == 2


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.parse(["--version"], {})
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"strata-receiver {strata.__version__}\n"


def test_the_help_names_every_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.parse(["--help"], {})
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for status in (0, 2, 3, 4, 10, 11, 70):
        assert re.search(rf"\b{status} ", text)


class Exited(Exception):
    def __init__(self, status: int) -> None:
        self.status = status


def status_of_main(monkeypatch: pytest.MonkeyPatch, outcome: int | Exception) -> int:
    """What the process ends with when the worker returns, or raises, that."""

    async def run(self: Worker) -> int:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def leave(status: int) -> NoReturn:
        raise Exited(status)

    monkeypatch.setattr(sys, "argv", ["strata-receiver", *BASE, "--psk", KEY])
    monkeypatch.setattr(Worker, "run", run)
    monkeypatch.setattr(logs, "set_up", lambda where: None)
    monkeypatch.setattr("os._exit", leave)
    with pytest.raises(Exited) as caught:
        cli.main()
    return caught.value.status


@pytest.mark.parametrize("status", [0, 10, 11])
def test_main_ends_with_the_status_of_the_worker(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], status: int
) -> None:
    assert status_of_main(monkeypatch, status) == status
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("error", "status"), [(OperatorError("do this"), 2), (PartMissing("do this"), 4)]
)
def test_main_tells_an_error_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    status: int,
) -> None:
    assert status_of_main(monkeypatch, error) == status
    assert capsys.readouterr().err == "strata-receiver: error: do this\n"


def test_main_tells_that_a_defect_is_one(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert status_of_main(monkeypatch, ValueError("what nobody thought of")) == 70
    assert capsys.readouterr().err.startswith("strata-receiver: error: internal failure (ValueErr")
    assert "what nobody thought of" in caplog.text
