from __future__ import annotations

import copy
import logging
import pickle
import subprocess
import sys
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.secrets import (
    KEY_CHARS_MIN,
    PSK_MAX_BYTES,
    PSK_MIN_BYTES,
    REDACTED,
    Secret,
    make_psk,
    psk_problem,
    redact_url,
    scrub,
)

KEY = "abcd-efgh-1234"
PRINTABLE = st.characters(min_codepoint=0x20, max_codepoint=0x7E)


def test_a_secret_shows_itself_only_when_asked() -> None:
    secret = Secret(KEY)
    assert secret.reveal() == KEY
    shown = (repr(secret), str(secret), f"{secret}", f"{secret:>40}", f"{secret!r}", repr([secret]))
    assert not any(KEY in text for text in shown)


def test_a_secret_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger(__name__).warning("the key is %s", Secret(KEY))
    assert "****" in caplog.text
    assert KEY not in caplog.text


def test_secrets_compare_by_value() -> None:
    assert Secret(KEY) == Secret(KEY)
    assert hash(Secret(KEY)) == hash(Secret(KEY))
    assert Secret(KEY) != Secret(KEY + "x")
    assert Secret(KEY) != KEY


def test_a_secret_does_not_leave_the_process() -> None:
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(Secret(KEY))
    with pytest.raises(TypeError, match="not pickled"):
        copy.deepcopy({"psk": Secret(KEY)})


@pytest.mark.parametrize("length", [PSK_MIN_BYTES, 32, PSK_MAX_BYTES])
def test_a_made_key_can_be_used(length: int) -> None:
    key = make_psk(length).reveal()
    assert len(key) == length
    assert key.isalnum()
    assert psk_problem(key) is None


def test_no_two_made_keys_are_the_same() -> None:
    assert len({make_psk() for _ in range(100)}) == 100


@given(st.text(PRINTABLE, min_size=PSK_MIN_BYTES, max_size=PSK_MAX_BYTES))
def test_printable_keys_of_the_right_length_are_taken(key: str) -> None:
    assert psk_problem(key) is None


@pytest.mark.parametrize("size", [0, PSK_MIN_BYTES - 1, PSK_MAX_BYTES + 1, 10_000])
def test_a_key_of_the_wrong_length_is_refused(size: int) -> None:
    problem = psk_problem("k" * size)
    assert problem is not None
    assert f"has {size} bytes" in problem
    assert "8 to 127" in problem


@pytest.mark.parametrize("bad", ["ключключ", "eight\x00bytes", "tab\tinside", "\udcff" * 9])
def test_a_key_that_cannot_be_printed_is_refused_and_not_repeated(bad: str) -> None:
    problem = psk_problem(bad)
    assert problem is not None
    assert "printable" in problem
    assert bad not in problem


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtmp://a.rtmp.youtube.com/live2/abcd-efgh", "rtmp://a.rtmp.youtube.com/live2/****"),
        ("rtmp://host:1936/app/abcd", "rtmp://host:1936/app/****"),
        ("rtmp://host/app/room/abcd", "rtmp://host/app/room/****"),
        ("rtmp://host/app/abcd/", "rtmp://host/app/****"),
        ("rtmp://host/app/abcd//", "rtmp://host/app/****"),
        ("rtmp://host/app/", "rtmp://host/****"),
        ("rtmp://host/", "rtmp://host"),
        ("rtmp://host", "rtmp://host"),
        ("rtmp://user:abcd@host/app/key", "rtmp://****@host/app/****"),
        ("rtmp://host/app/key?token=abcd#abcd", "rtmp://host/app/****?****"),
        ("rtmp://[::1]:1935/app/abcd", "rtmp://[::1]:1935/app/****"),
        ("srt://host:9000?passphrase=abcd", "srt://host:9000?****"),
        ("srt://:9000", "srt://:9000"),
        ("srt://:9000?passphrase=abcd", "srt://:9000?****"),
        ("srt://user:abcd@:9000", "srt://****@:9000"),
        ("srt://[::1]:9000?mode=listener", "srt://[::1]:9000?****"),
        ("rtmps://host/app/abcd", "rtmps://host/app/****"),
        ("https://host/upload?cid=abcd&copy=0", "https://host/****?****"),
        ("rtmp://:1935/app/abcd", "****"),
        ("hls:///srv/live", "hls:///srv/live"),
        ("hls:/srv/live", "hls:///srv/live"),
        ("hls:///srv/live?target-duration=2", "hls:///srv/live"),
        ("hls://user:abcd@host/live", "hls://host/live"),
        ("file:/media/name.ts", "file:///media/name.ts"),
        ("file:///media/name.ts", "file:///media/name.ts"),
        ("file:///media/name.ts?abcd", "file:///media/name.ts"),
        ("file://user:abcd@host/name.ts", "file://host/name.ts"),
        ("rtmp://host:abcd/app/key", "****"),
        ("rtmp://[abcd/app/key", "****"),
        ("abcd-efgh", "****"),
        ("/live2/abcd", "****"),
        ("", "****"),
    ],
)
def test_redacted_urls(url: str, shown: str) -> None:
    assert redact_url(url) == shown


KEYS = st.text("ghjkmnpqxyz0123456789", min_size=10, max_size=20)


@given(
    key=KEYS,
    form=st.sampled_from(
        [
            "rtmp://host.example/app/{}",
            "rtmp://host.example/app/{}/",
            "rtmp://host.example:1935/app/{}//",
            "rtmp://host.example/{}",
            "rtmp://host.example/a/b/c/{}?x=1",
            "rtmp://host.example/app/name?{}",
            "rtmp://host.example/app/name#{}",
            "rtmp://{}:word@host.example/app/name",
            "rtmp://name:{}@host.example/app/name",
            "rtmp://host.example:{}/app/name",
            "rtmp://[host:{}]/app/name",
            "srt://:9000?passphrase={}",
            "srt://{}:word@:9000",
            "srt://host:9000?streamid={}&latency=200",
            "https://host.example/upload?cid={}&copy=0",
            "file://name:{}@host/video.ts",
            "hls://name:{}@host/live",
            "hls:///live?{}",
            "{}",
        ]
    ),
)
def test_no_form_of_url_shows_its_key(key: str, form: str) -> None:
    assert key not in redact_url(form.format(key))


@pytest.mark.parametrize(
    "url",
    [
        f"rtmp://host/app/{KEY}",
        f"rtmp://host/app/{KEY}/",
        f"rtmp://host/app/{KEY}?token=1",
        f"rtmp://host/app/name?{KEY}",
        f"rtmp://{KEY}:word@host/app/name",
        f"rtmp://user:{KEY}@host/app/name",
        f"srt://host:9000?{KEY}",
        f"srt://host:9000?latency=200&passphrase={KEY}",
        f"srt://host:9000?streamid={KEY}&latency=200",
        "srt://host:9000?passphrase=abcd%2Defgh%2d1234&latency=200",
        f"https://host/upload?cid={KEY}&copy=0&file=",
        f"rtmp://host/app/name?copy=1&token={KEY}",
        "rtmp://host/app/abcd%2Defgh-1234",
    ],
)
def test_what_others_say_is_scrubbed(url: str) -> None:
    said = f"stream '{KEY}' exists, says host; {url}"
    assert KEY not in scrub(said, url)
    assert "exists, says host" in scrub(said, url)


@pytest.mark.parametrize("said", ["ab+cd/ef=gh", "ab%2Bcd%2Fef%3Dgh"])
def test_a_value_is_hidden_as_it_is_written_and_as_it_is_meant(said: str) -> None:
    url = "srt://host:9000?latency=200&passphrase=ab%2Bcd%2Fef%3Dgh"
    assert scrub(f"wrong passphrase {said}, says host", url) == "wrong passphrase ****, says host"


def test_a_short_value_says_nothing_and_stays() -> None:
    url = f"srt://host:9000?latency=200&streamid=12345&passphrase={KEY}"
    assert scrub("200 ms, 12345 packets", url) == "200 ms, 12345 packets"


@pytest.mark.parametrize("length", [KEY_CHARS_MIN - 1, KEY_CHARS_MIN])
def test_a_value_is_taken_for_a_key_from_a_length_on(length: int) -> None:
    value = "q" * length
    scrubbed = scrub(f"stream {value}.", f"srt://host:9000?streamid={value}&latency=200")
    assert (value in scrubbed) == (length < KEY_CHARS_MIN)


@given(key=st.text(PRINTABLE, min_size=KEY_CHARS_MIN, max_size=79), more=st.booleans())
def test_no_value_of_a_query_is_repeated(key: str, more: bool) -> None:
    escaped = quote(key, safe="")
    url = f"srt://host:9000?passphrase={escaped}" + "&latency=200" * more
    scrubbed = scrub(f"<{escaped}> <{key}>", url)
    assert scrubbed.count(REDACTED) >= 2
    assert f"<{key}>" not in scrubbed
    assert f"<{escaped}>" not in scrubbed


def test_a_key_beside_an_option_is_scrubbed() -> None:
    assert KEY not in scrub(f"stream {KEY} exists", f"rtmp://host/app/name?{KEY}&copy=1")


def test_an_escaped_password_is_scrubbed_as_it_is_meant() -> None:
    assert KEY not in scrub(f"{KEY} is wrong", "rtmp://user:abcd%2Defgh-1234@host/app/name")


def test_of_a_playlist_folder_nothing_is_hidden() -> None:
    said = "cannot write /srv/live: 4 s"
    assert scrub(said, "hls:///srv/live?target-duration=2") == said


def test_of_a_local_path_nothing_is_hidden() -> None:
    assert scrub("cannot write /media/name.ts", "file:///media/name.ts") == (
        "cannot write /media/name.ts"
    )


@given(st.text())
def test_anything_can_be_redacted(text: str) -> None:
    assert isinstance(redact_url(text), str)


def test_a_crash_leaves_no_memory_behind() -> None:
    code = (
        "import os, resource; from strata.secrets import keep_out_of_core_files as keep;"
        "keep(); keep(); print(resource.getrlimit(resource.RLIMIT_CORE))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.strip() in ("(1, 1)", "(0, 0)")
