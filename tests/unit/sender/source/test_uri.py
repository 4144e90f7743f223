from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.errors import BadUrl
from strata.sender.source import uri


@pytest.mark.parametrize(
    ("text", "kind", "host", "port", "listens", "shown"),
    [
        (
            *("rtsp://admin:canary@camera/canary", "rtsp", "camera", None, False),
            "rtsp://****@camera/****",
        ),
        ("rtsps://camera/s", "rtsp", "camera", None, False, "rtsps://camera/****"),
        ("srt://host:9000", "srt", "host", 9000, False, "srt://host:9000"),
        ("srt://host:9000?mode=listener", "srt", "host", 9000, True, "srt://host:9000?****"),
        ("srt://:9000?passphrase=canary-canary", "srt", "", 9000, True, "srt://:9000"),
        ("srt://0.0.0.0:9000", "srt", "0.0.0.0", 9000, True, "srt://0.0.0.0:9000"),
        ("rtmp://host/app/canary", "rtmp", "host", None, False, "rtmp://host/app/****"),
        ("rtmp://:1936/app/canary", "rtmp", "", 1936, True, "rtmp://:1936"),
        ("rtmp://0.0.0.0/app/canary", "rtmp", "", 1935, True, "rtmp://:1935"),
        ("udp://:5000", "udp", "", 5000, True, "udp://:5000"),
        ("udp://@239.1.1.1:5000", "udp", "239.1.1.1", 5000, True, "udp://239.1.1.1:5000"),
        ("https://host/canary.m3u8?t=1", "http", "host", None, False, "https://host/****?****"),
    ],
)
def test_addresses_are_taken_apart(
    text: str, kind: str, host: str, port: int | None, listens: bool, shown: str
) -> None:
    found = uri.parse(text)
    assert (found.kind, found.host, found.port, found.listens) == (kind, host, port, listens)
    assert found.shown == shown
    assert "canary" not in found.shown + repr(found)


def test_what_is_said_after_the_address_is_kept() -> None:
    found = uri.parse("srt://host:9000?passphrase=a+b%26cdefghi&streamid=x&latency=80&pbkeylen=32")
    assert found.options == {
        "passphrase": "a+b&cdefghi",
        "streamid": "x",
        "latency": "80",
        "pbkeylen": "32",
    }
    assert uri.parse("rtmp://host/app/key?token=1").app_and_key == ("app", "key")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("gopher://host/x", "gopher:// is nothing"),
        ("no address", "blanks"),
        ("canary", "nothing that a picture"),
        ("rtsp:///canary", "names no host"),
        ("http://", "names no host"),
        ("srt://host", "names no port"),
        ("srt://:9000?mode=caller", "names no host to call"),
        ("srt://host:9000?canary=1", "an option that srt:// does not know"),
        ("srt://host:9000?passphrase=canary", "passphrase cannot be that"),
        ("srt://host:9000?pbkeylen=16", "would not be encrypted"),
        ("udp://host", "names no port"),
        ("udp://host:0", "port 0"),
        ("rtmp://host/canary", "lacks the application or the key"),
        ("rtmps://:1935/app/canary", "not listened for"),
        ("rtsp://user:canary:canary@[::1/x", "is no address"),
        ("rtsp://host:canary/x", "is no address"),
        ("file:///etc/passwd", "not opened on this sender"),
    ],
)
def test_others_are_refused_without_a_secret(text: str, why: str) -> None:
    with pytest.raises(BadUrl, match=why) as refused:
        uri.parse(text)
    assert "canary" not in str(refused.value)


def test_files_are_opened_where_they_may_be() -> None:
    found = uri.parse("file:///media/a%20b.mp4", files=True)
    assert (found.kind, found.path, found.listens) == ("file", "/media/a b.mp4", False)
    for bad in ("file://host/x.mp4", "file:///"):
        with pytest.raises(BadUrl, match="names no file"):
            uri.parse(bad, files=True)


@given(st.text(max_size=60))
def test_nothing_else_is_raised(text: str) -> None:
    for scheme in ("", "rtsp://", "srt://:1?", "rtmp://", "udp://", "file://"):
        with contextlib.suppress(BadUrl):
            assert uri.parse(scheme + text, files=True).shown
