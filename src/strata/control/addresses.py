"""Which forward URLs the platform may connect to, or write to.

Whoever may start a stream could otherwise make this server talk to the machine's own
services, its neighbours, or the cloud's metadata address.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import Final
from urllib.parse import quote

from strata.errors import AddressRefused, BadUrl
from strata.settings import Forward
from strata.wire import forward_url
from strata.wire.forward_url import ForwardUrl

PRIVILEGED: Final = 1024
"""Ports below it belong to the system."""

GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
"""All of IPv6 that is given out for use on the internet (IANA, RFC 4291 section 2.4)."""

PREVIEWS: Final = "previews"
"""The folder in the media folder that streams write their previews to. Who could write there
as a forward could read what others have there."""

NAT64: Final = IPv6Network("64:ff9b::/96")
"""How an IPv6 network reaches an IPv4 address: the last 32 bits (RFC 6052 section 2.1)."""


async def check(url: str, rules: Forward, media_dir: Path, reserved_ports: range = range(0)) -> str:
    """The URL as the worker is to get it.

    A ``file:`` or ``hls:`` path must lie in the media folder, and a relative one is taken from
    there. A host must have public addresses only, unless the rules allow more. A listener may
    not take a port that is privileged, or one of ``reserved_ports``, which senders are given.

    Raises:
        BadUrl: it is no forward URL, or its host does not resolve.
        AddressRefused: it points where forwards must not go.
    """
    for scheme in ("file", "hls"):
        if url.startswith(f"{scheme}:") and not url.startswith(f"{scheme}:/"):
            url = local_url(scheme, media_dir, url.removeprefix(f"{scheme}:"))
    parsed = forward_url.parse(url)
    if parsed.path is not None:
        _check_path(parsed.path, media_dir)
    elif parsed.listens:
        _check_listener(parsed, rules, reserved_ports)
    elif not (rules.allow_private or f"{parsed.host}:{parsed.port}" in rules.allow):
        await _check_host(parsed, rules.resolve_timeout_s)
    return url


def file_url(folder: Path, name: str) -> str:
    """The forward URL of a recording in ``folder``, whatever the folder is called."""
    return local_url("file", folder, name)


def local_url(scheme: str, folder: Path, name: str) -> str:
    return f"{scheme}://{quote(str(folder))}/{name}"


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether the address is out on the internet, also where IPv6 wraps an IPv4 one."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address in NAT64:
            return is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
        if address.sixtofour is not None or address.teredo is not None:
            return False  # tunnels to an IPv4 address, long given up
        return address.is_global and address in GLOBAL_UNICAST
    return address.is_global and not address.is_multicast


async def _check_host(url: ForwardUrl, timeout_s: float) -> None:
    assert url.host is not None
    await check_public(url.host, url.port, url.shown, timeout_s)


async def check_public(
    host: str, port: int | None, shown: str, timeout_s: float
) -> list[IPv4Address | IPv6Address]:
    """Where a name leads, all of it on the public internet.

    Args:
        shown: what it is called in errors.

    Raises:
        BadUrl: it does not resolve.
        AddressRefused: it leads elsewhere.
    """
    addresses = await resolve(host, port, shown, timeout_s)
    hidden = sorted(str(address) for address in addresses if not is_public(address))
    if hidden:
        raise AddressRefused(
            f"{shown} leads to {', '.join(hidden)}, which is not on the public internet; "
            "choose a public destination, or let the administrator set "
            "STRATA_FORWARD__ALLOW_PRIVATE=true"
        )
    return list(addresses)


async def resolve(
    host: str, port: int | None, shown: str, timeout_s: float
) -> Iterable[IPv4Address | IPv6Address]:
    """Where a name leads.

    Raises:
        BadUrl: it does not resolve.
    """
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        # RFC 6761 section 6.3: always this machine, whatever a resolver says, or without one.
        return {IPv4Address("127.0.0.1"), IPv6Address("::1")}
    loop = asyncio.get_running_loop()
    try:
        found = await asyncio.wait_for(
            loop.getaddrinfo(host, port, type=socket.SOCK_STREAM), timeout_s
        )
    except TimeoutError:  # an OSError, so before those
        raise BadUrl(
            f"the host of {shown} did not resolve in {timeout_s:.0f} s; check the name, "
            "and this machine's name server"
        ) from None
    except (OSError, UnicodeError):
        raise BadUrl(f"the host of {shown} does not resolve; check its spelling") from None
    return {ip_address(str(address[0]).partition("%")[0]) for *_, address in found}


def _check_listener(url: ForwardUrl, rules: Forward, reserved_ports: range) -> None:
    port = url.port or 0
    if port < PRIVILEGED or port in reserved_ports:
        raise AddressRefused(
            f"{url.shown} would wait for callers on UDP port {port}, which is kept for "
            f"{'senders' if port in reserved_ports else 'the system'}; choose another port"
        )
    if url.host not in ("", "0.0.0.0", "::") and not rules.allow_private:
        raise AddressRefused(
            f"{url.shown} names an address of this machine to wait at; leave it out: "
            f"srt://:{port}?mode=listener"
        )


def slate(setting: str, media_dir: Path) -> str:
    """``on``, ``off``, or a picture or movie in the media folder, as its whole path.

    Raises:
        AddressRefused: it lies elsewhere.
    """
    if setting in ("on", "off"):
        return setting
    path = media_dir / setting
    _check_path(str(path), media_dir)
    return str(path)


def _check_path(path: str, media_dir: Path) -> None:
    media_dir = media_dir.resolve()
    # resolve() follows links, so that one inside the folder cannot lead out of it.
    if not Path(path).resolve().is_relative_to(media_dir) or ".." in Path(path).parts:
        raise AddressRefused(
            f"what streams write lies in {media_dir}; write file:name.ts to record there, "
            "hls:name for a playlist"
        )
    if Path(path).resolve().is_relative_to(media_dir / PREVIEWS):
        raise AddressRefused(
            f"{media_dir / PREVIEWS} is kept for previews; choose another folder, or start the "
            "stream with a preview"
        )
