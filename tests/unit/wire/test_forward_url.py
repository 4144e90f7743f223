from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.errors import BadUrl
from strata.wire import forward_url
from strata.wire.forward_url import CONTAINERS, MAX_URL_CHARS, ForwardUrl

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
    ("url", "port"),
    [
        (f"rtmps://host/app/{KEY}", 443),
        (f"rtmps://host:1937/app/{KEY}", 1937),
        (f"RTMPS://host/app/{KEY}?token=1", 443),
    ],
)
def test_rtmps_is_rtmp_on_another_port(url: str, port: int) -> None:
    assert forward_url.parse(url) == ForwardUrl(url, "rtmp", host="host", port=port)


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("https://host/path/", 443),
        ("http://host/path/", 80),
        ("https://host:8443/path/", 8443),
        ("https://host", 443),
        (f"https://host/http_upload_hls?cid={KEY}&copy=0&file=", 443),
    ],
)
def test_the_query_of_an_http_url_belongs_to_the_server(url: str, port: int) -> None:
    assert forward_url.parse(url) == ForwardUrl(url, "http", host="host", port=port)


CALLER = {"mode": "caller", "latency": "200"}
LISTENER = {"mode": "listener", "latency": "200"}


@pytest.mark.parametrize(
    ("url", "host", "options"),
    [
        ("srt://host:9000", "host", CALLER),
        ("srt://host:9000/", "host", CALLER),
        ("srt://[::1]:9000", "::1", CALLER),
        ("srt://host:9000?mode=caller", "host", CALLER),
        ("srt://host:9000?", "host", CALLER),
        ("srt://host:9000?&mode=caller&", "host", CALLER),
        ("srt://:9000", "", LISTENER),
        ("srt://0.0.0.0:9000?mode=listener", "0.0.0.0", LISTENER),
        ("srt://:9000?mode=listener", "", LISTENER),
        ("srt://host:9000?latency=20", "host", CALLER | {"latency": "20"}),
        ("srt://host:9000?latency=30000", "host", CALLER | {"latency": "30000"}),
        (
            f"srt://host:9000?passphrase={KEY}&pbkeylen=32",
            "host",
            CALLER | {"passphrase": KEY, "pbkeylen": "32"},
        ),
        ("srt://host:9000?streamid=a", "host", CALLER | {"streamid": "a"}),
    ],
)
def test_srt_urls(url: str, host: str, options: dict[str, str]) -> None:
    assert forward_url.parse(url) == ForwardUrl(url, "srt", host=host, port=9000, options=options)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("a+b+c+d+e+f", "a+b+c+d+e+f"),
        ("ab%20cd%26ef%3D%25", "ab cd&ef=%"),
        ("ab=cd=ef=gh", "ab=cd=ef=gh"),
        ("%C3%A4%C3%B6%C3%BC%C3%9F-%C3%A4", "äöüß-ä"),
        ("k" * 79, "k" * 79),
        ("%C3%A4" * 39, "ä" * 39),
    ],
)
def test_a_passphrase_may_hold_anything_printable(written: str, meant: str) -> None:
    parsed = forward_url.parse(f"srt://host:9000?passphrase={written}")
    assert parsed.options["passphrase"] == meant


@given(st.text(st.characters(codec="utf-8"), max_size=90))
def test_a_passphrase_is_taken_as_it_is_or_refused(passphrase: str) -> None:
    url = f"srt://host:9000?passphrase={quote(passphrase, safe='')}"
    if passphrase.isprintable() and 10 <= len(passphrase.encode()) <= 79:
        assert forward_url.parse(url).options["passphrase"] == passphrase
    else:
        with pytest.raises(BadUrl, match="passphrase must be 10 to 79 printable bytes"):
            forward_url.parse(url)


FOUR_BY_SIX = {"target-duration": "4", "playlist-length": "6"}


@pytest.mark.parametrize(
    ("url", "path", "options"),
    [
        ("hls:///srv/live", "/srv/live", FOUR_BY_SIX),
        ("hls:///srv/live/", "/srv/live", FOUR_BY_SIX),
        ("hls:/srv/live", "/srv/live", FOUR_BY_SIX),
        ("hls://localhost/srv/live", "/srv/live", FOUR_BY_SIX),
        ("hls:///two%20words", "/two words", FOUR_BY_SIX),
        ("hls:///a?target-duration=1", "/a", FOUR_BY_SIX | {"target-duration": "1"}),
        ("hls:///a?target-duration=30", "/a", FOUR_BY_SIX | {"target-duration": "30"}),
        ("hls:///a?playlist-length=3", "/a", FOUR_BY_SIX | {"playlist-length": "3"}),
        ("hls:///a?playlist-length=1000", "/a", FOUR_BY_SIX | {"playlist-length": "1000"}),
    ],
)
def test_hls_urls(url: str, path: str, options: dict[str, str]) -> None:
    parsed = forward_url.parse(url)
    assert parsed == ForwardUrl(url, "hls", path=path, options=options)
    assert parsed.host is None


def test_an_option_that_is_a_number_can_be_had_as_one() -> None:
    assert forward_url.parse("hls:///a").whole("target-duration") == 4
    assert forward_url.parse("hls:///a?playlist-length=012").whole("playlist-length") == 12


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:///media/name.ts", "/media/name.ts"),
        ("file://localhost/media/name.ts", "/media/name.ts"),
        ("file:///media/%Y-%m-%d.ts", "/media/%Y-%m-%d.ts"),
        ("file:///media/two%20words.ts", "/media/two words.ts"),
        ("file:///media/what%3F.mkv", "/media/what?.mkv"),
        ("file:/media/name.ts", "/media/name.ts"),
        ("file:///media/name.mkv", "/media/name.mkv"),
        ("file:///media/name.mp4", "/media/name.mp4"),
    ],
)
def test_file_urls(url: str, path: str) -> None:
    parsed = forward_url.parse(url)
    assert parsed == ForwardUrl(url, "file", path=path)
    assert parsed.host is None


@pytest.mark.parametrize("container", CONTAINERS)
def test_the_container_is_the_ending_of_the_name(container: str) -> None:
    assert forward_url.parse(f"file:///a.b/%H.%M{container}").container == container


def test_what_is_no_file_has_no_container() -> None:
    assert forward_url.parse(f"rtmp://host/app/{KEY}.ts").container == ""


@pytest.mark.parametrize("seconds", [2, 3600, 86_400])
def test_a_recording_may_be_cut_into_parts(seconds: int) -> None:
    parsed = forward_url.parse(f"file:///media/%H.ts?segment-s={seconds}")
    assert (parsed.path, parsed.whole("segment-s")) == ("/media/%H.ts", seconds)


@pytest.mark.parametrize(
    ("url", "listens"),
    [
        ("srt://:9000", True),
        ("srt://127.0.0.1:9000?mode=listener", True),
        ("srt://127.0.0.1:9000", False),
        (f"rtmp://host/app/{KEY}", False),
        (f"https://host/{KEY}?mode=listener", False),
        ("hls:///a", False),
        ("file:///a.ts", False),
    ],
)
def test_only_an_srt_listener_listens(url: str, listens: bool) -> None:
    assert forward_url.parse(url).listens == listens


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (f"rtmp://host/app/{KEY}", f"RTMP://HOST:1935/app/{KEY}/"),
        (f"rtmp://host:443/app/{KEY}", f"rtmps://host/app/{KEY}"),
        (f"rtmp://host/app/{KEY}", f"rtmp://name:word@host/app/{KEY}"),
        ("https://host/path/", "https://host:443/path"),
        ("srt://host:9000", "srt://host:9000?latency=500"),
        ("srt://host:9000?streamid=a", f"srt://host:9000/?passphrase={KEY}&streamid=%61"),
        ("srt://:9000", "srt://127.0.0.1:9000?mode=listener"),
        ("hls:///srv/live", "hls:///srv//live/?target-duration=2"),
        ("hls:///srv/live", "hls://localhost/srv/./x/../live"),
    ],
)
def test_two_ways_to_write_it_are_one_place(one: str, other: str) -> None:
    assert forward_url.parse(one).place == forward_url.parse(other).place


def test_two_slashes_at_the_beginning_are_no_other_folder() -> None:
    assert forward_url.parse("hls:////srv").place == forward_url.parse("hls:///srv").place


def test_different_destinations_are_different_places() -> None:
    urls = [
        f"rtmp://host/app/{KEY}",
        f"rtmp://host/app/{KEY}?backup=1",
        f"rtmp://host/app/{KEY}-2",
        f"rtmp://host/app2/{KEY}",
        f"rtmp://host:1936/app/{KEY}",
        f"rtmp://other/app/{KEY}",
        f"rtmps://host/app/{KEY}",
        f"https://host/app/{KEY}",
        f"https://host/app/{KEY}?copy=1",
        f"http://host/app/{KEY}",
        "srt://host:9000",
        "srt://host:9000?streamid=a",
        "srt://host:9001",
        "srt://:9000",
        "srt://:9001",
        "hls:///srv/live",
        "hls:///srv/live2",
    ]
    assert len({forward_url.parse(url).place for url in urls}) == len(urls)


@pytest.mark.parametrize("container", CONTAINERS)
def test_recordings_share_every_place(container: str) -> None:
    assert forward_url.parse(f"file:///media/name{container}").place is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"rtmp://host/app/{KEY}", "rtmp://host/app/****"),
        (f"rtmps://name:{KEY}@host/app/{KEY}", "rtmps://****@host/app/****"),
        (f"srt://host:9000?passphrase={KEY}", "srt://host:9000?****"),
        (f"srt://:9000?passphrase={KEY}", "srt://:9000?****"),
        (f"https://host/upload?cid={KEY}", "https://host/****?****"),
        ("hls:///srv/live?target-duration=2", "hls:///srv/live"),
        ("file:///media/name.mp4?segment-s=60", "file:///media/name.mp4"),
    ],
)
def test_a_forward_url_shows_no_key(url: str, shown: str) -> None:
    parsed = forward_url.parse(url)
    assert parsed.shown == str(parsed) == shown
    assert KEY not in repr(parsed)
    assert parsed.url == url


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "is no forward URL; write rtmp://host/app/key"),
        (KEY, "is no forward URL"),
        (f"live2/{KEY}", "is no forward URL"),
        (f"//host/app/{KEY}", "is no forward URL"),
        (f"mailto:{KEY}", "is no forward URL"),
        (f"udp://host:9000/{KEY}", "udp:// is nothing that a stream can be forwarded to; write"),
        (f"rist://host:9000?secret={KEY}", "rist:// is nothing"),
        (f"rtmpe://host/app/{KEY}", "rtmpe:// is nothing"),
        (f"rtmp:///app/{KEY}", "names no host"),
        (f"rtmp://:1935/app/{KEY}", "names no host"),
        (f"rtmps:///app/{KEY}", "the rtmps:// URL names no host; write rtmp://host/app/key"),
        (f"https:///{KEY}", "the https:// URL names no host; write https://host/path/"),
        (f"http://:80/{KEY}", "the http:// URL names no host"),
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
        ("file:///media/", "names no file; write file:///path/name.ts"),
        ("file:name.ts", "names no place on this machine; write file:///path/name.ts"),
        ("file:///", "names no place"),
        ("file:///media/%00.ts", "names no place"),
        ("file:///media/name.avi", "let its name end in .ts, .mkv, .mp4"),
        ("file:///media/name.TS", "is no recording that can be written"),
        ("file:///media/.ts", "is no recording"),
        ("file:///media/name", "is no recording"),
        ("file:///media/name.ts/x", "is no recording"),
        ("file:///a.ts?segment-s=1", "segment-s must be a whole number from 2 to 86400"),
        ("file:///a.ts?segment-s=86401", "segment-s must be"),
        ("file:///a.ts?segment-s=1.5", "segment-s must be"),
        ("file:///a.ts?segment-s=-5", "segment-s must be"),
        ("file:///a.ts?segment-s=٦٠", "segment-s must be"),
        ("file:///a.ts?segment-s=0000000060", "segment-s must be"),
        ("file:///a.ts?segment-s", "segment-s must be"),
        ("file:///a.ts?segment-s=60&segment-s=60", "gives segment-s twice"),
        ("file:///a.ts?mode=x", "has the option mode, which file:// does not know; it knows seg"),
        (f"file:///a.ts?{KEY}=1", "has an option, which file:// does not know"),
        ("hls://host/live", "names a host; write hls:///folder with three slashes"),
        ("hls:///", "names no place on this machine; write hls:///folder"),
        ("hls:////", "names no place"),
        ("hls:///%2F", "names no place"),
        ("hls:live", "names no place"),
        ("hls:///a%00b", "names no place"),
        ("hls:///a?ladder=1080,720", "asks for a ladder, and this version does not transcode"),
        ("hls:///a?target-duration=0", "target-duration must be a whole number from 1 to 30"),
        ("hls:///a?target-duration=31", "target-duration must be"),
        ("hls:///a?playlist-length=2", "playlist-length must be a whole number from 3 to 1000"),
        ("hls:///a?playlist-length=1001", "playlist-length must be"),
        ("hls:///a?segment-s=4", "hls:// does not know; it knows target-duration, playlist-length"),
        (f"srt://host?passphrase={KEY}", "names no port, and SRT has no usual one; write srt://"),
        ("srt://", "names no port"),
        (f"srt://:9000?mode=caller&passphrase={KEY}", "names no host to call"),
        ("srt://host:0", "has port 0"),
        ("srt://host:9000?mode=rendezvous", "mode must be one of caller, listener"),
        ("srt://host:9000?latency=19", "latency must be a whole number from 20 to 30000"),
        ("srt://host:9000?latency=30001", "latency must be"),
        ("srt://host:9000?pbkeylen=32", "has a key length but no passphrase"),
        (f"srt://host:9000?pbkeylen=20&passphrase={KEY}", "pbkeylen must be one of 16, 24, 32"),
        ("srt://host:9000?passphrase=ninechars", "passphrase must be 10 to 79 printable bytes"),
        (f"srt://host:9000?passphrase={KEY * 6}", "passphrase must be"),
        (f"srt://host:9000?passphrase={KEY}%0A", "passphrase must be"),
        ("srt://host:9000?streamid=", "streamid must be 1 to 512 printable bytes"),
        (f"srt://host:9000?streamid={KEY * 37}", "streamid must be"),
        (f"srt://host:9000?passphrase={KEY}&passphrase={KEY}", "gives passphrase twice"),
        (f"srt://host:9000?pass%70hrase={KEY}&passphrase={KEY}", "gives passphrase twice"),
        (f"srt://host:9000?PASSPHRASE={KEY}", "has an option, which srt:// does not know"),
        (f"srt://host:9000?pass={KEY}", "has the option pass, which srt:// does not know; it kno"),
        (f"srt://host:9000/{KEY}", "has a path, which SRT does not know; say streamid=..."),
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
    "rtmps://host/{}",
    "https://:443/{}?{}",
    "udp://host/app/{}",
    "srt://host?passphrase={}",
    "srt://name:{}@host:9000?latency=1",
    "srt://host:9000?passphrase={}&passphrase={}",
    "srt://host:9000?passphrase={}&latency=1",
    "srt://host:9000?passphrase={}%00",
    "srt://host:9000?pass={}",
    "srt://host:9000?{}",
    "srt://host:9000?mode={}",
    "srt://host:9000/{}",
    "hls://name:{}@host/live",
    "hls:///live?ladder={}",
    "hls:///live?{}",
    "file://name:{}@host/x.ts",
    "file:///x.ts?{}",
    "{}",
    "//{}",
]


@given(key=st.text("ghjkmnqwyz0123456789", min_size=10, max_size=20), place=st.sampled_from(PLACES))
def test_no_error_shows_a_key(key: str, place: str) -> None:
    with pytest.raises(BadUrl) as caught:
        forward_url.parse(place.replace("{}", key))
    assert key not in caught.value.message


@pytest.mark.parametrize("url", ["srt://host:9000?{}", "hls:///live?{}", "file:///x.ts?{}"])
def test_a_key_without_its_option_is_not_taken_for_one(url: str) -> None:
    with pytest.raises(BadUrl) as caught:
        forward_url.parse(url.format("abcdefghijkl"))
    assert "abcdefghijkl" not in caught.value.message


PIECES = st.sampled_from(
    [
        *("rtmp", "rtmps", "srt", "hls", "https", "file", "://", ":", "/", "//", "@", "[", "]"),
        *("?", "#", "%", "&", "=", ".ts", "%00", "%0A", "localhost", "host", "1935", " "),
        *("mode=listener", "latency=99", "passphrase=", "segment-s=60", "\u2100", "\x85"),
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
        assert (parsed.host is None) == (parsed.path is not None)
        assert (parsed.port is None) == (parsed.kind in ("hls", "file"))
        assert (parsed.place is None) == (parsed.kind == "file")
        assert parsed.container in CONTAINERS or parsed.kind != "file"
