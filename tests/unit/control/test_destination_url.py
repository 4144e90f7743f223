from __future__ import annotations

import contextlib
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.control.destination_url import DestinationUrl, made
from strata.errors import BadUrl, OperatorError
from strata.wire import forward_url

KEY = "canary-stream-key"


@pytest.mark.parametrize(
    ("url", "key", "whole", "shown"),
    [
        ("rtmp://h/live", KEY, f"rtmp://h/live/{KEY}", "rtmp://h/live/****"),
        ("rtmps://h/live/", KEY, f"rtmps://h/live/{KEY}", "rtmps://h/live/****"),
        ("rtmp://h/app/inst", KEY, f"rtmp://h/app/inst/{KEY}", "rtmp://h/app/inst/****"),
        ("rtmp://h/live?a=b", KEY, f"rtmp://h/live/{KEY}?a=b", "rtmp://h/live/****?****"),
        ("rtmp://h/live", "FB-1?s=1&t=2", "rtmp://h/live/FB-1?s=1&t=2", "rtmp://h/live/****?****"),
        ("rtmp://h/live", "ключ", f"rtmp://h/live/{quote('ключ')}", "rtmp://h/live/****"),
        ("rtmp://h/live/{key}", KEY, f"rtmp://h/live/{KEY}", "rtmp://h/live/****"),
        (f"rtmp://h/live/{KEY}", None, f"rtmp://h/live/{KEY}", "rtmp://h/live/****"),
        ("https://h/u?cid={key}&copy=0", "a/b&c", "https://h/u?cid=a%2Fb%26c&copy=0", None),
        ("srt://h:9000?passphrase={key}", "0123456789+&", None, "srt://h:9000?****"),
        ("srt://h:9000", None, "srt://h:9000", "srt://h:9000"),
        ("file:///media/x.ts", None, "file:///media/x.ts", "file:///media/x.ts"),
    ],
)
def test_where_the_key_goes(
    url: str, key: str | None, whole: str | None, shown: str | None
) -> None:
    found = made(url, key)
    assert whole is None or found.whole == whole
    assert shown is None or found.shown == shown
    forward_url.parse(found.whole)
    assert "canary" not in found.shown
    assert "canary" not in repr(found)


def test_srt_is_given_the_key_as_it_is() -> None:
    whole = made("srt://h:9000?passphrase={key}", "0123456789+&").whole
    assert forward_url.parse(whole).options["passphrase"] == "0123456789+&"


@pytest.mark.parametrize(
    ("url", "key", "said"),
    [
        ("srt://h:9000", KEY, "has no place for the key"),
        ("https://h/path/", KEY, "has no place for the key"),
        ("rtmp://h/live/{key}", None, "has a place for a key"),
        ("rtmp://h/live/****", None, r"holds \*\*\*\* in the place of its key"),
        ("rtmp://h/live/****", KEY, r"holds \*\*\*\* in the place of its key"),
        ("https://h/{key}/live/", KEY, "the key would be shown"),
        ("rtmp://{key}/live/x", KEY, "the key would be shown"),
        ("rtmp://h/{key}/x", KEY, "the key would be shown"),
        ("rtmp://h/live", "two words", "blanks or characters"),
        ("rtmp://h/live", "canary#1", "blanks or characters"),
        ("rtmp://h/live", "//", "blanks or characters"),
        ("rtmp://h/live", "a\nb", "blanks or characters"),
        ("rtmp://h/live", None, "lacks the application or the stream key"),
        ("rtmp://h", KEY, "lacks the application or the stream key"),
        ("gopher://h/x", None, "is nothing that a stream can be forwarded to"),
        ("rtmp://h/live", "k" * 3000, "more than"),
    ],
)
def test_what_no_destination_can_be(url: str, key: str | None, said: str) -> None:
    with pytest.raises(BadUrl, match=said) as raised:
        made(url, key)
    assert "canary" not in raised.value.message


KEYED = made("rtmp://h/live", KEY)


@pytest.mark.parametrize(
    ("old", "url", "key", "whole"),
    [
        (KEYED, "rtmp://h/live", None, f"rtmp://h/live/{KEY}"),
        (KEYED, "rtmp://other/live", None, f"rtmp://other/live/{KEY}"),
        (KEYED, "rtmp://h/live/****", None, f"rtmp://h/live/{KEY}"),
        (KEYED, "rtmp://h/live/****", "new", "rtmp://h/live/new"),
        (KEYED, "rtmp://h/live", "new", "rtmp://h/live/new"),
        # One segment more: a URL with a key of its own.
        (KEYED, "rtmp://h/live/new", None, "rtmp://h/live/new"),
        (KEYED, "srt://h:1?passphrase={key}", None, f"srt://h:1?passphrase={KEY}"),
        (KEYED, "srt://h:1", None, "srt://h:1"),
        (made("rtmp://h/a/b", KEY), "rtmp://g/a/b", None, f"rtmp://g/a/b/{KEY}"),
        (made("rtmp://h/a/{key}", KEY), "rtmp://h/b", None, f"rtmp://h/b/{KEY}"),
        (made(f"rtmp://h/a/{KEY}", None), "rtmp://h/a/****", None, f"rtmp://h/a/{KEY}"),
        (made("srt://h:1", None), "srt://g:1", None, "srt://g:1"),
    ],
)
def test_an_edit_keeps_the_key_where_it_can(
    old: DestinationUrl, url: str, key: str | None, whole: str
) -> None:
    assert old.changed(url, key).whole == whole


@pytest.mark.parametrize(
    ("old", "url", "key"),
    [
        (made(f"rtmp://h/a/{KEY}", None), "rtmp://h/a/****", "new"),
        (KEYED, "rtmp://other/live/****", None),
        (made("srt://h:1", None), "rtmp://h/live", None),
    ],
)
def test_an_edit_of_which_the_key_is_not_known(
    old: DestinationUrl, url: str, key: str | None
) -> None:
    with pytest.raises(BadUrl) as raised:
        old.changed(url, key)
    assert "canary" not in raised.value.message


@given(st.text(max_size=60), st.text(min_size=9, max_size=30) | st.none())
def test_whatever_is_given_is_refused_or_shown_without_its_key(url: str, key: str | None) -> None:
    for text in (url, f"rtmp://{url}", f"https://h/{url}{{key}}", f"srt://h:1?streamid={url}"):
        with contextlib.suppress(OperatorError):
            found = made(text, key)
            assert key is None or key in url or key not in found.shown
