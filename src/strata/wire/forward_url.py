"""Forward URLs: what a person writes to say where a stream goes.

Pure: nothing is resolved and nothing is opened here.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias
from urllib.parse import SplitResult, unquote, urlsplit

from strata.errors import BadUrl
from strata.secrets import redact_url

Kind: TypeAlias = Literal["rtmp", "srt", "hls", "http", "file"]

MAX_URL_CHARS: Final = 2048

CONTAINERS: Final = (".ts", ".mkv", ".mp4")
"""Of recordings, by the ending of the name."""

PORTS: Final = {"rtmp": 1935, "rtmps": 443, "http": 80, "https": 443}
"""Where a URL names none. For RTMPS there is no registered one; YouTube, Facebook and
Kick use 443."""

_KNOWN: Final = (
    "rtmp://host/app/key, rtmps://..., srt://host:port, hls:///folder, "
    "https://host/path/ or file:///path/name.ts"
)


@dataclass(frozen=True, slots=True)
class ForwardUrl:
    """A forward URL that can be used.

    Attributes:
        url: as given; holds the stream key, so it is kept out of repr().
        kind: which output it needs.
        host, port: where it connects to, or for an SRT listener where it listens ("" is
            every address); None for files.
        path: what it writes on this machine: the file, with its strftime pattern, or the
            folder of a playlist; None for networks.
        options: what stands after the question mark, checked and completed with the
            defaults; empty where the query belongs to the server.
    """

    url: str = field(repr=False)
    kind: Kind
    host: str | None = None
    port: int | None = None
    path: str | None = None
    options: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)

    @property
    def shown(self) -> str:
        return redact_url(self.url)

    @property
    def listens(self) -> bool:
        """Whether others connect to it, instead of it to them."""
        return self.options.get("mode") == "listener"

    @property
    def container(self) -> str:
        """The ending of a recording's name."""
        return posixpath.splitext(self.path or "")[1]

    def whole(self, option: str) -> int:
        """An option that is a number."""
        return int(self.options[option])

    @property
    def place(self) -> str | None:
        """What only one forward can have at a time: a stream key, a port, a playlist.

        None for recordings, which never share a name.
        """
        if self.kind == "file":
            return None
        if self.kind == "hls":
            return f"hls {posixpath.normpath('/' + (self.path or '').lstrip('/'))}"
        if self.listens:
            return f"listener {self.port}"
        if self.kind == "srt":
            return f"srt {self.host}:{self.port} {self.options.get('streamid', '')}"
        parts = urlsplit(self.url)
        return f"{self.kind} {self.host}:{self.port} {parts.path.rstrip('/')}?{parts.query}"

    def __str__(self) -> str:
        return self.shown


def parse(url: str) -> ForwardUrl:
    """The URL taken apart.

    Raises:
        BadUrl: with what is wrong and how it should look, never with the key in it.
    """
    if len(url) > MAX_URL_CHARS:
        raise BadUrl(f"a forward URL has more than {MAX_URL_CHARS} characters")
    if not url.isprintable() or " " in url:
        raise BadUrl(f"{_shown(url)} holds blanks or characters that cannot be printed")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # Not the reason: it may quote a key that stands where the port should be.
        raise BadUrl(f"{_shown(url)} is no URL; write {_KNOWN}") from None
    if parts.fragment:
        raise BadUrl(f"{_shown(url)} has a #; write it as %23 where it belongs to the name")
    if port == 0:
        raise BadUrl(f"{_shown(url)} has port 0, which nothing can be reached at")
    parse_kind = _KINDS.get(parts.scheme)
    if parse_kind is not None:
        return parse_kind(url, parts, port)
    if not parts.scheme or not (parts.netloc or parts.path.startswith("/")):
        raise BadUrl(f"{_shown(url)} is no forward URL; write {_KNOWN}")
    raise BadUrl(f"{parts.scheme}:// is nothing that a stream can be forwarded to; write {_KNOWN}")


def _rtmp(url: str, parts: SplitResult, port: int | None) -> ForwardUrl:
    if not parts.hostname:
        raise BadUrl(f"the {parts.scheme}:// URL names no host; write rtmp://host/app/key")
    application, _, key = parts.path.strip("/").partition("/")
    if not application or not key:
        raise BadUrl(
            f"{_shown(url)} lacks the application or the stream key; write rtmp://host/app/key"
        )
    return ForwardUrl(url, "rtmp", host=parts.hostname, port=port or PORTS[parts.scheme])


def _http(url: str, parts: SplitResult, port: int | None) -> ForwardUrl:
    if not parts.hostname:
        raise BadUrl(f"the {parts.scheme}:// URL names no host; write https://host/path/")
    return ForwardUrl(url, "http", host=parts.hostname, port=port or PORTS[parts.scheme])


def _srt(url: str, parts: SplitResult, port: int | None) -> ForwardUrl:
    write = "srt://host:port?mode=caller&passphrase=...&latency=200"
    options = _options(
        url,
        parts,
        {
            "mode": _one_of("caller", "listener"),
            "latency": _number(20, 30_000),
            "passphrase": _text(10, 79),
            "pbkeylen": _one_of("16", "24", "32"),
            "streamid": _text(1, 512),
        },
    )
    if port is None:
        raise BadUrl(f"{_shown(url)} names no port, and SRT has no usual one; write {write}")
    options = {"mode": "caller" if parts.hostname else "listener", "latency": "200"} | options
    if options["mode"] == "caller" and not parts.hostname:
        raise BadUrl(f"{_shown(url)} names no host to call; write {write}")
    if "pbkeylen" in options and "passphrase" not in options:
        raise BadUrl(
            f"{_shown(url)} has a key length but no passphrase, so it would not be encrypted"
        )
    if parts.path.strip("/"):
        raise BadUrl(
            f"{_shown(url)} has a path, which SRT does not know; say streamid=... for what "
            "the server calls the stream"
        )
    return ForwardUrl(url, "srt", host=parts.hostname or "", port=port, options=options)


def _hls(url: str, parts: SplitResult, port: int | None) -> ForwardUrl:
    path = _path(url, parts, "hls:///folder")
    if "ladder" in parts.query:
        raise BadUrl(
            f"{_shown(url)} asks for a ladder, and this version does not transcode; leave it out"
        )
    known = {"target-duration": _number(1, 30), "playlist-length": _number(3, 1000)}
    options = {"target-duration": "4", "playlist-length": "6"} | _options(url, parts, known)
    return ForwardUrl(url, "hls", path=path.rstrip("/"), options=options)


def _file(url: str, parts: SplitResult, port: int | None) -> ForwardUrl:
    path = _path(url, parts, "file:///path/name.ts")
    if path.endswith("/"):
        raise BadUrl(f"{_shown(url)} names no file; write file:///path/name.ts")
    if posixpath.splitext(path)[1] not in CONTAINERS:
        raise BadUrl(
            f"{_shown(url)} is no recording that can be written; let its name end in "
            f"{', '.join(CONTAINERS)}"
        )
    options = _options(url, parts, {"segment-s": _number(2, 86_400)})
    return ForwardUrl(url, "file", path=path, options=options)


_KINDS: Final[dict[str, Callable[[str, SplitResult, int | None], ForwardUrl]]] = {
    "rtmp": _rtmp,
    "rtmps": _rtmp,
    "srt": _srt,
    "hls": _hls,
    "http": _http,
    "https": _http,
    "file": _file,
}


def _path(url: str, parts: SplitResult, write: str) -> str:
    if parts.netloc not in ("", "localhost"):
        raise BadUrl(f"{_shown(url)} names a host; write {write} with three slashes")
    path = unquote(parts.path)
    if not path.startswith("/") or path.strip("/") == "" or not path.isprintable():
        raise BadUrl(f"{_shown(url)} names no place on this machine; write {write}")
    return path


_Check: TypeAlias = Callable[[str], str | None]
"""Says what a value should be, or None for a good one."""


def _options(url: str, parts: SplitResult, known: Mapping[str, _Check]) -> dict[str, str]:
    """The query as options. A message names the option, never its value, which may be a
    key."""
    found: dict[str, str] = {}
    for pair in filter(None, parts.query.split("&")):
        # Not parse_qsl(): it makes a blank of each plus, which a passphrase may hold.
        name, value = map(unquote, pair.partition("=")[::2])
        if name not in known:
            is_name = "=" in pair and re.fullmatch(r"[a-z-]{1,32}", name)
            shown = f"the option {name}" if is_name else "an option"
            raise BadUrl(
                f"{_shown(url)} has {shown}, which {parts.scheme}:// does not know; it knows "
                f"{', '.join(known)}"
            )
        if name in found:
            raise BadUrl(f"{_shown(url)} gives {name} twice")
        wanted = known[name](value)
        if wanted is not None:
            raise BadUrl(f"{_shown(url)}: {name} must be {wanted}")
        found[name] = value
    return found


def _number(low: int, high: int) -> _Check:
    def check(value: str) -> str | None:
        good = re.fullmatch(r"[0-9]{1,9}", value) and low <= int(value) <= high
        return None if good else f"a whole number from {low} to {high}"

    return check


def _one_of(*choices: str) -> _Check:
    return lambda value: None if value in choices else f"one of {', '.join(choices)}"


def _text(shortest: int, longest: int) -> _Check:
    """So many bytes, as libsrt counts them."""

    def check(value: str) -> str | None:
        is_text = value.isprintable() and "\ufffd" not in value  # escapes that are no UTF-8
        good = is_text and shortest <= len(value.encode()) <= longest
        return None if good else f"{shortest} to {longest} printable bytes"

    return check


def _shown(url: str) -> str:
    shown = "".join(each if each.isprintable() else "?" for each in redact_url(url))
    return "the URL" if shown == "****" else shown
