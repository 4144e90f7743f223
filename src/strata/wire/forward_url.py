"""Forward URLs: what a person writes to say where a stream goes.

Pure: nothing is resolved and nothing is opened here.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias
from urllib.parse import SplitResult, unquote, urlsplit

from strata.errors import BadUrl
from strata.secrets import redact_url

Kind: TypeAlias = Literal["rtmp", "file"]

MAX_URL_CHARS: Final = 2048
RTMP_PORT: Final = 1935

_KNOWN: Final = "rtmp://host/app/key or file:///path/name.ts"


@dataclass(frozen=True, slots=True)
class ForwardUrl:
    """A forward URL that can be used.

    Attributes:
        url: as given; holds the stream key, so it is kept out of repr().
        kind: which output it needs.
        host, port: where it connects to; None for files.
        path: the file to write, with its strftime pattern; None for networks.
    """

    url: str = field(repr=False)
    kind: Kind
    host: str | None = None
    port: int | None = None
    path: str | None = None

    @property
    def shown(self) -> str:
        return redact_url(self.url)

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
    if parts.scheme == "rtmp":
        return _rtmp(url, parts, port)
    if parts.scheme == "file":
        return _file(url, parts)
    if not parts.scheme or not (parts.netloc or parts.path.startswith("/")):
        raise BadUrl(f"{_shown(url)} is no forward URL; write {_KNOWN}")
    raise BadUrl(f"{parts.scheme}:// is nothing that this version can forward to; write {_KNOWN}")


def _rtmp(url: str, parts: SplitResult, port: int | None) -> ForwardUrl:
    if not parts.hostname:
        raise BadUrl("the rtmp:// URL names no host; write rtmp://host/app/key")
    if port == 0:
        raise BadUrl(f"{_shown(url)} has port 0, which cannot be connected to; leave it out")
    application, _, key = parts.path.strip("/").partition("/")
    if not application or not key:
        raise BadUrl(
            f"{_shown(url)} lacks the application or the stream key; write rtmp://host/app/key"
        )
    return ForwardUrl(url, "rtmp", host=parts.hostname, port=port or RTMP_PORT)


def _file(url: str, parts: SplitResult) -> ForwardUrl:
    if parts.netloc not in ("", "localhost"):
        raise BadUrl(f"{_shown(url)} names a host; write file:///path/name.ts with three slashes")
    path = unquote(parts.path)
    if not path.startswith("/") or path.endswith("/") or "\0" in path:
        raise BadUrl(f"{_shown(url)} names no file; write file:///path/name.ts")
    if posixpath.splitext(path)[1] != ".ts":
        raise BadUrl(
            f"{_shown(url)} is no .ts file, the one recording that this version writes; "
            "write file:///path/name.ts"
        )
    if parts.query:
        raise BadUrl(f"{_shown(url)} has options; a .ts recording takes none in this version")
    return ForwardUrl(url, "file", path=path)


def _shown(url: str) -> str:
    shown = "".join(each if each.isprintable() else "?" for each in redact_url(url))
    return "the URL" if shown == "****" else shown
