from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.errors import BadUrl
from strata.wire import forward_url
from strata.wire.forward_url import MAX_URL_CHARS, ForwardUrl

KEY = "abcd-efgh-1234"


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        (f"rtmp://host/app/{KEY}", "host", 1935),
        (f"rtmp://host:1936/app/{KEY}", "host", 1936),
        (f"rtmp://host/app/room/{KEY}", "host", 1935),
        (f"rtmp://host/app/{KEY}?token=1", "host", 1935),
        (f"rtmp://127.0.0.1:19350/app/{KEY}", "127.0.0.1", 19350),
        (f"rtmp://[::1]:1935/app/{KEY}", "::1", 1935),
        (f"RTMP://HOST/app/{KEY}", "host", 1935),
    ],
)
def test_rtmp_urls(url: str, host: str, port: int) -> None:
    parsed = forward_url.parse(url)
    assert parsed == ForwardUrl(url, "rtmp", host=host, port=port)
    assert parsed.path is None


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:///media/name.ts", "/media/name.ts"),
        ("file://localhost/media/name.ts", "/media/name.ts"),
        ("file:///media/%Y-%m-%d.ts", "/media/%Y-%m-%d.ts"),
        ("file:///media/two%20words.ts", "/media/two words.ts"),
        ("file:/media/name.ts", "/media/name.ts"),
    ],
)
def test_file_urls(url: str, path: str) -> None:
    parsed = forward_url.parse(url)
    assert parsed == ForwardUrl(url, "file", path=path)
    assert parsed.host is None


def test_a_forward_url_shows_no_key() -> None:
    parsed = forward_url.parse(f"rtmp://host/app/{KEY}")
    assert parsed.shown == str(parsed) == "rtmp://host/app/****"
    assert KEY not in repr(parsed)
    assert parsed.url.endswith(KEY)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "is no forward URL; write rtmp://host/app/key"),
        (KEY, "is no forward URL"),
        (f"live2/{KEY}", "is no forward URL"),
        (f"//host/app/{KEY}", "is no forward URL"),
        (f"mailto:{KEY}", "is no forward URL"),
        (f"https://host/app/{KEY}", "https:// is nothing that this version can forward to"),
        (f"rtmps://host/app/{KEY}", "rtmps:// is nothing"),
        (f"srt://host:9000?passphrase={KEY}", "srt:// is nothing"),
        (f"rtmp:///app/{KEY}", "names no host"),
        (f"rtmp://:1935/app/{KEY}", "names no host"),
        (f"rtmp://host/{KEY}", "lacks the application or the stream key"),
        (f"rtmp://host/{KEY}/", "lacks the application or the stream key"),
        ("rtmp://host", "lacks the application or the stream key"),
        (f"rtmp://host:0/app/{KEY}", "has port 0"),
        (f"rtmp://host:99999/app/{KEY}", "is no URL"),
        (f"rtmp://host:{KEY}/app/name", "is no URL"),
        (f"rtmp://[::1/app/{KEY}", "is no URL"),
        (f"rtmp://name:{KEY}@host\u2100/app/name", "is no URL"),
        (f"rtmp://host/app/{KEY} ", "holds blanks"),
        (f"rtmp://host/app/{KEY}\n", "cannot be printed"),
        (f"rtmp://host/ap\x85p/{KEY}", "cannot be printed"),
        (f"rtmp://host/app/{KEY}" + "x" * MAX_URL_CHARS, "more than 2048 characters"),
        ("file://host/media/name.ts", "three slashes"),
        (f"file://name:{KEY}@host/media/name.ts", "three slashes"),
        ("file:///media/", "names no file"),
        ("file:name.ts", "names no file"),
        ("file:///media/%00.ts", "names no file"),
        ("file:///media/name.mp4", "is no .ts file"),
        ("file:///media/.ts", "is no .ts file"),
        ("file:///media/name", "is no .ts file"),
        ("file:///media/name.ts?segment-s=60", "has options"),
    ],
)
def test_bad_urls_are_refused_with_what_to_do(url: str, says: str) -> None:
    with pytest.raises(BadUrl) as caught:
        forward_url.parse(url)
    assert says in caught.value.message
    assert KEY not in caught.value.message
    assert caught.value.exit_status == 2


PLACES = [
    "rtmp://host/{}",
    "rtmp:///app/{}",
    "rtmp://host:0/app/{}",
    "rtmp://host:x/app/{}",
    "rtmp://host:{}/app/name",
    "rtmp://host:99999/app/{}",
    "rtmp://{}:word@[host/app/name",
    "rtmp://name:{}@host\u2100/app/name",
    "rtmp://host/app/{} ",
    "rtmp://host/app/name?{}\t",
    "rtmps://host/app/{}",
    "srt://host?passphrase={}",
    "file://name:{}@host/x.ts",
    "file:///x.ts?{}",
    "{}",
    "//{}",
]


@given(key=st.text("ghjkmnqwyz0123456789", min_size=10, max_size=20), place=st.sampled_from(PLACES))
def test_no_error_shows_a_key(key: str, place: str) -> None:
    with pytest.raises(BadUrl) as caught:
        forward_url.parse(place.format(key))
    assert key not in caught.value.message


PIECES = st.sampled_from(
    [
        *("rtmp", "file", "://", ":", "/", "//", "@", "[", "]", "?", "#", "%", ".ts", "%00"),
        *("localhost", "host", "1935", " ", "\u2100", "\x85"),
    ]
)


@given(st.one_of(st.text(), st.lists(PIECES, max_size=12).map("".join)))
def test_any_text_is_a_url_or_a_clear_error_of_one_line(text: str) -> None:
    message = ""
    try:
        parsed = forward_url.parse(text)
    except BadUrl as error:
        message = error.message
    if message:
        assert message.isprintable()
    else:
        assert parsed.kind in ("rtmp", "file")
        assert (parsed.host is None) == (parsed.path is not None)
