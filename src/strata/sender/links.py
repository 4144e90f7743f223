"""Over which links a broadcast should go now. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from strata.errors import BadArguments
from strata.sender.interfaces import Interface
from strata.sender.settings import Link as Named
from strata.sender.settings import is_loopback

LINKS_MAX: Final = 8
KINDS: Final = frozenset(("ethernet", "wifi", "cellular"))
ANY_WAY: Final = "default"
"""The link that goes wherever the machine's own routes lead."""


@dataclass(frozen=True, slots=True)
class Link:
    """One way to the receiver. Whose interface or address is another has to be opened anew, under
    the same id.

    Attributes:
        interface: to be bound to; None: the routes decide.
        address: of this machine, to send from; None: the routes decide.
        destination: ``rist://host:port``.
    """

    id: str
    interface: str | None
    address: str | None
    destination: str


@dataclass(frozen=True, slots=True)
class _Way:
    """A link that has no destination yet."""

    id: str
    interface: str | None
    address: str | None


def receiver_of(destination: str) -> tuple[str, int]:
    """Host and port of ``rist://host:port``.

    Raises:
        BadArguments: it is none, or there is anything more in it.
    """
    scheme, colon, rest = destination.partition("://")
    try:
        parts = urlsplit(destination)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    is_bare = scheme == "rist" and colon and not any(each in rest for each in "/?#@")
    if not is_bare or not host or not port:
        raise BadArguments(f"{destination!r} is no receiver; write rist://host:15000")
    return host, port


def usable_links(
    named: Sequence[Named],
    interfaces: Iterable[Interface],
    destinations: Sequence[str],
    before: Sequence[Link] = (),
) -> list[Link]:
    """The links that there should be. Of named ones those whose interface is up; else one for
    each interface that leads out of the machine. To receivers on this machine: one each.

    Args:
        named: those of the settings.
        before: what there was: a link that stays keeps its destination. So long as there was
            nothing, link i goes to destination i, over and over.
    """
    if not destinations:
        return []
    if all(is_loopback(_host(each)) for each in destinations):
        return [
            Link(str(number), None, None, each)
            for number, each in enumerate(destinations[:LINKS_MAX], 1)
        ]
    up = [each for each in interfaces if each.is_up]
    version = _version(destinations)
    if named:
        ways = [way for each in named if (way := _named_way(each, up, version)) is not None]
    else:
        ways = _found_ways(up, version)
    return _with_destinations(ways[:LINKS_MAX], destinations, before)


def _host(destination: str) -> str:
    return urlsplit(destination).hostname or ""


def _version(destinations: Sequence[str]) -> int | None:
    """4 or 6, where all receivers are given as addresses of that kind."""
    versions = set()
    for each in destinations:
        try:
            versions.add(ipaddress.ip_address(_host(each)).version)
        except ValueError:
            return None
    return versions.pop() if len(versions) == 1 else None


def _own_address(interface: Interface, version: int | None) -> str | None:
    """From which an interface reaches the world; of version 4 if that may be."""
    found = [ipaddress.ip_address(each) for each in interface.addresses]
    fit = [
        each
        for each in found
        if not each.is_link_local and not each.is_loopback and version in (None, each.version)
    ]
    return str(min(fit, key=lambda each: each.version)) if fit else None


def _named_way(named: Named, up: Sequence[Interface], version: int | None) -> _Way | None:
    for each in up:
        if named.interface not in (None, each.name):
            continue
        if named.address is not None:
            if named.address in each.addresses:
                return _Way(named.name, named.interface, named.address)
        elif (address := _own_address(each, version)) is not None:
            return _Way(named.name, each.name, address)
    return None


def _found_ways(up: Sequence[Interface], version: int | None) -> list[_Way]:
    ways = []
    for each in sorted(up, key=lambda each: each.name):
        address = _own_address(each, version)
        if address is not None and each.kind in KINDS and not each.is_virtual:
            ways.append(_Way(each.name, each.name, address))
    if not ways and any(_own_address(each, version) for each in up):
        # A container, or a machine behind a tunnel: its routes know more than we do.
        return [_Way(ANY_WAY, None, None)]
    return ways


def _with_destinations(
    ways: Iterable[_Way], destinations: Sequence[str], before: Sequence[Link]
) -> list[Link]:
    ways = list(ways)
    kept = {link.id: link.destination for link in before if link.destination in destinations}
    kept = {way.id: kept[way.id] for way in ways if way.id in kept}
    taken = [*kept.values()]
    for way in ways:
        if way.id not in kept:
            kept[way.id] = min(destinations, key=taken.count)  # the first of the least taken
            taken.append(kept[way.id])
    return [Link(way.id, way.interface, way.address, kept[way.id]) for way in ways]
