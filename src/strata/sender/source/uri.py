"""Addresses of sources: what a person writes to say where a picture comes from. Pure.

rtsp://camera/stream              a camera
srt://host:9000?passphrase=...    another encoder is called
srt://:9000                       another encoder calls here
rtmp://host/app/key               a server is asked for what somebody publishes
rtmp://:1935/app/key              somebody (OBS) publishes here
udp://239.1.1.1:5000, udp://:5000 a transport stream in datagrams
http://host/live.m3u8, .ts, .mp4  HLS, or a file
file:///path                      where the machine allows it
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias
from urllib.parse import SplitResult, unquote, urlsplit

from strata.errors import BadUrl
from strata.secrets import redact_url

Kind: TypeAlias = Literal["rtsp", "srt", "rtmp", "udp", "http", "file"]

_SCHEMES: Final[Mapping[str, Kind]] = {
    "rtsp": "rtsp",
    "rtsps": "rtsp",
    "srt": "srt",
    "rtmp": "rtmp",
    "rtmps": "rtmp",
    "udp": "udp",
    "http": "http",
    "https": "http",
    "file": "file",
}
RTMP_PORT: Final = 1935
_ALL_ADDRESSES: Final = (None, "", "0.0.0.0", "::")
"""Nobody can be called there: who names them wants to listen."""

_KNOWN: Final = (
    "rtsp://camera/stream, srt://host:port, srt://:port (listens), rtmp://host/app/key, "
    "rtmp://:1935/app/key (listens), udp://:port or http://host/live.m3u8"
)
_SRT_OPTIONS: Final[Mapping[str, str]] = {
    "mode": r"caller|listener",
    "latency": r"[0-9]{1,5}",
    "passphrase": r".{10,79}",
    "pbkeylen": r"16|24|32",
    "streamid": r".{1,512}",
}


@dataclass(frozen=True, slots=True)
class SourceUri:
    """An address that can be used.

    Attributes:
        uri: as given; may hold a password or a key, so it is kept out of repr().
        host: what it connects to or listens on; "" for all addresses.
        path: of a file; what is after the host otherwise.
        listens: whether others connect to it.
    """

    uri: str = field(repr=False)
    kind: Kind
    host: str = ""
    port: int | None = None
    path: str = field(default="", repr=False)
    listens: bool = False
    options: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)

    @property
    def shown(self) -> str:
        """For people and logs."""
        return (
            _shown(self.uri) if self.host or self.kind == "file" else f"{self.kind}://:{self.port}"
        )

    @property
    def is_transport_stream(self) -> bool:
        """Whether what comes is one already."""
        return self.kind in ("udp", "srt")

    @property
    def app_and_key(self) -> tuple[str, str]:
        """Of RTMP."""
        app, _, key = self.path.strip("/").partition("/")
        return app, key


def parse(uri: str, *, files: bool = False) -> SourceUri:
    """The address taken apart.

    Args:
        files: whether files of this machine may be read.

    Raises:
        BadUrl: with what is wrong and how it should look, never with a secret in it.
    """
    if not uri.isprintable() or " " in uri:
        raise BadUrl(f"the source {_shown(uri)} holds blanks or characters that cannot be printed")
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        # Not the reason: it may quote a password that stands where the port should be.
        raise BadUrl(f"the source {_shown(uri)} is no address; write {_KNOWN}") from None
    kind = _SCHEMES.get(parts.scheme)
    if kind is None:
        named = f"{parts.scheme}:// is" if parts.scheme else f"{_shown(uri)} is"
        raise BadUrl(f"{named} nothing that a picture can be taken from; write {_KNOWN}")
    if port == 0:
        raise BadUrl(f"the source {_shown(uri)} has port 0, which nothing can be reached at")
    return _PARSERS[kind](uri, parts, port, files)


def _file(uri: str, parts: SplitResult, port: int | None, files: bool) -> SourceUri:
    if not files:
        raise BadUrl(
            "file: addresses are not opened on this sender; put the file into a folder of its "
            "media_folders and give it as a file"
        )
    path = unquote(parts.path)
    if parts.netloc not in ("", "localhost") or not path.strip("/"):
        raise BadUrl(f"the source {_shown(uri)} names no file; write file:///path/name.mp4")
    return SourceUri(uri, "file", path=path)


def _udp(uri: str, parts: SplitResult, port: int | None, files: bool) -> SourceUri:
    if port is None:
        raise BadUrl(f"the source {_shown(uri)} names no port; write udp://:5000")
    return SourceUri(uri, "udp", parts.hostname or "", port, listens=True)


def _srt(uri: str, parts: SplitResult, port: int | None, files: bool) -> SourceUri:
    write = "srt://host:port?passphrase=...&latency=200"
    if port is None:
        raise BadUrl(f"the source {_shown(uri)} names no port, SRT has no usual one; write {write}")
    options: dict[str, str] = {}
    for pair in filter(None, parts.query.split("&")):
        # Not parse_qsl(): it makes a blank of each plus, which a passphrase may hold.
        name, value = map(unquote, pair.partition("=")[::2])
        if name not in _SRT_OPTIONS:
            # Not the name: it may be a key that somebody wrote without one.
            raise BadUrl(
                f"the source {_shown(uri)} has an option that srt:// does not know; it knows "
                f"{', '.join(_SRT_OPTIONS)}"
            )
        if not re.fullmatch(_SRT_OPTIONS[name], value):
            raise BadUrl(f"the source {_shown(uri)}: {name} cannot be that; write {write}")
        options[name] = value
    is_here = parts.hostname in _ALL_ADDRESSES
    mode = options.pop("mode", "listener" if is_here else "caller")
    if mode == "caller" and is_here:
        raise BadUrl(f"the source {_shown(uri)} names no host to call; write {write}")
    if "pbkeylen" in options and "passphrase" not in options:
        raise BadUrl(
            f"the source {_shown(uri)} has a key length but no passphrase, so it would not be "
            "encrypted"
        )
    host = parts.hostname or ""
    return SourceUri(uri, "srt", host, port, listens=mode == "listener", options=options)


def _rtmp(uri: str, parts: SplitResult, port: int | None, files: bool) -> SourceUri:
    app, _, key = parts.path.strip("/").partition("/")
    if not app or not key:
        raise BadUrl(
            f"the source {_shown(uri)} lacks the application or the key; write "
            "rtmp://host/app/key, or rtmp://:1935/app/key for OBS to publish to"
        )
    listens = parts.hostname in _ALL_ADDRESSES
    if listens and parts.scheme == "rtmps":
        raise BadUrl("rtmps:// is not listened for, only rtmp://; write rtmp://:1935/app/key")
    if listens:
        return SourceUri(uri, "rtmp", "", port or RTMP_PORT, parts.path, listens=True)
    return SourceUri(uri, "rtmp", parts.hostname or "", port, parts.path)


def _host(uri: str, parts: SplitResult, port: int | None, files: bool) -> SourceUri:
    if not parts.hostname:
        raise BadUrl(f"the source {_shown(uri)} names no host; write {parts.scheme}://host/...")
    return SourceUri(uri, _SCHEMES[parts.scheme], parts.hostname, port, parts.path)


_PARSERS: Final = {
    "file": _file,
    "udp": _udp,
    "srt": _srt,
    "rtmp": _rtmp,
    "rtsp": _host,
    "http": _host,
}


def _shown(uri: str) -> str:
    shown = "".join(each if each.isprintable() else "?" for each in redact_url(uri))
    return "" if shown == "****" else shown
