"""What a rehearsal consists of: links, and what happens to them when. Pure."""

from __future__ import annotations

import csv
import io
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from strata.errors import BadArguments
from strata.impair.address import LOOPBACK, Address
from strata.impair.path import PERFECT, Impairment, Outage
from strata.impair.table import SETTINGS, Table

SHORT: Final = {
    key.removesuffix("-percent").removesuffix("-ms").removesuffix("-kbps"): key
    for key in SETTINGS
    if key != "reorder-ms"
}
"""What may be written on a command line: ``loss`` for ``loss-percent``, ``rate`` for
``rate-kbps``; ``reorder`` is the share."""

_LINK: Final = ("listen", "to", *SETTINGS, "outage", "phase", "trace", "rebind")
_PHASE: Final = ("at-s", *SETTINGS)
_ANYWHERE: Final = Address(LOOPBACK, 0)
_OUTAGE: Final = ("begin-s", "end-s", "every-s", "direction")


@dataclass(frozen=True, slots=True)
class Phase:
    """From ``at_s`` on, seconds since the rehearsal began, the link is like this."""

    at_s: float
    impairment: Impairment


@dataclass(frozen=True, slots=True)
class Link:
    """One relay. Phases are in the order of time, and each holds all settings."""

    listen: Address
    to: Address
    impairment: Impairment = PERFECT
    outages: tuple[Outage, ...] = ()
    phases: tuple[Phase, ...] = ()
    rebinds_s: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Profile:
    """The links of one rehearsal.

    Attributes:
        seed: the same one lets the same packets be lost.
        duration_s: it ends by itself after so long; None: it does not.

    Raises:
        BadArguments: no link, or two that listen on one address.
    """

    links: tuple[Link, ...]
    seed: int = 0
    duration_s: float | None = None

    def __post_init__(self) -> None:
        if not self.links:
            raise BadArguments("there is no link; write [[link]] with listen and to")
        heard: dict[Address, int] = {}
        for number, link in enumerate(self.links, 1):
            if not link.listen.port:
                continue  # each gets a port of its own
            first = heard.setdefault(link.listen, number)
            if first != number:
                raise BadArguments(
                    f"link {number}: listen is '{link.listen}', where link {first} listens; "
                    "each link must have an address of its own"
                )


def _no_trace(name: str) -> str:
    raise BadArguments("traces are read from files beside the profile's own")


def parse(
    text: str, *, is_placed: bool = True, read_trace: Callable[[str], str] = _no_trace
) -> Profile:
    """A profile in TOML.

    Args:
        is_placed: whether links have to say where they listen and lead to.
        read_trace: gives the text of a file that a link names as its trace.

    Raises:
        BadArguments: it is none; names link and key, and tells what is allowed.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadArguments(f"this is no TOML: {error}") from None
    top = Table("the profile", raw, ("seed", "duration-s", "link"))
    links = tuple(
        _link(table, is_placed, read_trace) for table in top.tables("link", "[[link]]", _LINK)
    )
    return Profile(links, top.whole("seed"), top.length_s("duration-s"))


def link_of(text: str) -> Link:
    """``16000=127.0.0.1:15000,loss=10,delay=40``: the link of a command line.

    Raises:
        BadArguments: it is none.
    """
    where = f"link {text!r}"
    head, *settings = text.split(",")
    listen, _, to = head.partition("=")
    if not to:
        raise BadArguments(f"{where}: write LISTEN=TO, like 16000=127.0.0.1:15000,loss=10")
    raw: dict[str, object] = {"listen": listen, "to": to}
    for setting in settings:
        name, _, value = setting.partition("=")
        key = name.replace("_", "-")
        key = SHORT.get(key, key)
        if key not in SETTINGS:
            raise BadArguments(
                f"{where}: there is no setting {name!r}; there are: {', '.join(SHORT)}, reorder-ms"
            )
        if key in raw:
            raise BadArguments(f"{where}: {key} is given twice")
        try:
            raw[key] = float(value)
        except ValueError:
            raise BadArguments(f"{where}: {key} is {value!r}; it must be a number") from None
    return _link(Table(where, raw, _LINK))


def _link(
    table: Table, is_placed: bool = True, read_trace: Callable[[str], str] = _no_trace
) -> Link:
    impairment = table.impairment(PERFECT)
    outages = table.tables("outage", "[[link.outage]]", _OUTAGE)
    phases = table.tables("phase", "[[link.phase]]", _PHASE)
    rebinds = table.tables("rebind", "[[link.rebind]]", ("at-s",))
    if "trace" in table:
        if phases:
            raise BadArguments(f"{table.where}: give either a trace or phases, one of the two")
        name = table.text("trace")
        phases = _rows(f"{table.where}, trace {name!r}", read_trace(name))
    return Link(
        table.address("listen") if is_placed or "listen" in table else _ANYWHERE,
        table.address("to") if is_placed or "to" in table else _ANYWHERE,
        impairment,
        tuple(one.outage() for one in outages),
        tuple(_phases(phases, impairment)),
        tuple(sorted(one.seconds("at-s") for one in rebinds)),
    )


def _rows(where: str, text: str) -> list[Table]:
    """A trace: CSV whose first line names the settings, each further line a phase."""
    rows = []
    try:
        found = list(csv.DictReader(io.StringIO(text), strict=True))
    except csv.Error as error:
        raise BadArguments(f"{where}: this is no CSV: {error}") from None
    for number, row in enumerate(found, 2):
        raw: dict[str, object] = {}
        for key, value in row.items():
            try:
                raw[str(key)] = float(value)
            except (TypeError, ValueError):
                raise BadArguments(
                    f"{where}, line {number}: {key} is {value!r}; it must be a number"
                ) from None
        rows.append(Table(f"{where}, line {number}", raw, _PHASE))
    if not rows:
        raise BadArguments(f"{where}: it holds nothing; write a line of names, like at-s,rate-kbps")
    return rows


def _phases(tables: list[Table], impairment: Impairment) -> Iterable[Phase]:
    """Each changes what it names, and leaves the rest as the one before."""
    for table in sorted(tables, key=lambda one: one.seconds("at-s")):
        impairment = table.impairment(impairment)
        yield Phase(table.seconds("at-s"), impairment)
