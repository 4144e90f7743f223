"""Secrets that redact themselves, and URLs that can be shown."""

from __future__ import annotations

import string
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

REDACTED: Final = "****"

PSK_MIN_BYTES: Final = 8
PSK_MAX_BYTES: Final = 127
"""librist keeps a secret in 128 bytes with a closing NUL (``RIST_MAX_STRING_SHORT``)."""

KEY_CHARS_MIN: Final = 9
"""A value in a query that is shorter is not taken for a key: it says what kind of thing
something is (``listener``), or how long. No platform gives out keys that short."""

_ALPHABET: Final = string.ascii_letters + string.digits


class Secret:
    """A string that prints as ``****`` until somebody asks for it with :meth:`reveal`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return f"Secret({REDACTED})"

    def __str__(self) -> str:
        return REDACTED

    def __format__(self, spec: str) -> str:
        return REDACTED

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a Secret is not pickled: it would leave the process in the clear")


def make_psk(length: int = 32) -> Secret:
    """A key for one broadcast: ``length`` letters and digits (32 of them hold 190 bits).

    Letters and digits only, because people paste it into encoders and URLs.
    """
    import secrets  # brings hashlib and OpenSSL along, which a worker does without

    return Secret("".join(secrets.choice(_ALPHABET) for _ in range(length)))


def keep_out_of_core_files() -> None:
    """Has the kernel write nothing of this process's memory, nor its children's, when it crashes.

    The limit is one byte, not none: a core file that is piped to a program
    (``kernel.core_pattern``) is bound by no limit but that one, which stands for "not at all"
    (Linux, fs/coredump.c).
    """
    import resource  # not on the way of who only redacts

    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    most = 1 if hard == resource.RLIM_INFINITY else min(1, hard)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))


def psk_problem(psk: str) -> str | None:
    """What is wrong with a pre-shared key, or None. The key itself is never repeated."""
    if not (psk.isascii() and psk.isprintable()):
        return "the PSK holds characters that are not printable ASCII; use letters and digits"
    size = len(psk)
    if not PSK_MIN_BYTES <= size <= PSK_MAX_BYTES:
        return (
            f"the PSK has {size} bytes; RIST encryption takes "
            f"{PSK_MIN_BYTES} to {PSK_MAX_BYTES} printable bytes"
        )
    return None


def redact_url(url: str) -> str:
    """The URL with everything hidden that can be a key.

    ``rtmp://a.rtmp.youtube.com/live2/abcd-efgh`` becomes
    ``rtmp://a.rtmp.youtube.com/live2/****``: the last path segment of a network URL is the
    stream key, a query or user information may hold another. Local paths are shown whole.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return REDACTED
    if parts.scheme in ("file", "hls") and not parts.path.startswith("/"):
        return f"{parts.scheme}:{parts.path}"
    if parts.scheme in ("file", "hls"):
        # Not urlunsplit(): it leaves out the slashes of a scheme that it does not know.
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    if not parts.scheme or not (host or parts.scheme == "srt"):  # srt://:9000 listens
        return REDACTED
    if ":" in host:
        host = f"[{host}]"
    head, slash, last = parts.path.rstrip("/").rpartition("/")
    path = head + slash + (REDACTED if last else "")
    query = REDACTED if parts.query else ""
    user = f"{REDACTED}@" if parts.username or parts.password else ""
    return urlunsplit((parts.scheme, user + host + port, path, query, ""))


def scrub(text: str, url: str) -> str:
    """``text`` without what :func:`redact_url` hides of ``url``.

    For messages of libraries and servers, which like to repeat the name of a stream.
    """
    parts = urlsplit(url)
    hidden = [parts.query]
    for each in (parts.username or "", parts.password or ""):
        hidden += [each, unquote(each)]
    # Each value alone too, but for those that say nothing, such as "latency=200".
    for pair in parts.query.split("&"):
        name, equals, value = pair.partition("=")
        value = value if equals else name
        hidden += [each for each in (value, unquote(value)) if len(each) >= KEY_CHARS_MIN]
    if parts.scheme not in ("file", "hls"):
        # With its options ("key?token"), without them, and escaped or not.
        name = parts.path.rstrip("/").rpartition("/")[2]
        hidden += [name, unquote(name)]
    for secret in sorted(filter(None, hidden), key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    return text
